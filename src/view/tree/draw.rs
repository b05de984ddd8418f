//! Draws a finished tree, line by line. Without recursion: a tree may be as deep
//! as there are pids.

use std::io;
use std::time::Duration;

use super::plan::{Entry, Planner, first_exec};
use super::row::{Emphasis, Row};
use super::shape::Shapes;
use super::words::{self, EndWords};
use crate::clone::CloneFlags;
use crate::config::{Fold, Glyphs, WholeLook};
use crate::event::Stops;
use crate::ids::Pid;
use crate::summary::{Lifetimes, Range};
use crate::tree::Tree;
use crate::tree::node::{Deed, Moment, NodeId, Origin};
use crate::tree::outline::Outline;
use crate::tree::strings::{CommandId, Known};
use crate::view::UNSEEN_BY_EVENTS;
use crate::view::style::{Palette, Part};
use crate::view::units::{Span, ellipsis, plural};
use crate::view::whole::{BREAKS_OFF, Extent};

/// How much text is handed on at once, in bytes.
const CHUNK: usize = 32 * 1024;
/// The most levels of lines that are drawn to the left, where there is no
/// terminal's width to keep to.
const LEVELS_MAX: usize = 40;

/// How trees look on one output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) palette: Palette,
    pub(super) look: WholeLook,
    /// The width of the terminal.
    pub(super) width: Option<usize>,
}

/// Draws a tree, and hands it on in pieces of whole lines.
///
/// # Errors
/// Those of `write`.
pub(super) fn draw(
    tree: &Tree,
    extent: Extent,
    style: Style,
    mut write: impl FnMut(&str) -> io::Result<()>,
) -> io::Result<()> {
    let outline = Outline::new(tree);
    let shapes = (style.look.fold == Fold::Yes).then(|| Shapes::new(tree, &outline));
    let planner = Planner {
        tree,
        outline: &outline,
        shapes: shapes.as_ref(),
    };
    let drawer = Drawer {
        tree,
        outline: &outline,
        style,
        glyphs: style.look.glyphs,
    };
    let mut out = String::new();
    for note in drawer.notes(extent) {
        style
            .palette
            .paint(&mut out, Part::Meaning, |out| out.push_str(&note));
        out.push('\n');
    }
    // What is still to be drawn of each level, if anything is.
    let mut frames = vec![(0, planner.roots())];
    // For each level whether more comes after what is drawn.
    let mut more: Vec<bool> = Vec::new();
    while let Some((depth, frame)) = frames.last_mut() {
        let depth = *depth;
        let Some(entry) = frame.next() else {
            frames.pop();
            continue;
        };
        let goes_on = frame.peek().is_some();
        if !goes_on {
            frames.pop();
        }
        more.truncate(depth);
        more.push(goes_on);
        let row = Row {
            guide: drawer.guide(&more),
            ..drawer.row(&entry)
        };
        row.write(&mut out, style.palette, drawer.glyphs, style.width);
        if out.len() >= CHUNK {
            write(&out)?;
            out.clear();
        }
        if let Entry::Group(members) = entry {
            frames.push((depth + 1, planner.below(&members)));
        }
    }
    write(&out)
}

struct Drawer<'a> {
    tree: &'a Tree,
    outline: &'a Outline,
    style: Style,
    glyphs: Glyphs,
}

impl Drawer<'_> {
    /// The lines to the left of an entry; `more` says for each level down to its
    /// own whether others follow. Where it is too deep for its line only the
    /// last levels are drawn, and the number of the others.
    fn guide(&self, more: &[bool]) -> String {
        const UNICODE: [&str; 4] = ["│  ", "   ", "├─ ", "└─ "];
        const ASCII: [&str; 4] = ["|  ", "   ", "|- ", "`- "];
        let [through, nothing, branch, last] = match self.glyphs {
            Glyphs::Unicode => UNICODE,
            Glyphs::Ascii => ASCII,
        };
        let Some((own, above)) = more.get(1..).and_then(|more| more.split_last()) else {
            return String::new();
        };
        let room = self.style.width.map_or(LEVELS_MAX, |width| width / 6);
        let hidden = above.len().saturating_sub(room);
        let mut guide = match hidden {
            0 => String::new(),
            _ => format!("+{hidden} "),
        };
        for more in &above[hidden..] {
            guide.push_str(if *more { through } else { nothing });
        }
        guide.push_str(if *own { branch } else { last });
        guide
    }

    fn row(&self, entry: &Entry<'_>) -> Row {
        match entry {
            Entry::Group(members) => self.group(members.all()),
            Entry::Exec(moments) => self.exec(moments),
            Entry::ExecFailed(command, errno, count) => Row {
                lead: (Some(Part::Error), "exec failed".to_owned()),
                command: self.command(*command),
                count: self.count(*count),
                first: Some((Part::Error, errno.to_string())),
                ..Row::default()
            },
            Entry::CreateFailed(how, failure, count) => Row {
                lead: (
                    Some(Part::Error),
                    format!("{} failed", words::how(self.tree.how(*how))),
                ),
                count: self.count(*count),
                first: Some((Part::Error, words::failure(*failure))),
                ..Row::default()
            },
        }
    }

    fn count(&self, count: u64) -> String {
        match (count, self.glyphs) {
            (1, _) => String::new(),
            (_, Glyphs::Unicode) => format!("×{count}"),
            (_, Glyphs::Ascii) => format!("x{count}"),
        }
    }

    fn command(&self, id: CommandId) -> String {
        words::command(&self.tree.texts().get(id), self.glyphs)
    }

    fn span(&self, time: Duration) -> String {
        Span(time, self.glyphs).to_string()
    }

    /// What is to be known of the trace before one looks at it.
    fn notes(&self, extent: Extent) -> Vec<String> {
        let mut notes = Vec::new();
        // Of nothing there is nothing to say.
        if extent == Extent::BrokenOff && !self.tree.is_empty() {
            notes.push(BREAKS_OFF.to_owned());
        }
        let stops = self.tree.start().map(|start| start.stops);
        if stops == Some(Stops::Event) {
            notes.push(UNSEEN_BY_EVENTS.to_owned());
        }
        if self.tree.is_filtered() {
            notes.push(self.what_is_shown());
        }
        notes
    }

    /// How much of the whole a filter shows.
    fn what_is_shown(&self) -> String {
        let count = |fits: &dyn Fn(NodeId) -> bool| {
            let those = self.tree.ids().filter(|id| fits(*id));
            those.count() as u64
        };
        let threads = count(&|id| self.tree.node(id).is_thread());
        let all = match threads {
            0 => plural(self.tree.len() as u64, "process", "processes"),
            _ => format!(
                "{} and {}",
                plural(self.tree.len() as u64 - threads, "process", "processes"),
                plural(threads, "thread", "threads")
            ),
        };
        let picked = count(&|id| self.tree.is_picked(id));
        let above = count(&|id| !self.tree.is_picked(id) && self.tree.is_shown(id));
        let above = match above {
            0 => String::new(),
            count => format!(
                ", and {}, without facts",
                plural(
                    count,
                    "that one of them descends from",
                    "that they descend from"
                )
            ),
        };
        format!("# filtered: {picked} of {all}{above}")
    }

    fn group(&self, ids: &[NodeId]) -> Row {
        let id = ids[0];
        let node = self.tree.node(id);
        let lead = match (ids.len(), node.is_thread()) {
            (1, true) => format!("thread {}", node.pid()),
            (1, false) => node.pid().to_string(),
            (_, true) => "thread".to_owned(),
            (_, false) => String::new(),
        };
        if !self.tree.is_picked(id) {
            return Row {
                lead: (Some(Part::Meaning), lead),
                command: self.commands(ids),
                count: self.count(ids.len() as u64),
                emphasis: Emphasis::Context,
                ..Row::default()
            };
        }
        let (first, open) = match words::end(node.fate()) {
            EndWords::Nothing => (None, None),
            EndWords::Failed(text) => (Some((Part::Error, text)), None),
            EndWords::Killed(text) => (Some((Part::Killed, text)), None),
            EndWords::Open(text) => (None, Some(text.to_owned())),
        };
        let mut facts: Vec<String> = open.into_iter().collect();
        self.origin(id, &mut facts);
        self.numbers(ids, &mut facts);
        self.kinship(ids, &mut facts);
        Row {
            lead: (Some(Part::Tid), lead),
            command: self.commands(ids),
            count: self.count(ids.len() as u64),
            first,
            facts,
            ..Row::default()
        }
    }

    /// How it came to be.
    fn origin(&self, id: NodeId, facts: &mut Vec<String>) {
        match self.tree.origin(id) {
            Origin::Created(how) => {
                if !self.tree.node(id).is_thread() {
                    facts.push(words::how(&how));
                }
                facts.extend(words::exit_signal(&how));
            }
            Origin::Attached if self.tree.node(id).is_thread() => {}
            Origin::Attached => facts.push("attached".to_owned()),
            Origin::Orphan => {
                facts.push("its creator was killed before it could report it".to_owned());
            }
            Origin::Launched | Origin::Unknown => {}
        }
    }

    /// How long it lived, what it used, how many threads it had.
    fn numbers(&self, ids: &[NodeId], facts: &mut Vec<String>) {
        let nodes = || ids.iter().map(|id| self.tree.node(*id));
        let lives = Lifetimes::of(nodes().filter_map(|node| node.lived()));
        if let Some(Range {
            least,
            median,
            most,
        }) = lives.range
        {
            let [least, median, most] = [least, median, most].map(|life| self.span(life));
            facts.push(match least == most {
                true => least,
                false => format!("{least} to {most}, median {median}"),
            });
        }
        let in_all = if ids.len() > 1 { " in all" } else { "" };
        let cpus = nodes().filter_map(|node| node.cpu());
        if let Some(cpu) = cpus.reduce(|sum, cpu| sum.saturating_add(cpu)) {
            let children = ids
                .iter()
                .any(|id| self.outline.created_any(self.tree, *id));
            let with = if children { " with children" } else { "" };
            facts.push(format!("cpu {}{with}{in_all}", self.span(cpu)));
        }
        let threads: u64 = nodes().map(|node| u64::from(node.threads())).sum();
        if threads > 0 {
            facts.push(plural(threads, "thread", "threads") + in_all);
        }
    }

    /// Whose child it is, where that is not as it looks.
    fn kinship(&self, ids: &[NodeId], facts: &mut Vec<String>) {
        let id = ids[0];
        let tree = self.tree;
        let node = tree.node(id);
        if let Origin::Created(how) = tree.origin(id)
            && how.flags.has(CloneFlags::PARENT)
            && !node.is_thread()
        {
            facts.push(match tree.real_parent(id) {
                Some(parent) if ids.len() == 1 => {
                    format!("sibling of its creator: parent {}", tree.node(parent).pid())
                }
                _ => "sibling of its creator".to_owned(),
            });
        }
        if tree.outlived_parent(id) {
            facts.push(match tree.adopter(id) {
                None => "outlived its parent".to_owned(),
                Some(Pid(0)) => {
                    "outlived its parent, adopted outside of the pid namespace".to_owned()
                }
                Some(Pid(1)) => "outlived its parent, adopted by init".to_owned(),
                Some(by) => format!("outlived its parent, adopted by {by}"),
            });
        }
        if tree.unreaped(id) {
            facts.push("never waited for".to_owned());
        }
        if node.awaited() {
            facts.push("its creator still waits in vfork".to_owned());
        }
        if ids.len() > 1 {
            return;
        }
        if let (Some(creator), Some(parent)) = (node.creator(), node.parent())
            && creator.0 != tree.node(parent).pid().0
        {
            facts.push(format!("by thread {creator}"));
        }
        if let Some(parent) = tree.parent_outside(id) {
            facts.push(format!("parent {parent}"));
        }
        if let Some(own) = tree.own_pid(id) {
            facts.push(format!("{own} in its pid namespace"));
        }
        if node.pid_is_foreign() {
            facts.push("pid as its creator sees it".to_owned());
        }
    }

    /// What these processes run: the command of one, or what the commands of all
    /// begin with.
    fn commands(&self, ids: &[NodeId]) -> String {
        let tree = self.tree;
        let texts = tree.texts();
        let head = |id: &NodeId| first_exec(tree, self.outline, *id);
        let Some(first) = head(&ids[0]) else {
            let node = tree.node(ids[0]);
            let command = node.first();
            return match texts.get(command).known {
                _ if node.is_thread() => String::new(),
                Known::Exec => words::copy_of(texts.bytes(texts.program(command)), self.glyphs),
                _ => self.command(command),
            };
        };
        self.common(first, ids.iter().filter_map(head))
    }

    /// What commands of one program have in common.
    fn common(&self, first: CommandId, all: impl Iterator<Item = CommandId>) -> String {
        let texts = self.tree.texts();
        let mut others = all.filter(|command| *command != first).peekable();
        if others.peek().is_none() {
            return self.command(first);
        }
        let mut common = words::words(&texts.get(first), self.glyphs);
        let mut before = first;
        for other in others {
            if std::mem::replace(&mut before, other) == other {
                continue;
            }
            let words = words::words(&texts.get(other), self.glyphs);
            let same = common.iter().zip(&words).take_while(|(a, b)| a == b);
            let same = same.count();
            common.truncate(same);
        }
        if common.is_empty() {
            let program = texts.bytes(texts.program(first));
            common.push(
                String::from_utf8_lossy(program)
                    .escape_default()
                    .to_string(),
            );
        }
        common.push(ellipsis(self.glyphs).to_owned());
        common.join(" ")
    }

    fn exec(&self, moments: &[&Moment]) -> Row {
        let moment = moments[0];
        let node = self.tree.node(moment.node());
        let commands = moments.iter().filter_map(|moment| match moment.what {
            Deed::Exec(command) => Some(command),
            _ => None,
        });
        let mut facts = Vec::new();
        let picked = self.tree.is_picked(moment.node());
        if moments.len() == 1 && picked {
            let after = moment.at().saturating_sub(node.born());
            facts.push(format!("after {}", self.span(after)));
            if moment.by.0 != node.pid().0 {
                facts.push(format!("by thread {}", moment.by));
            }
            let kept = self.outline.moments(self.tree, moment.node());
            let kept = kept.filter(|moment| matches!(moment.what, Deed::Exec(_)));
            let (kept, last) = kept.fold((0, Duration::ZERO), |(count, _), other| {
                (count + 1, other.at())
            });
            if kept < node.execs() && last == moment.at() {
                let left_out = u64::from(node.execs() - kept);
                facts.push(format!(
                    "after {} that are left out",
                    plural(left_out, "exec", "execs")
                ));
            }
        }
        Row {
            lead: (Some(Part::Exec), "exec".to_owned()),
            command: match commands.clone().next() {
                Some(first) => self.common(first, commands),
                None => String::new(),
            },
            count: self.count(moments.len() as u64),
            facts,
            emphasis: match picked {
                true => Emphasis::Own,
                false => Emphasis::Context,
            },
            ..Row::default()
        }
    }
}
