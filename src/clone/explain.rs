//! A line for each flag and argument of a creating call: what it does, and
//! the manual page that documents it.

use super::flags::CloneFlags;
use super::request::{Body, Clone3, Kind, Request, Spec, Stack, Tail, Tls};
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
}

/// What a flag does to parent and child, and its manual page.
pub fn flag(flag: CloneFlags) -> (&'static str, &'static str) {
    match flag {
        CloneFlags::VM => (
            "one address space for both: a write or mmap by either is seen by the other",
            "clone(2)",
        ),
        CloneFlags::FS => (
            "root, working directory and umask are shared: a chdir by either moves both",
            "clone(2)",
        ),
        CloneFlags::FILES => (
            "one table of file descriptors: an open, dup or close by either is seen by both",
            "clone(2)",
        ),
        CloneFlags::SIGHAND => (
            "one table of signal handlers: a sigaction by either counts for both (masks stay apart)",
            "clone(2)",
        ),
        CloneFlags::PIDFD => (
            "the parent gets a file descriptor that refers to the child",
            "pidfd_open(2)",
        ),
        CloneFlags::PTRACE => (
            "where the caller is traced, its tracer gets the child as well",
            "ptrace(2)",
        ),
        CloneFlags::VFORK => (
            "the caller is suspended until the child execs or exits",
            "vfork(2)",
        ),
        CloneFlags::PARENT => (
            "the child's parent is the caller's parent, which gets its exit signal",
            "clone(2)",
        ),
        CloneFlags::THREAD => (
            "the child joins the caller's thread group: same pid, signals and exit as one process",
            "clone(2)",
        ),
        CloneFlags::NEWNS => (
            "the child gets a mount namespace of its own, a copy of the caller's",
            "mount_namespaces(7)",
        ),
        CloneFlags::SYSVSEM => (
            "one list of System V semaphore adjustments (SEM_UNDO), undone when the last sharer ends",
            "semop(2)",
        ),
        CloneFlags::SETTLS => (
            "the child starts with the TLS given (x86_64: its fs base)",
            "arch_prctl(2)",
        ),
        CloneFlags::PARENT_SETTID => (
            "the kernel stores the child's tid in the parent's memory before the call returns",
            "clone(2)",
        ),
        CloneFlags::CHILD_CLEARTID => (
            "when the child exits the kernel clears its tid word and wakes a futex waiter there",
            "set_tid_address(2)",
        ),
        CloneFlags::DETACHED => (
            "has had no effect since Linux 2.6; clone3 refuses it",
            "clone(2)",
        ),
        CloneFlags::UNTRACED => (
            "a tracer of the caller does not get the child, whatever it asked for",
            "clone(2)",
        ),
        CloneFlags::CHILD_SETTID => (
            "the kernel stores the child's tid in the child's memory before it runs",
            "clone(2)",
        ),
        CloneFlags::NEWCGROUP => (
            "the child gets a cgroup namespace: its present cgroup is the root that it sees",
            "cgroup_namespaces(7)",
        ),
        CloneFlags::NEWUTS => (
            "the child gets a UTS namespace: host and domain name of its own",
            "uts_namespaces(7)",
        ),
        CloneFlags::NEWIPC => (
            "the child gets an IPC namespace: System V IPC and POSIX queues of its own",
            "ipc_namespaces(7)",
        ),
        CloneFlags::NEWUSER => (
            "the child gets a user namespace: all capabilities in it, ids mapped",
            "user_namespaces(7)",
        ),
        CloneFlags::NEWPID => (
            "the child is pid 1 of a new pid namespace; when it ends, all in it are killed",
            "pid_namespaces(7)",
        ),
        CloneFlags::NEWNET => (
            "the child gets a network namespace: devices, routes and ports of its own",
            "network_namespaces(7)",
        ),
        CloneFlags::IO => (
            "one I/O context: the disk scheduler takes both for one",
            "clone(2)",
        ),
        CloneFlags::NEWTIME => (
            "the child gets a time namespace: boot and monotonic clocks of its own",
            "time_namespaces(7)",
        ),
        CloneFlags::CLEAR_SIGHAND => (
            "signals that the caller catches are at their defaults in the child; ignored ones stay",
            "clone(2)",
        ),
        CloneFlags::INTO_CGROUP => (
            "the child starts in the cgroup given, not in the caller's",
            "clone(2)",
        ),
        CloneFlags::AUTOREAP => (
            "the kernel reaps the child when it exits: no zombie, nothing for wait",
            "linux/sched.h",
        ),
        CloneFlags::NNP => (
            "the child starts with no_new_privs: exec can't gain privileges",
            "PR_SET_NO_NEW_PRIVS(2const)",
        ),
        CloneFlags::PIDFD_AUTOKILL => (
            "the child is killed when the pidfd made with it is closed",
            "linux/sched.h",
        ),
        CloneFlags::EMPTY_MNTNS => (
            "the child gets a mount namespace of its own without the caller's mounts",
            "linux/sched.h",
        ),
        _ => ("not known to forktrace", "clone(2)"),
    }
}

/// Explains a call: every flag, then every argument that counts.
pub fn request(request: &Request) -> Vec<Explanation> {
    let mut all = Vec::new();
    let mut add = |what: String, text: String, page: &'static str| {
        all.push(Explanation { what, text, page });
    };
    let flags = request.flags();
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
            for (one, name) in flags.iter() {
                let (text, page) = flag(one);
                add(name.into(), text.into(), page);
            }
            if flags.unknown() != 0 {
                let bits = format!("{:#x}", flags.unknown());
                add(bits, "flag bits not known to forktrace".into(), "clone(2)");
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
        Spec::Clone3(call) => clone3(call, &mut add),
    }
    if matches!(request.spec, Spec::Clone(_) | Spec::Clone3(_)) && request.is_decoded() {
        arguments(request, &mut add);
    }
    all
}

type Add<'a> = dyn FnMut(String, String, &'static str) + 'a;

fn clone3(call: &Clone3, add: &mut Add<'_>) {
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
            if args.flags.has(CloneFlags::INTO_CGROUP) {
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

fn arguments(request: &Request, add: &mut Add<'_>) {
    let flags = request.flags();
    let shared = flags.has(CloneFlags::VM);
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
    exit_signal(request, add);
    if let Some(addr) = request.pidfd() {
        add(
            format!("pidfd={addr:#x}"),
            "where the kernel stores the pidfd".into(),
            "clone(2)",
        );
    }
    if let Some(addr) = request.parent_tid() {
        add(
            format!("parent_tid={addr:#x}"),
            "where the kernel stores the tid in the parent".into(),
            "clone(2)",
        );
    }
    if flags.any(CloneFlags::CHILD_SETTID | CloneFlags::CHILD_CLEARTID) {
        let joins = if request.kind() == Kind::Thread {
            "the child's tid word; pthread_join waits on it"
        } else {
            "the child's tid word"
        };
        let addr = request.child_tid();
        add(format!("child_tid={addr:#x}"), joins.into(), "futex(2)");
    }
    match request.tls() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clone::flags::NAMES;

    #[test]
    fn every_flag_has_its_own_words() {
        let mut seen = std::collections::HashSet::new();
        for (one, name) in NAMES {
            let (text, page) = flag(*one);
            assert!(!text.starts_with("not known"), "{name}");
            assert!(page.contains('(') || page.contains('/'), "{name}: {page}");
            assert!(seen.insert(text), "{name} has the words of another");
        }
    }
}
