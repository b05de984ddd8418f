//! Events in, rows out. What is kept is who is alive, or was not reaped yet.

use std::time::Duration;

use super::columns::{Columns, Presence};
use super::row::{Canvas, Glyph, Margin, Row, Side};
use super::words;
use crate::config::Detail;
use crate::event::{Event, EventKind, Lost, Start, Wanted};
use crate::filter::{Chosen, Filter};
use crate::ids::{Errno, Pid, Tid};

/// The picture so far.
#[derive(Debug)]
pub(super) struct Lanes {
    pub(super) columns: Columns,
    pub(super) detail: Detail,
    /// Whether the trace has waits.
    pub(super) waits: Wanted,
    /// When something happened last.
    pub(super) last: Duration,
    /// Threads that began and ended since the last row, of one process.
    pub(super) threads: Option<Threads>,
    /// Execs that failed since the last row, of one process.
    pub(super) tries: Option<Tries>,
    /// Who goes on by what happens next to this child.
    pub(super) released: Option<(Tid, Pid)>,
    /// Whether it was said that there are not columns enough.
    pub(super) crowded: bool,
    pub(super) rows: Vec<Row>,
    /// Who is in the picture; without it all are.
    filter: Option<Filter>,
    /// Whom the event at hand is about.
    pub(super) about: About,
}

/// Whom an event is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct About {
    /// The process that it happens to.
    pub(super) pid: Pid,
    /// Which of its processes a filter chooses.
    pub(super) chosen: Chosen,
    /// Whether it takes that process into the picture, which was known before.
    pub(super) revealed: bool,
}

/// Threads of a process that began and ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Threads {
    pub(super) pid: Pid,
    pub(super) at: Duration,
    pub(super) begun: u32,
    pub(super) ended: u32,
}

/// Execs of one program that failed, in one directory after the other.
#[derive(Debug)]
pub(super) struct Tries {
    pub(super) pid: Pid,
    pub(super) at: Duration,
    pub(super) program: String,
    pub(super) errno: Errno,
    pub(super) count: u32,
}

/// What is chosen where nothing chooses.
const ALL: Chosen = Chosen {
    own: true,
    child: true,
};
/// How long a time without events is worth a row.
const PAUSE: Duration = Duration::from_secs(1);

impl Lanes {
    /// A picture that has room for so many lanes, at least two, of the processes
    /// that a filter chooses: each from then on to its end.
    pub(super) fn new(lanes: usize, detail: Detail, filter: Option<Filter>) -> Lanes {
        Lanes {
            columns: Columns::new(lanes),
            detail,
            waits: Wanted::Yes,
            last: Duration::ZERO,
            threads: None,
            tries: None,
            released: None,
            crowded: false,
            rows: Vec::new(),
            filter,
            about: About {
                pid: Pid(0),
                chosen: ALL,
                revealed: false,
            },
        }
    }

    /// Takes an event; the rows that it makes.
    pub(super) fn event(&mut self, event: &Event) -> Vec<Row> {
        let (at, pid) = (event.at, event.tgid);
        self.choose(event);
        match &event.kind {
            EventKind::Start(start) => self.start(start),
            EventKind::Create(create) => self.create(event, create),
            EventKind::Exec(exec) => self.exec(event, exec),
            EventKind::Wait(wait) => self.wait(event, wait),
            EventKind::Kill(kill) => self.kill(event, kill),
            EventKind::Orphaned { by } => self.orphaned(at, pid, *by),
            EventKind::VforkDone { child } => self.goes_on(*child, pid),
            EventKind::Attached(attached) => self.attached(event, attached),
            EventKind::End(ended) if Pid::from(event.tid) == pid => {
                self.end(at, pid, ended.end);
            }
            EventKind::End(_) => self.thread(at, pid, false),
            EventKind::Lost(lost) if Pid::from(event.tid) == pid => {
                let words = match lost {
                    Lost::Detached => " is let go",
                    Lost::Silenced => " is no longer shown",
                };
                self.alone(at, pid, Glyph::Alone, words.to_owned());
                self.columns.remove(pid);
            }
            EventKind::Lost(_) => self.thread(at, pid, false),
            // The exec that follows tells it.
            EventKind::Superseded { .. } => {}
            EventKind::Tracing | EventKind::MustStay(_) => {}
        }
        std::mem::take(&mut self.rows)
    }

    /// That was the last event; the rows that are left.
    pub(super) fn finish(&mut self) -> Vec<Row> {
        self.settle();
        std::mem::take(&mut self.rows)
    }

    /// Finds out whom an event is about, and takes that process into the picture
    /// where the filter chooses it.
    fn choose(&mut self, event: &Event) {
        let pid = event.tgid;
        let chosen = match &mut self.filter {
            None => ALL,
            Some(filter) => match filter.choose(event) {
                Some(chosen) => chosen,
                None => return,
            },
        };
        let revealed = chosen.own && self.columns.get(pid).is_some() && self.is_hidden(pid);
        self.about = About {
            pid,
            chosen,
            revealed,
        };
        if revealed {
            let found = self.columns.show(pid);
            self.note_crowd(found);
        }
    }

    /// Whether a process is not in the picture, known so far or not.
    pub(super) fn is_hidden(&self, pid: Pid) -> bool {
        match self.columns.get(pid) {
            Some(process) => process.presence == Presence::Hidden,
            None => {
                let chosen = self.about.pid == pid && self.about.chosen.own;
                self.filter.is_some() && !chosen
            }
        }
    }

    fn start(&mut self, start: &Start) {
        self.waits = start.waits;
        if self.detail != Detail::Quiet {
            self.rows.push(Row::Legend);
        }
        if start.waits == Wanted::No {
            self.rows.push(Row::Note(
                "traced without --waits: no signals, and nobody knows who reaps whom".to_owned(),
            ));
        }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, at: Duration, canvas: Canvas, pid: Pid, words: String) {
        self.row_in(at, canvas, pid, None, words);
    }

    /// Adds a row, in the colour of a lane where the process has none of its own.
    fn row_in(
        &mut self,
        at: Duration,
        canvas: Canvas,
        pid: Pid,
        lane: Option<usize>,
        words: String,
    ) {
        let name = self.columns.get(pid).map_or("", |process| &process.name);
        let who = match name {
            "" => pid.to_string(),
            name => format!("{pid} {name}"),
        };
        let lane = self.columns.column(pid).or(lane).unwrap_or(0);
        self.rows.push(Row::Lanes {
            margin: Margin::At(at),
            cells: canvas.into_cells(),
            who: Some((who, lane)),
            words,
        });
    }

    /// A row about a process that is not in the picture and does something to these
    /// that are; none where there are none.
    pub(super) fn outsider(
        &mut self,
        at: Duration,
        pid: Pid,
        others: &[Pid],
        mark: Glyph,
        words: String,
    ) {
        let of = |lanes: &Lanes| -> Vec<usize> {
            let columns = others.iter().filter_map(|pid| lanes.columns.column(*pid));
            columns.collect()
        };
        if of(self).is_empty() {
            return;
        }
        self.comes(at);
        let mut canvas = self.columns.canvas();
        let columns = of(self);
        for column in &columns {
            canvas.set(*column, mark);
        }
        self.row_in(at, canvas, pid, columns.first().copied(), words);
    }

    /// Something comes to a process: what was put off, and that time passed, stand
    /// before it.
    pub(super) fn comes(&mut self, at: Duration) {
        self.settle();
        if at.saturating_sub(self.last) >= PAUSE && self.last != Duration::ZERO {
            self.rows.push(Row::Lanes {
                margin: Margin::Passes,
                cells: self.columns.canvas().into_cells(),
                who: None,
                words: words::span(at - self.last),
            });
        }
        self.last = at;
    }

    /// A process is there, whatever was told of it so far, with a column if there
    /// is one and it is not hidden.
    pub(super) fn known(&mut self, pid: Pid) {
        match self.columns.get(pid) {
            Some(_) => self.columns.place(pid),
            None => {
                let presence = presence(!self.is_hidden(pid));
                self.add(pid, String::new(), None, presence);
            }
        }
    }

    pub(super) fn add(&mut self, pid: Pid, name: String, parent: Option<Pid>, presence: Presence) {
        let found = self.columns.add(pid, name, parent, presence);
        self.note_crowd(found);
    }

    /// Says once that a process found no column.
    fn note_crowd(&mut self, found: bool) {
        if !found && !std::mem::replace(&mut self.crowded, true) {
            self.rows.push(Row::Note(
                "more processes than lanes: +N counts the rest; a wider terminal has more"
                    .to_owned(),
            ));
        }
    }

    /// A row of one process, with a mark in its lane.
    pub(super) fn alone(&mut self, at: Duration, pid: Pid, mark: Glyph, words: String) {
        if self.is_hidden(pid) {
            return self.known(pid);
        }
        self.comes(at);
        self.known(pid);
        let mut canvas = self.columns.canvas();
        if let Some(column) = self.columns.column(pid) {
            canvas.set(column, mark);
        }
        self.row(at, canvas, pid, words);
    }

    /// A row of two, the line from the first to the other; a mark where that has
    /// no lane. The words are about `pid`.
    pub(super) fn between(
        &mut self,
        at: Duration,
        (pid, other): (Pid, Option<Pid>),
        end: fn(Side) -> Glyph,
        words: String,
    ) {
        if self.is_hidden(pid) {
            let mark = match end(Side::Right) {
                Glyph::Born(_) => Glyph::Begin,
                _ => Glyph::Alone,
            };
            self.known(pid);
            return self.outsider(at, pid, other.as_slice(), mark, words);
        }
        self.comes(at);
        self.known(pid);
        let mut canvas = self.columns.canvas();
        let from = self.columns.column(pid);
        let to = other.and_then(|other| self.columns.column(other));
        match (from, to) {
            (Some(from), Some(to)) if from != to => canvas.connect(from, to, end),
            (Some(from), _) => canvas.set(from, Glyph::Alone),
            _ => {}
        }
        self.row(at, canvas, pid, words);
    }

    /// A row of one that learns something of another: an arrow from there.
    pub(super) fn learns(&mut self, at: Duration, pid: Pid, of: Pid, words: String) {
        if self.is_hidden(pid) {
            self.known(pid);
            return self.outsider(at, pid, &[of], Glyph::Alone, words);
        }
        self.comes(at);
        self.known(pid);
        let mut canvas = self.columns.canvas();
        match (self.columns.column(of), self.columns.column(pid)) {
            (Some(from), Some(to)) if from != to => canvas.connect(from, to, Glyph::Arrow),
            (_, Some(to)) => canvas.set(to, Glyph::Alone),
            _ => {}
        }
        self.row(at, canvas, pid, words);
    }

    /// A thread begins or ends.
    pub(super) fn thread(&mut self, at: Duration, pid: Pid, begins: bool) {
        self.known(pid);
        if !self.is_hidden(pid) {
            if self.tries.is_some() || self.threads.is_some_and(|threads| threads.pid != pid) {
                self.settle();
            }
            let threads = self.threads.get_or_insert(Threads {
                pid,
                at,
                begun: 0,
                ended: 0,
            });
            threads.at = at;
            match begins {
                true => threads.begun += 1,
                false => threads.ended += 1,
            }
        }
        if let Some(process) = self.columns.get_mut(pid) {
            process.threads = match begins {
                true => process.threads + 1,
                false => process.threads.saturating_sub(1).max(1),
            };
        }
    }

    /// Tells what was put off.
    pub(super) fn settle(&mut self) {
        if let Some(tries) = self.tries.take() {
            let Tries {
                pid,
                at,
                program,
                errno,
                count,
            } = tries;
            let mut words = format!(" can't exec {program}: {}", words::error(errno));
            if count > 1 {
                words.push_str(&format!(" ({count} tries)"));
            }
            self.alone(at, pid, Glyph::Failed, words);
        }
        let Some(threads) = self.threads.take() else {
            return;
        };
        let Threads {
            pid,
            at,
            begun,
            ended,
        } = threads;
        let now = self.columns.get(pid).map_or(1, |process| process.threads);
        let words = match (begun, ended) {
            (_, 0) => format!(": {begun} more thread{}, {now} now", plural(begun)),
            (0, 1) => format!(": 1 thread ends, {now} left"),
            (0, _) => format!(": {ended} threads end, {now} left"),
            _ => format!(": {begun} threads begin, {ended} end, {now} now"),
        };
        self.alone(at, pid, Glyph::Threads, words);
    }
}

pub(super) fn presence(shown: bool) -> Presence {
    match shown {
        true => Presence::Shown,
        false => Presence::Hidden,
    }
}

fn plural(count: u32) -> &'static str {
    if count == 1 { "" } else { "s" }
}
