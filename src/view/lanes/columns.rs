//! Which process is in which column: the leftmost free one at its birth, until it is
//! reaped. Where none is free it is one of those in the last column, which are only
//! counted.

use std::collections::BTreeSet;
use std::time::Duration;

use rustc_hash::FxHashMap;

use super::row::{Canvas, Glyph};
use crate::event::End;
use crate::ids::{Pid, Tid};

/// A process, of the picture or not.
#[derive(Debug)]
pub(super) struct Process {
    /// The name of its program.
    pub(super) name: String,
    /// Whether it is in the picture.
    pub(super) presence: Presence,
    /// Where it is there; `None` among those that are only counted.
    pub(super) column: Option<usize>,
    /// Who reaps it.
    pub(super) parent: Option<Pid>,
    /// Whether it has another parent than it was born to.
    pub(super) adopted: bool,
    /// What it does.
    pub(super) state: State,
    /// Threads that it has, its first one among them.
    pub(super) threads: u32,
}

/// Whether a process is in the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// It is.
    Shown,
    /// A filter leaves it out. It is known for the sake of the others: it may be the
    /// parent of one.
    Hidden,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It runs, or sleeps.
    Live,
    /// It waits in vfork for this child.
    Suspended(Tid),
    /// It has ended, then, and so.
    Zombie(Duration, End),
}

/// The processes, and where they are.
#[derive(Debug)]
pub(super) struct Columns {
    processes: FxHashMap<Pid, Process>,
    /// The children that are there of each process, whether it is there itself or not.
    children: FxHashMap<Pid, BTreeSet<Pid>>,
    /// Who is in each column but the last one.
    taken: Vec<Option<Pid>>,
    /// How many columns a row has: as many as were needed so far, in steps, so that
    /// words move seldom.
    shown: usize,
    /// Processes that have no column.
    counted: usize,
}

/// The columns of a row at the start, and how many are added at a time.
const STEP: usize = 4;

impl Columns {
    /// Room for so many.
    pub(super) fn new(lanes: usize) -> Columns {
        Columns {
            processes: FxHashMap::default(),
            children: FxHashMap::default(),
            taken: vec![None; lanes - 1],
            shown: STEP.min(lanes),
            counted: 0,
        }
    }

    /// The last column, of those that are only counted.
    fn last(&self) -> usize {
        self.taken.len()
    }

    /// A process.
    pub(super) fn get(&self, pid: Pid) -> Option<&Process> {
        self.processes.get(&pid)
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, pid: Pid) -> Option<&mut Process> {
        self.processes.get_mut(&pid)
    }

    /// Whether a process is there that has not ended.
    pub(super) fn lives(&self, pid: Pid) -> bool {
        self.get(pid)
            .is_some_and(|process| !matches!(process.state, State::Zombie(..)))
    }

    /// The column that a process of the picture is drawn in.
    pub(super) fn column(&self, pid: Pid) -> Option<usize> {
        self.get(pid)
            .filter(|process| process.presence == Presence::Shown)
            .map(|process| process.column.unwrap_or(self.last()))
    }

    /// Children of a process that are there, in order.
    pub(super) fn children(&self, parent: Pid) -> Vec<Pid> {
        let children = self.children.get(&parent).into_iter().flatten();
        children.copied().collect()
    }

    /// Makes a process the child of another.
    pub(super) fn bear(&mut self, parent: Pid, child: Pid) {
        let Some(process) = self.processes.get_mut(&child) else {
            return;
        };
        if let Some(former) = process.parent.replace(parent) {
            self.forget_child(former, child);
        }
        self.children.entry(parent).or_default().insert(child);
    }

    fn forget_child(&mut self, parent: Pid, child: Pid) {
        if let Some(children) = self.children.get_mut(&parent) {
            children.remove(&child);
            if children.is_empty() {
                self.children.remove(&parent);
            }
        }
    }

    /// The column of the process that is a zombie for the longest time.
    fn oldest_zombie(&self) -> Option<usize> {
        let zombie = |pid: Option<Pid>| match self.get(pid?)?.state {
            State::Zombie(since, _) => Some(since),
            _ => None,
        };
        let columns = self.taken.iter().enumerate();
        let zombies = columns.filter_map(|(column, pid)| Some((zombie(*pid)?, column)));
        zombies.min().map(|(_, column)| column)
    }

    /// Adds a process; whether it found a column, if it needs one.
    pub(super) fn add(
        &mut self,
        pid: Pid,
        name: String,
        parent: Option<Pid>,
        presence: Presence,
    ) -> bool {
        // A pid that is used anew: nobody saw who reaped the former one.
        self.remove(pid);
        let process = Process {
            name,
            presence: Presence::Hidden,
            column: None,
            parent: None,
            adopted: false,
            state: State::Live,
            threads: 1,
        };
        self.processes.insert(pid, process);
        if let Some(parent) = parent {
            self.bear(parent, pid);
        }
        match presence {
            Presence::Shown => self.show(pid),
            Presence::Hidden => true,
        }
    }

    /// Takes a hidden process into the picture; whether it found a column. Where
    /// there is none a zombie gives up its own: it may have been reaped unseen, and
    /// little happens to it.
    pub(super) fn show(&mut self, pid: Pid) -> bool {
        let free = self.taken.iter().position(Option::is_none);
        let column = free.or_else(|| {
            let column = self.oldest_zombie()?;
            self.remove(self.taken[column]?);
            Some(column)
        });
        match column {
            Some(column) => self.taken[column] = Some(pid),
            None => self.counted += 1,
        }
        let needed = column.unwrap_or(self.last()) + 1;
        if needed > self.shown {
            self.shown = needed.next_multiple_of(STEP).min(self.last() + 1);
        }
        if let Some(process) = self.get_mut(pid) {
            process.presence = Presence::Shown;
            process.column = column;
        }
        column.is_some()
    }

    /// Gives a process that has none a column that is free by now.
    pub(super) fn place(&mut self, pid: Pid) {
        let Some(process) = self.processes.get_mut(&pid) else {
            return;
        };
        if process.column.is_none()
            && process.presence == Presence::Shown
            && let Some(column) = self.taken.iter().position(Option::is_none)
        {
            process.column = Some(column);
            self.taken[column] = Some(pid);
            self.counted -= 1;
        }
    }

    /// A process is gone from the picture.
    pub(super) fn remove(&mut self, pid: Pid) -> Option<Process> {
        let process = self.processes.remove(&pid)?;
        if let Some(parent) = process.parent {
            self.forget_child(parent, pid);
        }
        // They are nobody's that is there: its pid may be given away.
        self.children.remove(&pid);
        match (process.presence, process.column) {
            (_, Some(column)) => self.taken[column] = None,
            (Presence::Shown, None) => self.counted -= 1,
            (Presence::Hidden, None) => {}
        }
        Some(process)
    }

    /// A row in which nothing happens.
    pub(super) fn canvas(&self) -> Canvas {
        let mut canvas = Canvas::new(self.shown);
        for (column, pid) in self.taken.iter().enumerate() {
            if let Some(process) = pid.and_then(|pid| self.get(pid)) {
                canvas.set(
                    column,
                    match process.state {
                        State::Live => Glyph::Live,
                        State::Suspended(_) => Glyph::Suspended,
                        State::Zombie(..) => Glyph::Zombie,
                    },
                );
            }
        }
        if self.counted > 0 {
            canvas.count(self.last(), self.counted);
        }
        canvas
    }
}
