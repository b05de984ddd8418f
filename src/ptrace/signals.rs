//! Signals sent to forktrace that are meant for somebody else. Untraced, the
//! program stands where forktrace stands: what is sent to that process is the
//! program's, and what the program sends to its parent is for forktrace's own.
//!
//! Somebody who signals the whole process group (a terminal, timeout(1),
//! `kill(0, …)`) reaches the program without us, and must not reach it twice.
//! No siginfo tells the one from the other, and the program's own copy can't
//! always be seen: sigwait(3) and signalfd(2) take a signal without a stop. So
//! a process in the group, the *witness*, blocks all signals and tells on
//! request which came to it.

use std::time::{Duration, Instant};

use super::sys::{self, Arrival};
use super::{Origin, Tracer};
use crate::ids::{Pid, Signal, Tid};

/// A signal that came to forktrace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    arrival: Arrival,
    when: Instant,
    /// Whether a tracee sent it.
    by_tracee: bool,
}

/// How long a signal waits before it is passed on: whoever signals a group
/// signals one after another (though none in between: the kernel holds a lock),
/// and timeout(1) signals its child first, then the group.
const PASS_ON_AFTER: Duration = Duration::from_millis(10);

/// What people, terminals and init send to what is to end.
const TO_LEAVE: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// What signals to forktrace are about while nothing can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhileBlocked {
    /// None came, or it isn't clear yet.
    Nothing,
    /// The program was told, and should be let go on to act on it.
    Program,
    /// forktrace is to leave.
    Leave,
}

impl Tracer {
    /// To be asked now and then by who waits for something else than events:
    /// looks after signals to forktrace.
    pub fn while_blocked(&mut self) -> WhileBlocked {
        // Who asks does so by a clock of its own.
        sys::wake_every_ms(None);
        if !self.passes_on() {
            return match sys::has_arrived(|signal| TO_LEAVE.contains(&signal.0)) {
                true => WhileBlocked::Leave,
                false => WhileBlocked::Nothing,
            };
        }
        let came = !self.to_pass_on.is_empty() || sys::has_arrived(|_| true);
        self.pass_signals_on();
        match (came, self.to_pass_on.is_empty()) {
            (true, true) => WhileBlocked::Program,
            (true, false) => {
                sys::wake_every_ms(Some(sys::WAKE_MS));
                WhileBlocked::Nothing
            }
            (false, _) => WhileBlocked::Nothing,
        }
    }

    /// Whether signals to forktrace are meant for the program.
    pub(super) fn passes_on(&self) -> bool {
        self.program()
            .is_some_and(|program| program.end.is_none() && program.foreground)
    }

    /// Passes on what was sent to forktrace alone.
    pub(super) fn pass_signals_on(&mut self) {
        let Some(program) = self
            .program()
            .filter(|program| program.end.is_none() && program.foreground)
        else {
            return;
        };
        let target = program.launched.waiting.tid;
        let arrivals = sys::arrivals();
        // Nearly always.
        if arrivals.is_empty() && self.to_pass_on.is_empty() {
            return;
        }
        let now = Instant::now();
        for arrival in arrivals {
            let sender = arrival.sender.map(Tid);
            let by_tracee = sender.is_some_and(|tid| self.machine.group_of(tid).is_some());
            self.to_pass_on.push(Pending {
                arrival,
                when: now,
                by_tracee,
            });
        }
        let Some(first) = self.to_pass_on.first() else {
            return;
        };
        let waited = now - first.when;
        if waited < PASS_ON_AFTER {
            if sys::can_wake() {
                return;
            }
            // Nothing would come back to it in time.
            std::thread::sleep(PASS_ON_AFTER - waited);
        }
        let to_group = match &mut self.origin {
            Origin::Launched(program) => program.witness.as_mut().map(|witness| witness.ask()),
            Origin::Attached { .. } => None,
        };
        let to_group = to_group.unwrap_or_default();
        for pending in std::mem::take(&mut self.to_pass_on) {
            if to_group.contains(&pending.arrival) {
                continue;
            }
            if !pending.by_tracee {
                sys::kill(target, pending.arrival.signal);
            } else if let Some(Pid(parent)) = sys::parent() {
                sys::kill(Tid(parent), pending.arrival.signal);
            }
        }
    }

    /// The signal that tells forktrace to leave, if one came. Others are signals
    /// to the program only: here they are nobody's.
    pub(super) fn told_to_leave(&self) -> Option<Signal> {
        sys::arrivals()
            .into_iter()
            .map(|arrival| arrival.signal)
            .find(|signal| TO_LEAVE.contains(&signal.0))
    }

    pub(super) fn has_witness(&self) -> bool {
        self.program()
            .is_some_and(|program| program.witness.is_some())
    }

    /// Whether all tracees vanished without a report: with a witness there is
    /// always a child to wait for, so that waiting itself doesn't tell.
    pub(super) fn all_vanished(&self) -> bool {
        const QUIET: Duration = Duration::from_secs(1);
        let watched = matches!(&self.origin, Origin::Launched(p) if p.witness.is_some());
        watched
            && self.start.elapsed().saturating_sub(self.last_report) >= QUIET
            && !self.machine.known().any(sys::exists)
    }
}
