//! A stopped tracee as a value that is spent: whoever holds a [`Stopped`] has
//! to decide how the thread goes on, and can do so only once.

use crate::ids::{Signal, Tid};

/// A tracee in a ptrace stop. Made when `waitpid` reports the stop, consumed
/// when the tracee is resumed.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a stopped tracee hangs until it is resumed"]
pub struct Stopped {
    tid: Tid,
}

impl Stopped {
    /// The thread whose stop was just reported.
    pub(super) fn new(tid: Tid) -> Stopped {
        Stopped { tid }
    }

    /// Which thread.
    pub fn tid(&self) -> Tid {
        self.tid
    }
}

/// Why a tracee stopped (ptrace(2), "Stopped states").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// At the entry or the exit of a system call.
    Syscall,
    /// At a call that the seccomp filter picked.
    Seccomp,
    /// In a creating call, once the child exists (events FORK, VFORK, CLONE).
    Created,
    /// In exec, once the new program is in place.
    Exec,
    /// PTRACE_EVENT_STOP without a stopping signal: the first stop of a new
    /// tracee, after an interrupt, or at the end of a group stop.
    Trap,
    /// A group stop, by this signal.
    Group(Signal),
    /// A signal is about to be delivered.
    Signal(Signal),
    /// Any other event, such as VFORK_DONE.
    Other,
}

impl Cause {
    /// The signal that is to be delivered when the tracee goes on.
    pub fn signal(self) -> Option<Signal> {
        match self {
            Cause::Signal(signal) => Some(signal),
            _ => None,
        }
    }
}

/// How a stopped tracee goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Until the next event, with this signal delivered.
    Cont(Option<Signal>),
    /// Until the next entry or exit of a system call, likewise.
    Syscall(Option<Signal>),
    /// It stays in its group stop, but reports when that ends.
    Listen,
    /// Untraced, with this signal delivered.
    Detach(Option<Signal>),
}
