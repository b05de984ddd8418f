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

use super::sys::{self, Arrival, Witness};
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

/// What is to be done about signals.
#[derive(Debug, Default)]
pub(super) struct Post {
    /// Those that came to forktrace, and may be meant for somebody else.
    pending: Vec<Pending>,
    /// Those that came to the whole group, and when the witness told it.
    to_group: Vec<(Arrival, Instant)>,
}

/// How long a signal waits before it is passed on: whoever signals a group
/// signals one after another (though none in between: the kernel holds a lock),
/// and timeout(1) signals its child first, then the group.
const PASS_ON_AFTER: Duration = Duration::from_millis(10);
/// How long what the witness told counts: a signal that it got may be looked at
/// here only later.
const TOLD_FOR: Duration = Duration::from_millis(100);

impl Post {
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether a signal came to the whole group. Of the standard signals only
    /// one of a kind is pending, whoever sent it (signal(7)).
    fn was_to_group(&self, arrival: &Arrival) -> bool {
        self.to_group.iter().any(|(told, _)| {
            told.signal == arrival.signal && (told.signal.is_standard() || told == arrival)
        })
    }
}

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
        let came = !self.post.is_empty() || sys::has_arrived(|_| true);
        self.pass_signals_on();
        match (came, self.post.is_empty()) {
            (true, true) => WhileBlocked::Program,
            (true, false) => {
                sys::wake_every_ms(Some(sys::WAKE_MS));
                WhileBlocked::Nothing
            }
            (false, _) => WhileBlocked::Nothing,
        }
    }

    /// Notes what came to forktrace, while it is known who sent it.
    pub(super) fn note_arrivals(&mut self) {
        if !self.passes_on() {
            return;
        }
        for arrival in sys::arrivals() {
            let sender = arrival.sender.map(Tid);
            let by_tracee = sender.is_some_and(|tid| self.machine.group_of(tid).is_some());
            self.post.pending.push(Pending {
                arrival,
                when: Instant::now(),
                by_tracee,
            });
        }
    }

    /// Whether signals to forktrace are for others: as long as the program
    /// stands where forktrace stands.
    pub(super) fn passes_on(&self) -> bool {
        self.program()
            .is_some_and(|program| program.end.is_none() && program.foreground)
    }

    /// Passes on what was sent to forktrace alone.
    pub(super) fn pass_signals_on(&mut self) {
        self.note_arrivals();
        let Some(first) = self.post.pending.first() else {
            return;
        };
        let waited = first.when.elapsed();
        if waited < PASS_ON_AFTER {
            if self.passes_on() && sys::can_wake() {
                return;
            }
            // Nothing would come back to it in time.
            std::thread::sleep(PASS_ON_AFTER - waited);
        }
        let told = match &mut self.origin {
            Origin::Launched(program) => program.witness.as_mut().and_then(Witness::ask),
            Origin::Attached { .. } => None,
        };
        let answered = told.is_some();
        let now = Instant::now();
        self.post
            .to_group
            .retain(|(_, when)| now - *when < TOLD_FOR);
        let told = told.unwrap_or_default();
        self.post
            .to_group
            .extend(told.into_iter().map(|arrival| (arrival, now)));
        let target = self.root().filter(|_| self.passes_on());
        for Pending {
            arrival, by_tracee, ..
        } in std::mem::take(&mut self.post.pending)
        {
            if self.post.was_to_group(&arrival) {
                continue;
            }
            match (by_tracee, target) {
                (false, Some(target)) => sys::kill(target, arrival.signal),
                (false, None) => {}
                // Only where it is certain: the parent may be of another group.
                (true, _) if !answered => {}
                (true, _) => {
                    if let Some(Pid(parent)) = sys::parent() {
                        sys::kill(Tid(parent), arrival.signal);
                    }
                }
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
}
