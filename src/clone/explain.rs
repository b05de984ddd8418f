//! A line for each flag and argument of a creating call: what it does, and
//! the manual page that documents it.

use super::flags::{CSIGNAL, CloneFlags};
use super::manual;
use super::request::{ArgSet, Body, Clone3, Kind, Request, Spec, Stack, Tail, Tls};
use crate::ids::Signal;

/// One thing explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The flag or argument, as it stands in the call.
    pub what: String,
    /// What it does.
    pub text: String,
    /// Where that is documented.
    pub page: &'static str,
    /// The first Linux that has the flag.
    pub since: Option<&'static str>,
}

/// Explains a call: every flag, then every argument that counts.
pub fn request(request: &Request) -> Vec<Explanation> {
    known(request, ArgSet::ALL)
}

/// Explains a call of which only some arguments are known.
pub fn known(request: &Request, args: ArgSet) -> Vec<Explanation> {
    let mut all = Vec::new();
    let flags = request.flags();
    if matches!(request.spec, Spec::Clone(_) | Spec::Clone3(_)) {
        for (one, name) in flags.iter() {
            if let Some(entry) = manual::flag(one) {
                all.push(Explanation {
                    what: name.to_owned(),
                    text: entry.text.to_owned(),
                    page: entry.page,
                    since: Some(entry.since),
                });
            }
        }
    }
    let mut add = |what: String, text: String, page: &'static str| {
        all.push(Explanation {
            what,
            text,
            page,
            since: None,
        });
    };
    match &request.spec {
        Spec::Fork => add(
            "fork".into(),
            "a new process with copies of everything; memory is copied page by page when written"
                .into(),
            "fork(2)",
        ),
        Spec::Vfork => add(
            "vfork".into(),
            "as clone with CLONE_VM|CLONE_VFORK|SIGCHLD: the child may only exec or _exit".into(),
            "vfork(2)",
        ),
        Spec::Clone(_) | Spec::Clone3(_) => {
            for (bits, text) in [
                (
                    flags.unknown() & CSIGNAL,
                    "bits of clone's exit signal, which is no part of clone3's flags",
                ),
                (
                    flags.unknown() & !CSIGNAL,
                    "flag bits not known to forktrace",
                ),
            ] {
                if bits != 0 {
                    add(format!("{bits:#x}"), text.into(), "clone(2)");
                }
            }
        }
    }
    match &request.spec {
        Spec::Fork | Spec::Vfork => {}
        Spec::Clone(clone) => {
            if clone.flags >> 32 != 0 {
                add(
                    format!("{:#x}", clone.flags & !0xffff_ffff),
                    "upper half of the flags register: clone looks at 32 bits only".into(),
                    "clone(2)",
                );
            }
        }
        Spec::Clone3(call) => clone3(call, args, &mut add),
    }
    if matches!(request.spec, Spec::Clone(_) | Spec::Clone3(_)) && request.is_decoded() {
        arguments(request, args, &mut add);
    }
    all
}

type Add<'a> = dyn FnMut(String, String, &'static str) + 'a;

fn clone3(call: &Clone3, known: ArgSet, add: &mut Add<'_>) {
    if known.has(ArgSet::SIZE) {
        size(call, add);
    }
    body(call, known, add);
}

fn size(call: &Clone3, add: &mut Add<'_>) {
    let size = format!("size={}", call.size);
    let of_version = match call.size {
        64 => "that of Linux 5.3: up to tls",
        80 => "that of Linux 5.5: with set_tid",
        88 => "that of Linux 5.7: with cgroup",
        0..=63 => "smaller than any version of the structure: EINVAL",
        4097.. => "larger than a page: E2BIG",
        _ => "not that of a known version: what lies beyond must be zero",
    };
    add(size, of_version.into(), "clone(2)");
}

fn body(call: &Clone3, known: ArgSet, add: &mut Add<'_>) {
    match &call.body {
        Body::TooSmall => {}
        Body::Unreadable => add(
            format!("{:#x}", call.addr),
            "the structure can't be read: EFAULT".into(),
            "clone(2)",
        ),
        Body::Read { args, tail, .. } => {
            if args.set_tid_size != 0 {
                add(
                    format!("set_tid_size={}", args.set_tid_size),
                    "the pids to use, the innermost namespace's first; needs CAP_CHECKPOINT_RESTORE"
                        .into(),
                    "clone(2)",
                );
            }
            if args.flags.has(CloneFlags::INTO_CGROUP) && known.has(ArgSet::CGROUP) {
                add(
                    format!("cgroup={}", args.cgroup),
                    "file descriptor of the cgroup directory to start in".into(),
                    "cgroups(7)",
                );
            }
            if matches!(tail, Tail::NonZero { .. }) {
                add(
                    "tail".into(),
                    "non-zero bytes behind the fields known: an older kernel answers E2BIG".into(),
                    "clone(2)",
                );
            }
        }
    }
}

fn arguments(request: &Request, known: ArgSet, add: &mut Add<'_>) {
    let flags = request.flags();
    if known.has(ArgSet::STACK) {
        stack(request, add);
    }
    if known.has(ArgSet::EXIT_SIGNAL) {
        exit_signal(request, add);
    }
    if let Some(addr) = request.pidfd().filter(|_| known.has(ArgSet::PIDFD)) {
        add(
            format!("pidfd={addr:#x}"),
            "where the kernel stores the pidfd".into(),
            "clone(2)",
        );
    }
    if let Some(addr) = request
        .parent_tid()
        .filter(|_| known.has(ArgSet::PARENT_TID))
    {
        add(
            format!("parent_tid={addr:#x}"),
            "where the kernel stores the tid in the parent".into(),
            "clone(2)",
        );
    }
    let tid_word = CloneFlags::CHILD_SETTID | CloneFlags::CHILD_CLEARTID;
    if flags.any(tid_word) && known.has(ArgSet::CHILD_TID) {
        let joins = if request.kind() == Kind::Thread {
            "the child's tid word; pthread_join waits on it"
        } else {
            "the child's tid word"
        };
        let addr = request.child_tid();
        add(format!("child_tid={addr:#x}"), joins.into(), "futex(2)");
    }
    match request.tls().filter(|_| known.has(ArgSet::TLS)) {
        None => {}
        Some(Tls::Address(addr)) => add(
            format!("tls={addr:#x}"),
            "the child's thread pointer: base of its thread-local storage".into(),
            "arch_prctl(2)",
        ),
        Some(Tls::Segment(desc)) => add(
            format!("tls={{entry_number={}, …}}", desc.entry_number as i32),
            format!(
                "segment of its thread-local storage, at {:#x}",
                desc.base_addr
            ),
            "set_thread_area(2)",
        ),
    }
}

fn stack(request: &Request, add: &mut Add<'_>) {
    let shared = request.flags().has(CloneFlags::VM);
    let (what, text) = match request.stack() {
        Stack::Callers if shared => (
            "stack=NULL".to_owned(),
            "the child runs on the caller's stack, in the same memory",
        ),
        Stack::Callers => (
            "stack=NULL".to_owned(),
            "the child runs on its copy of the caller's stack",
        ),
        Stack::Pointer(pointer) => (
            format!("child_stack={pointer:#x}"),
            "the child starts with this stack pointer: the top of a stack that the caller made",
        ),
        Stack::Area(low, size) => (
            format!("stack={low:#x}, stack_size={size:#x}"),
            "the child starts at the top of this area",
        ),
    };
    add(what, text.into(), "clone(2)");
}

fn exit_signal(request: &Request, add: &mut Add<'_>) {
    if request.kind() == Kind::Thread {
        return;
    }
    if request.flags().has(CloneFlags::PARENT) {
        add(
            "exit signal".into(),
            "that of the caller, whatever is given: the parent is the caller's".into(),
            "clone(2)",
        );
        return;
    }
    match request.exit_signal() {
        Some(signal @ Signal::CHLD) => add(
            signal.to_string(),
            "sent to the parent when the child exits; what wait expects".into(),
            "wait(2)",
        ),
        Some(signal) if !signal.exists() => add(
            format!("exit signal {signal}"),
            "no signal that exists: none is sent; wait finds the child with __WALL or __WCLONE only"
                .into(),
            "wait(2)",
        ),
        Some(signal) => add(
            signal.to_string(),
            "sent to the parent when the child exits; wait finds it with __WALL or __WCLONE only"
                .into(),
            "wait(2)",
        ),
        None => add(
            "exit signal 0".into(),
            "the parent is not told of the exit; wait finds it with __WALL or __WCLONE only".into(),
            "wait(2)",
        ),
    }
}
