//! Creating calls as lines.

use std::borrow::Cow;

use super::super::line::{CreateFailedLine, CreateLine, Failure, Line, Segment, written_causes};
use super::super::types::{Hex, HexBytes, Names};
use super::super::words::{Creating, Of};
use super::{ns, word};
use crate::clone::{Body, Clone3, CloneArgs, CloneFlags, Request, SetTid, Spec, Stack, Tail, Tls};
use crate::event::{Create, Event, Outcome};
use crate::ids::Errno;

/// A line of a creating call, with what was asked for.
macro_rules! creating {
    ($type:ident of $event:ident, $create:ident { $($fields:tt)* }) => {{
        let request = &$create.request;
        let [flags, shared, copied] = match Names::of(request) {
            Some(names) => names.map(Some),
            None => [None; 3],
        };
        let decoded = request.is_decoded();
        let (stack, stack_size) = match request.stack() {
            Stack::Callers => (None, None),
            Stack::Pointer(pointer) => (Some(Hex(pointer)), None),
            Stack::Area(lowest, size) => (Some(Hex(lowest)), Some(size)),
        };
        let signal = request.exit_signal();
        let raw = Raw::of(request);
        line!($type of $event {
            syscall: request.syscall.call().and_then(Creating::of),
            kind: decoded.then(|| request.kind()),
            $($fields)*
            flags,
            flags_raw: decoded.then(|| Hex(request.flags().0)),
            shared,
            copied,
            exit_signal: signal.map(|signal| signal.to_string()),
            exit_signal_nr: signal.map(|signal| signal.0),
            stack,
            stack_size,
            child_tid_addr: request
                .flags()
                .any(CloneFlags::CHILD_SETTID | CloneFlags::CHILD_CLEARTID)
                .then(|| Hex(request.child_tid())),
            parent_tid_addr: request.parent_tid().map(Hex),
            pidfd_addr: request.pidfd().map(Hex),
            tls: request.tls().map(|tls| match tls {
                Tls::Address(addr) => Hex(addr),
                Tls::Segment(segment) => Hex(segment.base_addr.into()),
            }),
            cgroup_fd: request
                .clone_args()
                .filter(|args| args.flags.has(CloneFlags::INTO_CGROUP))
                .map(|args| args.cgroup),
            abi: Of::Known(request.syscall.abi),
            nr: request.syscall.nr,
            args: request.syscall.args.map(Hex),
            clone_args: raw.args,
            set_tid: raw.set_tid,
            clone_args_tail_hex: raw.tail,
            clone_args_tail_unreadable: raw.tail_unreadable,
            tls_segment: raw.segment,
            latency_ns: $create.latency.map(ns),
        })
    }};
}

pub(super) fn line<'a>(event: &'a Event, create: &'a Create) -> Line<'a> {
    let (outcome, error, value) = match &create.outcome {
        Outcome::Created(child) => {
            return Line::Create(creating!(CreateLine of event, create {
                child_tid: child.tid.map(|tid| tid.0),
                child_own_tid: child.own,
                returned: child.returned,
                followed: Of::Known(child.followed),
                stored_parent_tid: child.parent_tid,
                stored_pidfd: child.pidfd,
                retry: create.retry,
            }));
        }
        Outcome::Failed(errno) => (Failure::Error, Some(*errno), None),
        Outcome::Unknown => (Failure::Killed, None, None),
        Outcome::Skipped(value) => (Failure::Skipped, None, Some(*value)),
    };
    Line::CreateFailed(creating!(CreateFailedLine of event, create {
        outcome: Of::Known(outcome),
        errno: error.and_then(Errno::symbol),
        errno_nr: error.map(|errno| errno.0),
        skipped_value: value,
        why: written_causes(&create.why),
    }))
}

/// What a request holds besides the registers.
#[derive(Default)]
struct Raw<'a> {
    args: Option<[Hex; 11]>,
    set_tid: Option<Cow<'a, [i32]>>,
    tail: Option<HexBytes<'a>>,
    tail_unreadable: bool,
    segment: Option<Segment>,
}

impl<'a> Raw<'a> {
    fn of(request: &'a Request) -> Raw<'a> {
        match &request.spec {
            Spec::Fork | Spec::Vfork => Raw::default(),
            Spec::Clone(clone) => Raw {
                segment: segment(clone.tls),
                ..Raw::default()
            },
            Spec::Clone3(Clone3 {
                body:
                    Body::Read {
                        args,
                        tls,
                        set_tid,
                        tail,
                    },
                ..
            }) => Raw {
                args: Some(words(args)),
                set_tid: match set_tid {
                    SetTid::Address => None,
                    SetTid::Pids(pids) => Some(Cow::Borrowed(pids)),
                },
                tail: match tail {
                    Tail::NonZero { head, .. } => Some(HexBytes(Cow::Borrowed(head))),
                    Tail::Zero | Tail::Unreadable { .. } => None,
                },
                tail_unreadable: matches!(tail, Tail::Unreadable { .. }),
                segment: segment(*tls),
            },
            Spec::Clone3(_) => Raw::default(),
        }
    }
}

fn words(args: &CloneArgs) -> [Hex; 11] {
    [
        args.flags.0,
        args.pidfd,
        args.child_tid,
        args.parent_tid,
        args.exit_signal,
        args.stack,
        args.stack_size,
        args.tls,
        args.set_tid,
        args.set_tid_size,
        args.cgroup,
    ]
    .map(Hex)
}

fn segment(tls: Tls) -> Option<Segment> {
    match tls {
        Tls::Address(_) => None,
        Tls::Segment(desc) => Some(Segment {
            entry_number: desc.entry_number,
            base_addr: desc.base_addr,
            limit: desc.limit,
            bits: desc.bits,
        }),
    }
}
