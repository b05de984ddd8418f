//! Births: linking a child's first stop with its parent's event, in whatever
//! order they come, or if the event never comes.
//!
//! A child that stops before it was named is held. Who can still name it? Its
//! creator stands inside the creating call, so its next report will be the
//! event: any thread that reported something else since the child was held is
//! not the creator. Neither is one of another process than the child's own (for
//! a thread) or its parent (for a process, but for CLONE_PARENT), nor, where
//! the entry of the call was seen, one that is not in such a call. If the last
//! one left is killed, the child is its. If nobody is left, the creator was
//! killed before the child was seen: then nobody knows who it was, and the
//! child is told of as one that is there.

use std::time::Duration;

use super::{Doing, Held, HeldState, Machine, Output, Parent, Task};
use crate::abi::{Call, Syscall};
use crate::clone::{self, CloneFlags, Kind, Request};
use crate::event::{Attached, Child, End, EventKind, Follow, Followed, Outcome, Stops};
use crate::ids::{Pid, Tid};
use crate::memory::read_u32;
use crate::ptrace::probe::Probe;
use crate::ptrace::task::{Cause, Resume, Stopped};

impl Machine {
    /// The parent's event: a child exists.
    pub(super) fn created<P: Probe>(
        &mut self,
        stopped: Stopped,
        probe: &mut P,
        output: &mut Output,
    ) {
        let tid = stopped.tid();
        let limit = self.settings.string_limit;
        if self.draining {
            // The child is let go at its first stop, known or not.
            self.go_on(stopped, Cause::Created, output);
            return;
        }
        let child = probe.event_message(&stopped).map(|m| Tid(m as i32));
        let Some(task) = self.tasks.get_mut(&tid) else {
            return;
        };
        let Ok(child) = child else {
            // Killed in its event stop. Whatever is known of the call stays,
            // and its child will be overdue.
            self.go_on(stopped, Cause::Created, output);
            return;
        };
        let request = match std::mem::replace(&mut task.doing, Doing::Nothing) {
            Doing::Creating(request) => Some(*request),
            _ => probe.creating_call(&stopped).ok().and_then(|syscall| {
                let mut memory = probe.memory(&stopped);
                clone::decode(syscall, &mut memory, limit)
            }),
        };
        let parent = Parent::of(task);
        let changed_flags = task.changed_flags;
        self.restore_flags(&stopped, probe);
        let told = self
            .tasks
            .get_mut(&child)
            .is_some_and(|task| std::mem::take(&mut task.adopted));
        if let Some(request) = request.filter(|_| !told) {
            let read_back = |addr: Option<u64>, probe: &mut P| {
                addr.and_then(|addr| read_u32(&mut probe.memory(&stopped), addr))
                    .map(|word| word as i32)
            };
            let parent_tid = read_back(request.parent_tid(), probe);
            let pidfd = read_back(request.pidfd(), probe);
            let birth = Birth {
                tid: child,
                request,
                parent_tid,
                pidfd,
            };
            self.born(tid, parent, birth, probe, output);
            // The child's registers are a copy of its parent's.
            if let Some(task) = self.tasks.get_mut(&child) {
                task.changed_flags = changed_flags;
            }
            self.join(child, probe, output);
        }
        self.go_on(stopped, Cause::Created, output);
    }

    /// Tells a creation and adds the child as expected.
    fn born<P: Probe>(
        &mut self,
        tid: Tid,
        parent: Parent,
        birth: Birth,
        probe: &mut P,
        output: &mut Output,
    ) {
        let Birth {
            tid: child,
            request,
            parent_tid,
            pidfd,
        } = birth;
        let flags = request.flags();
        if let Some(index) = self.limbo.iter().position(|limbo| limbo.tid == child) {
            // Its tid has been given away: nothing of it can come any more.
            let limbo = self.limbo.remove(index);
            self.bury(limbo.tid, limbo.task, limbo.end, probe, output);
        }
        let Parent {
            tgid,
            ns_level: level,
            ns_moved: moved,
            ..
        } = parent;
        let kind = request.kind();
        let depth = match kind {
            Kind::Thread => parent.depth,
            _ => parent.depth + 1,
        };
        let deep = self.settings.max_depth.is_some_and(|max| depth > max);
        let wanted = match self.settings.follow {
            Follow::None => false,
            Follow::Threads => kind == Kind::Thread,
            Follow::All => !deep,
        };
        // Looking into /proc costs as much as a stop: only where the child's
        // number may differ from one namespace to another. Without stops at
        // unshare and setns any process may be the first of a new one: there
        // its namespace is compared with its parent's, which costs less.
        let elsewhere = level > 0
            || moved
            || flags.has(CloneFlags::NEWPID)
            || (self.settings.stops == Stops::Event
                && kind != Kind::Thread
                && self.changes_pid_ns(tid, child, probe));
        let tids = if elsewhere {
            probe.ns_tids(child).unwrap_or_default()
        } else {
            Vec::new()
        };
        let followed = if wanted {
            Followed::Yes
        } else {
            Followed::NotAsked
        };
        let outcome = Outcome::Created(Child {
            tid: Some(child),
            returned: tids.get(usize::from(level)).copied().unwrap_or(child.0),
            own: tids.last().copied().unwrap_or(child.0),
            followed,
            parent_tid,
            pidfd,
        });
        if !parent.silent {
            self.tell_create(output, tid, tgid, request, outcome);
        }
        let child_tgid = match kind {
            Kind::Thread => tgid,
            _ => Pid::from(child),
        };
        let child_level = tids.len().checked_sub(1).map_or(level, |l| l as u8);
        let pid_ns = match elsewhere {
            true => None,
            false => self.tasks.get(&tid).and_then(|task| task.pid_ns),
        };
        self.tasks.insert(
            child,
            Task {
                expected: true,
                pid_ns,
                vfork_parent: flags.has(CloneFlags::VFORK).then_some(tid),
                ns_moved: moved && child_level == level,
                depth,
                // A filter needs a tracer even where nobody wants to know.
                silent: parent.silent || (!wanted && self.settings.stops == Stops::Seccomp),
                unwanted: !wanted && self.settings.stops != Stops::Seccomp,
                ..Task::new(child_tgid, child_level)
            },
        );
    }

    /// Whether a child's pid namespace is another than its parent's.
    fn changes_pid_ns<P: Probe>(&mut self, parent: Tid, child: Tid, probe: &mut P) -> bool {
        let Some(task) = self.tasks.get_mut(&parent) else {
            return true;
        };
        if task.pid_ns.is_none() {
            task.pid_ns = probe.pid_ns(parent);
        }
        let childs = probe.pid_ns(child);
        childs.is_none() || childs != task.pid_ns
    }

    /// A creation that succeeded without an event: CLONE_UNTRACED hides the
    /// child from tracers, unless CLONE_PTRACE hands it to the caller's.
    pub(super) fn born_unseen<P: Probe>(
        &mut self,
        tid: Tid,
        returned: i32,
        level: u8,
        request: Request,
        probe: &mut P,
        output: &mut Output,
    ) {
        let flags = request.flags();
        if !flags.has(CloneFlags::UNTRACED) {
            // Nothing was created: a filter of the program's own answered.
            let tgid = self.tasks.get(&tid).map_or(Pid::from(tid), |t| t.tgid);
            self.tell_create(output, tid, tgid, request, Outcome::Skipped(returned));
            return;
        }
        let child = Tid(returned);
        if level == 0 && request.flags().has(CloneFlags::PTRACE) {
            let Some(parent) = self.tasks.get(&tid).map(Parent::of) else {
                return;
            };
            self.born(tid, parent, Birth::of(child, request), probe, output);
            self.join(child, probe, output);
            return;
        }
        if flags.has(CloneFlags::PARENT) {
            self.strangers.insert(child);
        }
        let outcome = Outcome::Created(Child {
            tid: (level == 0).then_some(child),
            returned,
            own: returned,
            followed: Followed::Untraced,
            parent_tid: None,
            pidfd: None,
        });
        let tgid = self.tasks.get(&tid).map_or(Pid::from(tid), |t| t.tgid);
        self.tell_create(output, tid, tgid, request, outcome);
    }

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
        // Elsewhere the calls in progress tell who may be the creator.
        let family = match self.settings.stops {
            Stops::Event => probe.family(tid),
            _ => None,
        };
        let held = Held {
            state: HeldState::Stopped(stopped, cause),
            since: self.now,
            report: self.reports,
            family,
        };
        self.held.insert(tid, held);
        self.exhume(tid, probe, output);
    }

    /// Gives a held child to the one task in limbo that can have made it, if
    /// there is one and nobody who lives can.
    fn exhume<P: Probe>(&mut self, child: Tid, probe: &mut P, output: &mut Output) {
        if self.limbo.is_empty() {
            return;
        }
        let Some(held) = self.held.get(&child) else {
            return;
        };
        let HeldState::Stopped(stopped, _) = &held.state else {
            return;
        };
        let Ok(call) = probe.creating_call(stopped) else {
            return;
        };
        if self.may_be_named(child, held, &call, false, probe) {
            return;
        }
        let family = held.family.or_else(|| probe.family(child));
        let thread_of = family
            .map(|(tgid, _)| tgid)
            .filter(|tgid| *tgid != Pid::from(child));
        let certain = namer(child, family);
        let fits = |task: &Task| {
            let call_fits = match &task.doing {
                Doing::Creating(request) => request.syscall.nr == call.nr,
                _ => self.settings.stops == Stops::Event,
            };
            call_fits && thread_of.is_none_or(|tgid| tgid == task.tgid)
        };
        let mut fitting = self
            .limbo
            .iter()
            .enumerate()
            .filter(|(_, limbo)| fits(&limbo.task))
            .map(|(index, limbo)| (index, limbo.task.tgid));
        let chosen = match (fitting.next(), fitting.next()) {
            (Some((index, _)), None) => Some(index),
            // Several: its family tells, if it was not taken over before.
            (Some(first), Some(second)) => [first, second]
                .into_iter()
                .chain(fitting)
                .find(|(_, tgid)| certain == Some(*tgid) && !is_sibling(&call))
                .map(|(index, _)| index),
            _ => None,
        };
        if let Some(index) = chosen {
            let limbo = self.limbo.remove(index);
            let parent = Parent::of(&limbo.task);
            self.adopt(limbo.tid, parent, child, probe, output);
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
        self.bury_all(now, probe, output);
        self.tell_dead(now, probe, output);
    }

    /// Tells the ends that were kept back, of tasks that ended before `until`.
    fn bury_all<P: Probe>(&mut self, until: Duration, probe: &mut P, output: &mut Output) {
        let (old, young) = std::mem::take(&mut self.limbo)
            .into_iter()
            .partition(|limbo| limbo.since <= until);
        self.limbo = young;
        let old: Vec<super::Limbo> = old;
        for limbo in old {
            self.bury(limbo.tid, limbo.task, limbo.end, probe, output);
        }
    }

    /// Keeps the end of a thread that was not named yet.
    pub(super) fn hold_dead(&mut self, tid: Tid, end: End) {
        // A child of forktrace itself, by CLONE_PARENT, that nobody traces.
        if self.strangers.remove(&tid) {
            return;
        }
        let known = self.held.contains_key(&tid);
        if self.draining && !known {
            return;
        }
        if self.settings.follow == Follow::All || known {
            let held = Held {
                state: HeldState::Dead(end),
                since: self.now,
                report: self.reports,
                family: None,
            };
            self.held.insert(tid, held);
        }
    }

    /// Tells of threads that died unnamed, as their creators did: those that
    /// ended before `until`, and only if nobody is in a creating call.
    fn tell_dead<P: Probe>(&mut self, until: Duration, probe: &mut P, output: &mut Output) {
        let mut dead: Vec<(Tid, End)> = Vec::new();
        for (tid, held) in &self.held {
            let HeldState::Dead(end) = held.state else {
                continue;
            };
            let may_be_named = self.tasks.values().any(|task| {
                matches!(task.doing, Doing::Creating(_)) && task.last_report <= held.report
            });
            if held.since <= until && !may_be_named {
                dead.push((*tid, end));
            }
        }
        dead.sort_unstable_by_key(|(tid, _)| *tid);
        for (tid, end) in dead {
            self.held.remove(&tid);
            if self.settings.follow == Follow::All {
                self.found(tid, probe, output);
                if let Some(task) = self.tasks.remove(&tid) {
                    self.bury(tid, task, end, probe, output);
                }
            }
        }
    }

    /// Takes up a child that was held until its creation was told.
    pub(super) fn join<P: Probe>(&mut self, child: Tid, probe: &mut P, output: &mut Output) {
        match self.held.remove(&child).map(|held| held.state) {
            None => {}
            Some(HeldState::Stopped(stopped, cause)) => {
                if let Some(task) = self.tasks.get_mut(&child) {
                    task.expected = false;
                }
                self.restore_flags(&stopped, probe);
                self.first_stop(stopped, cause, output);
            }
            // A tid that died unnamed (its parent was killed as well) may have
            // been given to another thread since: then this one is alive.
            Some(HeldState::Dead(_)) if probe.family(child).is_some() => {}
            Some(HeldState::Dead(end)) => self.ended(child, end, probe, output),
        }
    }

    /// The first stop of a child whose creation was told.
    pub(super) fn first_stop(&mut self, stopped: Stopped, cause: Cause, output: &mut Output) {
        let wanted = self
            .tasks
            .get(&stopped.tid())
            .is_none_or(|task| !task.unwanted);
        if wanted {
            self.go_on(stopped, cause, output);
        } else {
            self.tasks.remove(&stopped.tid());
            output
                .resume
                .push((stopped, Resume::Detach(cause.signal())));
        }
    }

    /// The held child of a task that is gone, if it is certain: nobody else
    /// can name it.
    pub(super) fn child_left_by<P: Probe>(&self, gone: &Task, probe: &mut P) -> Option<Tid> {
        let mut tids: Vec<Tid> = self.held.keys().copied().collect();
        tids.sort_unstable();
        tids.into_iter().find(|child| {
            let Some(held) = self.held.get(child) else {
                return false;
            };
            let HeldState::Stopped(stopped, _) = &held.state else {
                return false;
            };
            if gone.last_report > held.report {
                return false;
            }
            let Ok(call) = probe.creating_call(stopped) else {
                return false;
            };
            let may_be_its = match &gone.doing {
                Doing::Creating(request) => request.syscall.nr == call.nr,
                _ if self.settings.stops != Stops::Event => false,
                // Only the process is known, and with CLONE_PARENT not even
                // that.
                _ => namer(*child, held.family) == Some(gone.tgid) && !is_sibling(&call),
            };
            may_be_its && !self.may_be_named(*child, held, &call, false, probe)
        })
    }

    /// Whether a living thread may still name a held child. With `look` those
    /// in question are looked at: one that sleeps is not inside a creating call.
    fn may_be_named<P: Probe>(
        &self,
        child: Tid,
        held: &Held,
        call: &Syscall,
        look: bool,
        probe: &mut P,
    ) -> bool {
        let namer = namer(child, held.family.or_else(|| probe.family(child)));
        self.tasks.iter().any(|(tid, task)| {
            if task.last_report > held.report || task.expected {
                return false;
            }
            match &task.doing {
                Doing::Creating(request) => request.syscall.nr == call.nr,
                _ if self.settings.stops != Stops::Event => false,
                _ => {
                    (namer.is_none() || namer == Some(task.tgid) || is_sibling(call))
                        && !(look && (self.waits_in_vfork(*tid) || probe.sleeps(*tid)))
                }
            }
        })
    }

    /// Whether a thread is suspended until a child of it execs or ends.
    fn waits_in_vfork(&self, tid: Tid) -> bool {
        self.tasks
            .values()
            .any(|task| task.vfork_parent == Some(tid))
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
            let call = probe.creating_call(stopped);
            let may_be_named = match &call {
                Ok(call) => self.may_be_named(child, held, call, true, probe),
                Err(_) => false,
            };
            if may_be_named {
                continue;
            }
            // A parent that lives but will not report: only CLONE_PTRACE let
            // us see a child that CLONE_UNTRACED hides.
            let silent_parent = namer(child, held.family.or_else(|| probe.family(child)))
                .map(Tid::from)
                .filter(|_| call.as_ref().is_ok_and(is_handed_over))
                .and_then(|tid| Some((tid, self.tasks.get(&tid).map(Parent::of)?)));
            match silent_parent {
                Some((tid, parent)) => self.adopt(tid, parent, child, probe, output),
                None => self.found(child, probe, output),
            }
        }
        // While somebody's child is undecided it may be theirs.
        let undecided = self
            .held
            .values()
            .any(|held| matches!(held.state, HeldState::Stopped(..)));
        let age = if undecided { LONG } else { SHORT };
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
        tid: Tid,
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
            clone::decode(syscall, &mut memory, limit)
        });
        self.held.insert(child, held);
        match request {
            Some(request) => {
                self.born(tid, parent, Birth::of(child, request), probe, output);
                if let Some(task) = self.tasks.get_mut(&child) {
                    task.adopted = true;
                }
                self.join(child, probe, output);
            }
            None => self.found(child, probe, output),
        }
    }

    /// Takes up a held thread whose creator nobody knows any more.
    fn found<P: Probe>(&mut self, child: Tid, probe: &mut P, output: &mut Output) {
        let (tgid, parent) = probe.family(child).unwrap_or((Pid::from(child), Pid(0)));
        let attached = Attached {
            comm: probe.comm(child),
            parent,
            own: child.0,
            orphan: true,
        };
        self.tasks.insert(
            child,
            Task {
                adopted: true,
                ..Task::new(tgid, 0)
            },
        );
        let kind = EventKind::Attached(Box::new(attached));
        self.tell(output, child, tgid, kind);
        self.join(child, probe, output);
    }
}

/// How long a held child may wait before anybody asks who could name it.
const SHORT: Duration = Duration::from_millis(50);
/// How long the end of a thread that nobody named is remembered, and that of
/// one that may have left a child is kept back.
const LONG: Duration = Duration::from_secs(2);

/// A child and what is known of its creation.
struct Birth {
    tid: Tid,
    request: Request,
    parent_tid: Option<i32>,
    pidfd: Option<i32>,
}

impl Birth {
    fn of(tid: Tid, request: Request) -> Birth {
        Birth {
            tid,
            request,
            parent_tid: None,
            pidfd: None,
        }
    }
}

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
