//! Calls: entered, left, and an exec that succeeded.

use super::untraced::take_out;
use super::*;

impl Machine {
    /// A call is entered.
    pub(super) fn entered<P: Probe>(
        &mut self,
        stopped: &Stopped,
        syscall: Syscall,
        probe: &mut P,
        output: &mut Output,
    ) {
        let limit = self.settings.string_limit;
        let Some(task) = self.tasks.get_mut(&stopped.tid()) else {
            return;
        };
        if task.silent {
            // Nothing is told of it, but its children need a tracer, too.
            if self.settings.stops == Stops::Seccomp
                && matches!(syscall.call(), Some(Call::Clone | Call::Clone3))
            {
                let mut memory = probe.memory(stopped);
                let request = clone::decode(syscall, &mut memory, limit);
                drop(memory);
                task.changed = request
                    .and_then(|request| take_out(&request, stopped, probe))
                    .map(Box::new);
            }
            return;
        }
        task.entered = self.now;
        let call = match self.settings.waits {
            Wanted::Yes => syscall.call(),
            Wanted::No => syscall.abi.call(syscall.nr),
        };
        task.doing = match call {
            None => Doing::Nothing,
            Some(call) if call.waits() || call.signals() => {
                self.waits_entered(stopped, syscall, probe);
                return;
            }
            Some(Call::Ptrace) => {
                let who = task.who(stopped.tid());
                if ptrace_takes_a_tracee(syscall.args[0])
                    && !std::mem::replace(&mut self.tracing_told, true)
                {
                    self.tell(output, who, EventKind::Tracing);
                }
                return;
            }
            Some(Call::Fork | Call::Vfork | Call::Clone | Call::Clone3) => {
                let mut memory = probe.memory(stopped);
                let request = clone::decode(syscall, &mut memory, limit);
                drop(memory);
                if self.settings.stops == Stops::Seccomp
                    && let Some(request) = &request
                {
                    task.changed = take_out(request, stopped, probe).map(Box::new);
                }
                request.map_or(Doing::Nothing, |r| Doing::Creating(Box::new(r)))
            }
            Some(Call::Execve | Call::Execveat) => {
                let mut memory = probe.memory(stopped);
                let mut call = exec::decode(syscall, &mut memory, limit);
                if let (Some(call), Wanted::Yes) = (&mut call, self.settings.environment) {
                    call.env.text = exec::read_env(call, &mut memory, limit);
                }
                call.map_or(Doing::Nothing, |e| Doing::Executing(Box::new(e)))
            }
            Some(Call::Unshare | Call::Setns) => {
                task.ns_moved = true;
                Doing::Nothing
            }
            // Above.
            Some(_) => Doing::Nothing,
        };
    }

    /// A call is left, with no event before: it failed, or its child is hidden
    /// from tracers. The exit after an event finds nothing to do.
    pub(super) fn left<P: Probe>(
        &mut self,
        stopped: &Stopped,
        value: i64,
        probe: &mut P,
        output: &mut Output,
    ) {
        let tid = stopped.tid();
        let Some(task) = self.tasks.get_mut(&tid) else {
            return;
        };
        let launching = task.launching;
        let latency = self.now.saturating_sub(task.entered);
        let error = (value < 0).then(|| Errno(value.unsigned_abs() as i32));
        let doing = std::mem::replace(&mut task.doing, Doing::Nothing);
        if matches!(doing, Doing::Nothing) {
            return;
        }
        if matches!(doing, Doing::Creating(_) | Doing::Executing(_)) {
            self.read_name(tid, probe);
        }
        let Some(who) = self.tasks.get(&tid).map(|task| task.who(tid)) else {
            return;
        };
        match doing {
            Doing::Nothing => {}
            Doing::Creating(request) => match error {
                Some(errno) => {
                    let evidence = probe.creation_evidence(stopped, &request, errno);
                    let why = diagnosis::creation::diagnose(&request, errno, &evidence);
                    self.failed(output, who, *request, errno, why, latency);
                }
                None => self.born_unseen(tid, value as i32, *request, latency, probe, output),
            },
            Doing::Executing(call) => {
                // Success raises an event; an exit without one is a failure
                // (or EXECVE_CHECK, which succeeds and changes nothing).
                if !launching {
                    let why = error.map_or(Causes::new(), |errno| {
                        let evidence = probe.exec_evidence(stopped, &call, errno);
                        diagnosis::exec::diagnose(&call, errno, &evidence)
                    });
                    let exec = Exec {
                        call: *call,
                        result: Some(error.map_or(Ok(()), Err)),
                        continues_as: None,
                        releases: None,
                        latency: Some(latency),
                        why,
                    };
                    self.tell(output, who, EventKind::Exec(Box::new(exec)));
                }
            }
            Doing::Waiting(call) => {
                let answer = error.map_or(Ok(value), Err);
                self.waited(stopped, who, *call, answer, latency, probe, output);
            }
            Doing::Signalling(what) => {
                let answer = error.map_or(Ok(value), Err);
                self.tell(output, who, what.into_event(Some(answer), Some(latency)));
            }
        }
    }

    /// Tells of a creation that failed, which the thread's next may make good.
    fn failed(
        &mut self,
        output: &mut Output,
        who: Who,
        request: Request,
        errno: Errno,
        why: Causes,
        latency: Duration,
    ) {
        if let Some(task) = self.tasks.get_mut(&who.tid) {
            task.failed =
                retry::may_follow(&request, errno).then(|| Box::new((request.clone(), errno)));
        }
        let create = Create {
            request,
            outcome: Outcome::Failed(errno),
            latency: Some(latency),
            why,
            retry: None,
        };
        self.tell(output, who, EventKind::Create(Box::new(create)));
    }

    pub(super) fn tell_create(
        &mut self,
        output: &mut Output,
        who: Who,
        request: Request,
        outcome: Outcome,
        latency: Option<Duration>,
    ) {
        let failed = self
            .tasks
            .get_mut(&who.tid)
            .and_then(|task| task.failed.take());
        let retry = failed
            .filter(|_| matches!(outcome, Outcome::Created(_)))
            .and_then(|failed| retry::of(&failed.0, failed.1, &request));
        let create = Create {
            request,
            outcome,
            latency,
            why: Causes::new(),
            retry,
        };
        self.tell(output, who, EventKind::Create(Box::new(create)));
    }

    /// A new program is in place.
    pub(super) fn execed<P: Probe>(
        &mut self,
        stopped: Stopped,
        probe: &mut P,
        output: &mut Output,
    ) {
        let tid = stopped.tid();
        let limit = self.settings.string_limit;
        // Another thread than the leader called exec: it has the leader's tid
        // now, and the leader is gone without an end.
        let former = match probe.event_message(&stopped) {
            Ok(message) => Tid(message as i32),
            // Killed in the stop. An exec waits until all other threads are
            // gone, and reported: whoever is left is the caller.
            Err(Gone) => self.other_thread(tid).unwrap_or(tid),
        };
        let caller = match former == tid {
            true => None,
            false => self
                .outlived
                .remove(&former)
                .or_else(|| self.tasks.remove(&former)),
        };
        if let Some(mut caller) = caller {
            // The tid is the caller's from here on.
            self.tell_dead_one(tid, probe, output);
            // Not there if it had ended before it could be attached to.
            // Nor does it wait in vfork any more.
            for task in self.tasks.values_mut() {
                task.vfork_parent.take_if(|parent| *parent == tid);
            }
            if let Some(leader) = self.tasks.remove(&tid) {
                let (who, silent) = (leader.who(tid), leader.silent);
                caller.vfork_parent = leader.vfork_parent;
                self.suspect_ended(tid, leader.last_report);
                self.settle(tid, leader, probe, output);
                if !silent {
                    let kind = EventKind::Superseded { by: former };
                    self.tell(output, who, kind);
                }
            }
            self.tasks.insert(tid, caller);
        }
        self.read_name(tid, probe);
        let Some(task) = self.tasks.get_mut(&tid) else {
            return;
        };
        task.last_report = self.reports;
        let first = std::mem::replace(&mut task.launching, false);
        let releases = task.vfork_parent.take();
        let who = task.who(former);
        let entered = task.entered;
        let (call, latency) = match std::mem::replace(&mut task.doing, Doing::Nothing) {
            Doing::Executing(call) => (Some(*call), Some(self.now.saturating_sub(entered))),
            _ => {
                let call = probe.new_image(&stopped).ok().map(|(sp, abi)| {
                    let mut memory = probe.memory(&stopped);
                    let mut call = exec::decode_image(sp, abi, &mut memory, limit);
                    if self.settings.environment == Wanted::Yes {
                        let env = exec::read_image_env(sp, abi, &mut memory, limit);
                        call.env.text = Some(env);
                    }
                    call
                });
                (call, None)
            }
        };
        if let Some(parent) = releases {
            self.vfork_done(parent, tid, output);
        }
        // Killed in the stop: that there was an exec must be told all the same
        // where a thread took over its leader's tid by it.
        let call = call.or_else(|| (former != tid).then(exec::unseen));
        if let Some(call) = call {
            let exec = Exec {
                call,
                result: Some(Ok(())),
                continues_as: (former != tid).then_some(tid),
                releases,
                latency,
                why: Causes::new(),
            };
            let silent = self.tasks.get(&tid).is_some_and(|task| task.silent);
            if !silent {
                self.tell(output, who, EventKind::Exec(Box::new(exec)));
            }
        }
        if self.settings.detach_on == DetachOn::Exec && !first {
            self.release(stopped, Cause::Exec, output);
        } else {
            self.go_on(stopped, Cause::Exec, output);
        }
    }
}

impl Machine {
    /// A thread of a leader's process besides the leader.
    fn other_thread(&self, leader: Tid) -> Option<Tid> {
        self.tasks
            .iter()
            .find(|(tid, task)| task.tgid == Pid::from(leader) && **tid != leader)
            .map(|(tid, _)| *tid)
    }
}

/// Whether a ptrace request makes a tracer: TRACEME, ATTACH, SEIZE.
fn ptrace_takes_a_tracee(request: u64) -> bool {
    const REQUESTS: [u64; 3] = [0, 16, 0x4206];
    REQUESTS.contains(&request)
}
