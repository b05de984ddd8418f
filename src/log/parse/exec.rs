//! Exec calls from lines.

use std::time::Duration;

use super::super::line::{ExecFailedLine, ExecFailure, ExecLine, Gaps, read_causes};
use super::super::types::{Hex, HexBytes, HexWords, Word, Words};
use super::super::words::Executing;
use super::{Fault, Trouble, call, known};
use crate::abi::Syscall;
use crate::diagnosis::Causes;
use crate::event::{Event, EventKind, Exec};
use crate::exec::{Env, ExecCall, ListEnd, Strings, Text};
use crate::ids::{Comm, Errno, Pid, Tid};

/// What was asked for, of a line of an exec call.
macro_rules! call {
    ($line:ident) => {{
        let syscall = match ($line.abi, $line.nr, $line.args) {
            (Some(abi), Some(nr), Some(args)) => Some(Syscall {
                abi: known("abi", abi)?,
                nr,
                args: args.map(|Hex(value)| value),
            }),
            (None, None, None) => None,
            _ => return Err("abi, nr and args only in part".into()),
        };
        let call = match syscall {
            Some(syscall) => call(syscall, Executing::of, "executes")?,
            None => known("syscall", $line.syscall)?,
        };
        ExecCall {
            syscall,
            call: call.call(),
            path: match ($line.path_hex, $line.path, $line.path_unreadable) {
                (Some(HexBytes(bytes)), _, _) | (None, Some(Word(bytes)), _) => Text::Bytes {
                    bytes: bytes.into_owned(),
                    truncated: $line.path_truncated,
                },
                (None, None, Some(Hex(addr))) => Text::Unreadable(addr),
                (None, None, None) => Text::Null,
            },
            argv: strings($line.argv, $line.argv_hex, $line.argv_gaps)?.ok_or("no argv")?,
            env: Env {
                addr: $line.env_addr.map(|Hex(addr)| addr),
                vars: $line.env_vars.map(|vars| vars as usize),
                unterminated: $line.env_unterminated,
                text: strings($line.env, $line.env_hex, $line.env_gaps)?,
            },
        }
    }};
}

pub(super) fn done(line: ExecLine<'_>) -> Result<Event, Trouble> {
    let exec = Exec {
        call: call!(line),
        result: Some(Ok(())),
        continues_as: line.continues_as_tid.map(Tid),
        releases: line.releases_tid.map(Tid),
        latency: line.latency_ns.map(Duration::from_nanos),
        why: Causes::new(),
    };
    Ok(event!(line, EventKind::Exec(Box::new(exec))))
}

pub(super) fn failed(line: ExecFailedLine<'_>) -> Result<Event, Trouble> {
    let result = match (known("outcome", line.outcome)?, line.errno_nr) {
        (ExecFailure::Error, Some(errno)) => Some(Err(Errno(errno))),
        (ExecFailure::Error, None) => return Err("no errno_nr".into()),
        (ExecFailure::Killed, _) => None,
    };
    let exec = Exec {
        call: call!(line),
        result,
        continues_as: None,
        releases: None,
        latency: line.latency_ns.map(Duration::from_nanos),
        why: read_causes(line.why),
    };
    Ok(event!(line, EventKind::Exec(Box::new(exec))))
}

/// A list with the exact bytes of what is no text in it.
pub(super) fn exact(list: Words<'_>, hex: Option<HexWords<'_>>) -> Result<Vec<Text>, Fault> {
    let mut items = list.0.into_owned();
    if let Some(HexWords(exact)) = hex {
        if exact.len() != items.len() {
            return Err("a list and its bytes are of different lengths".to_owned());
        }
        for (item, exact) in items.iter_mut().zip(exact.into_owned()) {
            if exact != Text::Null {
                *item = exact;
            }
        }
    }
    Ok(items)
}

/// An array of strings; `None` where the line has none.
fn strings(
    list: Option<Words<'_>>,
    hex: Option<HexWords<'_>>,
    gaps: Option<Gaps>,
) -> Result<Option<Strings>, Fault> {
    let gaps = gaps.unwrap_or_default();
    let Some(list) = list else {
        return Ok(gaps.addr.map(|Hex(addr)| Strings::Address(addr)));
    };
    let mut items = exact(list, hex)?;
    let out_of_range = || "an index outside of its list".to_owned();
    for index in gaps.truncated {
        match items.get_mut(index) {
            Some(Text::Bytes { truncated, .. }) => *truncated = true,
            _ => return Err(out_of_range()),
        }
    }
    for (index, Hex(addr)) in gaps.unreadable.into_iter().zip(gaps.unreadable_addr) {
        *items.get_mut(index).ok_or_else(out_of_range)? = Text::Unreadable(addr);
    }
    let end = match (gaps.ended_at, gaps.more) {
        (Some(Hex(addr)), _) => ListEnd::Unreadable(addr),
        (None, true) => ListEnd::More,
        (None, false) => ListEnd::Complete,
    };
    Ok(Some(Strings::List { items, end }))
}
