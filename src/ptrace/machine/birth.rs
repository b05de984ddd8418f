//! Births: the parent's event, the child's first stop, and what a creation
//! makes known of the child. Which of the two stops comes first is open; if the
//! parent's never comes see `orphans`.

use std::time::Duration;

use super::{Doing, HeldState, Machine, Output, Parent, Task, Who};
use crate::clone::{self, CloneFlags, Kind, Request};
use crate::event::{Child, Follow, Followed, Outcome, Stops, Wanted};
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
        self.read_name(tid, probe);
        let Some(task) = self.tasks.get_mut(&tid) else {
            return;
        };
        let Ok(child) = child else {
            // Killed in its event stop. Whatever is known of the call stays,
            // and its child will be overdue.
            self.go_on(stopped, Cause::Created, output);
            return;
        };
        task.last_report = self.reports;
        let parent = Parent::of(tid, task);
        let entered = task.entered;
        let (request, latency) = match std::mem::replace(&mut task.doing, Doing::Nothing) {
            Doing::Creating(request) => (Some(*request), Some(self.now.saturating_sub(entered))),
            _ => {
                let request = probe.creating_call(&stopped).ok().and_then(|syscall| {
                    let mut memory = probe.memory(&stopped);
                    clone::decode(syscall, &mut memory, limit)
                });
                (request, None)
            }
        };
        self.put_back(&stopped, probe);
        let told = self
            .tasks
            .get_mut(&child)
            .is_some_and(|task| std::mem::take(&mut task.adopted));
        if request.is_none() && !told {
            self.named.insert(child, parent.clone());
            self.take_named(child, probe, output);
        }
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
                latency,
            };
            self.born(parent, birth, probe, output);
            self.join(child, probe, output);
        }
        self.go_on(stopped, Cause::Created, output);
    }

    /// Tells a creation and adds the child as expected.
    pub(super) fn born<P: Probe>(
        &mut self,
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
            latency,
        } = birth;
        let flags = request.flags();
        self.bury_former(child, probe, output);
        self.named.remove(&child);
        let Parent {
            who: Who { tid, tgid, comm },
            ns_level: level,
            ns_moved: moved,
            changed,
            ..
        } = parent;
        let kind = kind_of(child, &request, probe);
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
        // number may differ from one namespace to another.
        let elsewhere = level > 0 || moved || flags.has(CloneFlags::NEWPID);
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
            self.tell_create(output, parent.who, request, outcome, latency);
            // Without stops at unshare and setns any process may be the first
            // of a new namespace.
            if self.settings.stops == Stops::Event && kind != Kind::Thread && !elsewhere {
                output.unsure.push(child);
            }
        }
        let child_tgid = match kind {
            Kind::Thread => tgid,
            _ => Pid::from(child),
        };
        // A filter needs a tracer even where nobody wants to know.
        let silent = parent.silent || (!wanted && self.settings.stops == Stops::Seccomp);
        self.any_silent |= silent;
        let child_level = tids.len().checked_sub(1).map_or(level, |l| l as u8);
        if self.settings.waits == Wanted::Yes {
            self.kin.number(tid, child, level, &tids);
        }
        if self.settings.orphans == Wanted::Yes && kind != Kind::Thread {
            let parent = match flags.has(CloneFlags::PARENT) {
                true => probe.family(child).map(|(_, parent)| parent),
                false => Some(tgid),
            };
            self.kin.add(Pid::from(child), parent);
        }
        self.outlive(child);
        self.tasks.insert(
            child,
            Task {
                comm,
                expected: true,
                last_report: self.reports,
                vfork_parent: flags.has(CloneFlags::VFORK).then_some(tid),
                ns_moved: moved && child_level == level,
                changed: changed.map(|changed| Box::new(changed.in_child(flags))),
                depth,
                silent,
                unwanted: !wanted && self.settings.stops != Stops::Seccomp,
                ..Task::new(child_tgid, child_level)
            },
        );
    }

    /// A child is in its first stop, where it can be asked for its number in
    /// its own pid namespace: far cheaper than looking into /proc.
    pub(super) fn make_sure<P: Probe>(
        &mut self,
        stopped: &Stopped,
        probe: &mut P,
        output: &mut Output,
    ) {
        let tid = stopped.tid();
        if output.unsure.is_empty() {
            return;
        }
        let Some(child) = output.unsure_child(tid) else {
            return;
        };
        if probe.own_tid(stopped).is_ok_and(|own| own == tid) {
            return;
        }
        let Some(tids) = probe.ns_tids(tid) else {
            return;
        };
        let task = self.tasks.get_mut(&tid);
        let level = task.as_ref().map_or(0, |task| task.ns_level);
        child.returned = tids.get(usize::from(level)).copied().unwrap_or(tid.0);
        child.own = tids.last().copied().unwrap_or(tid.0);
        if let (Some(task), Some(deepest)) = (task, tids.len().checked_sub(1)) {
            task.ns_level = deepest as u8;
        }
    }

    /// A creation that succeeded without an event: CLONE_UNTRACED hides the
    /// child from tracers, unless CLONE_PTRACE hands it to the caller's.
    pub(super) fn born_unseen<P: Probe>(
        &mut self,
        tid: Tid,
        returned: i32,
        request: Request,
        latency: Duration,
        probe: &mut P,
        output: &mut Output,
    ) {
        let Some(parent) = self.tasks.get(&tid).map(|task| Parent::of(tid, task)) else {
            return;
        };
        let level = parent.ns_level;
        let flags = request.flags();
        if !flags.has(CloneFlags::UNTRACED) {
            // Nothing was created: a filter of the program's own answered.
            let outcome = Outcome::Skipped(returned);
            self.tell_create(output, parent.who, request, outcome, Some(latency));
            return;
        }
        let child = Tid(returned);
        if level == 0 && request.flags().has(CloneFlags::PTRACE) {
            let birth = Birth {
                latency: Some(latency),
                ..Birth::of(child, request)
            };
            self.born(parent, birth, probe, output);
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
            followed: match self.settings.stops {
                Stops::Seccomp => Followed::Stranded,
                Stops::Event | Stops::Syscall => Followed::Untraced,
            },
            parent_tid: None,
            pidfd: None,
        });
        self.tell_create(output, parent.who, request, outcome, Some(latency));
    }

    /// Takes up a child that was held until its creation was told.
    pub(super) fn join<P: Probe>(&mut self, child: Tid, probe: &mut P, output: &mut Output) {
        match self.held.remove(&child).map(|held| held.state) {
            None => {}
            Some(HeldState::Stopped(stopped, cause)) => {
                if let Some(task) = self.tasks.get_mut(&child) {
                    task.expected = false;
                }
                self.put_back(&stopped, probe);
                self.make_sure(&stopped, probe, output);
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
}

/// What came into being; where clone3's flags could not be read, the child is
/// asked whether it is a thread.
fn kind_of<P: Probe>(child: Tid, request: &Request, probe: &mut P) -> Kind {
    let thread = |(tgid, _): (Pid, Pid)| tgid != Pid::from(child);
    if !request.is_decoded() && probe.family(child).is_some_and(thread) {
        Kind::Thread
    } else {
        request.kind()
    }
}

/// A child and what is known of its creation.
pub(super) struct Birth {
    tid: Tid,
    request: Request,
    parent_tid: Option<i32>,
    pidfd: Option<i32>,
    latency: Option<Duration>,
}

impl Birth {
    pub(super) fn of(tid: Tid, request: Request) -> Birth {
        Birth {
            tid,
            request,
            parent_tid: None,
            pidfd: None,
            latency: None,
        }
    }
}
