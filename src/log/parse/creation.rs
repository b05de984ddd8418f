//! Creating calls from lines.

use std::time::Duration;

use super::super::line::{CreateFailedLine, CreateLine, Failure, Segment, read_causes};
use super::super::types::{Hex, HexBytes};
use super::super::words::Creating;
use super::{Trouble, call, known};
use crate::abi::Syscall;
use crate::clone::args::{SIZE_MAX, SIZE_VER0};
use crate::clone::{
    Body, Clone3, CloneArgs, CloneFlags, LegacyClone, Request, SetTid, Spec, Tail, Tls, UserDesc,
};
use crate::diagnosis::Causes;
use crate::event::{Child, Create, Event, EventKind, Outcome};
use crate::ids::{Comm, Errno, Pid, Tid};

/// What was asked for, of a line of a creating call.
macro_rules! request {
    ($line:ident) => {
        request(
            Syscall {
                abi: known("abi", $line.abi)?,
                nr: $line.nr,
                args: $line.args.map(|Hex(value)| value),
            },
            $line.clone_args.map(|words| words.map(|Hex(value)| value)),
            $line.set_tid.map(|pids| pids.into_owned()),
            match ($line.clone_args_tail_unreadable, $line.clone_args_tail_hex) {
                (true, _) => TailSeen::Unreadable,
                (false, Some(HexBytes(head))) => TailSeen::NonZero(head.into_owned()),
                (false, None) => TailSeen::Zero,
            },
            $line.tls_segment,
        )
    };
}

/// A tail, but for its length, which the call tells.
enum TailSeen {
    Zero,
    NonZero(Vec<u8>),
    Unreadable,
}

fn request(
    syscall: Syscall,
    words: Option<[u64; 11]>,
    set_tid: Option<Vec<i32>>,
    tail: TailSeen,
    segment: Option<Segment>,
) -> Result<Request, Trouble> {
    let tls = |register| match segment {
        None => Tls::Address(register),
        Some(desc) => Tls::Segment(UserDesc {
            entry_number: desc.entry_number,
            base_addr: desc.base_addr,
            limit: desc.limit,
            bits: desc.bits,
        }),
    };
    let spec = match call(syscall, Creating::of, "creates")? {
        Creating::Fork => Spec::Fork,
        Creating::Vfork => Spec::Vfork,
        Creating::Clone => {
            let order = syscall.abi.clone_order();
            Spec::Clone(LegacyClone {
                flags: syscall.args[order.flags],
                stack: syscall.args[order.stack],
                parent_tid: syscall.args[order.parent_tid],
                child_tid: syscall.args[order.child_tid],
                tls: tls(syscall.args[order.tls]),
            })
        }
        Creating::Clone3 => {
            let [addr, size, ..] = syscall.args;
            let last = usize::try_from(size).map_or(SIZE_MAX, |size| size.min(SIZE_MAX));
            let last = last.saturating_sub(1);
            let body = match words {
                _ if size < SIZE_VER0 as u64 => Body::TooSmall,
                None => Body::Unreadable,
                Some(words) => Body::Read {
                    args: clone_args(words),
                    tls: tls(words[7]),
                    set_tid: set_tid.map_or(SetTid::Address, SetTid::Pids),
                    tail: match tail {
                        TailSeen::Zero => Tail::Zero,
                        TailSeen::NonZero(head) => Tail::NonZero { head, last },
                        TailSeen::Unreadable => Tail::Unreadable { last },
                    },
                },
            };
            Spec::Clone3(Clone3 { addr, size, body })
        }
    };
    Ok(Request { syscall, spec })
}

fn clone_args(words: [u64; 11]) -> CloneArgs {
    let [
        flags,
        pidfd,
        child_tid,
        parent_tid,
        exit_signal,
        stack,
        stack_size,
        tls,
        rest @ ..,
    ] = words;
    let [set_tid, set_tid_size, cgroup] = rest;
    CloneArgs {
        flags: CloneFlags(flags),
        pidfd,
        child_tid,
        parent_tid,
        exit_signal,
        stack,
        stack_size,
        tls,
        set_tid,
        set_tid_size,
        cgroup,
    }
}

pub(super) fn made(line: CreateLine<'_>) -> Result<Event, Trouble> {
    let child = Child {
        tid: line.child_tid.map(Tid),
        returned: line.returned,
        own: line.child_own_tid,
        followed: known("followed", line.followed)?,
        parent_tid: line.stored_parent_tid,
        pidfd: line.stored_pidfd,
    };
    let create = Create {
        request: request!(line)?,
        outcome: Outcome::Created(child),
        latency: line.latency_ns.map(Duration::from_nanos),
        why: Causes::new(),
        retry: line.retry,
    };
    Ok(event!(line, EventKind::Create(Box::new(create))))
}

pub(super) fn failed(line: CreateFailedLine<'_>) -> Result<Event, Trouble> {
    let outcome = match (
        known("outcome", line.outcome)?,
        line.errno_nr,
        line.skipped_value,
    ) {
        (Failure::Error, Some(errno), _) => Outcome::Failed(Errno(errno)),
        (Failure::Error, None, _) => return Err("no errno_nr".into()),
        (Failure::Killed, _, _) => Outcome::Unknown,
        (Failure::Skipped, _, Some(value)) => Outcome::Skipped(value),
        (Failure::Skipped, _, None) => return Err("no skipped_value".into()),
    };
    let create = Create {
        request: request!(line)?,
        outcome,
        latency: line.latency_ns.map(Duration::from_nanos),
        why: read_causes(line.why),
        retry: None,
    };
    Ok(event!(line, EventKind::Create(Box::new(create))))
}
