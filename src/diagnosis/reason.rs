//! What a cause is, with the figures that decide, and its words: one clause, to
//! stand after a colon or "perhaps".

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::image::machine_name;

/// What made a call fail. Paths are text: what is not UTF-8 stands as U+FFFD.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Reason {
    /// A rule of the kernel's is broken.
    Rule {
        /// The rule, in words.
        text: String,
    },
    /// A seccomp filter of the program answers, not the kernel.
    SeccompFilter {
        /// How many filters it has, forktrace's own not counted; missing if that
        /// is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filters: Option<u32>,
    },
    /// Strict seccomp.
    SeccompStrict,
    /// The kernel is older than the call.
    OldKernel {
        /// Its version.
        release: String,
        /// The first that has the call.
        since: String,
    },
    /// A signal came first: the kernel repeats the call.
    Restarted,
    /// RLIMIT_NPROC is reached.
    Nproc {
        /// The real user.
        uid: u32,
        /// The limit.
        limit: u64,
        /// The user's tasks, as far as they are seen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tasks: Option<u64>,
    },
    /// A cgroup's limit on tasks is reached.
    CgroupPids {
        /// Its directory.
        path: String,
        /// `pids.max`.
        max: u64,
        /// `pids.current`.
        current: u64,
    },
    /// kernel.threads-max is reached.
    ThreadsMax {
        /// The limit.
        max: u64,
        /// Tasks on the system.
        tasks: u64,
    },
    /// All pids of a pid namespace are in use.
    PidMax {
        /// kernel.pid_max.
        max: u64,
        /// Tasks in the pid namespace.
        tasks: u64,
    },
    /// The caller is in an inner pid namespace, whose pid_max can't be read from
    /// outside.
    InnerPidMax,
    /// Threads of policy SCHED_DEADLINE can't create.
    Deadline,
    /// A capability is missing.
    Capability {
        /// Its name.
        capability: String,
        /// What it is needed for.
        needed_for: String,
    },
    /// A setting forbids new user namespaces to those without privileges.
    UserNamespaceSysctl {
        /// The setting's name.
        sysctl: String,
        /// Its value.
        value: u64,
    },
    /// The caller's root directory is no mount.
    Chroot,
    /// The caller's user namespace has no users yet, so that the caller has no
    /// id in it.
    NoUsers,
    /// A limit on namespaces.
    NamespaceMax {
        /// The setting's name.
        sysctl: String,
        /// Its value.
        max: u64,
    },
    /// Pid namespaces are nested as deep as they can be.
    PidNesting {
        /// How deep the caller's is.
        depth: u32,
    },
    /// The same of user namespaces.
    UserNesting {
        /// How deep the caller's is.
        depth: u32,
    },
    /// The init of the pid namespace that the child would be born in has died.
    InitDied,
    /// More memory would be promised than may be.
    Overcommit {
        /// `CommitLimit`.
        limit_kib: u64,
        /// `Committed_AS`.
        committed_kib: u64,
        /// What a copy of the caller adds.
        copy_kib: u64,
    },
    /// The kernel had no memory.
    NoMemory,
    /// A pid that was asked for is in use.
    PidTaken {
        /// The pid.
        pid: i32,
    },
    /// More pids were asked for than the child has pid namespaces.
    SetTidLevels {
        /// How many were asked for.
        pids: u64,
        /// How many pid namespaces there are.
        levels: u64,
    },
    /// A pid that was asked for is too large.
    SetTidRange {
        /// The pid.
        pid: i32,
        /// kernel.pid_max.
        max: u64,
    },
    /// The descriptor of a cgroup is not open.
    CgroupClosed {
        /// The descriptor.
        fd: u64,
    },
    /// The descriptor of a cgroup is something else.
    CgroupOther {
        /// The descriptor.
        fd: u64,
        /// What it is.
        path: String,
    },
    /// The cgroup was removed.
    CgroupRemoved {
        /// Its directory.
        path: String,
    },
    /// The cgroup hands controllers on to its children, and may have no processes
    /// of its own then.
    CgroupBusy {
        /// Its directory.
        path: String,
        /// `cgroup.subtree_control`.
        controllers: String,
    },
    /// The cgroup is threaded, or invalid.
    CgroupThreaded {
        /// Its directory.
        path: String,
        /// `cgroup.type`.
        kind: String,
    },
    /// The caller may not write to the cgroup's `cgroup.procs`.
    CgroupForbidden {
        /// Its directory.
        path: String,
        /// The mode of that file.
        mode: u32,
        /// Its owner.
        owner: u32,
    },
    /// A file does not exist.
    Missing {
        /// Whose file it is.
        role: Role,
        /// The path, up to the part that is missing.
        path: String,
    },
    /// A symbolic link points to nothing.
    Dangling {
        /// Whose file it is.
        role: Role,
        /// The link.
        path: String,
        /// What it points to.
        target: String,
    },
    /// A part of a path is no directory.
    NotDirectory {
        /// Whose file it is.
        role: Role,
        /// The path up to that part.
        path: String,
    },
    /// Symbolic links lead in a circle, or there are more than 40.
    LinkLoop {
        /// Whose file it is.
        role: Role,
        /// The path.
        path: String,
    },
    /// Scripts are interpreters of scripts, too many.
    InterpreterLoop,
    /// A path, or a part of it, is too long.
    NameTooLong {
        /// Bytes of the path.
        bytes: u64,
    },
    /// A directory may not be searched.
    NoSearch {
        /// Whose file it is.
        role: Role,
        /// The directory.
        path: String,
        /// Its permission bits.
        mode: u32,
        /// Its owner.
        owner: u32,
        /// The caller.
        uid: u32,
    },
    /// A file may not be executed.
    NoExecute {
        /// Whose file it is.
        role: Role,
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
        /// Its owner.
        owner: u32,
        /// The caller.
        uid: u32,
    },
    /// No regular file.
    NotRegular {
        /// Whose file it is.
        role: Role,
        /// Its path.
        path: String,
        /// What it is: directory, fifo, socket, device.
        kind: String,
    },
    /// On a mount that forbids to run programs.
    NoexecMount {
        /// Whose file it is.
        role: Role,
        /// The file.
        path: String,
    },
    /// The file is empty.
    EmptyFile {
        /// The file.
        path: String,
    },
    /// The file starts with nothing that the kernel knows how to run.
    NoMagic {
        /// The file.
        path: String,
        /// Whether it looks like a script without a first line `#!`.
        text: bool,
    },
    /// `#!` without an interpreter.
    NoInterpreter {
        /// The file.
        path: String,
    },
    /// An ELF file for another machine.
    OtherMachine {
        /// Whose file it is.
        role: Role,
        /// The file.
        path: String,
        /// The machine's number (elf.h).
        machine: u16,
        /// 32 or 64 bits.
        bits: u8,
    },
    /// An ELF file that is no program, or is broken.
    BrokenElf {
        /// Whose file it is.
        role: Role,
        /// The file.
        path: String,
    },
    /// One string is too long.
    LongString {
        /// Bytes of the longest, its NUL included.
        bytes: u64,
        /// The most that one may have.
        max: u64,
    },
    /// All strings together are too long.
    LargeArguments {
        /// Bytes of them, and of the pointers to them.
        bytes: u64,
        /// The most: a quarter of RLIMIT_STACK, within bounds.
        max: u64,
    },
    /// Somebody has the program open for writing.
    OpenForWriting {
        /// The file.
        path: String,
        /// The process.
        pid: i32,
        /// Its name.
        comm: String,
    },
}

/// Whose file a cause of a failed exec is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The program itself.
    Program,
    /// The interpreter that a script names after `#!`.
    Interpreter,
    /// The loader that an ELF program names (PT_INTERP).
    Loader,
}

/// Where a file is not the program itself, what it is, with a space.
impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Program => "",
            Role::Interpreter => "the script's interpreter ",
            Role::Loader => "the program's loader ",
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Rule { text } => f.write_str(text),
            Reason::SeccompFilter { filters } => {
                f.write_str("a seccomp filter of the program answers, not the kernel")?;
                match filters {
                    Some(1) => f.write_str(" (1 filter)"),
                    Some(filters) => write!(f, " ({filters} filters)"),
                    None => Ok(()),
                }
            }
            Reason::SeccompStrict => f.write_str("strict seccomp is in force"),
            Reason::OldKernel { release, since } => {
                write!(f, "Linux {release} lacks the call, which came with {since}")
            }
            Reason::Restarted => f.write_str("a signal came first, the kernel repeats the call"),
            Reason::Nproc { uid, limit, tasks } => {
                write!(f, "RLIMIT_NPROC {limit} (ulimit -u)")?;
                match tasks {
                    Some(tasks) => write!(f, ", tasks of user {uid}: {tasks}"),
                    None => write!(f, ", of user {uid}"),
                }
            }
            Reason::CgroupPids { path, max, current } => {
                write!(f, "pids.max {max}, pids.current {current} in {path}")
            }
            Reason::ThreadsMax { max, tasks } => {
                write!(f, "kernel.threads-max {max}, tasks on the system {tasks}")
            }
            Reason::PidMax { max, tasks } => {
                write!(
                    f,
                    "kernel.pid_max {max}, tasks in the pid namespace {tasks}"
                )
            }
            Reason::InnerPidMax => f.write_str(
                "kernel.pid_max of the caller's own pid namespace, which can't be read from \
                 outside",
            ),
            Reason::Deadline => f.write_str(
                "the caller's scheduling policy is SCHED_DEADLINE, without reset-on-fork",
            ),
            Reason::Capability {
                capability,
                needed_for,
            } => write!(f, "{needed_for} needs {capability}, which the caller lacks"),
            Reason::UserNamespaceSysctl { sysctl, value } => write!(
                f,
                "{sysctl} is {value}: no user namespaces for those without privileges"
            ),
            Reason::Chroot => {
                f.write_str("the caller is in a chroot, and may make no user namespace there")
            }
            Reason::NoUsers => f.write_str(
                "the caller has no id in its own user namespace: nothing was written to its \
                 uid_map",
            ),
            Reason::NamespaceMax { sysctl, max } => write!(f, "{sysctl} is {max}"),
            Reason::PidNesting { depth } => {
                write!(
                    f,
                    "the caller's pid namespace is the last of {depth}, the most"
                )
            }
            Reason::UserNesting { depth } => {
                write!(
                    f,
                    "the caller's user namespace is the last of {depth}, the most"
                )
            }
            Reason::InitDied => f.write_str(
                "the init of the pid namespace that the child would be born in has died",
            ),
            Reason::Overcommit {
                limit_kib,
                committed_kib,
                copy_kib,
            } => write!(
                f,
                "vm.overcommit_memory is 2: CommitLimit {limit_kib} kB, Committed_AS \
                 {committed_kib} kB, a copy of the caller {copy_kib} kB"
            ),
            Reason::NoMemory => f.write_str("the kernel is out of memory, or a cgroup's is"),
            Reason::PidTaken { pid } => write!(f, "pid {pid}, chosen with set_tid, is taken"),
            Reason::SetTidLevels { pids, levels } => write!(
                f,
                "set_tid has {pids} pids, and the child {levels} pid namespaces"
            ),
            Reason::SetTidRange { pid, max } => {
                write!(f, "set_tid has pid {pid}, and kernel.pid_max is {max}")
            }
            Reason::CgroupClosed { fd } => {
                write!(f, "descriptor {fd} for CLONE_INTO_CGROUP is not open")
            }
            Reason::CgroupOther { fd, path } => write!(
                f,
                "descriptor {fd} for CLONE_INTO_CGROUP is {path}, no directory of cgroup v2"
            ),
            Reason::CgroupRemoved { path } => write!(f, "the cgroup {path} was removed"),
            Reason::CgroupBusy { path, controllers } => write!(
                f,
                "the cgroup {path} hands on controllers ({controllers}) and can't have processes \
                 of its own"
            ),
            Reason::CgroupThreaded { path, kind } => {
                write!(f, "the cgroup {path} is {kind}, and takes no processes")
            }
            Reason::CgroupForbidden { path, mode, owner } => write!(
                f,
                "the caller may not write to cgroup.procs in {path} (mode {mode:04o}, owner \
                 {owner})"
            ),
            Reason::Missing { role, path } => write!(f, "{role}{path} does not exist"),
            Reason::Dangling { role, path, target } => {
                write!(
                    f,
                    "{role}{path} is a link to {target}, which does not exist"
                )
            }
            Reason::NotDirectory { role, path } => write!(f, "{role}{path} is no directory"),
            Reason::LinkLoop { role, path } => {
                write!(f, "{role}{path} goes through too many symbolic links")
            }
            Reason::InterpreterLoop => {
                f.write_str("scripts that are interpreters of scripts, more than 5 deep")
            }
            Reason::NameTooLong { bytes } => write!(
                f,
                "the path has {bytes} bytes; the most is 4095, and 255 for each part"
            ),
            Reason::NoSearch {
                role,
                path,
                mode,
                owner,
                uid,
            } => {
                write!(f, "directory {path}")?;
                match role {
                    Role::Program => {}
                    Role::Interpreter => {
                        f.write_str(", on the way to the script's interpreter,")?
                    }
                    Role::Loader => f.write_str(", on the way to the program's loader,")?,
                }
                write!(
                    f,
                    " may not be searched by user {uid} (mode {mode:04o}, owner {owner})"
                )
            }
            Reason::NoExecute {
                role,
                path,
                mode,
                owner,
                uid,
            } => match mode & 0o111 {
                0 => write!(f, "{role}{path} is not executable (mode {mode:04o})"),
                _ => write!(
                    f,
                    "{role}{path} may not be executed by user {uid} (mode {mode:04o}, owner \
                     {owner})"
                ),
            },
            Reason::NotRegular { role, path, kind } => {
                write!(f, "{role}{path} is a {kind}, no regular file")
            }
            Reason::NoexecMount { role, path } => {
                write!(f, "{role}{path} is on a mount with noexec")
            }
            Reason::EmptyFile { path } => write!(f, "{path} is empty"),
            Reason::NoMagic { path, text: true } => write!(
                f,
                "{path} is text without a first line #!, which only shells run"
            ),
            Reason::NoMagic { path, text: false } => {
                write!(f, "{path} is in no format that the kernel runs")
            }
            Reason::NoInterpreter { path } => write!(f, "{path} names no interpreter after #!"),
            Reason::OtherMachine {
                role,
                path,
                machine,
                bits,
            } => match machine_name(*machine) {
                Some(name) => write!(f, "{role}{path} is a {bits}-bit program for {name}"),
                None => write!(
                    f,
                    "{role}{path} is a {bits}-bit program for machine {machine}"
                ),
            },
            Reason::BrokenElf { role, path } => {
                write!(f, "{role}{path} is no ELF program, or a damaged one")
            }
            Reason::LongString { bytes, max } => write!(
                f,
                "one argument or variable has {bytes} bytes, the most is {max}"
            ),
            Reason::LargeArguments { bytes, max } => write!(
                f,
                "arguments and environment have {bytes} bytes, the most is {max} (a quarter of \
                 ulimit -s, 6 MiB at most)"
            ),
            Reason::OpenForWriting { path, pid, comm } => {
                write!(f, "{path} is open for writing in process {pid} ({comm})")
            }
        }
    }
}
