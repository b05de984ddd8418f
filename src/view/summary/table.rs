//! Tables: numbers to the right, each column as wide as it must be, and names
//! last, where they may be as long as they are.

use super::super::style::{Palette, Part};
use super::super::units::{columns, cut};
use crate::config::Glyphs;

/// A table.
#[derive(Debug)]
pub(super) struct Table {
    /// What stands above the numbers, and last above the names.
    heads: &'static [&'static str],
    rows: Vec<(Vec<String>, String)>,
}

impl Table {
    /// A table with these heads; the last one is that of the names.
    pub(super) fn new(heads: &'static [&'static str]) -> Table {
        Table {
            heads,
            rows: Vec::new(),
        }
    }

    /// Adds a row: as many numbers as there are heads, but one.
    pub(super) fn row(&mut self, numbers: Vec<String>, name: String) {
        debug_assert_eq!(numbers.len() + 1, self.heads.len());
        self.rows.push((numbers, name));
    }

    /// Appends an empty line and the table, if it has rows; of these `top` at
    /// the most.
    pub(super) fn write(
        &self,
        out: &mut String,
        palette: Palette,
        glyphs: Glyphs,
        width: Option<usize>,
        top: usize,
    ) {
        if self.rows.is_empty() {
            return;
        }
        let shown = &self.rows[..self.rows.len().min(top)];
        let widths: Vec<usize> = (0..self.heads.len() - 1)
            .map(|column| {
                let numbers = shown.iter().map(|(numbers, _)| columns(&numbers[column]));
                numbers.fold(columns(self.heads[column]), usize::max)
            })
            .collect();
        let line = |numbers: &mut dyn Iterator<Item = &str>, name: &str| {
            let mut line = String::new();
            for (number, width) in numbers.zip(&widths) {
                let pad = width - columns(number) + 2;
                line.extend(std::iter::repeat_n(' ', pad));
                line.push_str(number);
            }
            line.push_str("  ");
            line.push_str(name);
            match width {
                Some(width) => cut(line, width, glyphs),
                None => line,
            }
        };
        out.push('\n');
        let (name, heads) = self.heads.split_last().unwrap_or((&"", &[]));
        palette.paint(out, Part::Meaning, |out| {
            out.push_str(&line(&mut heads.iter().copied(), name));
        });
        out.push('\n');
        for (numbers, name) in shown {
            out.push_str(&line(&mut numbers.iter().map(String::as_str), name));
            out.push('\n');
        }
        let more = self.rows.len() - shown.len();
        if more > 0 {
            let text = format!("and {more} more (--top)");
            palette.paint(out, Part::Meaning, |out| {
                out.push_str(&line(&mut heads.iter().map(|_| ""), &text));
            });
            out.push('\n');
        }
    }
}

/// A chart of one line: a block for each number, as high as it is large; none
/// for 0.
pub(super) fn sparkline(counts: &[u64], glyphs: Glyphs) -> String {
    const UNICODE: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const ASCII: [char; 9] = [' ', '.', ':', '-', '=', '+', '*', '#', '@'];
    let levels = match glyphs {
        Glyphs::Unicode => UNICODE,
        Glyphs::Ascii => ASCII,
    };
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let level = |count: u64| (u128::from(count) * 8).div_ceil(u128::from(most)) as usize;
    counts.iter().map(|count| levels[level(*count)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_to_the_right_and_names_last() {
        let mut table = Table::new(&["count", "lived", "program"]);
        table.row(vec!["1".into(), "12.3 ms".into()], "gcc".into());
        table.row(vec!["1000000".into(), "1 s".into()], "a long name".into());
        table.row(vec!["1".into(), String::new()], "sh".into());
        let shown = |width, top| {
            let mut out = String::new();
            table.write(&mut out, Palette::PLAIN, Glyphs::Unicode, width, top);
            out
        };
        assert_eq!(
            shown(None, 2),
            "
    count    lived  program
        1  12.3 ms  gcc
  1000000      1 s  a long name
                    and 1 more (--top)
"
        );
        assert!(shown(Some(26), 9).contains("1000000      1 s  a lon…\n"));
        let mut out = String::new();
        Table::new(&["x"]).write(&mut out, Palette::PLAIN, Glyphs::Ascii, None, 9);
        assert_eq!(out, "");
    }

    #[test]
    fn charts_have_a_block_for_each_number_that_is_not_none() {
        assert_eq!(sparkline(&[0, 1, 4, 8], Glyphs::Unicode), " ▁▄█");
        assert_eq!(sparkline(&[0, 1, u64::MAX], Glyphs::Ascii), " .@");
        assert_eq!(sparkline(&[0], Glyphs::Ascii), " ");
    }
}
