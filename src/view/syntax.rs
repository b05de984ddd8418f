//! Calls in the syntax of strace, to the letter, so that eyes and greps carry
//! over: names of arguments, their order, what is left out when.

use std::fmt::Write;

use super::escape::{quote, quote_hex};
use crate::abi::Call;
use crate::clone::args::SIZE_VER2;
use crate::clone::flags::CSIGNAL;
use crate::clone::{
    Body, Clone3, CloneArgs, CloneFlags, LegacyClone, Request, SetTid, Spec, Tail, Tls, UserDesc,
};
use crate::digits;
use crate::event::{Child, Outcome};
use crate::exec::{Env, ExecCall, ListEnd, Strings, Text};
use crate::ids::{Errno, Signal};

/// A pointer as strace shows it.
pub(super) fn addr(out: &mut String, value: u64) {
    match value {
        0 => out.push_str("NULL"),
        _ => digits::hex(out, value),
    }
}

/// A number in hex; zero has no prefix.
pub(super) fn hex(out: &mut String, value: u64) {
    match value {
        0 => out.push('0'),
        _ => digits::hex(out, value),
    }
}

/// Flags by name, those of `known` first; the rest in hex.
fn flags(out: &mut String, value: u64, known: CloneFlags) {
    let mut left = value;
    let mut separator = "";
    // strace lists the flags of clone, then those that only clone3 has.
    let names = |later: bool| {
        let these = CloneFlags(value & if later { LATER.0 } else { !LATER.0 });
        these.iter()
    };
    for (flag, name) in names(false).chain(names(true)) {
        if known.has(flag) && flag != CloneFlags::DETACHED {
            out.push_str(separator);
            out.push_str(name);
            separator = "|";
            left &= !flag.0;
        }
    }
    let _ = match (left, separator) {
        (0, "") => write!(out, "0"),
        (0, _) => Ok(()),
        (_, "") => write!(out, "{left:#x} /* CLONE_??? */"),
        (_, _) => write!(out, "|{left:#x}"),
    };
}

/// What only clone3 knows.
const LATER: CloneFlags = CloneFlags(CloneFlags::NEWTIME.0 | !0xffff_ffff);

/// A creating call: name and arguments, without the result.
pub fn request(out: &mut String, request: &Request, outcome: &Outcome) {
    let child = match outcome {
        Outcome::Created(child) => Some(child),
        _ => None,
    };
    match &request.spec {
        Spec::Fork | Spec::Vfork => out.push_str("()"),
        Spec::Clone(args) => clone(out, args, child),
        Spec::Clone3(args) => clone3(out, args, child),
    }
}

/// The flags word of clone: flags, then the exit signal.
pub fn clone_flags(out: &mut String, word: u64) {
    let set = word & !CSIGNAL;
    let signal = Signal((word & CSIGNAL) as i32);
    match (set, signal.0) {
        (0, _) => {
            let _ = write!(out, "{signal}");
        }
        (_, 0) => flags(out, set, !LATER),
        _ => {
            flags(out, set, !LATER);
            let _ = write!(out, "|{signal}");
        }
    }
}

/// The flags of clone3.
pub fn clone3_flags(out: &mut String, set: CloneFlags) {
    flags(out, set.0, CloneFlags(u64::MAX));
}

fn clone(out: &mut String, args: &LegacyClone, child: Option<&Child>) {
    out.push_str("(child_stack=");
    addr(out, args.stack);
    out.push_str(", flags=");
    clone_flags(out, args.flags);
    let set = CloneFlags(args.flags & !CSIGNAL);
    if set.any(CloneFlags::PARENT_SETTID | CloneFlags::PIDFD) {
        let stored = child.and_then(|c| {
            if set.has(CloneFlags::PARENT_SETTID) {
                c.parent_tid
            } else {
                c.pidfd
            }
        });
        out.push_str(", parent_tid=");
        match stored {
            Some(word) => {
                out.push('[');
                digits::decimal(out, word);
                out.push(']');
            }
            None => addr(out, args.parent_tid),
        }
    }
    if set.has(CloneFlags::SETTLS) {
        out.push_str(", tls=");
        tls(out, args.tls);
    }
    if set.any(CloneFlags::CHILD_SETTID | CloneFlags::CHILD_CLEARTID) {
        out.push_str(", child_tidptr=");
        addr(out, args.child_tid);
    }
    out.push(')');
}

fn tls(out: &mut String, value: Tls) {
    match value {
        Tls::Address(value) => addr(out, value),
        Tls::Segment(desc) => segment(out, &desc),
    }
}

fn segment(out: &mut String, desc: &UserDesc) {
    // Eight columns, the prefix counted; zero has none (C's %#08x).
    let padded = |value: u32| match value {
        0 => "00000000".to_owned(),
        _ => format!("{value:#08x}"),
    };
    let _ = write!(
        out,
        "{{entry_number={}, base_addr={}, limit={}",
        desc.entry_number as i32,
        padded(desc.base_addr),
        padded(desc.limit)
    );
    for (name, value) in desc.members() {
        let _ = write!(out, ", {name}={value}");
    }
    out.push('}');
}

fn clone3(out: &mut String, call: &Clone3, child: Option<&Child>) {
    out.push('(');
    match &call.body {
        Body::TooSmall | Body::Unreadable => addr(out, call.addr),
        Body::Read {
            args,
            tls,
            set_tid,
            tail,
        } => {
            structure(out, args, *tls, set_tid, tail);
            if let Some(child) = child {
                stored(out, child);
            }
        }
    }
    out.push_str(", ");
    digits::unsigned(out, call.size);
    out.push(')');
}

fn structure(out: &mut String, args: &CloneArgs, the_tls: Tls, set_tid: &SetTid, tail: &Tail) {
    let set = args.flags;
    out.push_str("{flags=");
    clone3_flags(out, set);
    let field = |out: &mut String, name: &str, value: u64| {
        for part in [", ", name, "="] {
            out.push_str(part);
        }
        addr(out, value);
    };
    if set.has(CloneFlags::PIDFD) {
        field(out, "pidfd", args.pidfd);
    }
    if set.any(CloneFlags::CHILD_SETTID | CloneFlags::CHILD_CLEARTID) {
        field(out, "child_tid", args.child_tid);
    }
    if set.has(CloneFlags::PARENT_SETTID) {
        field(out, "parent_tid", args.parent_tid);
    }
    let _ = match i32::try_from(args.exit_signal) {
        Ok(signal) if signal < i32::MAX => write!(out, ", exit_signal={}", Signal(signal)),
        _ => write!(out, ", exit_signal={}", args.exit_signal),
    };
    field(out, "stack", args.stack);
    out.push_str(", stack_size=");
    hex(out, args.stack_size);
    if set.has(CloneFlags::SETTLS) {
        out.push_str(", tls=");
        tls(out, the_tls);
    }
    if args.set_tid != 0 || args.set_tid_size != 0 {
        match set_tid {
            SetTid::Address => field(out, "set_tid", args.set_tid),
            SetTid::Pids(pids) => {
                out.push_str(", set_tid=[");
                for (index, pid) in pids.iter().enumerate() {
                    let separator = if index == 0 { "" } else { ", " };
                    let _ = write!(out, "{separator}{pid}");
                }
                if (pids.len() as u64) < args.set_tid_size {
                    let at = args.set_tid.wrapping_add(pids.len() as u64 * 4);
                    let _ = write!(out, ", ... /* {at:#x} */");
                }
                out.push(']');
            }
        }
        let _ = write!(out, ", set_tid_size={}", args.set_tid_size);
    }
    if args.cgroup != 0 || set.has(CloneFlags::INTO_CGROUP) {
        let _ = write!(out, ", cgroup={}", args.cgroup);
    }
    match tail {
        Tail::Zero => {}
        Tail::NonZero { head, last } => {
            let _ = write!(out, ", /* bytes {SIZE_VER2}..{last} */ ");
            quote_hex(out, head);
            if SIZE_VER2 + head.len() <= *last {
                out.push_str("...");
            }
        }
        Tail::Unreadable { .. } => out.push_str(", ???"),
    }
    out.push('}');
}

/// What the kernel stored in the parent's memory.
fn stored(out: &mut String, child: &Child) {
    let mut separator = " => {";
    for (name, value) in [("pidfd", child.pidfd), ("parent_tid", child.parent_tid)] {
        if let Some(value) = value {
            let _ = write!(out, "{separator}{name}=[{value}]");
            separator = ", ";
        }
    }
    if separator == ", " {
        out.push('}');
    }
}

/// An exec call: name and arguments, without the result.
pub fn exec(out: &mut String, exec: &ExecCall) {
    if exec.is_unseen() {
        // strace's sign for what it can't know.
        out.push_str("(???)");
        return;
    }
    out.push('(');
    if let Some((dirfd, _)) = exec.at() {
        let _ = match dirfd {
            AT_FDCWD => write!(out, "AT_FDCWD, "),
            fd => write!(out, "{fd}, "),
        };
    }
    text(out, &exec.path);
    out.push_str(", ");
    strings(out, &exec.argv);
    out.push_str(", ");
    env(out, &exec.env);
    if let Some((_, flags)) = exec.at() {
        out.push_str(", ");
        at_flags(out, flags);
    }
    out.push(')');
}

fn text(out: &mut String, text: &Text) {
    match text {
        Text::Bytes { bytes, truncated } => {
            quote(out, bytes);
            if *truncated {
                out.push_str("...");
            }
        }
        Text::Null => out.push_str("NULL"),
        Text::Unreadable(at) => addr(out, *at),
    }
}

fn strings(out: &mut String, strings: &Strings) {
    match strings {
        Strings::Address(at) => addr(out, *at),
        Strings::List { items, end } => {
            out.push('[');
            let mut separator = "";
            for item in items {
                out.push_str(separator);
                text(out, item);
                separator = ", ";
            }
            let _ = match end {
                ListEnd::Complete => Ok(()),
                ListEnd::More => write!(out, "{separator}..."),
                ListEnd::Unreadable(at) => write!(out, "{separator}... /* {at:#x} */"),
            };
            out.push(']');
        }
    }
}

/// The environment: address and count. Where the address is not known the
/// count stands alone.
fn env(out: &mut String, env: &Env) {
    if let Some(at) = env.addr {
        addr(out, at);
        if env.vars.is_some() {
            out.push(' ');
        }
    }
    if let Some(vars) = env.vars {
        let plural = if vars == 1 { "" } else { "s" };
        let unterminated = if env.unterminated {
            ", unterminated"
        } else {
            ""
        };
        let _ = write!(out, "/* {vars} var{plural}{unterminated} */");
    }
}

/// `AT_FDCWD` (linux/fcntl.h): relative to the working directory.
const AT_FDCWD: i32 = -100;

/// execveat's flags, of linux/fcntl.h.
fn at_flags(out: &mut String, value: i32) {
    let mut left = value;
    let mut separator = "";
    for (flag, name) in [
        (0x100, "AT_SYMLINK_NOFOLLOW"),
        (0x1000, "AT_EMPTY_PATH"),
        (0x1_0000, "AT_EXECVE_CHECK"),
    ] {
        if left & flag != 0 {
            out.push_str(separator);
            out.push_str(name);
            separator = "|";
            left &= !flag;
        }
    }
    let _ = match (left, separator) {
        (0, "") => write!(out, "0"),
        (0, _) => Ok(()),
        (_, "") => write!(out, "{left:#x} /* AT_??? */"),
        _ => write!(out, "|{left:#x}"),
    };
}

/// The name that stands before the arguments.
pub fn name(request: &Request) -> &'static str {
    match &request.spec {
        Spec::Fork => Call::Fork.name(),
        Spec::Vfork => Call::Vfork.name(),
        Spec::Clone(_) => Call::Clone.name(),
        Spec::Clone3(_) => Call::Clone3.name(),
    }
}

/// The result of a creating call that made a child: its pid as forktrace sees
/// it, and where pid namespaces differ what the others see.
pub fn child(out: &mut String, child: &Child) {
    named_child(out, child, |_| {});
}

/// The same, with what `name` appends behind the pid.
pub fn named_child(out: &mut String, child: &Child, name: impl FnOnce(&mut String)) {
    let (returned, own) = (child.returned, child.own);
    let shown = child.tid.map_or(returned, |tid| tid.0);
    digits::decimal(out, shown);
    name(out);
    let _ = match child.tid {
        None => write!(out, " (in the caller's pid namespace)"),
        Some(_) if shown == own && shown == returned => Ok(()),
        Some(_) if shown == returned || own == returned => {
            write!(out, " ({own} in its pid namespace)")
        }
        Some(_) => write!(
            out,
            " ({returned} in the caller's, {own} in its pid namespace)"
        ),
    };
}

/// The result of a failed call.
pub fn error(out: &mut String, errno: Errno) {
    let _ = match errno.restart() {
        Some((name, what)) => write!(out, "? {name} ({what})"),
        None => write!(out, "-1 {errno}"),
    };
}
