//! Children whose creator has not named them: held until it does, given to it
//! if it was killed before it could, and told of as found if nobody knows.
//!
//! A child that stops before it was named is held. Who can still name it? Its
//! creator stands inside the creating call, so its next report will be the
//! event. Suspects are therefore, when the child is first seen: where the entry
//! of calls is seen, the threads inside a call with the same arguments (a
//! child's registers are a copy of its creator's); else all threads. Of several
//! only those of the child's own process (for a thread) or its parent (for a
//! process, but for CLONE_PARENT). One that then reports something else is
//! cleared. If all are cleared but one that was killed, the child is its. If
//! several were killed, nobody knows whose it is, and the child is told of as
//! one that is there.

use std::time::Duration;

use super::birth::Birth;
use super::{Doing, Held, HeldState, Machine, Output, Parent, Task};
use crate::abi::{Call, Syscall};
use crate::clone::{self, CloneFlags};
use crate::event::{Attached, Ended, EventKind, Follow, Stops};
use crate::ids::{Pid, Tid};
use crate::ptrace::probe::Probe;
use crate::ptrace::task::{Cause, Resume, Stopped};

impl Machine {
    /// Keeps a thread that stopped before its creation was told.
    pub(super) fn hold<P: Probe>(
        &mut self,
        stopped: Stopped,
        cause: Cause,
        probe: &mut P,
        output: &mut Output,
    ) {
        if self.draining {
            output
                .resume
                .push((stopped, Resume::Detach(cause.signal())));
            return;
        }
        let tid = stopped.tid();
        let (suspects, lost) = self.suspects(&stopped, probe);
        let held = Held {
            state: HeldState::Stopped(stopped, cause),
            since: self.now,
            report: self.reports,
            suspects,
            lost,
        };
        self.held.insert(tid, held);
        self.take_named(tid, probe, output);
        self.exhume(tid, probe, output);
    }

    /// Tells the creation of a held child that is named already.
    pub(super) fn take_named<P: Probe>(&mut self, child: Tid, probe: &mut P, output: &mut Output) {
        let is_stopped = |held: &Held| matches!(held.state, HeldState::Stopped(..));
        if self.held.get(&child).is_some_and(is_stopped)
            && let Some(parent) = self.named.remove(&child)
        {
            self.adopt(parent, child, probe, output);
            if let Some(task) = self.tasks.get_mut(&child) {
                task.adopted = false;
            }
        }
    }

    /// The threads that may have created a child, alive and in limbo.
    fn suspects<P: Probe>(&self, child: &Stopped, probe: &mut P) -> (Vec<Tid>, Vec<Tid>) {
        let Ok(call) = probe.creating_call(child) else {
            return (Vec::new(), Vec::new());
        };
        let fits = |task: &Task| match &task.doing {
            _ if task.expected => false,
            Doing::Creating(request) => {
                let same = if task.changed.is_some() { 1 } else { 0 };
                request.syscall.nr == call.nr && request.syscall.args[same..] == call.args[same..]
            }
            _ => self.settings.stops == Stops::Event,
        };
        let mut alive: Vec<(Tid, Pid)> = self
            .tasks
            .iter()
            .filter(|(_, task)| fits(task))
            .map(|(tid, task)| (*tid, task.tgid))
            .collect();
        let mut gone: Vec<(Tid, Pid)> = self
            .limbo
            .iter()
            // Not whoever had the child's tid before: it lived when it created.
            .filter(|limbo| limbo.tid != child.tid() && fits(&limbo.task))
            .map(|limbo| (limbo.tid, limbo.task.tgid))
            .collect();
        if alive.len() + gone.len() > 1 && !is_sibling(&call) {
            // Only now, as it costs more than a stop.
            let family = probe.family(child.tid());
            let namer = namer(child.tid(), family);
            let is_namer = |(_, tgid): &(Tid, Pid)| Some(*tgid) == namer;
            let thread = family.is_some_and(|(tgid, _)| tgid != Pid::from(child.tid()));
            // A process may have been taken over already, by init say.
            if thread || alive.iter().chain(&gone).any(is_namer) {
                alive.retain(is_namer);
                gone.retain(is_namer);
            }
        }
        let tids = |list: Vec<(Tid, Pid)>| list.into_iter().map(|(tid, _)| tid).collect();
        (tids(alive), tids(gone))
    }

    /// Notes for all held children that a thread is gone; `last_report` is the
    /// count at its last report before its end.
    pub(super) fn suspect_ended(&mut self, tid: Tid, last_report: u64) {
        for held in self.held.values_mut() {
            if let Some(index) = held.suspects.iter().position(|suspect| *suspect == tid) {
                held.suspects.swap_remove(index);
                if last_report <= held.report {
                    held.lost.push(tid);
                }
            }
        }
    }

    /// Gives a held child to the one task in limbo that can have made it, if
    /// there is one and nobody who lives can.
    pub(super) fn exhume<P: Probe>(&mut self, child: Tid, probe: &mut P, output: &mut Output) {
        let Some(held) = self.held.get(&child) else {
            return;
        };
        let [lost] = held.lost[..] else {
            return;
        };
        if self.may_be_named(held, false, probe) {
            return;
        }
        if let Some(index) = self.limbo.iter().position(|limbo| limbo.tid == lost) {
            let limbo = self.limbo.remove(index);
            let parent = Parent::of(limbo.tid, &limbo.task);
            self.adopt(parent, child, probe, output);
            let task = Task {
                doing: Doing::Nothing,
                ..limbo.task
            };
            self.bury(limbo.tid, task, limbo.end, probe, output);
        }
    }

    /// Tells what was kept back, once there is nobody left to tell more.
    pub fn conclude<P: Probe>(&mut self, now: Duration, probe: &mut P, output: &mut Output) {
        self.now = now;
        output.unsure.clear();
        self.bury_all(now, probe, output);
        self.tell_dead(now, probe, output);
    }

    /// Tells the ends that were kept back, of tasks that ended before `until`.
    pub(super) fn bury_all<P: Probe>(
        &mut self,
        until: Duration,
        probe: &mut P,
        output: &mut Output,
    ) {
        let (old, young) = std::mem::take(&mut self.limbo)
            .into_iter()
            .partition(|limbo| limbo.since <= until);
        self.limbo = young;
        let old: Vec<super::Limbo> = old;
        for limbo in old {
            self.bury(limbo.tid, limbo.task, limbo.end, probe, output);
        }
    }

    /// Tells the end of whoever had a tid before, if it was kept back: the tid
    /// has been given away, so nothing of it can come any more.
    pub(super) fn bury_former<P: Probe>(&mut self, tid: Tid, probe: &mut P, output: &mut Output) {
        if let Some(index) = self.limbo.iter().position(|limbo| limbo.tid == tid) {
            let limbo = self.limbo.remove(index);
            self.bury(limbo.tid, limbo.task, limbo.end, probe, output);
        }
    }

    /// Keeps the end of a thread that was not named yet.
    pub(super) fn hold_dead(&mut self, tid: Tid, end: Ended) {
        // A child of forktrace itself, by CLONE_PARENT, that nobody traces.
        if self.strangers.remove(&tid) {
            return;
        }
        // Named, but nothing can be read of it any more; or named in vain.
        self.named.remove(&tid);
        let known = self.held.contains_key(&tid);
        if self.draining && !known {
            return;
        }
        if self.settings.follow == Follow::All || known {
            let held = Held {
                state: HeldState::Dead(end),
                since: self.now,
                report: self.reports,
                suspects: Vec::new(),
                lost: Vec::new(),
            };
            self.held.insert(tid, held);
        }
    }

    /// Tells of threads that died unnamed, as their creators did: those that
    /// ended before `until`, and only if nobody is in a creating call.
    fn tell_dead<P: Probe>(&mut self, until: Duration, probe: &mut P, output: &mut Output) {
        let mut dead: Vec<Tid> = Vec::new();
        for (tid, held) in &self.held {
            if !matches!(held.state, HeldState::Dead(_)) {
                continue;
            }
            let may_be_named = self.tasks.values().any(|task| {
                matches!(task.doing, Doing::Creating(_)) && task.last_report <= held.report
            });
            if held.since <= until && !may_be_named {
                dead.push(*tid);
            }
        }
        dead.sort_unstable();
        for tid in dead {
            self.tell_dead_one(tid, probe, output);
        }
    }

    /// Tells of a thread that died unnamed, if this tid is that of one.
    pub(super) fn tell_dead_one<P: Probe>(&mut self, tid: Tid, probe: &mut P, output: &mut Output) {
        let Some(HeldState::Dead(end)) = self.held.get(&tid).map(|held| &held.state) else {
            return;
        };
        let end = *end;
        self.held.remove(&tid);
        if self.settings.follow == Follow::All {
            self.found(tid, probe, output);
            if let Some(task) = self.tasks.remove(&tid) {
                self.bury(tid, task, end, probe, output);
            }
        }
    }

    /// The held child of a thread that is gone, if that is certain.
    pub(super) fn child_left_by(&self, gone: Tid) -> Option<Tid> {
        self.held
            .iter()
            .filter(|(_, held)| matches!(held.state, HeldState::Stopped(..)))
            .filter(|(_, held)| held.lost == [gone])
            .find(|(_, held)| held.suspects.iter().all(|tid| self.is_cleared(*tid, held)))
            .map(|(child, _)| *child)
    }

    /// Whether a suspect has reported something else than the creation.
    fn is_cleared(&self, suspect: Tid, held: &Held) -> bool {
        self.tasks
            .get(&suspect)
            .is_none_or(|task| task.last_report > held.report)
    }

    /// Whether a living thread may still name a held child. With `look` those
    /// in question are looked at where nothing is known of their calls: one
    /// that sleeps is not inside a creating call.
    fn may_be_named<P: Probe>(&self, held: &Held, look: bool, probe: &mut P) -> bool {
        let look = look && self.settings.stops == Stops::Event;
        held.suspects.iter().any(|tid| {
            !self.is_cleared(*tid, held)
                && !(look && (self.waits_in_vfork(*tid) || probe.sleeps(*tid)))
        })
    }

    /// Whether a thread is suspended until a child of it execs or ends.
    fn waits_in_vfork(&self, tid: Tid) -> bool {
        self.tasks
            .values()
            .any(|task| task.vfork_parent == Some(tid))
    }

    /// Whether anything has waited so long that it has to be looked after.
    pub fn is_due(&self, now: Duration) -> bool {
        let long = |since: Duration| now.saturating_sub(since) >= SHORT;
        self.limbo.iter().any(|limbo| long(limbo.since))
            || self.held.values().any(|held| long(held.since))
    }

    /// Looks after children that are held and whose parent's event does not
    /// come. To be called every now and then while there are any, and when no
    /// report that was fetched is still to be looked at.
    pub fn overdue<P: Probe>(&mut self, now: Duration, probe: &mut P, output: &mut Output) {
        self.now = now;
        let mut waiting: Vec<Tid> = self
            .held
            .iter()
            .filter(|(_, held)| matches!(held.state, HeldState::Stopped(..)))
            .filter(|(_, held)| now.saturating_sub(held.since) >= SHORT)
            .map(|(tid, _)| *tid)
            .collect();
        waiting.sort_unstable();
        for child in waiting {
            self.exhume(child, probe, output);
            let Some(held) = self.held.get(&child) else {
                continue;
            };
            let HeldState::Stopped(stopped, _) = &held.state else {
                continue;
            };
            if self.may_be_named(held, true, probe) {
                continue;
            }
            // A parent that lives but will not report: only CLONE_PTRACE let
            // us see a child that CLONE_UNTRACED hides.
            let handed_over = probe
                .creating_call(stopped)
                .is_ok_and(|call| is_handed_over(&call));
            let silent_parent = match held.suspects[..] {
                [tid] if handed_over => self.tasks.get(&tid).map(|task| Parent::of(tid, task)),
                _ => None,
            };
            match silent_parent {
                Some(parent) => self.adopt(parent, child, probe, output),
                None => self.found(child, probe, output),
            }
        }
        // While somebody's child is undecided it may be theirs. And where nobody
        // else is left there is no hurry: that no child comes is certain, and
        // concluded, once there is none to wait for.
        let undecided = self
            .held
            .values()
            .any(|held| matches!(held.state, HeldState::Stopped(..)));
        let age = if undecided || self.tasks.is_empty() {
            LONG
        } else {
            SHORT
        };
        if let Some(until) = now.checked_sub(age) {
            self.bury_all(until, probe, output);
        }
        if let Some(until) = now.checked_sub(LONG) {
            self.tell_dead(until, probe, output);
        }
    }

    /// Tells the creation of a held child in the name of a parent that does
    /// not, and lets the child run.
    pub(super) fn adopt<P: Probe>(
        &mut self,
        parent: Parent,
        child: Tid,
        probe: &mut P,
        output: &mut Output,
    ) {
        let limit = self.settings.string_limit;
        let Some(held) = self.held.remove(&child) else {
            return;
        };
        let HeldState::Stopped(stopped, _) = &held.state else {
            return;
        };
        // Its registers and memory are a copy of its parent's.
        let request = probe.creating_call(stopped).ok().and_then(|syscall| {
            let mut memory = probe.memory(stopped);
            clone::decode(parent.original_call(syscall), &mut memory, limit)
        });
        self.held.insert(child, held);
        match request {
            Some(request) => {
                self.born(parent, Birth::of(child, request), probe, output);
                if let Some(task) = self.tasks.get_mut(&child) {
                    task.adopted = true;
                }
                self.join(child, probe, output);
            }
            None => self.found(child, probe, output),
        }
    }

    /// Takes up a held thread whose creator nobody knows any more.
    pub(super) fn found<P: Probe>(&mut self, child: Tid, probe: &mut P, output: &mut Output) {
        self.bury_former(child, probe, output);
        let (tgid, parent) = probe.family(child).unwrap_or((Pid::from(child), Pid(0)));
        // Where calls are seen, a creator that nobody can name is one of those
        // whose calls aren't looked at.
        let silent = self.settings.stops == Stops::Seccomp
            && self.any_silent
            && self
                .held
                .get(&child)
                .is_some_and(|held| held.suspects.is_empty() && held.lost.is_empty());
        let tids = probe.ns_tids(child).unwrap_or_default();
        let attached = Attached {
            parent,
            own: tids.last().copied().unwrap_or(child.0),
            orphan: true,
        };
        let is_process = tgid == Pid::from(child);
        let unwanted = match self.settings.follow {
            Follow::None => true,
            Follow::Threads => is_process,
            Follow::All => false,
        };
        let task = Task {
            comm: probe.comm(child),
            adopted: true,
            last_report: self.reports,
            silent,
            unwanted: unwanted && self.settings.stops != Stops::Seccomp,
            ..Task::new(tgid, tids.len().saturating_sub(1) as u8)
        };
        let who = task.who(child);
        self.tasks.insert(child, task);
        let kind = EventKind::Attached(Box::new(attached));
        self.tell(output, who, kind);
        self.join(child, probe, output);
    }
}

/// How long a held child may wait before anybody asks who could name it.
const SHORT: Duration = Duration::from_millis(50);
/// How long the end of a thread that nobody named is remembered, and that of
/// one that may have left a child is kept back.
const LONG: Duration = Duration::from_secs(2);

/// The process that a child's creator belongs to, given the child's group and
/// that group's parent: its own for a thread, its parent for a process.
fn namer(child: Tid, family: Option<(Pid, Pid)>) -> Option<Pid> {
    let (tgid, parent) = family?;
    Some(if tgid == Pid::from(child) {
        parent
    } else {
        tgid
    })
}

/// The flags of a clone in registers; clone3's are in memory and count as none.
fn register_flags(call: &Syscall) -> CloneFlags {
    match call.call() {
        Some(Call::Clone) => CloneFlags(call.args[call.abi.clone_order().flags] & 0xffff_ff00),
        _ => CloneFlags::default(),
    }
}

fn is_sibling(call: &Syscall) -> bool {
    register_flags(call).has(CloneFlags::PARENT)
}

fn is_handed_over(call: &Syscall) -> bool {
    register_flags(call).has(CloneFlags::PTRACE | CloneFlags::UNTRACED)
}
