//! What the tree keeps of each process: small, as there may be millions.

use std::time::Duration;

use super::strings::CommandId;
use crate::abi::Call;
use crate::clone::{Body, CloneFlags, Kind, Request, Spec, Stack};
use crate::event::Usage;
use crate::ids::{Errno, Pid, Signal, Tid};

/// A process in the tree (or, where threads are kept, a thread). Pids are used
/// again, these are not. A child's is greater than its parent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(super) u32);

impl NodeId {
    /// Counts from 0, without gaps.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A creating call in short: what of it matters to a tree. A few kinds of call
/// make all the processes of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct How {
    /// The call; `None` if its number is not known.
    pub call: Option<Call>,
    /// What comes into being.
    pub kind: Kind,
    /// The flags in effect.
    pub flags: CloneFlags,
    /// What the parent is sent at the end.
    pub exit_signal: Option<Signal>,
    /// Whether the child has a stack given to it.
    pub stack: StackGiven,
    /// Whether the arguments could be read.
    pub decoded: Decoded,
}

/// Whether a child starts on a stack given to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StackGiven {
    /// It does.
    Yes,
    /// It starts on the caller's, or on its copy of that.
    No,
}

/// Whether the arguments of a call could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decoded {
    /// They could.
    Yes,
    /// Those of this clone3 are not in the caller's memory.
    Unreadable,
    /// The structure of this clone3 is smaller than any version of it.
    TooSmall,
}

impl How {
    /// That of a request.
    pub fn of(request: &Request) -> How {
        How {
            call: request.syscall.call(),
            kind: request.kind(),
            flags: request.flags(),
            exit_signal: request.exit_signal(),
            stack: match request.stack() {
                Stack::Callers => StackGiven::No,
                _ => StackGiven::Yes,
            },
            decoded: match &request.spec {
                Spec::Clone3(clone3) => match clone3.body {
                    Body::TooSmall => Decoded::TooSmall,
                    Body::Unreadable => Decoded::Unreadable,
                    Body::Read { .. } => Decoded::Yes,
                },
                _ => Decoded::Yes,
            },
        }
    }
}

/// Where a process comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The program that forktrace launched.
    Launched,
    /// It was created so, by its parent in the tree.
    Created(How),
    /// It was there when tracing began.
    Attached,
    /// It was created within the trace, by a thread that was killed before it
    /// could report that.
    Orphan,
    /// Events of it were seen, but not where it came from: an incomplete log.
    Unknown,
}

/// What became of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It lived when the trace ended.
    Alive,
    /// It exited with this status.
    Exited(i32),
    /// A signal killed it.
    Killed {
        /// Which.
        signal: Signal,
        /// Whether a core was dumped.
        core_dumped: bool,
    },
    /// forktrace let go of it.
    Detached,
    /// It is traced on, but nothing more is told of it.
    Silenced,
    /// Nothing was to be told of it: it was not asked for.
    NotFollowed,
    /// CLONE_UNTRACED hides it from tracers.
    Untraced,
    /// It ended unseen: its tid was given away.
    Unseen,
    /// A thread that called exec: it goes on as the first of its process.
    BecameLeader,
}

impl Fate {
    /// Whether it ended, and when is known.
    pub fn ended(self) -> bool {
        matches!(self, Fate::Exited(_) | Fate::Killed { .. })
    }

    /// Whether it lived when it was last heard of.
    pub fn alive(self) -> bool {
        matches!(self, Fate::Alive | Fate::Detached | Fate::Silenced)
    }
}

/// Something that a process did, apart from creating children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub(super) node: NodeId,
    /// How many nodes there were by then.
    pub(super) after: u32,
    pub(super) at: Halves,
    /// How often in a row; more than once for failures.
    pub count: u32,
    /// The thread that did it.
    pub by: Tid,
    /// What.
    pub what: Deed,
}

impl Moment {
    /// When, since the start of tracing; of several the last.
    pub fn at(&self) -> Duration {
        Duration::from_nanos(self.at.whole())
    }

    /// Whose.
    pub fn node(&self) -> NodeId {
        self.node
    }
}

/// A number in two halves, so that what holds it needs no padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Halves(u32, u32);

impl Halves {
    pub(super) fn of(whole: u64) -> Halves {
        Halves((whole >> 32) as u32, whole as u32)
    }

    fn whole(self) -> u64 {
        u64::from(self.0) << 32 | u64::from(self.1)
    }
}

/// What a process did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// It became this program.
    Exec(CommandId),
    /// It tried to become this program, in vain, and none after it.
    ExecFailed(CommandId, Errno),
    /// It tried to create a child; an index for [`Tree::how`](super::Tree::how).
    CreateFailed(HowId, Failure),
}

/// A call that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HowId(pub(super) u16);

/// Why a call created nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The kernel refused.
    Errno(Errno),
    /// The caller was killed in the call.
    CallerKilled,
    /// A seccomp filter of the program answered in the kernel's place.
    Skipped,
    /// Several reasons: more than are kept of one process.
    Various,
}

/// A process, or a thread.
#[derive(Debug, Clone, Copy)]
pub struct Node {
    pub(super) pid: i32,
    pub(super) creator: i32,
    pub(super) parent: u32,
    pub(super) depth: u32,
    pub(super) code: i32,
    pub(super) born: u64,
    pub(super) ended: u64,
    /// CPU time that it used, in nanoseconds.
    pub(super) cpu: u64,
    pub(super) first: CommandId,
    pub(super) current: CommandId,
    pub(super) execs: u32,
    pub(super) threads: u32,
    pub(super) how: u16,
    pub(super) fate: FateTag,
    pub(super) marks: Marks,
}

/// In place of a parent: none.
pub(super) const NOBODY: u32 = u32::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum FateTag {
    Alive,
    Exited,
    Killed,
    KilledWithCore,
    Detached,
    Silenced,
    NotFollowed,
    Untraced,
    Unseen,
    BecameLeader,
}

/// Small facts of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Marks(pub(super) u8);

impl Marks {
    pub(super) const THREAD: Marks = Marks(1);
    pub(super) const LAUNCHED: Marks = Marks(2);
    pub(super) const ATTACHED: Marks = Marks(4);
    pub(super) const ORPHAN: Marks = Marks(8);
    /// A thread waits in vfork for it.
    pub(super) const AWAITED: Marks = Marks(16);
    /// Its pid is that of its creator's pid namespace; the tracer's is unknown.
    pub(super) const FOREIGN_PID: Marks = Marks(32);
    /// What it used was told.
    pub(super) const USAGE: Marks = Marks(64);
    pub(super) const CREATED: Marks = Marks(128);

    pub(super) fn has(self, mark: Marks) -> bool {
        self.0 & mark.0 != 0
    }

    pub(super) fn set(&mut self, mark: Marks) {
        self.0 |= mark.0;
    }

    pub(super) fn clear(&mut self, mark: Marks) {
        self.0 &= !mark.0;
    }
}

impl Node {
    /// Its pid (a thread's tid).
    pub fn pid(&self) -> Pid {
        Pid(self.pid)
    }

    /// Whether its pid is only known as in its creator's pid namespace.
    pub fn pid_is_foreign(&self) -> bool {
        self.marks.has(Marks::FOREIGN_PID)
    }

    /// Whether it is a thread.
    pub fn is_thread(&self) -> bool {
        self.marks.has(Marks::THREAD)
    }

    /// The thread that created it; `None` where its creation was not told.
    pub fn creator(&self) -> Option<Tid> {
        self.marks.has(Marks::CREATED).then_some(Tid(self.creator))
    }

    /// The process that created it (a thread's own process); of one that was
    /// attached, its parent.
    pub fn parent(&self) -> Option<NodeId> {
        (self.parent != NOBODY).then_some(NodeId(self.parent))
    }

    /// How many generations below the first.
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// When it was first known, since the start of tracing.
    pub fn born(&self) -> Duration {
        Duration::from_nanos(self.born)
    }

    /// When it was last known of.
    pub fn ended(&self) -> Duration {
        Duration::from_nanos(self.ended)
    }

    /// How long it lived, where both ends were seen.
    pub fn lived(&self) -> Option<Duration> {
        let begins = [Marks::CREATED, Marks::LAUNCHED, Marks::ORPHAN];
        let seen = begins.iter().any(|mark| self.marks.has(*mark)) && self.fate().ended();
        seen.then(|| self.ended().saturating_sub(self.born()))
    }

    /// What it ran before its first exec in the trace: its parent's program.
    pub fn first(&self) -> CommandId {
        self.first
    }

    /// What it ran last.
    pub fn current(&self) -> CommandId {
        self.current
    }

    /// How often it exec'd.
    pub fn execs(&self) -> u32 {
        self.execs
    }

    /// How many threads it had beside its first, as far as creations were told
    /// or they were found.
    pub fn threads(&self) -> u32 {
        self.threads
    }

    /// Whether a thread was waiting in vfork for its exec or end when the
    /// trace ended.
    pub fn awaited(&self) -> bool {
        self.marks.has(Marks::AWAITED)
    }

    /// What became of it.
    pub fn fate(&self) -> Fate {
        let killed = |core_dumped| Fate::Killed {
            signal: Signal(self.code),
            core_dumped,
        };
        match self.fate {
            FateTag::Alive => Fate::Alive,
            FateTag::Exited => Fate::Exited(self.code),
            FateTag::Killed => killed(false),
            FateTag::KilledWithCore => killed(true),
            FateTag::Detached => Fate::Detached,
            FateTag::Silenced => Fate::Silenced,
            FateTag::NotFollowed => Fate::NotFollowed,
            FateTag::Untraced => Fate::Untraced,
            FateTag::Unseen => Fate::Unseen,
            FateTag::BecameLeader => Fate::BecameLeader,
        }
    }

    pub(super) fn set_fate(&mut self, fate: Fate) {
        (self.fate, self.code) = match fate {
            Fate::Alive => (FateTag::Alive, 0),
            Fate::Exited(code) => (FateTag::Exited, code),
            Fate::Killed {
                signal,
                core_dumped: false,
            } => (FateTag::Killed, signal.0),
            Fate::Killed {
                signal,
                core_dumped: true,
            } => (FateTag::KilledWithCore, signal.0),
            Fate::Detached => (FateTag::Detached, 0),
            Fate::Silenced => (FateTag::Silenced, 0),
            Fate::NotFollowed => (FateTag::NotFollowed, 0),
            Fate::Untraced => (FateTag::Untraced, 0),
            Fate::Unseen => (FateTag::Unseen, 0),
            Fate::BecameLeader => (FateTag::BecameLeader, 0),
        };
    }

    /// The CPU time that it used, with the children that it waited for.
    pub fn cpu(&self) -> Option<Duration> {
        let told = self.marks.has(Marks::USAGE);
        told.then(|| Duration::from_nanos(self.cpu))
    }

    pub(super) fn set_usage(&mut self, usage: Usage) {
        self.marks.set(Marks::USAGE);
        self.cpu = nanos(usage.user.saturating_add(usage.system));
    }
}

/// A time as it is kept: it ends after 584 years.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_stays_small() {
        assert!(size_of::<Node>() <= 64, "{} bytes", size_of::<Node>());
        assert!(size_of::<Moment>() <= 36, "{} bytes", size_of::<Moment>());
    }
}
