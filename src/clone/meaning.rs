//! What a creating call means, in one line of plain words.

use std::fmt::Write;

use super::flags::{CloneFlags, NAMESPACES};
use super::request::{Body, Clone3, Kind, Request, Spec, Stack, Tail};
use crate::ids::{Errno, Pid, Signal};

/// Clauses, separated by semicolons.
struct Clauses(String);

impl Clauses {
    fn add(&mut self, clause: impl std::fmt::Display) {
        if !self.0.is_empty() {
            self.0.push_str("; ");
        }
        // Writing to a String can't fail.
        let _ = write!(self.0, "{clause}");
    }
}

/// What became of CLONE_UNTRACED.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untraced {
    /// forktrace took it out for the call.
    TakenOut,
    /// It hides the child from forktrace.
    Hidden,
    /// Likewise, and the child has a filter that needs a tracer.
    Stranded,
}

/// What a successful call made. `tgid` is the caller's process; `pidfd` what
/// the kernel stored for CLONE_PIDFD, if that could be read back; `untraced`
/// what became of CLONE_UNTRACED, if it is there.
pub fn created(request: &Request, tgid: Pid, pidfd: Option<i32>, untraced: Untraced) -> String {
    if !request.is_decoded() {
        return "created; its arguments could not be read".to_owned();
    }
    let flags = request.flags();
    let kind = request.kind();
    let mut clauses = Clauses(String::with_capacity(160));
    head(&mut clauses, request, tgid);
    if kind != Kind::Thread {
        sharing(&mut clauses, flags);
        exit_signal(&mut clauses, request);
    }
    if flags.has(CloneFlags::PARENT) && kind != Kind::Thread {
        clauses.add("a sibling: the caller's parent is its parent too");
    }
    namespaces(&mut clauses, flags);
    tid_words(&mut clauses, request);
    extras(&mut clauses, request, pidfd, untraced);
    if request.spec == Spec::Fork {
        clauses.add("fork(2) itself, where glibc's fork() uses clone");
    }
    clauses.0
}

/// Kind, memory and stack.
fn head(clauses: &mut Clauses, request: &Request, tgid: Pid) {
    let flags = request.flags();
    let stack = request.stack();
    match (request.kind(), stack) {
        (Kind::Thread, _) => {
            clauses.add(format_args!("thread of {tgid}: shares memory"));
            let shared = [
                (CloneFlags::FILES, "files"),
                (CloneFlags::FS, "cwd"),
                (CloneFlags::SIGHAND, "signal handlers"),
                (CloneFlags::SYSVSEM, "semaphore undo"),
                (CloneFlags::IO, "I/O context"),
            ];
            for (_, name) in shared.iter().filter(|(flag, _)| flags.has(*flag)) {
                let _ = write!(clauses.0, ", {name}");
            }
            let copied: Vec<&str> = shared[..2]
                .iter()
                .filter(|(flag, _)| !flags.has(*flag))
                .map(|(_, name)| *name)
                .collect();
            if !copied.is_empty() {
                clauses.add(format_args!("its own copy of {}", copied.join(", ")));
            }
            given_stack(clauses, stack, "on the caller's very stack");
            if flags.has(CloneFlags::SETTLS) {
                clauses.add("TLS of its own");
            }
            if flags.has(CloneFlags::VFORK) {
                clauses.add("the caller suspended until it ends or execs");
            }
            return;
        }
        (Kind::Process, Stack::Callers) => {
            clauses.add("process: memory copied on write, the caller's stack with it");
        }
        (Kind::Process, _) => {
            clauses.add("process: memory copied on write");
            given_stack(clauses, stack, "");
        }
        (Kind::Vfork, Stack::Callers) => clauses.add(
            "vfork child: parent suspended and its memory borrowed, stack and all, until exec or exit",
        ),
        (Kind::Vfork, _) => {
            clauses.add(
                "vfork child (as posix_spawn makes): parent suspended and its memory borrowed \
                 until exec or exit",
            );
            given_stack(clauses, stack, "");
        }
        (Kind::SharedProcess, _) => {
            clauses.add(format_args!(
                "process that shares the memory of {tgid} but is no thread of it: own pid, own exit"
            ));
            given_stack(clauses, stack, "on the caller's very stack");
        }
    }
    if request.kind() == Kind::Process && flags.has(CloneFlags::VFORK) {
        clauses.add("parent suspended until exec or exit");
    }
    if flags.has(CloneFlags::SETTLS) {
        clauses.add("TLS of its own");
    }
}

fn given_stack(clauses: &mut Clauses, stack: Stack, callers: &str) {
    match stack {
        Stack::Callers if callers.is_empty() => {}
        Stack::Callers => clauses.add(callers),
        Stack::Pointer(_) => clauses.add("on a stack given"),
        Stack::Area(_, size) => clauses.add(format_args!("on a stack given, {}", Bytes(size))),
    }
}

/// A number of bytes, exactly, in the largest unit that divides it.
struct Bytes(u64);

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const KIB: u64 = 1024;
        const MIB: u64 = 1024 * KIB;
        match self.0 {
            n if n > 0 && n.is_multiple_of(MIB) => write!(f, "{} MiB", n / MIB),
            n if n > 0 && n.is_multiple_of(KIB) => write!(f, "{} KiB", n / KIB),
            n => write!(f, "{n} bytes"),
        }
    }
}

/// Files, cwd and signal handlers of a process: shared or copied.
fn sharing(clauses: &mut Clauses, flags: CloneFlags) {
    let mut shared = Vec::new();
    let mut copied = Vec::new();
    for (flag, name) in [
        (CloneFlags::FILES, "files"),
        (CloneFlags::FS, "cwd"),
        (CloneFlags::SIGHAND, "signal handlers"),
    ] {
        if flags.has(flag) {
            shared.push(name);
        } else if flag != CloneFlags::SIGHAND || !flags.has(CloneFlags::CLEAR_SIGHAND) {
            copied.push(name);
        }
    }
    for (flag, name) in [
        (CloneFlags::SYSVSEM, "semaphore undo"),
        (CloneFlags::IO, "I/O context"),
    ] {
        if flags.has(flag) {
            shared.push(name);
        }
    }
    if !shared.is_empty() {
        clauses.add(format_args!("{} shared", shared.join(", ")));
    }
    if !copied.is_empty() {
        let verb = if copied == ["cwd"] {
            "is a copy"
        } else {
            "are copies"
        };
        clauses.add(format_args!("{} {verb}", copied.join(", ")));
    }
    if flags.has(CloneFlags::CLEAR_SIGHAND) {
        clauses.add("caught signals reset to default");
    }
}

fn exit_signal(clauses: &mut Clauses, request: &Request) {
    if request.flags().has(CloneFlags::PARENT) {
        clauses.add("the caller's own exit signal at exit");
        return;
    }
    const UNSEEN: &str = "wait needs __WALL or __WCLONE to see it, until it execs";
    match request.exit_signal() {
        Some(Signal::CHLD) => clauses.add("SIGCHLD to the parent at exit"),
        Some(signal) if signal.exists() => clauses.add(format_args!(
            "{signal}, not SIGCHLD, to the parent at exit: {UNSEEN}"
        )),
        Some(signal) => clauses.add(format_args!(
            "no signal to the parent at exit, as {signal} is none: {UNSEEN}"
        )),
        None => clauses.add(format_args!("no signal to the parent at exit: {UNSEEN}")),
    }
}

fn namespaces(clauses: &mut Clauses, flags: CloneFlags) {
    let new: Vec<&str> = NAMESPACES
        .iter()
        .filter(|(flag, _)| flags.has(*flag))
        .map(|(_, name)| *name)
        .collect();
    match new[..] {
        [] => {}
        [one] => clauses.add(format_args!("in a new {one} namespace")),
        _ => clauses.add(format_args!("in new {} namespaces", new.join(", "))),
    }
    if flags.has(CloneFlags::NEWPID) {
        clauses.add("pid 1 there");
    }
    if flags.has(CloneFlags::EMPTY_MNTNS) {
        clauses.add("in a new mount namespace that is empty");
    }
}

/// The words that the kernel sets and clears: what pthread_join waits for.
fn tid_words(clauses: &mut Clauses, request: &Request) {
    let flags = request.flags();
    let child = request.child_tid();
    let joins = if request.kind() == Kind::Thread {
        " (pthread_join waits there)"
    } else {
        ""
    };
    let set_in_child = flags.has(CloneFlags::CHILD_SETTID);
    let cleared = flags.has(CloneFlags::CHILD_CLEARTID);
    let in_parent = request.parent_tid();
    // One word for both only where the memory is one.
    let same = in_parent == Some(child) && cleared && flags.has(CloneFlags::VM) && !set_in_child;
    if let Some(addr) = in_parent.filter(|_| !same) {
        clauses.add(format_args!("tid stored at {addr:#x} in the parent"));
    }
    match (same || set_in_child, cleared) {
        (true, true) => clauses.add(format_args!(
            "tid word at {child:#x} set at birth, cleared and its futex woken at exit{joins}"
        )),
        (true, false) => clauses.add(format_args!("tid stored at {child:#x} in the child")),
        (false, true) => clauses.add(format_args!(
            "tid word at {child:#x} cleared and its futex woken at exit{joins}"
        )),
        (false, false) => {}
    }
}

fn extras(clauses: &mut Clauses, request: &Request, pidfd: Option<i32>, untraced: Untraced) {
    let flags = request.flags();
    if flags.has(CloneFlags::PIDFD) {
        match pidfd {
            Some(fd) => clauses.add(format_args!("pidfd {fd} in the parent refers to it")),
            None => clauses.add("a pidfd in the parent refers to it"),
        }
    }
    if flags.has(CloneFlags::INTO_CGROUP) {
        let fd = request.clone_args().map_or(0, |a| a.cgroup);
        clauses.add(format_args!("born in the cgroup of fd {fd}"));
    }
    if let Some(pids) = request.set_tid() {
        let pids: Vec<String> = pids.iter().map(i32::to_string).collect();
        clauses.add(format_args!(
            "its pid {} chosen by the caller",
            pids.join(", ")
        ));
    }
    for (flag, text) in [
        (
            CloneFlags::AUTOREAP,
            "reaped by the kernel at exit: no zombie, nothing to wait for",
        ),
        (CloneFlags::NNP, "no_new_privs set on it"),
        (
            CloneFlags::PIDFD_AUTOKILL,
            "killed when its pidfd is closed",
        ),
        (
            CloneFlags::UNTRACED,
            match untraced {
                Untraced::Hidden => "CLONE_UNTRACED hides it from tracers: not followed",
                Untraced::Stranded => {
                    "CLONE_UNTRACED hides it from tracers and could not be taken out: not \
                     followed, and its own forks and execs fail with ENOSYS, as its seccomp filter \
                     needs a tracer"
                }
                Untraced::TakenOut => {
                    "CLONE_UNTRACED, which would hide it from tracers, taken out for the call"
                }
            },
        ),
        (
            CloneFlags::PTRACE,
            "CLONE_PTRACE hands it to the caller's tracer",
        ),
    ] {
        if flags.has(flag) {
            clauses.add(text);
        }
    }
    if flags.unknown() != 0 {
        clauses.add(format_args!("unknown flag bits {:#x}", flags.unknown()));
    }
    if matches!(&request.spec, Spec::Clone(clone) if clone.flags >> 32 != 0) {
        clauses.add("the upper 32 bits of flags are ignored by clone");
    }
}

/// Why a call failed, as far as its arguments and the error tell for certain.
pub fn failed(request: &Request, errno: Errno) -> String {
    if errno.restart().is_some() {
        return "nothing created: a signal came first, the kernel repeats the call".to_owned();
    }
    let what = match request.kind() {
        _ if !request.is_decoded() => "nothing",
        Kind::Thread => "no thread",
        Kind::Vfork => "no vfork child",
        Kind::Process | Kind::SharedProcess => "no process",
    };
    match reason(request, errno) {
        Some(reason) => format!("{what} created: {reason}"),
        None => format!("{what} created"),
    }
}

fn reason(request: &Request, errno: Errno) -> Option<&'static str> {
    let flags = request.flags();
    let clone3 = matches!(request.spec, Spec::Clone3(_));
    Some(match errno {
        Errno::EAGAIN => {
            "a limit is reached (ulimit -u, a cgroup's pids.max, kernel.threads-max or pid_max)"
        }
        Errno::ENOMEM => "out of memory, or the init of its pid namespace has died",
        Errno::EPERM if flags.any(CloneFlags::PRIVILEGED) => {
            "new namespaces need privileges, or a seccomp filter refuses them"
        }
        Errno::EPERM => "a privilege is missing, or a seccomp filter refuses the call",
        Errno::ENOSYS if clone3 => {
            "the kernel lacks clone3 or a seccomp filter refuses it; glibc then falls back to clone"
        }
        Errno::ENOSYS => "the kernel lacks the call, or a seccomp filter refuses it",
        Errno::EINVAL => return invalid(request),
        Errno::E2BIG => match &request.spec {
            Spec::Clone3(c) if c.size > super::args::SIZE_MAX as u64 => {
                "the structure is larger than a page"
            }
            _ => "the structure has non-zero bytes that this kernel doesn't know",
        },
        Errno::EFAULT => "an address in its arguments can't be read or written",
        Errno::EBADF => "a file descriptor in its arguments is not open",
        Errno::EEXIST => "the pid chosen with set_tid is taken",
        Errno::ENOSPC | Errno::EUSERS => "a limit on namespaces or their nesting is reached",
        Errno::EACCES => "no permission for the cgroup",
        _ => return None,
    })
}

/// The rules that the arguments alone show to be broken (kernel/fork.c).
fn invalid(request: &Request) -> Option<&'static str> {
    let flags = request.flags();
    let has = |flag| flags.has(flag);
    if let Spec::Clone3(Clone3 { body, .. }) = &request.spec {
        match body {
            Body::TooSmall => {
                return Some("the structure is smaller than its first version, 64 bytes");
            }
            Body::Unreadable => return None,
            Body::Read { args, tail, .. } => {
                if flags.unknown() != 0 {
                    return Some("flag bits that no kernel known to forktrace has");
                }
                if has(CloneFlags::DETACHED) {
                    return Some("clone3 refuses CLONE_DETACHED");
                }
                if args.exit_signal > 64 {
                    return Some("the exit signal is no signal");
                }
                if (args.stack == 0) != (args.stack_size == 0) {
                    return Some("clone3 needs stack and stack_size together");
                }
                if (args.set_tid == 0) != (args.set_tid_size == 0) {
                    return Some("clone3 needs set_tid and set_tid_size together");
                }
                if args.set_tid_size > 32 {
                    return Some("set_tid has more pids than there can be namespaces, 32");
                }
                if let Tail::NonZero { .. } = tail {
                    return None;
                }
                if args.exit_signal != 0 && flags.any(CloneFlags::THREAD | CloneFlags::PARENT) {
                    return Some("clone3 takes no exit signal with CLONE_THREAD or CLONE_PARENT");
                }
            }
        }
    }
    Some(if has(CloneFlags::SIGHAND) && !has(CloneFlags::VM) {
        "CLONE_SIGHAND needs CLONE_VM"
    } else if has(CloneFlags::THREAD) && !has(CloneFlags::SIGHAND) {
        "CLONE_THREAD needs CLONE_SIGHAND"
    } else if has(CloneFlags::FS) && flags.any(CloneFlags::NEWNS | CloneFlags::NEWUSER) {
        "CLONE_FS doesn't go with a new mount or user namespace"
    } else if has(CloneFlags::THREAD) && flags.any(CloneFlags::NEWUSER | CloneFlags::NEWPID) {
        "CLONE_THREAD doesn't go with a new user or pid namespace"
    } else if has(CloneFlags::PIDFD | CloneFlags::DETACHED) {
        "CLONE_PIDFD doesn't go with CLONE_DETACHED"
    } else if has(CloneFlags::PIDFD | CloneFlags::PARENT_SETTID)
        && matches!(request.spec, Spec::Clone(_))
    {
        "in clone CLONE_PIDFD and CLONE_PARENT_SETTID would store at one address"
    } else if has(CloneFlags::NEWIPC | CloneFlags::SYSVSEM) {
        "CLONE_SYSVSEM doesn't go with a new IPC namespace"
    } else if has(CloneFlags::CLEAR_SIGHAND | CloneFlags::SIGHAND) {
        "CLONE_CLEAR_SIGHAND contradicts CLONE_SIGHAND"
    } else {
        match request.kind() {
            Kind::Thread => {
                "flags that this kernel doesn't take together, or the caller's children belong to \
                 another pid namespace than itself (unshare, setns)"
            }
            _ => "flags or arguments that this kernel doesn't take together",
        }
    })
}

impl CloneFlags {
    /// The flags that make namespaces, which take privileges (but for
    /// NEWUSER).
    const PRIVILEGED: CloneFlags = {
        let mut bits = 0;
        let mut index = 0;
        while index < NAMESPACES.len() {
            bits |= NAMESPACES[index].0.0;
            index += 1;
        }
        CloneFlags(bits)
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{Abi, Syscall};
    use crate::clone::decode;
    use crate::memory::Regions;

    fn clone(flags: u64, stack: u64) -> Request {
        let call = Syscall {
            abi: Abi::X86_64,
            nr: 56,
            args: [flags, stack, 0x7000, 0x7000, 0x9000, 0],
        };
        decode(call, &mut Regions::default(), 32).unwrap()
    }

    fn clone3(fields: [u64; 11]) -> Request {
        let bytes = fields.iter().flat_map(|f| f.to_le_bytes()).collect();
        let mut memory = Regions(vec![
            (0x1000, bytes),
            (0x9000, 77i32.to_le_bytes().to_vec()),
        ]);
        let call = Syscall {
            abi: Abi::X86_64,
            nr: 435,
            args: [0x1000, 88, 0, 0, 0, 0],
        };
        decode(call, &mut memory, 32).unwrap()
    }

    fn words(request: &Request) -> String {
        created(request, Pid(4290), Some(5), Untraced::Hidden)
    }

    #[test]
    fn the_kinds_are_told_apart() {
        assert_eq!(
            words(&clone(0x0120_0011, 0)),
            "process: memory copied on write, the caller's stack with it; files, cwd, signal \
             handlers are copies; SIGCHLD to the parent at exit; tid word at 0x7000 set at birth, \
             cleared and its futex woken at exit"
        );
        assert_eq!(
            words(&clone(0x003d_0f00, 0x5000)),
            "thread of 4290: shares memory, files, cwd, signal handlers, semaphore undo; on a \
             stack given; TLS of its own; tid word at 0x7000 set at birth, cleared and its futex \
             woken at exit (pthread_join waits there)"
        );
        assert_eq!(
            words(&clone(0x4111, 0x5000)),
            "vfork child (as posix_spawn makes): parent suspended and its memory borrowed until \
             exec or exit; on a stack given; files, cwd, signal handlers are copies; SIGCHLD to \
             the parent at exit"
        );
        assert_eq!(
            words(&clone(0xf11, 0x5000)),
            "process that shares the memory of 4290 but is no thread of it: own pid, own exit; on \
             a stack given; files, cwd, signal handlers shared; SIGCHLD to the parent at exit"
        );
    }

    #[test]
    fn what_wait_does_not_see_is_said() {
        assert!(words(&clone(0, 0)).contains("no signal to the parent at exit: wait needs __WALL"));
        assert!(words(&clone(0x80, 0)).contains("no signal to the parent at exit, as 128 is none"));
        assert!(words(&clone(0x0001_4f00, 1)).contains("the caller suspended until it ends"));
        // Stored at one address, but in two memories.
        assert!(words(&clone(0x0030_0011, 0)).contains("tid stored at 0x7000 in the parent"));
        assert!(words(&clone(10, 0)).contains("SIGUSR1, not SIGCHLD, to the parent at exit"));
        assert!(words(&clone(0x8011, 0)).contains("a sibling"));
    }

    #[test]
    fn containers_are_recognised() {
        let text = words(&clone(0x7c02_0011, 0));
        assert!(
            text.contains(
                "in new user, pid, mount, network, IPC, UTS (hostname) namespaces; pid 1 there"
            ),
            "{text}"
        );
    }

    #[test]
    fn clone3_has_more_to_say() {
        let text = words(&clone3([
            0x3_0000_1000,
            0x8000,
            0,
            0,
            17,
            0x10000,
            0x20000,
            0,
            0x9000,
            1,
            7,
        ]));
        assert_eq!(
            text,
            "process: memory copied on write; on a stack given, 128 KiB; files, cwd are copies; \
             caught signals reset to default; SIGCHLD to the parent at exit; pidfd 5 in the \
             parent refers to it; born in the cgroup of fd 7; its pid 77 chosen by the caller"
        );
    }

    #[test]
    fn failures_name_the_rule_that_is_broken() {
        for (flags, rule) in [
            (
                0x1_0011u64,
                "no thread created: CLONE_THREAD needs CLONE_SIGHAND",
            ),
            (0x811, "no process created: CLONE_SIGHAND needs CLONE_VM"),
            (
                0x2_0211,
                "no process created: CLONE_FS doesn't go with a new mount or user namespace",
            ),
        ] {
            assert_eq!(failed(&clone(flags, 0), Errno::EINVAL), rule);
        }
        assert_eq!(
            failed(&clone(17, 0), Errno(513)),
            "nothing created: a signal came first, the kernel repeats the call"
        );
        assert!(
            failed(&clone(0x3d0f00, 1), Errno::EAGAIN).starts_with("no thread created: a limit")
        );
    }
}
