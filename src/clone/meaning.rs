//! What a creating call means, in one line of plain words.

use std::fmt::Write;

use super::flags::{CloneFlags, NAMESPACES};
use super::request::{ArgSet, Kind, Request, Spec, Stack};
use crate::digits;
use crate::ids::{Pid, Signal};

pub use super::failure::{circumstance, failed, failed_by, nothing};

/// Clauses, separated by semicolons.
struct Clauses(String);

impl Clauses {
    fn add(&mut self, clause: &str) {
        self.separate();
        self.0.push_str(clause);
    }

    fn add_fmt(&mut self, clause: std::fmt::Arguments<'_>) {
        self.separate();
        // Writing to a String can't fail.
        let _ = self.0.write_fmt(clause);
    }

    fn separate(&mut self) {
        if !self.0.is_empty() {
            self.0.push_str("; ");
        }
    }

    /// Goes on with ` at` an address, if that is known.
    fn at(&mut self, addr: Option<u64>) {
        if let Some(addr) = addr {
            self.0.push_str(" at ");
            digits::hex(&mut self.0, addr);
        }
    }

    /// Goes on with the caller's process.
    fn caller(&mut self, caller: Option<Pid>) {
        match caller {
            Some(pid) => digits::decimal(&mut self.0, pid.0),
            None => self.0.push_str("the caller's process"),
        }
    }
}

/// What is known of a call beside its request.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// The caller's process.
    pub caller: Option<Pid>,
    /// What the kernel stored for CLONE_PIDFD, if that could be read back.
    pub pidfd: Option<i32>,
    /// What CLONE_UNTRACED came to.
    pub untraced: Untraced,
    /// Which of the arguments are known.
    pub args: ArgSet,
}

/// What CLONE_UNTRACED came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untraced {
    /// It hides the child from forktrace.
    Hides,
    /// Likewise, and the child has a filter that needs a tracer.
    Stranded,
    /// forktrace took it out for the call.
    TakenOut,
    /// forktrace did not trace the call.
    Unseen,
}

/// What a successful call made that forktrace traced. `tgid` is the caller's
/// process; `pidfd` what the kernel stored for CLONE_PIDFD, if that could be
/// read back; `untraced` what became of CLONE_UNTRACED, if it is there.
pub fn created(request: &Request, tgid: Pid, pidfd: Option<i32>, untraced: Untraced) -> String {
    let known = Known {
        caller: Some(tgid),
        pidfd,
        untraced,
        args: ArgSet::ALL,
    };
    made(request, &known)
}

/// What a successful call makes, as far as it is known.
pub fn made(request: &Request, known: &Known) -> String {
    if !request.is_decoded() {
        return "created; its arguments could not be read".to_owned();
    }
    let flags = request.flags();
    let kind = request.kind();
    let mut clauses = Clauses(String::with_capacity(384));
    head(&mut clauses, request, known);
    if kind != Kind::Thread {
        sharing(&mut clauses, flags);
        exit_signal(&mut clauses, request, known);
    }
    if flags.has(CloneFlags::PARENT) && kind != Kind::Thread {
        clauses.add("a sibling: the caller's parent is its parent too");
    }
    namespaces(&mut clauses, flags);
    tid_words(&mut clauses, request, known);
    extras(&mut clauses, request, known);
    if request.spec == Spec::Fork {
        clauses.add("fork(2) itself, where glibc's fork() uses clone");
    }
    clauses.0
}

/// Kind, memory and stack.
fn head(clauses: &mut Clauses, request: &Request, known: &Known) {
    let flags = request.flags();
    let stack = known.args.has(ArgSet::STACK).then(|| request.stack());
    match (request.kind(), stack) {
        (Kind::Thread, _) => {
            clauses.add("thread of ");
            clauses.caller(known.caller);
            clauses.0.push_str(": shares memory");
            let shared = [
                (CloneFlags::FILES, "files"),
                (CloneFlags::FS, "cwd"),
                (CloneFlags::SIGHAND, "signal handlers"),
                (CloneFlags::SYSVSEM, "semaphore undo"),
                (CloneFlags::IO, "I/O context"),
            ];
            for (_, name) in shared.iter().filter(|(flag, _)| flags.has(*flag)) {
                clauses.0.push_str(", ");
                clauses.0.push_str(name);
            }
            let copied: Vec<&str> = shared[..2]
                .iter()
                .filter(|(flag, _)| !flags.has(*flag))
                .map(|(_, name)| *name)
                .collect();
            if !copied.is_empty() {
                clauses.add_fmt(format_args!("its own copy of {}", copied.join(", ")));
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
        (Kind::Process, Some(Stack::Callers)) => {
            clauses.add("process: memory copied on write, the caller's stack with it");
        }
        (Kind::Process, _) => {
            clauses.add("process: memory copied on write");
            given_stack(clauses, stack, "");
        }
        (Kind::Vfork, Some(Stack::Callers)) => clauses.add(
            "vfork child: parent suspended and its memory borrowed, stack and all, until exec or exit",
        ),
        (Kind::Vfork, None) => clauses.add(
            "vfork child: parent suspended and its memory borrowed until exec or exit",
        ),
        (Kind::Vfork, _) => {
            clauses.add(
                "vfork child (as posix_spawn makes): parent suspended and its memory borrowed \
                 until exec or exit",
            );
            given_stack(clauses, stack, "");
        }
        (Kind::SharedProcess, _) => {
            clauses.add("process that shares the memory of ");
            clauses.caller(known.caller);
            clauses
                .0
                .push_str(" but is no thread of it: own pid, own exit");
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

fn given_stack(clauses: &mut Clauses, stack: Option<Stack>, callers: &str) {
    match stack {
        None => {}
        Some(Stack::Callers) if callers.is_empty() => {}
        Some(Stack::Callers) => clauses.add(callers),
        Some(Stack::Pointer(_)) => clauses.add("on a stack given"),
        Some(Stack::Area(_, size)) => {
            clauses.add_fmt(format_args!("on a stack given, {}", Bytes(size)))
        }
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
        clauses.add_fmt(format_args!("{} shared", shared.join(", ")));
    }
    if !copied.is_empty() {
        let verb = if copied == ["cwd"] {
            "is a copy"
        } else {
            "are copies"
        };
        clauses.add_fmt(format_args!("{} {verb}", copied.join(", ")));
    }
    if flags.has(CloneFlags::CLEAR_SIGHAND) {
        clauses.add("caught signals reset to default");
    }
}

fn exit_signal(clauses: &mut Clauses, request: &Request, known: &Known) {
    if request.flags().has(CloneFlags::PARENT) {
        clauses.add("the caller's own exit signal at exit");
        return;
    }
    if !known.args.has(ArgSet::EXIT_SIGNAL) {
        return;
    }
    if request.flags().has(CloneFlags::AUTOREAP) {
        clauses.add("no signal to the parent at exit");
        return;
    }
    const UNSEEN: &str = "wait needs __WALL or __WCLONE to see it, until it execs";
    match request.exit_signal() {
        Some(Signal::CHLD) => clauses.add("SIGCHLD to the parent at exit"),
        Some(signal) if signal.exists() => clauses.add_fmt(format_args!(
            "{signal}, not SIGCHLD, to the parent at exit: {UNSEEN}"
        )),
        Some(signal) => clauses.add_fmt(format_args!(
            "no signal to the parent at exit, as {signal} is none: {UNSEEN}"
        )),
        None => clauses.add_fmt(format_args!("no signal to the parent at exit: {UNSEEN}")),
    }
}

fn namespaces(clauses: &mut Clauses, flags: CloneFlags) {
    let empty = flags.has(CloneFlags::EMPTY_MNTNS);
    let new: Vec<&str> = NAMESPACES
        .iter()
        // The empty one is told below.
        .filter(|(flag, _)| flags.has(*flag) && !(empty && *flag == CloneFlags::NEWNS))
        .map(|(_, name)| *name)
        .collect();
    match new[..] {
        [] => {}
        [one] => clauses.add_fmt(format_args!("in a new {one} namespace")),
        _ => clauses.add_fmt(format_args!("in new {} namespaces", new.join(", "))),
    }
    if flags.has(CloneFlags::NEWPID) {
        clauses.add("pid 1 there");
    }
    if empty {
        clauses.add("in a new mount namespace that is empty");
    }
}

/// The words that the kernel sets and clears: what pthread_join waits for.
fn tid_words(clauses: &mut Clauses, request: &Request, known: &Known) {
    let flags = request.flags();
    let child = known
        .args
        .has(ArgSet::CHILD_TID)
        .then(|| request.child_tid());
    let joins = if request.kind() == Kind::Thread {
        " (pthread_join waits there)"
    } else {
        ""
    };
    let set_in_child = flags.has(CloneFlags::CHILD_SETTID);
    let cleared = flags.has(CloneFlags::CHILD_CLEARTID);
    let in_parent = request.parent_tid();
    let in_parent = in_parent.map(|addr| known.args.has(ArgSet::PARENT_TID).then_some(addr));
    // One word for both only where the memory is one.
    let same = child.is_some()
        && in_parent == Some(child)
        && cleared
        && flags.has(CloneFlags::VM)
        && !set_in_child;
    if let Some(addr) = in_parent.filter(|_| !same) {
        clauses.add("tid stored");
        clauses.at(addr);
        clauses.0.push_str(" in the parent");
    }
    let (what, when) = match (same || set_in_child, cleared) {
        (true, true) => (
            "tid word",
            " set at birth, cleared and its futex woken at exit",
        ),
        (true, false) => ("tid stored", " in the child"),
        (false, true) => ("tid word", " cleared and its futex woken at exit"),
        (false, false) => return,
    };
    clauses.add(what);
    clauses.at(child);
    clauses.0.push_str(when);
    if cleared {
        clauses.0.push_str(joins);
    }
}

fn extras(clauses: &mut Clauses, request: &Request, known: &Known) {
    let flags = request.flags();
    if flags.has(CloneFlags::PIDFD) {
        match known.pidfd {
            Some(fd) => clauses.add_fmt(format_args!("pidfd {fd} in the parent refers to it")),
            None => clauses.add("a pidfd in the parent refers to it"),
        }
    }
    if flags.has(CloneFlags::INTO_CGROUP) {
        match request.clone_args() {
            Some(args) if known.args.has(ArgSet::CGROUP) => {
                clauses.add_fmt(format_args!("born in the cgroup of fd {}", args.cgroup));
            }
            _ => clauses.add("born in the cgroup given"),
        }
    }
    if let Some(pids) = request.set_tid() {
        let pids: Vec<String> = pids.iter().map(i32::to_string).collect();
        clauses.add_fmt(format_args!(
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
            match known.untraced {
                Untraced::Hides => "CLONE_UNTRACED hides it from tracers: not followed",
                Untraced::Stranded => {
                    "CLONE_UNTRACED hides it from tracers and could not be taken out: not \
                     followed, and its own forks and execs fail with ENOSYS, as its seccomp filter \
                     needs a tracer"
                }
                Untraced::TakenOut => {
                    "CLONE_UNTRACED, which would hide it from tracers, taken out for the call"
                }
                Untraced::Unseen => "CLONE_UNTRACED hides it from tracers",
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
        clauses.add_fmt(format_args!("unknown flag bits {:#x}", flags.unknown()));
    }
    if matches!(&request.spec, Spec::Clone(clone) if clone.flags >> 32 != 0) {
        clauses.add("the upper 32 bits of flags are ignored by clone");
    }
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
        created(request, Pid(4290), Some(5), Untraced::Hides)
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
    fn an_empty_mount_namespace_is_one() {
        let empty = CloneFlags::EMPTY_MNTNS | CloneFlags::NEWNS | CloneFlags::NEWUTS;
        let text = words(&clone3([empty.0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0]));
        assert!(
            text.ends_with(
                "in a new UTS (hostname) namespace; in a new mount namespace that is empty"
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
}
