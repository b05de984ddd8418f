//! The lines of creating calls.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::types::{Hex, HexBytes, Names, Word};
use super::super::words::{Creating, Of};
use super::causes::{CauseLine, known_causes, known_retry};
use crate::abi::Abi;
use crate::clone::Kind;
use crate::diagnosis::Retry;
use crate::event::Followed;

/// Lines of creating calls: also what was asked for.
macro_rules! creating {
    ($(#[$doc:meta])* $name:ident { $($fields:tt)* }) => {
        line! {
            $(#[$doc])*
            $name {
                /// The call (derived from `abi` and `nr`).
                #[serde(skip_deserializing)]
                syscall: Option<Creating>,
                /// What comes into being (derived, as all up to `abi`); missing
                /// where clone3's structure could not be read.
                #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
                kind: Option<Kind>,
                $($fields)*
                /// The flags in effect, by name; bits without one are in `flags_raw` only.
                #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
                flags: Option<Names>,
                /// The flags in effect; the exit signal is not among them.
                #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
                flags_raw: Option<Hex>,
                /// What the child shares with its creator: memory, files, cwd
                /// (with root and umask), signal_handlers, semaphore_undo, io_context.
                #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
                shared: Option<Names>,
                /// What of it the child has as a copy of its own.
                #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
                copied: Option<Names>,
                /// The signal to the parent at the child's exit; missing if none.
                #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
                exit_signal: Option<String>,
                /// Its number.
                #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
                exit_signal_nr: Option<i32>,
                /// The child's stack: clone's stack pointer, clone3's lowest
                /// address; missing where it is the caller's.
                #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
                stack: Option<Hex>,
                /// Its size in bytes, where clone3 gives one.
                #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
                stack_size: Option<u64>,
                /// Where the tid word in the child's memory is, if the kernel
                /// sets or clears it.
                #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
                child_tid_addr: Option<Hex>,
                /// Where in the parent's memory the tid is stored.
                #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
                parent_tid_addr: Option<Hex>,
                /// Where the pidfd is stored.
                #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
                pidfd_addr: Option<Hex>,
                /// The thread-local storage given.
                #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
                tls: Option<Hex>,
                /// The descriptor of the cgroup that the child is born in.
                #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
                cgroup_fd: Option<u64>,
                /// The system call interface of the call.
                abi: Of<Abi>,
                /// The call's number.
                nr: u64,
                /// The six argument registers in the ABI's order.
                args: [Hex; 6],
                /// The structure behind clone3's first argument, as far as it
                /// is known, in the kernel's order: flags, pidfd, child_tid,
                /// parent_tid, exit_signal, stack, stack_size, tls, set_tid,
                /// set_tid_size, cgroup. Missing if it could not be read.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                clone_args: Option<[Hex; 11]>,
                /// The pids behind its `set_tid`.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                set_tid: Option<Cow<'a, [i32]>>,
                /// What follows the structure's known part, if not zeros: the
                /// first bytes.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                clone_args_tail_hex: Option<HexBytes<'a>>,
                /// What follows the structure's known part could not be read.
                #[serde(default, skip_serializing_if = "std::ops::Not::not")]
                clone_args_tail_unreadable: bool,
                /// What the TLS argument of an i386 call points to.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                tls_segment: Option<Segment>,
                /// Nanoseconds from the call's entry to its answer, the
                /// tracer's share with it; missing where the entry isn't seen.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                latency_ns: Option<u64>,
            }
        }
    };
}

creating! {
    /// A creating call that made a child.
    CreateLine {
        /// The child's tid as forktrace sees it; missing where only the call's
        /// return value tells of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        child_tid: Option<i32>,
        /// The child's tid in its own pid namespace.
        child_own_tid: i32,
        /// What the call returned: the child's tid in the caller's pid namespace.
        returned: i32,
        /// Whether the child's own events follow.
        followed: Of<Followed>,
        /// The tid that the kernel stored for CLONE_PARENT_SETTID, read back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stored_parent_tid: Option<i32>,
        /// The descriptor that the kernel stored for CLONE_PIDFD, read back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stored_pidfd: Option<i32>,
        /// Which failure before, on the same thread, this makes good.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            deserialize_with = "known_retry"
        )]
        retry: Option<Retry>,
    }
}

creating! {
    /// A creating call that made no child.
    CreateFailedLine {
        /// How it ended.
        outcome: Of<Failure>,
        /// The error by name (derived); missing if it has none.
        #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
        errno: Option<String>,
        /// The error.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        errno_nr: Option<i32>,
        /// What a seccomp filter of the program answered in the kernel's place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        skipped_value: Option<i32>,
        /// Why it failed, as far as that was found out: what is certain first.
        #[serde(
            default,
            skip_serializing_if = "Vec::is_empty",
            deserialize_with = "known_causes"
        )]
        why: Vec<CauseLine<'a>>,
    }
}

/// How a creating call ended that did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// With the error in `errno`.
    Error,
    /// Not at all: its caller was killed in it.
    Killed,
    /// The kernel did not carry it out: a seccomp filter of the program
    /// answered in its place.
    Skipped,
}

/// `struct user_desc` (asm/ldt.h).
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub struct Segment {
    /// Number of the GDT entry.
    pub entry_number: u32,
    /// Where the segment starts.
    pub base_addr: u32,
    /// Its limit, in bytes or pages.
    pub limit: u32,
    /// The bit field after the limit.
    pub bits: u32,
}
