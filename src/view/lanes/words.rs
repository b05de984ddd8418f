//! What rows say: short, as there is little room.

use std::fmt::Write;
use std::time::Duration;

use super::super::escape::quote;
use crate::clone::Kind;
use crate::event::End;
use crate::exec::{ExecCall, ListEnd, Strings, Text};
use crate::ids::{Errno, Pid};

/// A word of the program's as one would type it, nearly; nothing in it can act on a
/// terminal.
pub(super) fn word(out: &mut String, bytes: &[u8]) {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./=+-,:@%".contains(byte);
    match !bytes.is_empty() && bytes.iter().all(plain) {
        true => out.extend(bytes.iter().map(|byte| char::from(*byte))),
        false => quote(out, bytes),
    }
}

/// A program's name: the last part of its path.
pub(super) fn name(call: &ExecCall) -> String {
    let mut out = String::new();
    match &call.path {
        Text::Bytes { bytes, .. } if !call.is_unseen() => {
            let start = bytes.iter().rposition(|byte| *byte == b'/');
            word(&mut out, &bytes[start.map_or(0, |at| at + 1)..]);
        }
        _ => out.push('?'),
    }
    out
}

/// A program and its arguments.
pub(super) fn command(call: &ExecCall) -> String {
    let mut out = name(call);
    if let Strings::List { items, end } = &call.argv {
        for item in items.iter().skip(1) {
            out.push(' ');
            match item {
                Text::Bytes { bytes, truncated } => {
                    word(&mut out, bytes);
                    if *truncated {
                        out.push_str("...");
                    }
                }
                Text::Null | Text::Unreadable(_) => out.push('?'),
            }
        }
        if *end != ListEnd::Complete {
            out.push_str(" ...");
        }
    }
    out
}

/// What a creator does.
pub(super) fn creates(kind: Kind) -> &'static str {
    match kind {
        Kind::Process => "forks",
        Kind::Vfork => "vforks",
        Kind::SharedProcess => "clones",
        Kind::Thread => "makes a thread",
    }
}

/// An error's name.
pub(super) fn error(errno: Errno) -> String {
    errno
        .symbol()
        .unwrap_or_else(|| format!("error {}", errno.0))
}

/// How a process ends.
pub(super) fn ends(end: End) -> String {
    match end {
        End::Exited(status) => format!(" exits with {status}"),
        End::Killed {
            signal,
            core_dumped,
        } => {
            let core = if core_dumped { ", core dumped" } else { "" };
            format!(" is killed by {signal}{core}")
        }
    }
}

/// A short list of processes: the first ones, and how many more.
pub(super) fn list(pids: &[Pid]) -> String {
    let mut out = String::new();
    for (index, pid) in pids.iter().take(2).enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        // Writing to a String can't fail.
        let _ = write!(out, "{separator}{pid}");
    }
    if pids.len() > 2 {
        let _ = write!(out, " and {} more", pids.len() - 2);
    }
    out
}

/// A time span, in two or three digits and a unit.
pub(super) fn span(span: Duration) -> String {
    let us = span.as_secs_f64() * 1e6;
    match us {
        ..100.0 => format!("{us:.0} us"),
        ..10e3 => format!("{:.1} ms", us / 1e3),
        ..1e6 => format!("{:.0} ms", us / 1e3),
        ..100e6 => format!("{:.1} s", us / 1e6),
        _ => format!("{:.0} s", us / 1e6),
    }
}
