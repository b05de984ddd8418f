//! One line of the tree, and how it is cut where a terminal is too narrow: first
//! the command, but not to nothing, then what is said of it, the last first.

use super::super::style::{Palette, Part};
use crate::config::Glyphs;
use crate::view::units::{columns, cut, ellipsis};

/// What a line is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Emphasis {
    /// For itself.
    #[default]
    Own,
    /// For what is below it.
    Context,
}

/// A line of the tree, in its parts.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// The lines of the tree to its left.
    pub(super) guide: String,
    /// A pid, or what happened.
    pub(super) lead: (Option<Part>, String),
    /// The command.
    pub(super) command: String,
    /// How many are folded into it: `×412`.
    pub(super) count: String,
    /// What is said first, in its colour.
    pub(super) first: Option<(Part, String)>,
    /// What else is said, the most important first.
    pub(super) facts: Vec<String>,
    /// Of context the command is dim too.
    pub(super) emphasis: Emphasis,
}

/// What stands before the facts.
const FACTS: &str = "  # ";
/// So much of a command stays.
const COMMAND_MIN: usize = 16;

impl Row {
    /// Appends the line, with its newline; cut to `width` columns if given.
    pub(super) fn write(
        mut self,
        out: &mut String,
        palette: Palette,
        glyphs: Glyphs,
        width: Option<usize>,
    ) {
        if let Some(width) = width {
            self.fit(width, glyphs);
        }
        palette.paint(out, Part::Tid, |out| out.push_str(&self.guide));
        let (part, lead) = &self.lead;
        paint(out, palette, *part, lead);
        if !lead.is_empty() && !self.command.is_empty() {
            out.push(' ');
        }
        let dim = (self.emphasis == Emphasis::Context).then_some(Part::Meaning);
        paint(out, palette, dim, &self.command);
        if !self.count.is_empty() {
            out.push(' ');
            paint(out, palette, Some(Part::Create), &self.count);
        }
        let mut before = FACTS;
        if let Some((part, text)) = &self.first {
            palette.paint(out, Part::Meaning, |out| out.push_str(before));
            paint(out, palette, Some(*part), text);
            before = ", ";
        }
        if !self.facts.is_empty() {
            palette.paint(out, Part::Meaning, |out| {
                out.push_str(before);
                out.push_str(&self.facts.join(", "));
            });
        }
        out.push('\n');
    }

    /// The columns that are not the command's.
    fn others(&self) -> usize {
        let count = match self.count.is_empty() {
            true => 0,
            false => 1 + columns(&self.count),
        };
        let space = usize::from(!self.lead.1.is_empty());
        columns(&self.guide) + columns(&self.lead.1) + space + count + self.said()
    }

    fn said(&self) -> usize {
        let first = self.first.iter().map(|(_, text)| text);
        let lengths = first.chain(&self.facts).map(|text| columns(text));
        let (count, sum) = lengths.fold((0, 0), |(count, sum), length| (count + 1, sum + length));
        match count {
            0 => 0,
            _ => FACTS.len() + sum + 2 * (count - 1),
        }
    }

    fn fit(&mut self, width: usize, glyphs: Glyphs) {
        let over = |row: &Row| row.others() + columns(&row.command) > width;
        // The directories of the program say the least.
        if let Some(short) = without_directories(&self.command, glyphs).filter(|_| over(self)) {
            self.command = short;
        }
        let wanted = columns(&self.command);
        let least = wanted.min(COMMAND_MIN.max(width / 3));
        while self.others() + least > width && self.facts.pop().is_some() {}
        let left = width.saturating_sub(self.others());
        self.command = cut(std::mem::take(&mut self.command), left.max(1), glyphs);
        // A terminal that is narrower than the rest.
        let over = (self.others() + columns(&self.command)).saturating_sub(width);
        if let Some((_, text)) = self.first.as_mut().filter(|_| over > 0) {
            let left = columns(text).saturating_sub(over);
            *text = cut(std::mem::take(text), left.max(1), glyphs);
        }
    }
}

/// A command without the directories of its program: `…/cc1 -quiet`. But exe in
/// /proc, by which a program starts itself again, is no name of its own.
fn without_directories(command: &str, glyphs: Glyphs) -> Option<String> {
    let path = command.split(' ').next()?;
    let (directories, _) = path
        .rsplit_once('/')
        .filter(|_| path.starts_with('/') && !path.starts_with("/proc/"))?;
    (columns(directories) > columns(ellipsis(glyphs)))
        .then(|| format!("{}{}", ellipsis(glyphs), &command[directories.len()..]))
}

fn paint(out: &mut String, palette: Palette, part: Option<Part>, text: &str) {
    match part {
        Some(part) if !text.is_empty() => palette.paint(out, part, |out| out.push_str(text)),
        _ => out.push_str(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            guide: "├─ ".to_owned(),
            lead: (Some(Part::Tid), "4281".to_owned()),
            command: "gcc -O2 -c some/long/path/to/a/file.c -o file.o".to_owned(),
            count: String::new(),
            first: Some((Part::Error, "exited with 1".to_owned())),
            facts: vec![
                "vfork".to_owned(),
                "1.20 s".to_owned(),
                "cpu 1.10 s".to_owned(),
            ],
            emphasis: Emphasis::Own,
        }
    }

    fn written(row: Row, width: Option<usize>) -> String {
        let mut out = String::new();
        row.write(&mut out, Palette::PLAIN, Glyphs::Unicode, width);
        out
    }

    #[test]
    fn whole_where_there_is_room() {
        let whole = "├─ 4281 gcc -O2 -c some/long/path/to/a/file.c -o file.o  \
                     # exited with 1, vfork, 1.20 s, cpu 1.10 s\n";
        assert_eq!(written(row(), None), whole);
        assert_eq!(written(row(), Some(columns(whole) - 1)), whole);
    }

    #[test]
    fn first_the_command_is_cut_then_the_facts() {
        assert_eq!(
            written(row(), Some(80)),
            "├─ 4281 gcc -O2 -c some/long/path/t…  # exited with 1, vfork, 1.20 s, cpu 1.10 s\n"
        );
        assert_eq!(
            written(row(), Some(40)),
            "├─ 4281 gcc -O2 -c som…  # exited with 1\n"
        );
    }

    #[test]
    fn a_program_shows_rather_than_where_it_is() {
        let row = || Row {
            command: "/usr/lib/gcc/x86_64-linux-gnu/12/cc1 -quiet /a/b".to_owned(),
            ..row()
        };
        assert_eq!(
            written(row(), Some(80)),
            "├─ 4281 …/cc1 -quiet /a/b  # exited with 1, vfork, 1.20 s, cpu 1.10 s\n"
        );
        assert!(written(row(), None).contains("4281 /usr/lib/gcc/x86_64-linux-gnu/12/cc1 -quiet"));
        assert_eq!(without_directories("/cc1 -x", Glyphs::Unicode), None);
        assert_eq!(without_directories("a/cc1", Glyphs::Unicode), None);
        let itself = "/proc/self/exe --type=utility";
        assert_eq!(without_directories(itself, Glyphs::Unicode), None);
    }

    #[test]
    fn never_wider_than_the_terminal() {
        for width in 24..200 {
            let line = written(row(), Some(width));
            assert!(columns(line.trim_end()) <= width, "{width}: {line}");
            let line = written(
                Row {
                    count: "×412".to_owned(),
                    ..row()
                },
                Some(width),
            );
            assert!(columns(line.trim_end()) <= width.max(28), "{width}: {line}");
            assert!(line.contains("×412"));
        }
    }
}
