//! Births: linking a child's first stop with its parent's event, in whatever
//! order they come, or if the event never comes.

use std::time::Duration;

use super::{Doing, Former, Held, Machine, Output, Parent, Task};
use crate::abi::Syscall;
use crate::clone::{self, CloneFlags, Kind, Request};
use crate::event::{Child, Follow, Followed, Outcome, Stops};
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
            // The child is let go at its first stop.
            if let Ok(child) = probe.event_message(&stopped) {
                let child = Tid(child as i32);
                self.tasks.insert(
                    child,
                    Task {
                        expected: true,
                        ..Task::new(Pid::from(child), 0)
                    },
                );
                self.join(child, probe, output);
            }
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
        let changed_flags = task.changed_flags;
        self.restore_flags(&stopped, probe);
        if let Some(request) = request {
            let read_back = |addr: Option<u64>, probe: &mut P| {
                addr.and_then(|addr| read_u32(&mut probe.memory(&stopped), addr))
                    .map(|word| word as i32)
            };
            let parent_tid = read_back(request.parent_tid(), probe);
            let pidfd = read_back(request.pidfd(), probe);
            self.born(tid, child, request, parent_tid, pidfd, probe, output);
            // The child's registers are a copy of its parent's.
            if let Some(task) = self.tasks.get_mut(&child) {
                task.changed_flags = changed_flags;
            }
            self.join(child, probe, output);
        }
        self.go_on(stopped, Cause::Created, output);
    }

    /// Tells a creation and adds the child as expected.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn born<P: Probe>(
        &mut self,
        tid: Tid,
        child: Tid,
        request: Request,
        parent_tid: Option<i32>,
        pidfd: Option<i32>,
        probe: &mut P,
        output: &mut Output,
    ) {
        let parent = match self.tasks.get(&tid) {
            Some(task) => Parent::of(task),
            None => match self.former.iter().rev().find(|f| f.tid == tid) {
                Some(former) => former.parent,
                None => Parent::of(&Task::new(Pid::from(tid), 0)),
            },
        };
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
            || request.flags().has(CloneFlags::NEWPID)
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
                vfork_parent: (kind == Kind::Vfork).then_some(tid),
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
        let child = Tid(returned);
        if level == 0 && request.flags().has(CloneFlags::PTRACE) {
            self.born(tid, child, request, None, None, probe, output);
            self.join(child, probe, output);
            return;
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

    /// Takes up a child that was held until its creation was told.
    pub(super) fn join<P: Probe>(&mut self, child: Tid, probe: &mut P, output: &mut Output) {
        match self.held.remove(&child) {
            None => {}
            Some(Held::Stopped(stopped, cause)) => {
                if let Some(task) = self.tasks.get_mut(&child) {
                    task.expected = false;
                }
                self.restore_flags(&stopped, probe);
                self.first_stop(stopped, cause, output);
            }
            // A tid that died unnamed (its parent was killed as well) may have
            // been given to another thread since: then this one is alive.
            Some(Held::Dead(_)) if probe.family(child).is_some() => {}
            Some(Held::Dead(end)) => self.ended(child, end, probe, output),
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

    /// The held child that a call made whose caller, of the group `tgid`, was
    /// killed before its event: a child's registers are a copy of its parent's.
    pub(super) fn child_of<P: Probe>(
        &self,
        call: &Syscall,
        tgid: Pid,
        probe: &mut P,
    ) -> Option<Tid> {
        self.held.iter().find_map(|(child, held)| {
            let Held::Stopped(stopped, _) = held else {
                return None;
            };
            let same = probe.creating_call(stopped) == Ok(*call);
            let named_by_other = self.namers(*child, probe).is_some_and(|pid| pid != tgid);
            (same && !named_by_other).then_some(*child)
        })
    }

    /// The process, if it lives, whose event may still name a held child: its
    /// own for a thread, its parent for a process.
    fn namers<P: Probe>(&self, child: Tid, probe: &mut P) -> Option<Pid> {
        let (tgid, parent) = probe.family(child)?;
        let namer = if tgid == Pid::from(child) {
            parent
        } else {
            tgid
        };
        self.tasks
            .values()
            .any(|task| {
                task.tgid == namer
                    && (self.settings.stops == Stops::Event
                        || matches!(task.doing, Doing::Creating(_)))
            })
            .then_some(namer)
    }

    /// Looks after children that are held and whose parent's event does not
    /// come: a parent that is killed inside its call, after the child exists,
    /// reports nothing. To be called when nothing was reported for a while;
    /// `patient` says that it was not a long while yet, so that a child whose
    /// process or parent lives can still be named.
    pub fn overdue<P: Probe>(
        &mut self,
        now: Duration,
        patient: bool,
        probe: &mut P,
        output: &mut Output,
    ) {
        self.now = now;
        let mut waiting: Vec<Tid> = self
            .held
            .iter()
            .filter(|(_, held)| matches!(held, Held::Stopped(..)))
            .map(|(tid, _)| *tid)
            .collect();
        waiting.sort_unstable();
        for child in waiting {
            if patient && self.namers(child, probe).is_some() {
                continue;
            }
            let group = probe.family(child).map(|(tgid, _)| tgid);
            let latest = |pick: &dyn Fn(&Former) -> bool| {
                self.former.iter().rev().find(|f| pick(f)).map(|f| f.tid)
            };
            // A parent that lives but will not report (a child that only
            // CLONE_PTRACE let us see), else one that can't any more.
            let living = self.namers(child, probe).map(Tid::from);
            let parent = living
                .filter(|tid| self.tasks.contains_key(tid))
                .or_else(|| latest(&|f| Some(f.parent.tgid) == group && f.tid != child))
                .or_else(|| latest(&|f| f.creating))
                .or_else(|| latest(&|f| f.tid != child));
            if let Some(parent) = parent {
                self.adopt(parent, child, probe, output);
            }
        }
    }

    /// Tells the creation of a held child in the name of a parent that is gone
    /// before it could, and lets the child run.
    pub(super) fn adopt<P: Probe>(
        &mut self,
        parent: Tid,
        child: Tid,
        probe: &mut P,
        output: &mut Output,
    ) {
        let limit = self.settings.string_limit;
        let Some(Held::Stopped(stopped, cause)) = self.held.remove(&child) else {
            return;
        };
        let request = probe.creating_call(&stopped).ok().and_then(|syscall| {
            let mut memory = probe.memory(&stopped);
            clone::decode(syscall, &mut memory, limit)
        });
        if let Some(request) = request {
            self.born(parent, child, request, None, None, probe, output);
        } else {
            // Killed as well: its end will tell.
            let task = Task {
                expected: true,
                ..Task::new(Pid::from(child), 0)
            };
            self.tasks.insert(child, task);
        }
        self.held.insert(child, Held::Stopped(stopped, cause));
        self.join(child, probe, output);
    }
}
