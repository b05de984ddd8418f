//! Calls that wait and that send signals: entered and left.

use super::*;
use crate::event::{Kill, Wait};
use crate::waits::{KillCall, WaitCall};

/// A call that sends a signal, under way.
#[derive(Debug)]
pub(super) struct Signalling {
    call: KillCall,
    target: Option<Tid>,
}

impl Signalling {
    pub(super) fn into_event(
        self,
        answer: Option<Result<i64, Errno>>,
        latency: Option<Duration>,
    ) -> EventKind {
        EventKind::Kill(Box::new(Kill {
            call: self.call,
            target: self.target,
            answer,
            latency,
        }))
    }
}

impl Machine {
    /// One of these calls is entered: a signal's target and siginfo are looked at
    /// now, as they may not be there any more when it returns.
    pub(super) fn waits_entered<P: Probe>(
        &mut self,
        stopped: &Stopped,
        syscall: Syscall,
        probe: &mut P,
    ) {
        let tid = stopped.tid();
        let doing = if let Some(call) = WaitCall::of(syscall) {
            Doing::Waiting(Box::new(call))
        } else {
            let call = KillCall::decode(syscall, &mut probe.memory(stopped));
            call.map_or(Doing::Nothing, |call| {
                let target = self.target_of(tid, &call, probe);
                Doing::Signalling(Box::new(Signalling { call, target }))
            })
        };
        if let Some(task) = self.tasks.get_mut(&tid).filter(|task| !task.launching) {
            task.doing = doing;
        }
    }

    /// A wait is answered.
    #[allow(clippy::too_many_arguments)] // Each is a fact of its own.
    pub(super) fn waited<P: Probe>(
        &mut self,
        stopped: &Stopped,
        who: Who,
        call: WaitCall,
        answer: Result<i64, Errno>,
        latency: Duration,
        probe: &mut P,
        output: &mut Output,
    ) {
        let mut wait = Wait {
            answer: Some(answer),
            stored: call.stored(answer.unwrap_or(-1), &mut probe.memory(stopped)),
            latency: Some(latency),
            ..Wait::unanswered(call)
        };
        let level = self.tasks.get(&who.tid).map_or(0, |task| task.ns_level);
        wait.child = wait
            .told()
            .and_then(|told| self.kin.meant(who.tid, level, told.child.0));
        self.tell(output, who, EventKind::Wait(Box::new(wait)));
    }
}
