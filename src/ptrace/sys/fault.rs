//! Faults that a test asked for: a call into the kernel that fails in place of being
//! made. How forktrace bears each is shown by `tests/faults.rs`.

#[cfg(debug_assertions)]
use std::sync::OnceLock;
#[cfg(debug_assertions)]
use std::sync::atomic::{AtomicUsize, Ordering};

#[cfg(debug_assertions)]
use super::kill;
#[cfg(debug_assertions)]
use crate::ids::Signal;
use crate::ids::{Errno, Tid};

/// A fault that a test asked for, in debug builds only:
/// `FORKTRACE_FAULT=CALL:WHICH:HOW`.
///
/// CALL is a ptrace request's number, `wait` (waitpid), `readv`
/// (process_vm_readv), `writev` (process_vm_writev), `proc` (a look into /proc), or `panic`, which panics at a
/// wait. WHICH is `N`, the Nth of them, or `N+`, all from the Nth on. HOW is the
/// number of an error, or `kill`: the call is made, but its target is killed
/// before it, as may happen at any time.
#[cfg(debug_assertions)]
struct Fault {
    call: String,
    nth: usize,
    lasts: bool,
    /// `None`: kill.
    errno: Option<Errno>,
}

#[cfg(debug_assertions)]
impl Fault {
    fn parse(plan: &str) -> Option<Fault> {
        let [call, which, how] = plan.split(':').collect::<Vec<_>>()[..] else {
            return None;
        };
        Some(Fault {
            call: call.to_owned(),
            nth: which.trim_end_matches('+').parse().ok()?,
            lasts: which.ends_with('+'),
            errno: match how {
                "kill" => None,
                number => Some(Errno(number.parse().ok()?)),
            },
        })
    }
}

/// Whether a call is to fail in place of being made.
#[cfg(debug_assertions)]
pub(super) fn fault(call: &str, tid: Option<Tid>) -> Option<Errno> {
    static PLAN: OnceLock<Option<Fault>> = OnceLock::new();
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let plan = PLAN.get_or_init(|| Fault::parse(&std::env::var("FORKTRACE_FAULT").ok()?));
    let plan = plan.as_ref().filter(|plan| plan.call == call)?;
    let number = MADE.fetch_add(1, Ordering::Relaxed) + 1;
    if number != plan.nth && !(plan.lasts && number > plan.nth) {
        return None;
    }
    if let (None, Some(tid)) = (plan.errno, tid) {
        kill(tid, Signal(libc::SIGKILL));
    }
    plan.errno
}

/// No faults in a release build.
#[cfg(not(debug_assertions))]
pub(super) fn fault(_call: &str, _tid: Option<Tid>) -> Option<Errno> {
    None
}
