//! Ends: of threads, and of tracing them.

use super::*;
use crate::event::Wait;

impl Machine {
    /// Lets go of every tracee at its next stop, where no filter forbids it;
    /// for when nobody reads the events any more.
    pub fn drain(&mut self, output: &mut Output) {
        self.draining = self.settings.stops != Stops::Seccomp;
        if self.draining {
            for (_, held) in self.held.drain() {
                if let HeldState::Stopped(stopped, cause) = held.state {
                    output
                        .resume
                        .push((stopped, Resume::Detach(cause.signal())));
                }
            }
        }
    }

    /// A thread is gone.
    pub(super) fn ended<P: Probe>(
        &mut self,
        tid: Tid,
        end: Ended,
        probe: &mut P,
        output: &mut Output,
    ) {
        // If its number was not sure, nobody can tell it any more.
        output.unsure_child(tid);
        let Some(task) = self.tasks.remove(&tid) else {
            self.hold_dead(tid, end);
            return;
        };
        let may_leave_a_child = match self.settings.stops {
            _ if task.launching || self.draining || self.settings.follow == Follow::None => false,
            // Where the calls of a task aren't looked at, any may have been one.
            _ if task.silent => matches!(end.end, End::Killed { .. }),
            Stops::Event => matches!(end.end, End::Killed { .. }),
            _ => matches!(task.doing, Doing::Creating(_)),
        };
        self.suspect_ended(tid, task.last_report);
        if may_leave_a_child && self.child_left_by(tid).is_none() {
            self.limbo.push(Limbo {
                tid,
                task,
                end,
                since: self.now,
            });
            return;
        }
        self.bury(tid, task, end, probe, output);
    }

    /// Tells the last of a thread that is gone.
    pub(super) fn bury<P: Probe>(
        &mut self,
        tid: Tid,
        task: Task,
        end: Ended,
        probe: &mut P,
        output: &mut Output,
    ) {
        let told = !task.launching && !task.silent;
        let (who, waiting) = (task.who(tid), task.vfork_parent);
        self.burying.push(tid);
        self.settle(tid, task, probe, output);
        self.burying.pop();
        if let Some(parent) = waiting {
            self.vfork_done(parent, tid, output);
        }
        if told {
            self.bury_outlived(who.tgid, end, output);
            let usage = end.usage.filter(|_| Pid::from(tid) == who.tgid);
            self.tell(output, who, EventKind::End(Ended { usage, ..end }));
        }
        if self.settings.orphans == Wanted::Yes {
            self.leave_kin(who, probe, output);
        }
    }

    /// Tells the ends of a process's threads that gave up their tids to exec, but
    /// were killed before that could be reported.
    fn bury_outlived(&mut self, tgid: Pid, end: Ended, output: &mut Output) {
        if self.outlived.is_empty() {
            return;
        }
        let gone: Vec<Who> = self
            .outlived
            .extract_if(|_, task| task.tgid == tgid)
            .map(|(tid, task)| task.who(tid))
            .collect();
        for who in gone {
            self.tell(output, who, EventKind::End(Ended { usage: None, ..end }));
        }
    }

    /// Settles what a task was doing that is gone: a call without an answer,
    /// or a child whose creation it can't report any more.
    pub(super) fn settle<P: Probe>(
        &mut self,
        tid: Tid,
        task: Task,
        probe: &mut P,
        output: &mut Output,
    ) {
        let silent = task.silent || task.launching;
        let mut child = self.child_left_by(tid);
        let parent = Parent::of(tid, &task);
        match task.doing {
            Doing::Creating(request) if child.is_none() && !silent => {
                self.tell_create(output, parent.who, *request, Outcome::Unknown, None);
            }
            Doing::Executing(call) if !silent => {
                let exec = Exec {
                    call: *call,
                    result: None,
                    continues_as: None,
                    releases: None,
                    latency: None,
                    why: Causes::new(),
                };
                self.tell(output, parent.who, EventKind::Exec(Box::new(exec)));
            }
            Doing::Waiting(call) if !silent => {
                let kind = EventKind::Wait(Box::new(Wait::unanswered(*call)));
                self.tell(output, parent.who, kind);
            }
            Doing::Signalling(what) if !silent => {
                self.tell(output, parent.who, what.into_event(None, None));
            }
            _ => {}
        }
        if let Some(child) = child.take() {
            self.adopt(parent, child, probe, output);
        }
    }

    /// Lets go of a stopped thread; where its filter needs a tracer, in so far
    /// as nothing more is told of it.
    pub(super) fn release(&mut self, stopped: Stopped, cause: Cause, output: &mut Output) {
        let tid = stopped.tid();
        if self.settings.stops == Stops::Seccomp {
            self.silence(tid, output);
            self.go_on(stopped, cause, output);
        } else {
            if let Some(who) = self.tasks.get(&tid).map(|task| task.who(tid)) {
                self.tell(output, who, EventKind::Lost(Lost::Detached));
            }
            self.tasks.remove(&tid);
            output
                .resume
                .push((stopped, Resume::Detach(cause.signal())));
        }
    }

    pub(super) fn silence(&mut self, tid: Tid, output: &mut Output) {
        if let Some(who) = self.tasks.get(&tid).map(|task| task.who(tid)) {
            self.tell(output, who, EventKind::Lost(Lost::Silenced));
        }
        if let Some(task) = self.tasks.get_mut(&tid) {
            task.silent = true;
            self.any_silent = true;
        }
    }

    /// Tells nothing more of any thread left, though all are traced on.
    pub fn silence_all(&mut self, now: Duration, output: &mut Output) {
        self.now = now;
        let mut left: Vec<Tid> = self.tasks.keys().copied().collect();
        left.sort_unstable();
        for tid in left {
            self.silence(tid, output);
        }
    }

    /// Tells that forktrace was asked to leave and can't.
    pub fn must_stay(&mut self, now: Duration, signal: Signal, output: &mut Output) {
        self.now = now;
        let nobody = Who {
            tid: Tid(0),
            tgid: Pid(0),
            comm: Comm::default(),
        };
        self.tell(output, nobody, EventKind::MustStay(signal));
    }

    /// Forgets everything, telling that the threads left are not followed any
    /// more. Where no filter forbids it.
    pub fn let_go<P: Probe>(&mut self, now: Duration, probe: &mut P, output: &mut Output) {
        self.now = now;
        output.unsure.clear();
        self.bury_all(now, probe, output);
        let mut left: Vec<Who> = self
            .tasks
            .drain()
            .filter(|(_, task)| !task.silent && !task.unwanted)
            .map(|(tid, task)| task.who(tid))
            .collect();
        left.sort_unstable_by_key(|who| who.tid);
        self.limbo.clear();
        self.outlived.clear();
        self.drain(output);
        for who in left {
            self.tell(output, who, EventKind::Lost(Lost::Detached));
        }
    }
}
