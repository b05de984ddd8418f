//! Exec calls as lines.

use std::borrow::Cow;

use super::super::line::{ExecFailedLine, ExecFailure, ExecLine, Gaps, Line, written_causes};
use super::super::types::{Hex, HexBytes, HexWords, Words};
use super::super::words::{Executing, Of};
use super::{ns, word};
use crate::event::{Event, Exec};
use crate::exec::{ListEnd, Strings, Text};
use crate::ids::Errno;

/// A line of an exec call, with what was asked for.
macro_rules! executing {
    ($type:ident of $event:ident, $exec:ident { $($fields:tt)* }) => {{
        let call = &$exec.call;
        let path = match &call.path {
            Text::Bytes { bytes, .. } => Some(bytes.as_slice()),
            Text::Null | Text::Unreadable(_) => None,
        };
        let (argv, argv_hex, argv_gaps) = list(Some(&call.argv));
        let (env, env_hex, env_gaps) = list(call.env.text.as_ref());
        line!($type of $event {
            syscall: Executing::of(call.call).map_or_else(
                || Of::Later(call.call.name().to_owned()),
                Of::Known,
            ),
            $($fields)*
            path: path.map(word),
            path_hex: path.and_then(HexBytes::unless_text),
            path_truncated: matches!(call.path, Text::Bytes { truncated: true, .. }),
            path_unreadable: match call.path {
                Text::Unreadable(addr) => Some(Hex(addr)),
                Text::Bytes { .. } | Text::Null => None,
            },
            argv,
            argv_hex,
            argv_gaps,
            env,
            env_hex,
            env_gaps,
            env_vars: call.env.vars.map(|vars| vars as u64),
            env_addr: call.env.addr.map(Hex),
            env_unterminated: call.env.unterminated,
            abi: call.syscall.map(|syscall| Of::Known(syscall.abi)),
            nr: call.syscall.map(|syscall| syscall.nr),
            args: call.syscall.map(|syscall| syscall.args.map(Hex)),
            latency_ns: $exec.latency.map(ns),
        })
    }};
}

pub(super) fn line<'a>(event: &'a Event, exec: &'a Exec) -> Line<'a> {
    let (outcome, error) = match exec.result {
        Some(Ok(())) => {
            return Line::Exec(executing!(ExecLine of event, exec {
                continues_as_tid: exec.continues_as.map(|tid| tid.0),
                releases_tid: exec.releases.map(|tid| tid.0),
            }));
        }
        Some(Err(errno)) => (ExecFailure::Error, Some(errno)),
        None => (ExecFailure::Killed, None),
    };
    Line::ExecFailed(executing!(ExecFailedLine of event, exec {
        outcome: Of::Known(outcome),
        errno: error.and_then(Errno::symbol),
        errno_nr: error.map(|errno| errno.0),
        why: written_causes(&exec.why),
    }))
}

/// Strings, those of them that are no text, and what is missing.
fn list(strings: Option<&Strings>) -> (Option<Words<'_>>, Option<HexWords<'_>>, Option<Gaps>) {
    match strings {
        None => (None, None, None),
        Some(Strings::Address(addr)) => {
            let gaps = Gaps {
                addr: Some(Hex(*addr)),
                ..Gaps::default()
            };
            (None, None, Some(gaps))
        }
        Some(Strings::List { items, end }) => {
            let gaps = gaps(items, *end);
            (
                Some(Words(Cow::Borrowed(items))),
                HexWords::unless_text(items),
                (gaps != Gaps::default()).then_some(gaps),
            )
        }
    }
}

fn gaps(items: &[Text], end: ListEnd) -> Gaps {
    let mut gaps = Gaps {
        more: end == ListEnd::More,
        ended_at: match end {
            ListEnd::Unreadable(addr) => Some(Hex(addr)),
            ListEnd::Complete | ListEnd::More => None,
        },
        ..Gaps::default()
    };
    for (index, item) in items.iter().enumerate() {
        match item {
            Text::Bytes {
                truncated: true, ..
            } => gaps.truncated.push(index),
            Text::Unreadable(addr) => {
                gaps.unreadable.push(index);
                gaps.unreadable_addr.push(Hex(*addr));
            }
            Text::Bytes { .. } | Text::Null => {}
        }
    }
    gaps
}
