//! Births: the parent's event, the child's first stop, and what a creation
//! makes known of the child. Which of the two stops comes first is open; if the
//! parent's never comes see `orphans`.

use super::{Doing, HeldState, Machine, Output, Parent, Task};
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
        task.last_report = self.reports;
        let request = match std::mem::replace(&mut task.doing, Doing::Nothing) {
            Doing::Creating(request) => Some(*request),
            _ => probe.creating_call(&stopped).ok().and_then(|syscall| {
                let mut memory = probe.memory(&stopped);
                clone::decode(syscall, &mut memory, limit)
            }),
        };
        let parent = Parent::of(task);
        self.put_back(&stopped, probe);
        let told = self
            .tasks
            .get_mut(&child)
            .is_some_and(|task| std::mem::take(&mut task.adopted));
        if request.is_none() && !told {
            self.named.insert(child, (tid, parent.clone()));
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
            };
            self.born(tid, parent, birth, probe, output);
            self.join(child, probe, output);
        }
        self.go_on(stopped, Cause::Created, output);
    }

    /// Tells a creation and adds the child as expected.
    pub(super) fn born<P: Probe>(
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
        self.bury_former(child, probe, output);
        let Parent {
            tgid,
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
        // A filter needs a tracer even where nobody wants to know.
        let silent = parent.silent || (!wanted && self.settings.stops == Stops::Seccomp);
        self.any_silent |= silent;
        let child_level = tids.len().checked_sub(1).map_or(level, |l| l as u8);
        let pid_ns = match elsewhere {
            true => None,
            false => self.tasks.get(&tid).and_then(|task| task.pid_ns),
        };
        self.tasks.insert(
            child,
            Task {
                expected: true,
                last_report: self.reports,
                pid_ns,
                vfork_parent: flags.has(CloneFlags::VFORK).then_some(tid),
                ns_moved: moved && child_level == level,
                changed: changed.map(|changed| changed.in_child(flags)),
                depth,
                silent,
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
            followed: match self.settings.stops {
                Stops::Seccomp => Followed::Stranded,
                Stops::Event | Stops::Syscall => Followed::Untraced,
            },
            parent_tid: None,
            pidfd: None,
        });
        let tgid = self.tasks.get(&tid).map_or(Pid::from(tid), |t| t.tgid);
        self.tell_create(output, tid, tgid, request, outcome);
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
}

impl Birth {
    pub(super) fn of(tid: Tid, request: Request) -> Birth {
        Birth {
            tid,
            request,
            parent_tid: None,
            pidfd: None,
        }
    }
}
