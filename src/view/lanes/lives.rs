//! Births, execs, ends, and who adopts whom.

use std::time::Duration;

use super::columns::State;
use super::row::{Glyph, Margin, Row};
use super::state::{Lanes, Tries, presence};
use super::words;
use crate::clone::{CloneFlags, Kind};
use crate::event::{Attached, Create, End, Event, Exec, Followed, Outcome, Wanted};
use crate::ids::{Errno, Pid, Tid};

impl Lanes {
    pub(super) fn create(&mut self, event: &Event, create: &Create) {
        let (at, pid) = (event.at, event.tgid);
        let kind = create.request.kind();
        let child = match &create.outcome {
            Outcome::Created(child) => child,
            Outcome::Failed(errno) if errno.restart().is_none() => {
                let words = format!(" can't create: {}", words::error(*errno));
                return self.alone(at, pid, Glyph::Failed, words);
            }
            _ => return,
        };
        if kind == Kind::Thread {
            if child.followed == Followed::Yes {
                self.thread(at, pid, true);
            }
            return;
        }
        let verb = words::creates(kind);
        let (Some(tid), Followed::Yes) = (child.tid, child.followed) else {
            let number = child.tid.map_or(child.returned, |tid| tid.0);
            let words = format!(" {verb} {number}, which is not followed");
            return self.alone(at, pid, Glyph::Alone, words);
        };
        let child = Pid::from(tid);
        let born = self.about.chosen.child;
        if born || !self.is_hidden(pid) {
            self.comes(at);
        }
        self.known(pid);
        let flags = create.request.flags();
        let parent = match flags.has(CloneFlags::PARENT) {
            true => self.columns.get(pid).and_then(|process| process.parent),
            false => Some(pid),
        };
        let name = self.columns.get(pid).map(|process| process.name.clone());
        self.add(child, name.unwrap_or_default(), parent, presence(born));
        let words = match flags.has(CloneFlags::VFORK) {
            true => format!(" {verb} {child} and waits"),
            false => format!(" {verb} {child}"),
        };
        self.between(at, (pid, Some(child)), Glyph::Born, words);
        if let (true, Some(process)) = (flags.has(CloneFlags::VFORK), self.columns.get_mut(pid))
            && process.threads == 1
        {
            process.state = State::Suspended(tid);
        }
    }

    /// A process that waits in vfork for this child goes on.
    pub(super) fn goes_on(&mut self, child: Tid, pid: Pid) {
        if let Some(process) = self.columns.get_mut(pid)
            && process.state == State::Suspended(child)
        {
            process.state = State::Live;
        }
        self.released = Some((child, pid));
    }

    /// What to say where a child's exec or end lets its parent go on.
    pub(super) fn released_by(&mut self, pid: Pid) -> String {
        match self.released.take() {
            Some((child, parent)) if Pid::from(child) == pid => format!("; {parent} goes on"),
            _ => String::new(),
        }
    }

    pub(super) fn exec(&mut self, event: &Event, exec: &Exec) {
        let (at, pid) = (event.at, event.tgid);
        match exec.result {
            Some(Ok(())) => {}
            Some(Err(errno)) if errno.restart().is_none() => {
                return self.exec_fails(at, pid, words::name(&exec.call), errno);
            }
            _ => return,
        }
        // A search along PATH that found it.
        let name = words::name(&exec.call);
        let found = |tries: &Tries| tries.pid == pid && tries.program == name;
        if self.tries.as_ref().is_some_and(found) {
            self.tries = None;
        }
        let released = self.released_by(pid);
        let mark = match self.columns.get(pid) {
            Some(_) if !self.about.revealed => Glyph::Exec,
            _ => Glyph::Begin,
        };
        if let Some(threads) = self.threads.filter(|threads| threads.pid == pid) {
            // Exec ends them all.
            self.threads = (threads.begun > 0).then_some(threads);
        }
        let hidden = self.is_hidden(pid);
        if !hidden {
            self.comes(at);
        }
        self.known(pid);
        let was = match self.columns.get_mut(pid) {
            Some(process) => {
                process.threads = 1;
                std::mem::replace(&mut process.name, name)
            }
            None => String::new(),
        };
        if hidden {
            return;
        }
        let mut canvas = self.columns.canvas();
        if let Some(column) = self.columns.column(pid) {
            canvas.set(column, mark);
        }
        let command = words::command(&exec.call);
        let what = match was.as_str() {
            "" => format!(" runs {command}{released}"),
            _ => format!(" execs {command}{released}"),
        };
        // Who did it is known by the name that it had.
        let lane = self.columns.column(pid).unwrap_or(0);
        let who = match was.as_str() {
            "" => pid.to_string(),
            was => format!("{pid} {was}"),
        };
        self.rows.push(Row::Lanes {
            margin: Margin::At(at),
            cells: canvas.into_cells(),
            who: Some((who, lane)),
            words: what,
        });
    }

    /// An exec failed: told when something else happens, as most of these are a
    /// search along PATH.
    pub(super) fn exec_fails(&mut self, at: Duration, pid: Pid, program: String, errno: Errno) {
        if self.is_hidden(pid) {
            return;
        }
        let before = match &mut self.tries {
            Some(tries) if tries.pid == pid && tries.program == program => Some(tries),
            _ => None,
        };
        if let Some(tries) = before {
            (tries.at, tries.errno) = (at, errno);
            tries.count += 1;
            return;
        }
        self.settle();
        self.tries = Some(Tries {
            pid,
            at,
            program,
            errno,
            count: 1,
        });
    }

    pub(super) fn end(&mut self, at: Duration, pid: Pid, end: End) {
        // That its threads end with it goes without saying.
        if let Some(threads) = self.threads.filter(|threads| threads.pid == pid) {
            self.threads = (threads.begun > 0).then_some(threads);
        }
        let released = self.released_by(pid);
        let hidden = self.is_hidden(pid);
        if !hidden {
            self.comes(at);
        }
        self.known(pid);
        let mut words = words::ends(end);
        words.push_str(&released);
        let (mut orphans, mut zombies) = (Vec::new(), Vec::new());
        for child in self.columns.children(pid) {
            match self.columns.lives(child) {
                true => orphans.push(child),
                false => zombies.push(child),
            }
        }
        if !orphans.is_empty() {
            words.push_str(&format!("; orphans: {}", words::list(&orphans)));
        }
        if !zombies.is_empty() {
            words.push_str(&format!("; never reaped {}", words::list(&zombies)));
        }
        let parent = self.columns.get(pid).and_then(|process| process.parent);
        let adopted = self.columns.get(pid).is_some_and(|process| process.adopted);
        let reaper = parent.filter(|parent| self.columns.lives(*parent));
        if let (true, None, Some(parent)) = (adopted, reaper, parent) {
            words.push_str(&format!("; left to {}", outsider(parent)));
        }
        if hidden {
            self.outsider(at, pid, &zombies, Glyph::Alone, words);
        } else {
            let mut canvas = self.columns.canvas();
            if let Some(column) = self.columns.column(pid) {
                canvas.set(
                    column,
                    match end {
                        End::Exited(_) => Glyph::Exit,
                        End::Killed { .. } => Glyph::Killed,
                    },
                );
            }
            self.row(at, canvas, pid, words);
        }
        // Its zombies are others' to reap, who are not seen.
        for zombie in zombies {
            self.columns.remove(zombie);
        }
        let waits = self.waits == Wanted::Yes && reaper.is_some();
        match self.columns.get_mut(pid) {
            Some(process) if waits && process.column.is_some() => {
                process.state = State::Zombie(at, end);
            }
            _ => {
                self.columns.remove(pid);
            }
        }
    }

    pub(super) fn orphaned(&mut self, at: Duration, pid: Pid, by: Pid) {
        self.known(pid);
        self.columns.bear(by, pid);
        if let Some(process) = self.columns.get_mut(pid) {
            process.adopted = true;
        }
        let words = format!(", an orphan, is {}'s now", outsider(by));
        let other = Some(by).filter(|by| self.columns.lives(*by));
        self.between(at, (pid, other), Glyph::Arrow, words);
    }

    pub(super) fn attached(&mut self, event: &Event, attached: &Attached) {
        let (at, pid) = (event.at, event.tgid);
        if Pid::from(event.tid) != pid {
            if self.columns.get(pid).is_none() {
                let chosen = self.about.chosen.own;
                self.add(pid, String::new(), Some(attached.parent), presence(chosen));
            }
            return self.thread(at, pid, true);
        }
        let mut name = String::new();
        words::word(&mut name, event.comm.as_bytes());
        let (words, glyph) = match attached.orphan {
            true => (" is there; its creator was killed", Glyph::Alone),
            false => (" is attached to", Glyph::Begin),
        };
        let chosen = self.about.chosen.own;
        if chosen {
            self.comes(at);
        }
        match self.columns.get_mut(pid) {
            // Threads of it came first.
            Some(process) if process.name.is_empty() && !attached.orphan => {
                process.name = name;
                self.columns.bear(attached.parent, pid);
                if chosen && self.columns.column(pid).is_none() {
                    self.columns.show(pid);
                }
            }
            _ => self.add(pid, name, Some(attached.parent), presence(chosen)),
        }
        self.alone(at, pid, glyph, words.to_owned());
    }
}

/// A process that may not be in the picture.
fn outsider(pid: Pid) -> String {
    match pid.0 {
        0 => "an outsider".to_owned(),
        1 => "init".to_owned(),
        _ => pid.to_string(),
    }
}
