//! The lines of a log as types: what is written, what is read and what the
//! schema says is one thing. A field that is marked as derived is written for
//! whoever reads the log with other tools; forktrace computes it anew from the
//! raw ones. What doesn't apply is left out.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::types::{Hex, HexBytes, HexWords, Names, Word, Words};
use crate::abi::{Abi, Call};
use crate::clone::Kind;
use crate::diagnosis::{Certainty, Reason, Retry};
use crate::event::{Follow, Followed, Stops};

/// One line of a log: a JSON object. `event` says what it tells.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Line<'a> {
    /// The first line, the log's header: what is traced in this run, and how.
    Start(StartLine<'a>),
    /// A creating call that made a child.
    Create(CreateLine<'a>),
    /// A creating call that made none.
    CreateFailed(CreateFailedLine<'a>),
    /// A thread that was suspended in vfork goes on: its child has exec'd or
    /// ended.
    VforkDone(VforkDoneLine<'a>),
    /// A process became a new program.
    Exec(ExecLine<'a>),
    /// An exec call that failed.
    ExecFailed(ExecFailedLine<'a>),
    /// A thread, and with the last one its process, is gone.
    Exit(ExitLine<'a>),
    /// A leader gave its tid to the thread of its group that called exec.
    Superseded(SupersededLine<'a>),
    /// A call that waits for children returned, or its caller was killed in it.
    Wait(WaitLine<'a>),
    /// A call that sends a signal returned, or its caller was killed in it.
    Kill(KillLine<'a>),
    /// A process has another parent, as its own has ended.
    Orphaned(OrphanedLine<'a>),
    /// A thread is there without a creation that could be told.
    Attach(AttachLine<'a>),
    /// forktrace let go of a thread.
    Detach(PlainLine<'a>),
    /// A thread is traced on in silence, as its filter needs a tracer.
    Lost(PlainLine<'a>),
    /// A thread tries to trace others, which a traced thread can't in full.
    Tracing(PlainLine<'a>),
    /// forktrace was told by a signal to leave, but its tracees can't run
    /// without it.
    MustStay(MustStayLine<'a>),
    /// The last line: the log is whole.
    End(EndLine),
}

/// A type of lines, with the fields that all have.
macro_rules! line {
    ($(#[$doc:meta])* $name:ident { $($(#[$meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Serialize, Deserialize, JsonSchema)]
        pub struct $name<'a> {
            /// Nanoseconds since the start of tracing (CLOCK_MONOTONIC) at which
            /// forktrace learned of it.
            pub time_ns: u64,
            /// The thread that it happened to.
            pub tid: i32,
            /// The process of that thread.
            pub tgid: i32,
            /// The thread's name when forktrace last looked. Empty if not known.
            #[serde(borrow)]
            pub comm: Word<'a>,
            /// Its bytes, where they are not UTF-8.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub comm_hex: Option<HexBytes<'a>>,
            $($(#[$meta])* pub $field: $type,)*
        }
    };
}

line! {
    /// What is traced in this run, and how.
    StartLine {
        /// `"forktrace"`.
        format: Word<'a>,
        /// The version of the format, `"MAJOR.MINOR"`.
        format_version: Word<'a>,
        /// The version of the forktrace that wrote it.
        forktrace_version: Word<'a>,
        /// When tracing started by the wall's clock: nanoseconds since 1970.
        wall_ns: u64,
        /// The same moment on CLOCK_MONOTONIC.
        monotonic_ns: u64,
        /// The command that was launched.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        command: Option<Words<'a>>,
        /// The bytes of those words of it that are not UTF-8.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        command_hex: Option<HexWords<'a>>,
        /// The processes that were attached to, where no command was launched.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pids: Option<Vec<i32>>,
        /// The machine's own system call interface.
        abi: Abi,
        /// Where tracees were made to stop.
        stops: Stops,
        /// Which descendants were followed.
        follow: Follow,
        /// Whether the log has waits, signals and orphans.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        waits: bool,
    }
}

mod waits;
pub use waits::{KillLine, OrphanedLine, SigInfoLine, WaitLine};

/// Lines of creating calls: also what was asked for.
macro_rules! creating {
    ($(#[$doc:meta])* $name:ident { $($fields:tt)* }) => {
        line! {
            $(#[$doc])*
            $name {
                /// The call (derived from `abi` and `nr`).
                #[serde(skip_deserializing)]
                syscall: Option<Call>,
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
                abi: Abi,
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
        followed: Followed,
        /// The tid that the kernel stored for CLONE_PARENT_SETTID, read back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stored_parent_tid: Option<i32>,
        /// The descriptor that the kernel stored for CLONE_PIDFD, read back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stored_pidfd: Option<i32>,
        /// Which failure before, on the same thread, this makes good.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry: Option<Retry>,
    }
}

creating! {
    /// A creating call that made no child.
    CreateFailedLine {
        /// How it ended.
        outcome: Failure,
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
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        why: Vec<CauseLine<'a>>,
    }
}

/// What may have made a call fail.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct CauseLine<'a> {
    /// How certain that is.
    pub certainty: Certainty,
    /// It in words (derived).
    #[serde(skip_deserializing)]
    pub text: String,
    /// It, with the figures that decide.
    pub reason: Cow<'a, Reason>,
}

/// How a call ended that did not succeed.
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

/// Lines of exec calls.
macro_rules! executing {
    ($(#[$doc:meta])* $name:ident { $($fields:tt)* }) => {
        line! {
            $(#[$doc])*
            $name {
                /// `execve` or `execveat`.
                syscall: Call,
                $($fields)*
                /// The program's path; missing if null or unreadable.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                path: Option<Word<'a>>,
                /// Its bytes, where they are not UTF-8.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                path_hex: Option<HexBytes<'a>>,
                /// More of the path followed.
                #[serde(default, skip_serializing_if = "std::ops::Not::not")]
                path_truncated: bool,
                /// The path's address, if nothing could be read there.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                path_unreadable: Option<Hex>,
                /// The arguments; null for one that could not be read.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                argv: Option<Words<'a>>,
                /// The bytes of those that are not UTF-8.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                argv_hex: Option<HexWords<'a>>,
                /// What of the arguments is not there in full.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                argv_gaps: Option<Gaps>,
                /// The environment, if asked for (`--env`), like `argv`.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                env: Option<Words<'a>>,
                /// The bytes of those variables that are not UTF-8.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                env_hex: Option<HexWords<'a>>,
                /// What of the environment is not there in full.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                env_gaps: Option<Gaps>,
                /// How many variables there are; missing if that can't be read.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                env_vars: Option<u64>,
                /// Where they are.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                env_addr: Option<Hex>,
                /// Their array ended in memory that can't be read.
                #[serde(default, skip_serializing_if = "std::ops::Not::not")]
                env_unterminated: bool,
                /// The system call interface of the call; missing, as `nr` and
                /// `args` are, where its entry was not seen.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                abi: Option<Abi>,
                /// The call's number.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                nr: Option<u64>,
                /// The six argument registers in the ABI's order.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                args: Option<[Hex; 6]>,
                /// As for `create`.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                latency_ns: Option<u64>,
            }
        }
    };
}

executing! {
    /// A process became a new program.
    ExecLine {
        /// The tid that the caller goes on under, where it was no leader.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        continues_as_tid: Option<i32>,
        /// The thread that waited in vfork for this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        releases_tid: Option<i32>,
    }
}

executing! {
    /// An exec call that failed.
    ExecFailedLine {
        /// How it ended: `error` or `killed`.
        outcome: Failure,
        /// The error by name (derived); missing if it has none.
        #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
        errno: Option<String>,
        /// The error.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        errno_nr: Option<i32>,
        /// Why it failed, as for `create_failed`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        why: Vec<CauseLine<'a>>,
    }
}

/// What of an array of strings is not there in full.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gaps {
    /// The address of the array, where nothing of it could be read or it is null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addr: Option<Hex>,
    /// Indices of the strings that were cut at the limit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub truncated: Vec<usize>,
    /// Indices of the strings that could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<usize>,
    /// The addresses of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable_addr: Vec<Hex>,
    /// More strings followed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// Where the array ended in memory that can't be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Hex>,
}

line! {
    /// A thread that was suspended in vfork goes on.
    VforkDoneLine {
        /// The child that it waited for.
        child_tid: i32,
    }
}

line! {
    /// A thread is gone: with `exit_status` or by `signal`.
    ExitLine {
        /// With which status, 0 to 255.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_status: Option<i32>,
        /// The signal that killed it, by name (derived).
        #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
        signal: Option<String>,
        /// The signal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal_nr: Option<i32>,
        /// A core was dumped.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        core_dumped: bool,
        /// CPU time of the process in user mode, with the children that it
        /// waited for; at the end of a process only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user_ns: Option<u64>,
        /// The same in the kernel.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        system_ns: Option<u64>,
        /// The largest resident set of it or of one of those children.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_rss_kib: Option<u64>,
    }
}

line! {
    /// A leader gave its tid to the thread of its group that called exec.
    SupersededLine {
        /// That thread, under its tid until then.
        by_tid: i32,
    }
}

line! {
    /// A thread is there without a creation that could be told.
    AttachLine {
        /// The parent of its process.
        parent_tgid: i32,
        /// Its tid in its own pid namespace.
        own_tid: i32,
        /// It was created within the trace, by a thread that was killed before
        /// it could report that.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        orphan: bool,
    }
}

line! {
    /// Something that needs no more words.
    PlainLine {}
}

line! {
    /// forktrace was told by a signal to leave, and stays.
    MustStayLine {
        /// The signal by name (derived).
        #[serde(skip_deserializing)]
        signal: String,
        /// The signal.
        signal_nr: i32,
    }
}

/// The last line: the recording ended in good order.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndLine {
    /// The time of the last event.
    pub time_ns: u64,
    /// Lines before this one, the header with them.
    pub events: u64,
}
