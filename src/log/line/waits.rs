//! The lines of waits, signals and orphans.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::types::{Hex, HexBytes, Word};
use super::super::words::{Of, Signalling, Waiting};
use crate::abi::Abi;

/// Lines of calls that wait and that send signals: also the call and its answer.
macro_rules! answered {
    ($(#[$doc:meta])* $name:ident of $call:ty { $($fields:tt)* }) => {
        line! {
            $(#[$doc])*
            $name {
                /// The call (derived from `abi` and `nr`).
                #[serde(skip_deserializing)]
                syscall: Option<$call>,
                $($fields)*
                /// What the call returned; missing if it failed, or its caller
                /// was killed in it.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                returned: Option<i64>,
                /// The error by name (derived); missing if it has none.
                #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
                errno: Option<String>,
                /// The error.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                errno_nr: Option<i32>,
                /// What waitid stored in its siginfo, or what a signal carried.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                siginfo: Option<SigInfoLine>,
                /// The system call interface of the call.
                abi: Of<Abi>,
                /// The call's number.
                nr: u64,
                /// The six argument registers in the ABI's order.
                args: [Hex; 6],
                /// As for `create`.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                latency_ns: Option<u64>,
            }
        }
    };
}

answered! {
    /// A call that waits for children.
    WaitLine of Waiting {
        /// The child that it tells of, as forktrace numbers it; missing if it tells
        /// of none, or only its number in the caller's pid namespace is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        child_tid: Option<i32>,
        /// What became of it (derived): `exited`, `killed`, `ended`, `stopped`,
        /// `trapped`, `continued` or `unknown`.
        #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
        change: Option<String>,
        /// Whether the child is reaped by it (derived).
        #[serde(skip_deserializing, skip_serializing_if = "std::ops::Not::not")]
        reaped: bool,
        /// The status word that was stored (wait(2)).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status_word: Option<i32>,
        /// The child's CPU time in user mode as it was stored: seconds, microseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        child_utime: Option<[i64; 2]>,
        /// The same in the kernel.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        child_stime: Option<[i64; 2]>,
    }
}

answered! {
    /// A call that sends a signal.
    KillLine of Signalling {
        /// The one process or thread that is meant, as forktrace numbers it; missing
        /// where a group is, or that is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target_tid: Option<i32>,
        /// The signal by name (derived); `0` asks only whether one could be sent.
        #[serde(skip_deserializing)]
        signal: String,
        /// The signal (derived from `args`, unlike that of other events).
        #[serde(skip_deserializing)]
        signal_nr: i32,
    }
}

line! {
    /// A process has another parent.
    OrphanedLine {
        /// Who reaps it now; 0 if that is outside of forktrace's pid namespace.
        parent_tgid: i32,
    }
}

/// A siginfo_t (sigaction(2)): those of its fields that its signal and code have.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SigInfoLine {
    /// `si_signo`.
    pub signo_nr: i32,
    /// `si_code`.
    pub code_nr: i32,
    /// Its name (derived).
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// `si_errno`, if not 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno_nr: Option<i32>,
    /// `si_pid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// `si_uid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// `si_status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<i32>,
    /// `si_utime`, in hundredths of a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utime_ticks: Option<u64>,
    /// `si_stime`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stime_ticks: Option<u64>,
    /// `si_value`, if not 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Hex>,
    /// `si_timerid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timer_id: Option<i32>,
    /// `si_overrun`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overrun: Option<i32>,
    /// `si_addr`, or `si_call_addr` where `arch` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addr: Option<Hex>,
    /// `si_addr_lsb`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addr_lsb: Option<i16>,
    /// `si_lower` and `si_upper`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounds: Option<[Hex; 2]>,
    /// `si_pkey`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pkey: Option<u32>,
    /// `si_band`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub band: Option<i64>,
    /// `si_fd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fd: Option<i32>,
    /// `si_syscall`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syscall_nr: Option<i32>,
    /// `si_arch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<u32>,
}
