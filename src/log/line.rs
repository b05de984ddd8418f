//! The lines of a log as types: what is written, what is read and what the
//! schema says is one thing. A field that is marked as derived is written for
//! whoever reads the log with other tools; forktrace computes it anew from the
//! raw ones. What doesn't apply is left out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::types::{HexBytes, HexWords, Word, Words};
use super::words::Of;
use crate::abi::Abi;
use crate::event::{Follow, Stops};

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
        abi: Of<Abi>,
        /// Where tracees were made to stop.
        stops: Of<Stops>,
        /// Which descendants were followed.
        follow: Of<Follow>,
        /// Whether the log has waits and signals.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        waits: bool,
        /// Whether the log says who adopts orphans.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        orphans: bool,
    }
}

mod causes;
mod creation;
mod exec;
mod waits;
pub use causes::CauseLine;
pub(super) use causes::{read as read_causes, written as written_causes};
pub use creation::{CreateFailedLine, CreateLine, Failure, Segment};
pub use exec::{ExecFailedLine, ExecFailure, ExecLine, Gaps};
pub use waits::{KillLine, OrphanedLine, SigInfoLine, WaitLine};

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
    /// How many lines stand before this one: the header, and one for each event
    /// after it.
    pub events: u64,
}
