//! Ends: of threads, and of tracing them.

use super::*;

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
        end: End,
        probe: &mut P,
        output: &mut Output,
    ) {
        let Some(task) = self.tasks.remove(&tid) else {
            self.hold_dead(tid, end);
            return;
        };
        let may_leave_a_child = match self.settings.stops {
            _ if task.launching || self.draining || self.settings.follow == Follow::None => false,
            // Where the calls of a task aren't looked at, any may have been one.
            _ if task.silent => matches!(end, End::Killed { .. }),
            Stops::Event => matches!(end, End::Killed { .. }),
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
        end: End,
        probe: &mut P,
        output: &mut Output,
    ) {
        let (tgid, told) = (task.tgid, !task.launching && !task.silent);
        self.settle(tid, task, probe, output);
        if told {
            self.tell(output, tid, tgid, EventKind::End(end));
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
        let tgid = task.tgid;
        let silent = task.silent || task.launching;
        let mut child = self.child_left_by(tid);
        let parent = Parent::of(&task);
        match task.doing {
            Doing::Creating(request) if child.is_none() && !silent => {
                self.tell_create(output, tid, tgid, *request, Outcome::Unknown);
            }
            Doing::Executing(call) if !silent => {
                let exec = Exec {
                    call: *call,
                    result: None,
                    continues_as: None,
                    releases: None,
                };
                self.tell(output, tid, tgid, EventKind::Exec(Box::new(exec)));
            }
            _ => {}
        }
        if let Some(child) = child.take() {
            self.adopt(tid, parent, child, probe, output);
        }
    }

    /// Lets go of a stopped thread; where its filter needs a tracer, in so far
    /// as nothing more is told of it.
    pub(super) fn release(&mut self, stopped: Stopped, cause: Cause, output: &mut Output) {
        let tid = stopped.tid();
        let tgid = self.tasks.get(&tid).map_or(Pid::from(tid), |t| t.tgid);
        if self.settings.stops == Stops::Seccomp {
            self.silence(tid, tgid, output);
            self.go_on(stopped, cause, output);
        } else {
            self.tell(output, tid, tgid, EventKind::Lost(Lost::Detached));
            self.tasks.remove(&tid);
            output
                .resume
                .push((stopped, Resume::Detach(cause.signal())));
        }
    }

    pub(super) fn silence(&mut self, tid: Tid, tgid: Pid, output: &mut Output) {
        self.tell(output, tid, tgid, EventKind::Lost(Lost::Silenced));
        if let Some(task) = self.tasks.get_mut(&tid) {
            task.silent = true;
            self.any_silent = true;
        }
    }

    /// Tells nothing more of any thread left, though all are traced on.
    pub fn silence_all(&mut self, now: Duration, output: &mut Output) {
        self.now = now;
        let mut left: Vec<(Tid, Pid)> = self.tasks.iter().map(|(t, k)| (*t, k.tgid)).collect();
        left.sort_unstable();
        for (tid, tgid) in left {
            self.silence(tid, tgid, output);
        }
    }

    /// Tells that forktrace was asked to leave and can't.
    pub fn must_stay(&mut self, now: Duration, signal: Signal, output: &mut Output) {
        self.now = now;
        self.tell(output, Tid(0), Pid(0), EventKind::MustStay(signal));
    }

    /// Forgets everything, telling that the threads left are not followed any
    /// more. Where no filter forbids it.
    pub fn let_go(&mut self, now: Duration, output: &mut Output) {
        self.now = now;
        let mut left: Vec<(Tid, Pid)> = self
            .tasks
            .drain()
            .filter(|(_, task)| !task.silent && !task.unwanted)
            .map(|(tid, task)| (tid, task.tgid))
            .collect();
        left.sort_unstable();
        self.limbo.clear();
        self.drain(output);
        for (tid, tgid) in left {
            self.tell(output, tid, tgid, EventKind::Lost(Lost::Detached));
        }
    }
}
