//! The vocabulary: what a source says and every view understands. Facts only;
//! words and colours belong to the views.

use std::borrow::Cow;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::abi::Abi;
use crate::clone::Request;
use crate::diagnosis::{Causes, Retry};
use crate::exec::ExecCall;
use crate::ids::{Comm, Errno, Pid, Signal, Tid};
use crate::waits::{KillCall, Stored, WaitCall};

#[cfg(test)]
pub(crate) mod testing;

/// Something that happened to a traced thread or process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When forktrace learned of it, since the start of tracing; for what was kept
    /// back (see the contract of [`Source`](crate::source::Source)), when it told
    /// of it.
    pub at: Duration,
    /// The thread that it happened to.
    pub tid: Tid,
    /// The process of that thread.
    pub tgid: Pid,
    /// The thread's name when forktrace last looked: at its exec, and when it
    /// created or was found. Empty where the source was not asked for names.
    pub comm: Comm,
    /// What happened.
    pub kind: EventKind,
}

/// A time in nanoseconds; the most that they can say is 584 years.
pub fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Event {
    /// As if no more of each string had been read than `limit` bytes, and of
    /// each list than `limit` strings: what a view shows of an event whose
    /// strings another one needs in full.
    pub fn cut(&self, limit: usize) -> Cow<'_, Event> {
        let kind = match &self.kind {
            EventKind::Create(create) => create.request.cut(limit).map(|request| {
                EventKind::Create(Box::new(Create {
                    request,
                    ..Create::clone(create)
                }))
            }),
            EventKind::Exec(exec) => exec.call.cut(limit).map(|call| {
                EventKind::Exec(Box::new(Exec {
                    call,
                    ..Exec::clone(exec)
                }))
            }),
            _ => None,
        };
        match kind {
            None => Cow::Borrowed(self),
            Some(kind) => Cow::Owned(Event {
                kind,
                ..Event::clone(self)
            }),
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// Tracing starts; always the first event.
    Start(Box<Start>),
    /// A creating call, successful or not.
    Create(Box<Create>),
    /// An exec call, successful or not.
    Exec(Box<Exec>),
    /// A call that waits for children, answered. Only where waits were asked for.
    Wait(Box<Wait>),
    /// A call that sends a signal, answered. Likewise.
    Kill(Box<Kill>),
    /// The parent of the process ended, and this process is its parent now: init
    /// or a subreaper (PR_SET_CHILD_SUBREAPER, prctl(2)); 0 where that is outside
    /// of the tracer's pid namespace. Told after the parent's end, under the
    /// orphan's leader. Only where somebody asked.
    Orphaned {
        /// The new parent.
        by: Pid,
    },
    /// A thread that was suspended in vfork goes on: this child of it exec'd or
    /// ended. Told under the thread's tid, before the child's exec or end.
    VforkDone {
        /// The child that it waited for.
        child: Tid,
    },
    /// The thread (and, for the last one, its process) is gone.
    End(Ended),
    /// The leader of a group gave its tid to another thread of the group,
    /// which called exec: the leader itself is gone without an end of its own.
    Superseded {
        /// The thread that called exec, under its tid until then.
        by: Tid,
    },
    /// The thread is there, without a creation that could be told.
    Attached(Box<Attached>),
    /// Nothing more is told of the thread, though it runs on.
    Lost(Lost),
    /// The thread tries to trace others, which a traced thread can't in full.
    Tracing,
    /// forktrace was told by this signal to leave, but what it traces can't run
    /// without it (a filter needs a tracer). Told again it leaves all the same.
    MustStay(Signal),
}

/// A thread that is there, though no creation of it was told: it ran already
/// when tracing began, or its creator was killed before it could report it.
/// Its name is that of the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The parent of its process.
    pub parent: Pid,
    /// Its tid in its own pid namespace.
    pub own: i32,
    /// Whether it was created within the trace, by a thread that was killed
    /// before it could report that.
    pub orphan: bool,
}

/// Whether something is read that costs extra.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// It is.
    Yes,
    /// It is not: nobody asked for it.
    No,
}

impl Wanted {
    /// Whether one of several wants it.
    pub fn by_any(who: impl IntoIterator<Item = Wanted>) -> Wanted {
        match who.into_iter().any(|one| one == Wanted::Yes) {
            true => Wanted::Yes,
            false => Wanted::No,
        }
    }
}

/// Which descendants are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Follow {
    /// None: only the threads given.
    None,
    /// The threads of the processes given.
    Threads,
    /// All.
    All,
}

/// What is traced in this run, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The version of the forktrace that traced.
    pub version: String,
    /// When tracing started: the clock of the wall, since 1970.
    pub wall: Duration,
    /// When tracing started: CLOCK_MONOTONIC, on which the events' times count.
    pub monotonic: Duration,
    /// What is traced.
    pub target: Target,
    /// The machine's own ABI.
    pub abi: Abi,
    /// Where the tracees stop.
    pub stops: Stops,
    /// Which descendants are followed.
    pub follow: Follow,
    /// Whether waits and signals are told.
    pub waits: Wanted,
    /// Whether it is told who adopts orphans.
    pub orphans: Wanted,
}

/// What is traced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A command that was launched: its words, any bytes.
    Command(Vec<Vec<u8>>),
    /// Processes that ran already.
    Processes(Vec<Pid>),
}

/// What a process used (getrusage(2)), with the children that it waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in user mode.
    pub user: Duration,
    /// CPU time in the kernel.
    pub system: Duration,
    /// The largest resident set, in KiB, of it or of one of those children.
    pub max_rss_kib: u64,
}

/// Where tracees are made to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stops {
    /// At the calls of interest, picked by a seccomp filter.
    Seccomp,
    /// At ptrace events only: failed calls are not seen.
    Event,
    /// At every system call.
    Syscall,
}

impl Stops {
    /// The word for it on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Stops::Seccomp => "seccomp",
            Stops::Event => "event",
            Stops::Syscall => "syscall",
        }
    }
}

/// A creating call and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    /// What was asked for.
    pub request: Request,
    /// What came of it.
    pub outcome: Outcome,
    /// From its entry to its answer, as the tracer saw both; the tracer's own
    /// share is in it. `None` where the entry is not seen.
    pub latency: Option<Duration>,
    /// Why it failed, as far as that is known.
    pub why: Causes,
    /// Which earlier failure it makes good.
    pub retry: Option<Retry>,
}

/// What came of a creating call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A child.
    Created(Child),
    /// An error; the restart codes count as such (see [`Errno::restart`]).
    Failed(Errno),
    /// The caller was killed in the call.
    Unknown,
    /// The kernel did not carry the call out: a seccomp filter of the program
    /// answered in its place, with this value (for one that signals or kills,
    /// the number of the call).
    Skipped(i32),
}

/// A child, just created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Child {
    /// Its tid as forktrace sees it; `None` where only the call's return
    /// value, in another pid namespace, tells that it exists.
    pub tid: Option<Tid>,
    /// What the call returned: the child's tid in the pid namespace of the
    /// caller.
    pub returned: i32,
    /// Its tid in its own pid namespace.
    pub own: i32,
    /// Whether its own events follow.
    pub followed: Followed,
    /// What the kernel stored for CLONE_PARENT_SETTID, read back.
    pub parent_tid: Option<i32>,
    /// What the kernel stored for CLONE_PIDFD, read back.
    pub pidfd: Option<i32>,
}

/// Whether a child's own events follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Followed {
    /// Yes.
    Yes,
    /// No: the user didn't ask for it, or not so deep.
    NotAsked,
    /// No: CLONE_UNTRACED hides it from tracers.
    Untraced,
    /// No, likewise; and it has forktrace's seccomp filter, which needs a
    /// tracer: its own forks and execs fail.
    Stranded,
}

impl Create {
    /// The child, if there is one.
    pub fn child(&self) -> Option<&Child> {
        match &self.outcome {
            Outcome::Created(child) => Some(child),
            _ => None,
        }
    }
}

/// An exec call and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    /// What was asked for.
    pub call: ExecCall,
    /// `Ok`, the error, or `None` if the caller was killed in the call.
    pub result: Option<Result<(), Errno>>,
    /// The tid that the caller goes on under, where it was not the leader of
    /// its group: exec gives it the leader's.
    pub continues_as: Option<Tid>,
    /// The thread that waits in vfork for this exec, and goes on now.
    pub releases: Option<Tid>,
    /// From its entry to its answer, as for [`Create`].
    pub latency: Option<Duration>,
    /// Why it failed, as far as that is known.
    pub why: Causes,
}

/// A call that waits for children, and what it told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// What was asked for.
    pub call: WaitCall,
    /// What the call returned, or its error (the restart codes count as such);
    /// `None` if the caller was killed in the call.
    pub answer: Option<Result<i64, Errno>>,
    /// What the kernel stored in the caller's memory.
    pub stored: Stored,
    /// The child that the call tells of, as forktrace numbers it; `None` where it
    /// tells of none, and where only its number in the caller's pid namespace is
    /// known.
    pub child: Option<Tid>,
    /// From its entry to its answer, as for [`Create`].
    pub latency: Option<Duration>,
}

/// A call that sends a signal, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// What was asked for.
    pub call: KillCall,
    /// The one thread or process that is meant, as forktrace numbers it; `None`
    /// where a group is, and where that is not known.
    pub target: Option<Tid>,
    /// As for [`Wait`].
    pub answer: Option<Result<i64, Errno>>,
    /// From its entry to its answer, as for [`Create`].
    pub latency: Option<Duration>,
}

impl Wait {
    /// A call whose caller was killed in it.
    pub fn unanswered(call: WaitCall) -> Wait {
        Wait {
            call,
            answer: None,
            stored: Stored::default(),
            child: None,
            latency: None,
        }
    }
}

/// The end of a thread or process, and what it leaves known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// How it ended.
    pub end: End,
    /// What its process used; `None` for a thread that is not its process's
    /// leader, and where the source was not asked.
    pub usage: Option<Usage>,
}

impl From<End> for Ended {
    fn from(end: End) -> Ended {
        Ended { end, usage: None }
    }
}

/// How a thread or process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It exited, with this status (0 to 255).
    Exited(i32),
    /// A signal killed it.
    Killed {
        /// Which.
        signal: Signal,
        /// Whether a core was dumped.
        core_dumped: bool,
    },
}

/// Why nothing more is told of a thread that runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// forktrace let go of it.
    Detached,
    /// forktrace would have let go of it, but its seccomp filter needs a
    /// tracer: it is traced on in silence.
    Silenced,
}
