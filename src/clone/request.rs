//! One vocabulary for the four creating calls. The raw facts are stored; what
//! follows from them (kind, stack, exit signal) is computed.

use schemars::JsonSchema;
use serde::Serialize;

use super::args::{CloneArgs, UserDesc};
use super::flags::{CSIGNAL, CloneFlags};
use crate::abi::Syscall;
use crate::ids::Signal;

/// A creating call with all that it asks for, decoded at its entry (or, where
/// the tracer stops only later, at its event).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// ABI, number and raw arguments.
    pub syscall: Syscall,
    /// The call's own form of the request.
    pub spec: Spec,
}

/// What each call has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spec {
    /// fork(2): no arguments.
    Fork,
    /// vfork(2): no arguments.
    Vfork,
    /// clone(2): arguments in registers.
    Clone(LegacyClone),
    /// clone3: a structure.
    Clone3(Clone3),
}

/// The arguments of clone, in one order for every ABI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyClone {
    /// The flags register whole: flags, exit signal in the low byte, and upper
    /// 32 bits that the kernel ignores.
    pub flags: u64,
    /// The stack pointer that the child starts with; 0: the caller's.
    pub stack: u64,
    /// Where the parent's copy of the tid (or the pidfd) goes.
    pub parent_tid: u64,
    /// The tid word in the child.
    pub child_tid: u64,
    /// Thread-local storage.
    pub tls: Tls,
}

/// The TLS argument: an address, or on i386 a segment described in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// The register or field as it is.
    Address(u64),
    /// What the address pointed to.
    Segment(UserDesc),
}

/// The arguments of clone3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clone3 {
    /// Where the structure is.
    pub addr: u64,
    /// The size that the caller gave.
    pub size: u64,
    /// What could be read there.
    pub body: Body,
}

/// The structure behind clone3's first argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Smaller than any version of it: the kernel answers EINVAL unread.
    TooSmall,
    /// Not in the caller's memory.
    Unreadable,
    /// Read.
    Read {
        /// The fields known to forktrace.
        args: CloneArgs,
        /// The TLS field, followed where it is a pointer.
        tls: Tls,
        /// The array of pids asked for.
        set_tid: SetTid,
        /// What follows the fields known.
        tail: Tail,
    },
}

/// The array behind `set_tid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetTid {
    /// Not asked for, or with a size that no kernel takes: only the address.
    Address,
    /// Its elements; fewer than `set_tid_size` where the memory ended.
    Pids(Vec<i32>),
}

/// The bytes of a clone_args that is larger than the newest known one. The
/// kernel accepts zeros there and answers E2BIG to anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tail {
    /// Nothing there, or zeros only.
    Zero,
    /// Something else: the bytes, as many as the string limit allows.
    NonZero {
        /// The first of them.
        head: Vec<u8>,
        /// Offset of the last byte looked at.
        last: usize,
    },
    /// Not in the caller's memory.
    Unreadable {
        /// Offset of the last byte asked for.
        last: usize,
    },
}

/// The arguments beside the flags that a request has from somewhere: a tracer
/// has them all, the text of a call may leave some out. Those left out are
/// zero in the request and mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArgSet(u8);

impl ArgSet {
    /// The flags alone.
    pub const NONE: ArgSet = ArgSet(0);
    /// The stack.
    pub const STACK: ArgSet = ArgSet(1);
    /// The exit signal.
    pub const EXIT_SIGNAL: ArgSet = ArgSet(2);
    /// Where the parent's copy of the tid goes.
    pub const PARENT_TID: ArgSet = ArgSet(4);
    /// The tid word in the child.
    pub const CHILD_TID: ArgSet = ArgSet(8);
    /// Where the pidfd goes.
    pub const PIDFD: ArgSet = ArgSet(16);
    /// The cgroup.
    pub const CGROUP: ArgSet = ArgSet(32);
    /// The size of clone3's structure.
    pub const SIZE: ArgSet = ArgSet(64);
    /// Thread-local storage.
    pub const TLS: ArgSet = ArgSet(128);
    /// Everything.
    pub const ALL: ArgSet = ArgSet(u8::MAX);

    /// Whether all of `other` are in it.
    pub fn has(self, other: ArgSet) -> bool {
        self.0 & other.0 == other.0
    }

    /// These and those.
    pub fn and(self, other: ArgSet) -> ArgSet {
        ArgSet(self.0 | other.0)
    }
}

/// What comes into being.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A thread of the caller's process (CLONE_THREAD).
    Thread,
    /// A process that borrows the caller's memory while the caller is
    /// suspended (CLONE_VM with CLONE_VFORK).
    Vfork,
    /// A process that shares the caller's memory for good (CLONE_VM alone).
    SharedProcess,
    /// A process with a copy-on-write copy of the caller's memory.
    Process,
}

/// Where the child starts to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stack {
    /// On the caller's stack pointer: in its own copy of that stack, or in
    /// the very same memory where the address space is shared.
    Callers,
    /// At this stack pointer (clone).
    Pointer(u64),
    /// In this area (clone3): lowest address, bytes.
    Area(u64, u64),
}

impl Request {
    /// The clone_args, where clone3's could be read.
    pub fn clone_args(&self) -> Option<&CloneArgs> {
        match &self.spec {
            Spec::Clone3(Clone3 {
                body: Body::Read { args, .. },
                ..
            }) => Some(args),
            _ => None,
        }
    }

    /// The flags in effect: what fork and vfork imply, clone's low 32 bits
    /// without the exit signal (kernel/fork.c masks the rest), clone3's all.
    pub fn flags(&self) -> CloneFlags {
        match &self.spec {
            Spec::Fork => CloneFlags::default(),
            Spec::Vfork => CloneFlags::VFORK | CloneFlags::VM,
            Spec::Clone(clone) => CloneFlags(clone.flags & 0xffff_ffff & !CSIGNAL),
            Spec::Clone3(_) => self.clone_args().map_or(CloneFlags::default(), |a| a.flags),
        }
    }

    /// The signal that the parent gets when the child exits; `None` for no
    /// signal, also for threads, whatever the caller wrote there.
    pub fn exit_signal(&self) -> Option<Signal> {
        if self.flags().has(CloneFlags::THREAD) {
            return None;
        }
        let number = match &self.spec {
            Spec::Fork | Spec::Vfork => Signal::CHLD.0,
            Spec::Clone(clone) => (clone.flags & CSIGNAL) as i32,
            Spec::Clone3(_) => self
                .clone_args()
                .map_or(0, |a| i32::try_from(a.exit_signal).unwrap_or(0)),
        };
        (number != 0).then_some(Signal(number))
    }

    /// What comes into being.
    pub fn kind(&self) -> Kind {
        let flags = self.flags();
        if flags.has(CloneFlags::THREAD) {
            Kind::Thread
        } else if flags.has(CloneFlags::VM | CloneFlags::VFORK) {
            Kind::Vfork
        } else if flags.has(CloneFlags::VM) {
            Kind::SharedProcess
        } else {
            Kind::Process
        }
    }

    /// Whether the kind is known: the arguments of clone3 may be unreadable.
    pub fn is_decoded(&self) -> bool {
        !matches!(self.spec, Spec::Clone3(_)) || self.clone_args().is_some()
    }

    /// The child's stack.
    pub fn stack(&self) -> Stack {
        match &self.spec {
            Spec::Fork | Spec::Vfork => Stack::Callers,
            Spec::Clone(clone) if clone.stack == 0 => Stack::Callers,
            Spec::Clone(clone) => Stack::Pointer(clone.stack),
            Spec::Clone3(_) => match self.clone_args() {
                Some(a) if a.stack != 0 => Stack::Area(a.stack, a.stack_size),
                _ => Stack::Callers,
            },
        }
    }

    /// The address of the tid word in the child's memory.
    pub fn child_tid(&self) -> u64 {
        match &self.spec {
            Spec::Clone(clone) => clone.child_tid,
            _ => self.clone_args().map_or(0, |a| a.child_tid),
        }
    }

    /// Where the kernel stores the tid in the parent, if asked to.
    pub fn parent_tid(&self) -> Option<u64> {
        self.flags()
            .has(CloneFlags::PARENT_SETTID)
            .then(|| match &self.spec {
                Spec::Clone(clone) => clone.parent_tid,
                _ => self.clone_args().map_or(0, |a| a.parent_tid),
            })
    }

    /// Where the kernel stores a pidfd, if asked to. The old clone uses the
    /// address of `parent_tid` for it and refuses both at once.
    pub fn pidfd(&self) -> Option<u64> {
        self.flags()
            .has(CloneFlags::PIDFD)
            .then(|| match &self.spec {
                Spec::Clone(clone) => clone.parent_tid,
                _ => self.clone_args().map_or(0, |a| a.pidfd),
            })
    }

    /// The TLS argument, if CLONE_SETTLS makes the kernel look at it.
    pub fn tls(&self) -> Option<Tls> {
        if !self.flags().has(CloneFlags::SETTLS) {
            return None;
        }
        match &self.spec {
            Spec::Clone(clone) => Some(clone.tls),
            Spec::Clone3(Clone3 {
                body: Body::Read { tls, .. },
                ..
            }) => Some(*tls),
            _ => None,
        }
    }

    /// The same with no more than `limit` bytes of a structure's unknown tail;
    /// `None` if it has no more.
    pub fn cut(&self, limit: usize) -> Option<Request> {
        let Spec::Clone3(call) = &self.spec else {
            return None;
        };
        match &call.body {
            Body::Read {
                args,
                tls,
                set_tid,
                tail: Tail::NonZero { head, last },
            } if head.len() > limit => Some(Request {
                syscall: self.syscall,
                spec: Spec::Clone3(Clone3 {
                    body: Body::Read {
                        args: *args,
                        tls: *tls,
                        set_tid: set_tid.clone(),
                        tail: Tail::NonZero {
                            head: head[..limit].to_vec(),
                            last: *last,
                        },
                    },
                    ..*call
                }),
            }),
            _ => None,
        }
    }

    /// The pids asked for with `set_tid`.
    pub fn set_tid(&self) -> Option<&[i32]> {
        match &self.spec {
            Spec::Clone3(Clone3 {
                body:
                    Body::Read {
                        set_tid: SetTid::Pids(pids),
                        ..
                    },
                ..
            }) => Some(pids),
            _ => None,
        }
    }
}
