//! The summary view: counts, lifetimes and peaks, in tables, at the end.

mod table;
#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::io;
use std::time::Duration;

use super::output::Output;
use super::style::{Palette, Part};
use super::tree::words;
use super::units::{Span, columns, cut, plural};
use super::whole::{BREAKS_OFF, Extent, Form};
use crate::clone::Kind;
use crate::config::{Glyphs, TOP, WholeLook};
use crate::event::Target;
use crate::ids::Errno;
use crate::summary::{FailuresSeen, Lifetimes, ProgramRow, Summary};
use crate::tree::node::NodeId;
use crate::tree::strings::WordId;
use crate::tree::tally::Cause;
use crate::tree::{Seen, Tree};
use table::{Table, sparkline};

/// Writes the tables.
#[derive(Debug)]
pub(super) struct SummaryForm {
    pub(super) palette: Palette,
    pub(super) look: WholeLook,
}

impl Form for SummaryForm {
    fn write(&self, tree: &Tree, extent: Extent, output: &mut Output) -> io::Result<()> {
        // What never began is nothing to sum up.
        if tree.is_empty() {
            return Ok(());
        }
        let style = Style {
            palette: self.palette,
            look: self.look,
            width: output.columns(),
        };
        output.write_lines(text(tree, extent, style))
    }
}

/// How a summary looks on one output.
#[derive(Debug, Clone, Copy)]
struct Style {
    palette: Palette,
    look: WholeLook,
    width: Option<usize>,
}

/// The summary of a tree.
fn text(tree: &Tree, extent: Extent, style: Style) -> String {
    let top = style.look.top.unwrap_or(TOP);
    let summary = Summary::new(tree, top);
    let writer = Writer {
        tree,
        summary: &summary,
        style,
        glyphs: style.look.glyphs,
    };
    let mut out = String::new();
    if extent == Extent::BrokenOff {
        let palette = style.palette;
        palette.paint(&mut out, Part::Meaning, |out| out.push_str(BREAKS_OFF));
        out.push('\n');
    }
    writer.facts(&mut out);
    for (table, top) in [
        (writer.kinds(), usize::MAX),
        (writer.calls(), usize::MAX),
        (writer.creators(), top),
        (writer.executed(), top),
        (writer.never_execd(), top),
        (writer.failures(), top),
        (writer.exec_failures(), top),
        (writer.longest(), top),
        (writer.alive(), top),
        (writer.unreaped(), top),
    ] {
        table.write(&mut out, style.palette, writer.glyphs, style.width, top);
    }
    out
}

/// Where what is said begins.
const LABEL: usize = 10;

struct Writer<'a> {
    tree: &'a Tree,
    summary: &'a Summary<'a>,
    style: Style,
    glyphs: Glyphs,
}

impl Writer<'_> {
    fn span(&self, time: Duration) -> String {
        Span(time, self.glyphs).to_string()
    }

    /// A label and what there is to say, which may be several lines where the
    /// terminal is narrow.
    fn line(&self, out: &mut String, label: &str, clauses: &[String]) {
        let width = self.style.width.unwrap_or(usize::MAX);
        let room = width.saturating_sub(LABEL);
        let whole = clauses.join("; ");
        let lines = match columns(&whole) <= room {
            true => vec![whole],
            false => clauses.to_vec(),
        };
        let mut label = label;
        for text in lines {
            self.style.palette.paint(out, Part::Meaning, |out| {
                let _ = write!(out, "{label:LABEL$}");
            });
            out.push_str(&cut(text, room, self.glyphs));
            out.push('\n');
            label = "";
        }
    }

    /// What needs no table.
    fn facts(&self, out: &mut String) {
        let (tree, summary) = (self.tree, self.summary);
        let tally = tree.tally();
        self.line(out, "trace", &[self.target()]);
        if let Some(seen) = tree.seen() {
            self.line(out, "filtered", &self.filtered(seen));
        }
        self.line(out, "lasted", &[self.span(tree.last())]);
        let processes = plural(summary.processes, "process", "processes");
        let threads = plural(summary.threads, "thread", "threads");
        let failed = match summary.failures_seen {
            FailuresSeen::Yes => {
                plural(tally.failures(), "creating call", "creating calls") + " failed"
            }
            FailuresSeen::No => "calls that failed are not seen (--stops=event)".to_owned(),
        };
        self.line(out, "created", &[format!("{processes}, {threads}"), failed]);
        let mut execs = vec![plural(summary.execs, "exec", "execs")];
        if summary.execs_left_out() > 0 {
            execs.push(format!("{} of them not kept", summary.execs_left_out()));
        }
        self.line(out, "executed", &execs);
        let (processes, threads) = (tally.processes, tally.threads);
        let most = [
            format!(
                "at most {} (at {})",
                plural(processes.peak, "process", "processes"),
                self.span(processes.peak_at)
            ),
            format!(
                "{}, first ones included (at {})",
                plural(threads.peak, "thread", "threads"),
                self.span(threads.peak_at)
            ),
        ];
        let mut most = most.to_vec();
        if tree.is_filtered() {
            most.push("of the whole trace, unfiltered".to_owned());
        }
        self.line(out, "at once", &most);
        let depth = plural(u64::from(summary.depth()), "generation", "generations");
        let deepest = match summary.deepest.filter(|_| summary.depth() > 0) {
            Some(id) => format!("{depth} below the first: {}", self.process(id)),
            None => format!("{depth} below the first"),
        };
        self.line(out, "depth", &[deepest]);
        if tally.creations() > 0 {
            self.rate(out);
        }
        let outlived = match summary.outlived {
            1 => "1 process outlived its parent".to_owned(),
            count => format!("{count} processes outlived their parents"),
        };
        let unreaped = [
            format!("{} alive at the end", summary.alive.len()),
            outlived,
            match &summary.unreaped {
                None => "who waited for whom is not traced".to_owned(),
                Some(ids) if ids.is_empty() => "no zombies left".to_owned(),
                Some(ids) if ids.len() == 1 => "nobody waited for 1 that ended".to_owned(),
                Some(ids) => format!("nobody waited for {} that ended", ids.len()),
            },
        ];
        self.line(out, "unreaped", &unreaped);
    }

    /// How much of the whole the filter picks.
    fn filtered(&self, seen: Seen) -> Vec<String> {
        let tally = self.tree.tally();
        let mut clauses = vec![format!(
            "{} of {}",
            tally.creations(),
            plural(seen.creations, "creation", "creations")
        )];
        if seen.failures > 0 {
            clauses.push(format!(
                "{} of {} that failed",
                tally.failures(),
                seen.failures
            ));
        }
        clauses
    }

    /// When children came.
    fn rate(&self, out: &mut String) {
        let width = self.style.width.unwrap_or(usize::MAX);
        let room = width.saturating_sub(LABEL).clamp(8, 64);
        let rate = self.tree.tally().rate.until(self.tree.last(), room);
        let chart = sparkline(rate.counts(), self.glyphs);
        self.line(out, "rate", &[chart.trim_end().to_owned()]);
        let most = rate.counts().iter().copied().max().unwrap_or(0);
        let text = format!(
            "{} a column, at most {} in one",
            self.span(rate.width()),
            plural(most, "creation", "creations")
        );
        self.line(out, "", &[text]);
    }

    /// What was traced.
    fn target(&self) -> String {
        match self.tree.start().map(|start| &start.target) {
            Some(Target::Command(command)) => {
                let words = command.iter().map(|word| words::bytes(word, self.glyphs));
                words.collect::<Vec<_>>().join(" ")
            }
            Some(Target::Processes(pids)) => {
                let pids: Vec<String> = pids.iter().map(|pid| pid.to_string()).collect();
                format!("pid {}", pids.join(", "))
            }
            None => "without a beginning".to_owned(),
        }
    }

    fn program(&self, program: WordId) -> String {
        match self.tree.texts().bytes(program) {
            b"" => "?".to_owned(),
            bytes => words::bytes(bytes, self.glyphs),
        }
    }

    /// Pid and command.
    fn process(&self, id: NodeId) -> String {
        let node = self.tree.node(id);
        let command = self.tree.texts().get(node.current());
        let command = match node.execs() {
            0 => words::copy_of(
                self.tree
                    .texts()
                    .bytes(self.tree.texts().program(node.current())),
                self.glyphs,
            ),
            _ => words::command(&command, self.glyphs),
        };
        format!("{} {command}", node.pid())
    }

    /// Sum and median; empty where none is known.
    fn lives(&self, lives: &Lifetimes) -> [String; 2] {
        match lives.median() {
            Some(median) => [self.span(lives.total), self.span(median)],
            None => [String::new(), String::new()],
        }
    }

    fn kinds(&self) -> Table {
        let mut table = Table::new(&["count", "lived in all", "median", "kind"]);
        for row in &self.summary.kinds {
            let [total, median] = self.lives(&row.lives);
            let name = match row.kind {
                Kind::Process => "process, memory copied on write",
                Kind::Vfork => "vfork child, memory borrowed",
                Kind::SharedProcess => "process that shares memory",
                Kind::Thread => "thread",
            };
            table.row(vec![row.count.to_string(), total, median], name.to_owned());
        }
        table
    }

    fn calls(&self) -> Table {
        let mut table = Table::new(&["count", "call"]);
        for (call, count) in &self.summary.calls {
            table.row(vec![count.to_string()], call_name(call));
        }
        table
    }

    fn creators(&self) -> Table {
        let heads = &[
            "processes",
            "threads",
            "lived in all",
            "median",
            "created by",
        ];
        let mut table = Table::new(heads);
        for row in &self.summary.creators {
            let [total, median] = self.lives(&row.lives);
            let numbers = vec![
                row.count.to_string(),
                row.threads.to_string(),
                total,
                median,
            ];
            table.row(numbers, self.program(row.program));
        }
        table
    }

    fn programs(&self, heads: &'static [&'static str], rows: &[ProgramRow]) -> Table {
        let mut table = Table::new(heads);
        for row in rows {
            let [total, median] = self.lives(&row.lives);
            let numbers = vec![row.count.to_string(), total, median];
            table.row(numbers, self.program(row.program));
        }
        table
    }

    fn executed(&self) -> Table {
        let heads = &["execs", "ran in all", "median", "executed program"];
        self.programs(heads, &self.summary.executed)
    }

    fn never_execd(&self) -> Table {
        let heads = &["count", "lived in all", "median", "never exec'd, ran on as"];
        self.programs(heads, &self.summary.never_execd)
    }

    fn failures(&self) -> Table {
        let mut table = Table::new(&["count", "creating calls that failed"]);
        let mut rows: Vec<_> = self.tree.tally().failures_by_call().collect();
        rows.sort_by_key(|(call, cause, count)| (std::cmp::Reverse(*count), *call, *cause));
        for (call, cause, count) in rows {
            let cause = match cause {
                Cause::Errno(errno) => Errno(errno).to_string(),
                Cause::CallerKilled => "the caller was killed in it".to_owned(),
                Cause::Skipped => "a seccomp filter answered".to_owned(),
            };
            table.row(
                vec![count.to_string()],
                format!("{}: {cause}", call_name(call)),
            );
        }
        table
    }

    fn exec_failures(&self) -> Table {
        let mut table = Table::new(&["count", "execs that failed"]);
        let mut rows: Vec<_> = self.tree.tally().exec_failures().collect();
        rows.sort_by_key(|(errno, count)| (std::cmp::Reverse(*count), errno.0));
        for (errno, count) in rows {
            table.row(vec![count.to_string()], errno.to_string());
        }
        table
    }

    fn longest(&self) -> Table {
        let mut table = Table::new(&["lived", "longest-lived"]);
        for (id, life) in &self.summary.longest {
            table.row(vec![self.span(*life)], self.process(*id));
        }
        table
    }

    fn unreaped(&self) -> Table {
        let mut table = Table::new(&["ended", "never waited for"]);
        for id in self.summary.unreaped.iter().flatten() {
            let ended = self.span(self.tree.node(*id).ended());
            table.row(vec![ended], self.process(*id));
        }
        table
    }

    fn alive(&self) -> Table {
        let mut table = Table::new(&["since", "alive at the end of the trace"]);
        for id in &self.summary.alive {
            let since = self.span(self.tree.node(*id).born());
            let why = match words::end(self.tree.node(*id).fate()) {
                words::EndWords::Open(why) if why != words::ALIVE => format!(" ({why})"),
                _ => String::new(),
            };
            table.row(vec![since], self.process(*id) + &why);
        }
        table
    }
}

fn call_name(call: &str) -> String {
    match call {
        "" => "unknown call".to_owned(),
        call => call.to_owned(),
    }
}
