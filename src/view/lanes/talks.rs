//! Waits and signals: what processes have to say to each other.

use std::time::Duration;

use super::columns::State;
use super::row::Glyph;
use super::state::Lanes;
use super::words;
use crate::event::{Event, Kill, Wait};
use crate::ids::{Errno, Pid, Signal};
use crate::waits::{Change, Target, Whom};

/// How long a wait has to last to be told.
const WAITED: Duration = Duration::from_millis(1);

impl Lanes {
    pub(super) fn wait(&mut self, event: &Event, wait: &Wait) {
        let (at, pid) = (event.at, event.tgid);
        if let Some(Err(errno)) = wait.answer {
            return self.wait_fails(at, pid, wait, errno);
        }
        let Some(told) = wait.told() else {
            return;
        };
        let child = wait.child.map_or(told.child, Pid::from);
        // Of one that lives it can't have been the end.
        let ended = match told.change {
            Change::Ended(_) => true,
            Change::Unknown => !self.columns.lives(child),
            Change::Stopped(_) | Change::Trapped | Change::Continued => false,
        };
        if !ended || told.kept {
            let what = match told.change {
                Change::Stopped(signal) => format!("stopped, {signal}"),
                Change::Trapped => "in a ptrace stop".to_owned(),
                Change::Continued => "continued".to_owned(),
                Change::Ended(_) => "a zombie, and stays it".to_owned(),
                Change::Unknown => "stopped or continued".to_owned(),
            };
            let words = format!(" is told: {child} {what}");
            return self.learns(at, pid, child, words);
        }
        let mut words = format!(" reaps {child}");
        if let Some(State::Zombie(since, _)) = self.columns.get(child).map(|child| child.state) {
            let zombie = words::span(at.saturating_sub(since));
            words.push_str(&format!(", zombie {zombie}"));
        }
        if let Some(waited) = wait.latency.filter(|latency| *latency >= WAITED) {
            words.push_str(&format!(", waited {}", words::span(waited)));
        }
        self.between(at, (pid, Some(child)), Glyph::Reaped, words);
        self.columns.remove(child);
    }

    pub(super) fn wait_fails(&mut self, at: Duration, pid: Pid, wait: &Wait, errno: Errno) {
        if errno.restart().is_some() {
            let words = ": a signal ends its wait".to_owned();
            return self.alone(at, pid, Glyph::Failed, words);
        }
        const ECHILD: Errno = Errno(libc::ECHILD);
        let whom = match wait.call.whom() {
            Whom::Process(child) => format!(" for {child}"),
            _ => String::new(),
        };
        let mut words = format!(" can't wait{whom}: {}", words::error(errno));
        // Nobody is left to wait for: what ended was reaped by the kernel, as its
        // parent ignores SIGCHLD.
        let mut gone = Vec::new();
        if errno == ECHILD && wait.call.whom() == Whom::Any {
            gone = self.columns.children(pid);
            gone.retain(|child| !self.columns.lives(*child));
        }
        if !gone.is_empty() {
            words.push_str(&format!("; gone: {}", words::list(&gone)));
        }
        match self.is_hidden(pid) {
            true => self.outsider(at, pid, &gone, Glyph::Alone, words),
            false => self.alone(at, pid, Glyph::Failed, words),
        }
        for child in gone {
            self.columns.remove(child);
        }
    }

    pub(super) fn kill(&mut self, event: &Event, kill: &Kill) {
        let (at, pid) = (event.at, event.tgid);
        let signal = kill.call.signal();
        let target = kill.call.target();
        // A thread is in its process's lane, where the caller named that, or the
        // thread leads it.
        let meant = match target {
            Target::Thread(Some(group), _) if self.columns.get(group).is_some() => Some(group),
            _ => kill.target.map(Pid::from),
        };
        let name = |pid: Pid| match self.columns.get(pid).map(|process| &process.name) {
            Some(name) if !name.is_empty() => format!("{pid} {name}"),
            _ => pid.to_string(),
        };
        let whom = match (target, meant) {
            _ if kill.target == Some(event.tid) => "itself".to_owned(),
            (Target::Thread(_, thread), _) if meant.map(|pid| pid.0) != Some(thread) => {
                format!("thread {thread}")
            }
            (_, Some(meant)) if meant == pid => "itself".to_owned(),
            (_, Some(meant)) => name(meant),
            (Target::OwnGroup, _) => "its group".to_owned(),
            (Target::Group(group), _) => format!("group {group}"),
            (Target::Everyone, _) => "everyone".to_owned(),
            (Target::Pidfd(fd), _) => format!("pidfd {fd}"),
            (Target::Process(there), _) => format!("{there} in its namespace"),
            (Target::Thread(_, thread), _) => format!("thread {thread}"),
        };
        match kill.answer {
            Some(Ok(0)) if signal != Signal(0) => {}
            // Its own end.
            None if meant == Some(pid) => {}
            Some(Err(errno)) if signal != Signal(0) => {
                let words = format!(" can't send {whom} {signal}: {}", words::error(errno));
                return self.alone(at, pid, Glyph::Failed, words);
            }
            _ => return,
        }
        let words = format!(" sends {signal} to {whom}");
        let other = meant.filter(|meant| *meant != pid);
        self.between(at, (pid, other), Glyph::Arrow, words);
    }
}
