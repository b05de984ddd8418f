//! clone3's structure in the text of a call, and what the kernel stored.

use super::super::value::{Item, Trouble, Value, number, signed};
use super::{Parsed, flags, parsed, scalar, stored, tls, wrong};
use crate::abi::Abi;
use crate::clone::args::{SIZE_VER0, SIZE_VER2};
use crate::clone::{ArgSet, Body, Clone3, CloneArgs, CloneFlags, SetTid, Spec, Tail, Tls};

pub(super) fn call(items: &[Item<'_>]) -> Result<Parsed, Trouble> {
    let (first, rest) = items
        .split_first()
        .ok_or_else(|| Trouble::new("clone3's structure", ""))?;
    let size = match rest {
        [] => None,
        [size] => Some(scalar(size)?),
        [_, more, ..] => return Err(wrong("')'", more)),
    };
    let mut call = Clone3 {
        addr: 0,
        size: size.unwrap_or(SIZE_VER2 as u64),
        body: Body::Unreadable,
    };
    let mut known = match size {
        Some(_) => ArgSet::SIZE,
        None => ArgSet::NONE,
    };
    match &first.value {
        Value::Fields(fields) => {
            call.body = structure(fields, &mut known)?;
        }
        _ => {
            call.addr = scalar(first)?;
            if call.size < SIZE_VER0 as u64 {
                call.body = Body::TooSmall;
            }
        }
    }
    let raw = [call.addr, call.size, 0, 0, 0, 0];
    let mut parsed = parsed(Abi::X86_64, 435, raw, Spec::Clone3(call), known);
    if let Some(Value::Fields(fields)) = &first.after {
        for field in fields {
            match field.name {
                Some("pidfd") => parsed.pidfd = stored(&field.value),
                Some("parent_tid") => parsed.parent_tid = stored(&field.value),
                _ => {}
            }
        }
    }
    Ok(parsed)
}

fn structure(fields: &[Item<'_>], known: &mut ArgSet) -> Result<Body, Trouble> {
    let mut args = CloneArgs::default();
    let mut the_tls = Tls::Address(0);
    let mut set_tid = SetTid::Address;
    let mut tail = Tail::Zero;
    let mut flagged = false;
    for field in fields {
        let told = match field.name {
            Some("flags") => {
                args.flags = CloneFlags(flags(field)?);
                flagged = true;
                ArgSet::NONE
            }
            Some("pidfd") => {
                args.pidfd = scalar(field)?;
                ArgSet::PIDFD
            }
            Some("child_tid") => {
                args.child_tid = scalar(field)?;
                ArgSet::CHILD_TID
            }
            Some("parent_tid") => {
                args.parent_tid = scalar(field)?;
                ArgSet::PARENT_TID
            }
            Some("exit_signal") => {
                args.exit_signal = flags(field)?;
                ArgSet::EXIT_SIGNAL
            }
            Some("stack") => {
                args.stack = scalar(field)?;
                ArgSet::STACK
            }
            Some("stack_size") => {
                args.stack_size = scalar(field)?;
                ArgSet::STACK
            }
            Some("tls") => {
                the_tls = tls(field)?;
                if let Tls::Address(addr) = the_tls {
                    args.tls = addr;
                }
                ArgSet::TLS
            }
            Some("set_tid") => {
                match &field.value {
                    Value::List(items) => set_tid = pids(items, &mut args)?,
                    _ => args.set_tid = scalar(field)?,
                }
                ArgSet::NONE
            }
            Some("set_tid_size") => {
                args.set_tid_size = scalar(field)?;
                ArgSet::NONE
            }
            Some("cgroup") => {
                args.cgroup = scalar(field)?;
                ArgSet::CGROUP
            }
            Some(_) => return Err(wrong("a field of clone_args", field)),
            None => {
                tail = behind(field)?.unwrap_or(tail);
                ArgSet::NONE
            }
        };
        *known = known.and(told);
    }
    if !flagged {
        return Err(Trouble::new("flags=", ""));
    }
    Ok(Body::Read {
        args,
        tls: the_tls,
        set_tid,
        tail,
    })
}

/// `[77, 4000]`, or `[77, ... /* 0x9004 */]` where the memory ended there.
/// Only then is the array's address known.
fn pids(items: &[Item<'_>], args: &mut CloneArgs) -> Result<SetTid, Trouble> {
    let mut pids = Vec::new();
    for item in items {
        let Value::Scalar(text) = item.value else {
            return Err(wrong("a pid", item));
        };
        if let Some(comment) = text.strip_prefix("...") {
            let end = comment
                .trim()
                .strip_prefix("/*")
                .and_then(|comment| comment.strip_suffix("*/"))
                .and_then(|addr| number(addr.trim()));
            if let Some(end) = end {
                args.set_tid = end.wrapping_sub(pids.len() as u64 * 4);
            }
        } else {
            pids.push(signed(text).ok_or_else(|| wrong("a pid", item))?);
        }
    }
    Ok(SetTid::Pids(pids))
}

/// What stands behind the fields known: `/* bytes 88..127 */ "\x00"...`, or
/// `???` where it could not be read. Dots alone say nothing.
fn behind(field: &Item<'_>) -> Result<Option<Tail>, Trouble> {
    let Value::Scalar(text) = field.value else {
        return Err(wrong("a field of clone_args", field));
    };
    match text {
        "..." => return Ok(None),
        "???" => return Ok(Some(Tail::Unreadable { last: SIZE_VER2 })),
        _ => {}
    }
    let tail = text.strip_prefix("/* bytes ").and_then(|text| {
        let (range, bytes) = text.split_once("*/")?;
        let (first, last) = range.trim().split_once("..")?;
        if first.parse::<usize>().ok()? != SIZE_VER2 {
            return None;
        }
        let bytes = bytes.trim();
        let bytes = bytes.strip_suffix("...").unwrap_or(bytes);
        Some(Tail::NonZero {
            head: hex_string(bytes)?,
            last: last.parse().ok()?,
        })
    });
    tail.map(Some)
        .ok_or_else(|| wrong("a field of clone_args", field))
}

/// `"\x00\x07"`
fn hex_string(text: &str) -> Option<Vec<u8>> {
    let inside = text.strip_prefix('"')?.strip_suffix('"')?;
    if inside.is_empty() {
        return Some(Vec::new());
    }
    inside
        .strip_prefix("\\x")?
        .split("\\x")
        .map(|byte| u8::from_str_radix(byte, 16).ok())
        .collect()
}
