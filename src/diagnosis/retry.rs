//! Calls that repeat one that failed: then that failure did no harm. The C
//! library calls clone where clone3 is refused, and the kernel repeats a call
//! that a signal interrupted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clone::{CloneFlags, Request, Spec};
use crate::ids::Errno;

/// Which failure a creation makes good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// That of the thread's clone3 before: with ENOSYS or EPERM.
    Clone3,
    /// That of the same call before, which a signal interrupted.
    Restart,
}

impl Retry {
    /// It in words, to stand after a semicolon.
    pub fn words(self) -> &'static str {
        match self {
            Retry::Clone3 => "retry of the clone3 above, whose failure did no harm",
            Retry::Restart => "the call above, repeated",
        }
    }
}

/// Whether a failure is one that a later call may make good.
pub fn may_follow(failed: &Request, errno: Errno) -> bool {
    match failed.spec {
        _ if errno.restart().is_some() => true,
        Spec::Clone3(_) => matches!(errno, Errno::ENOSYS | Errno::EPERM),
        _ => false,
    }
}

/// What `next`, of the same thread, is to a call that failed before it.
pub fn of(failed: &Request, errno: Errno, next: &Request) -> Option<Retry> {
    if errno.restart().is_some() {
        return (failed.syscall == next.syscall).then_some(Retry::Restart);
    }
    if !may_follow(failed, errno) || matches!(next.spec, Spec::Clone3(_)) {
        return None;
    }
    // clone has no bits for what came with clone3.
    let of_both = CloneFlags(0xffff_ffff);
    let flags = |request: &Request| request.flags().0 & of_both.0;
    let same = flags(failed) == flags(next) && failed.exit_signal() == next.exit_signal();
    (same || !failed.is_decoded()).then_some(Retry::Clone3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{Abi, Syscall};
    use crate::clone::decode;
    use crate::memory::Regions;

    fn clone(args: [u64; 6]) -> Request {
        let syscall = Syscall {
            abi: Abi::X86_64,
            nr: 56,
            args,
        };
        decode(syscall, &mut Regions::default(), 32).unwrap()
    }

    fn clone3(flags: u64, exit_signal: u64) -> Request {
        let fields = [flags, 0, 0, 0, exit_signal, 0, 0, 0, 0, 0, 0];
        let bytes = fields.iter().flat_map(|f: &u64| f.to_le_bytes()).collect();
        let syscall = Syscall {
            abi: Abi::X86_64,
            nr: 435,
            args: [0x1000, 88, 0, 0, 0, 0],
        };
        decode(syscall, &mut Regions(vec![(0x1000, bytes)]), 32).unwrap()
    }

    #[test]
    fn clone_after_clone3_is_its_retry() {
        let thread = 0x003d_0f00;
        let next = clone([thread, 0x5000, 0, 0, 0, 0]);
        for errno in [Errno::ENOSYS, Errno::EPERM] {
            assert_eq!(of(&clone3(thread, 0), errno, &next), Some(Retry::Clone3));
        }
        // posix_spawn's, without the flag that clone has no bit for.
        let spawn = clone([0x4111, 0x5000, 0, 0, 0, 0]);
        let failed = clone3(0x1_0000_4100, 17);
        assert_eq!(of(&failed, Errno::ENOSYS, &spawn), Some(Retry::Clone3));
    }

    #[test]
    fn other_calls_are_not() {
        let thread = 0x003d_0f00;
        let next = clone([thread, 0x5000, 0, 0, 0, 0]);
        let fork = clone([0x11, 0, 0, 0, 0, 0]);
        assert_eq!(of(&clone3(thread, 0), Errno::ENOSYS, &fork), None);
        assert_eq!(
            of(&clone3(0, 0), Errno::ENOSYS, &fork),
            None,
            "another signal"
        );
        assert_eq!(of(&clone3(thread, 0), Errno::EAGAIN, &next), None);
        assert_eq!(of(&next, Errno::ENOSYS, &next), None);
        let again = clone3(thread, 0);
        assert_eq!(of(&again, Errno::ENOSYS, &again), None);
    }

    #[test]
    fn the_kernel_repeats_the_very_same_call() {
        let fork = clone([0x11, 0, 0, 0x7000, 0, 0]);
        let other = clone([0x11, 0, 0, 0x8000, 0, 0]);
        assert_eq!(of(&fork, Errno(513), &fork), Some(Retry::Restart));
        assert_eq!(of(&fork, Errno(513), &other), None);
        assert_eq!(of(&fork, Errno::EAGAIN, &fork), None);
    }
}
