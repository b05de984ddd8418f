//! What can be read of a thread and of the system when a call has just failed.
//! All of it may be missing: it was not asked for, or could not be read. Then
//! nothing is concluded from it.

use super::image::Head;
use super::path::Walk;
use crate::clone::CloneFlags;
use crate::clone::rules::Version;
use crate::ids::{Comm, Errno, Pid};

/// A piece of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Fact<T> {
    /// Nobody looked: it has no bearing on this failure, or costs too much.
    #[default]
    NotRead,
    /// It could not be read.
    Unreadable(Errno),
    /// It was read.
    Read(T),
}

impl<T> Fact<T> {
    /// It, if it was read.
    pub fn get(&self) -> Option<&T> {
        match self {
            Fact::Read(value) => Some(value),
            Fact::NotRead | Fact::Unreadable(_) => None,
        }
    }

    /// Whether somebody looked, be it in vain.
    pub fn was_asked(&self) -> bool {
        !matches!(self, Fact::NotRead)
    }

    /// What was read, made into something else; a text that says nothing is not
    /// readable (EIO).
    pub fn parsed<U>(self, parse: impl FnOnce(T) -> Option<U>) -> Fact<U> {
        match self {
            Fact::NotRead => Fact::NotRead,
            Fact::Unreadable(errno) => Fact::Unreadable(errno),
            Fact::Read(value) => match parse(value) {
                Some(value) => Fact::Read(value),
                None => Fact::Unreadable(Errno::EIO),
            },
        }
    }
}

impl<T> From<Result<T, Errno>> for Fact<T> {
    fn from(result: Result<T, Errno>) -> Fact<T> {
        match result {
            Ok(value) => Fact::Read(value),
            Err(errno) => Fact::Unreadable(errno),
        }
    }
}

/// Capabilities, a bit each (linux/capability.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities(pub u64);

/// A capability by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capability(pub u8);

impl Capability {
    /// CAP_DAC_OVERRIDE: a file's mode doesn't matter.
    pub const DAC_OVERRIDE: Capability = Capability(1);
    /// CAP_DAC_READ_SEARCH: a directory's mode doesn't matter for search.
    pub const DAC_READ_SEARCH: Capability = Capability(2);
    /// CAP_SYS_ADMIN.
    pub const SYS_ADMIN: Capability = Capability(21);
    /// CAP_SYS_RESOURCE: limits don't matter.
    pub const SYS_RESOURCE: Capability = Capability(24);
    /// CAP_CHECKPOINT_RESTORE, since Linux 5.9.
    pub const CHECKPOINT_RESTORE: Capability = Capability(40);
}

impl Capabilities {
    /// Whether one is among them.
    pub fn has(self, Capability(number): Capability) -> bool {
        self.0 >> number & 1 == 1
    }
}

/// What `/proc/TID/status` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The real user.
    pub uid: u32,
    /// The user that files are opened as.
    pub fsuid: u32,
    /// The group that files are opened as.
    pub fsgid: u32,
    /// The other groups.
    pub groups: Vec<u32>,
    /// The capabilities in effect, in the thread's own user namespace.
    pub capabilities: Capabilities,
    /// `Seccomp` in it: 0 none, 1 strict, 2 filters.
    pub seccomp: u32,
    /// The number of seccomp filters (since Linux 5.9).
    pub filters: Option<u32>,
    /// Its process's number in each pid namespace, from the reader's down.
    pub ns_tgids: Vec<i32>,
    /// How many threads its process has.
    pub threads: u64,
    /// Private writable memory, in KiB.
    pub data_kib: Option<u64>,
}

/// A soft resource limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// There is none.
    Unlimited,
    /// So much.
    At(u64),
}

/// Which generation of cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hierarchy {
    /// One hierarchy for each controller.
    V1,
    /// The unified one.
    V2,
}

/// A cgroup with the pids controller and a limit in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PidsCgroup {
    /// Its directory.
    pub path: String,
    /// Of which generation.
    pub hierarchy: Hierarchy,
    /// `pids.max`.
    pub max: u64,
    /// `pids.current`: its tasks and those of the cgroups below.
    pub current: u64,
}

/// How a thread is scheduled (sched(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheduling {
    /// The policy's number; 6 is SCHED_DEADLINE.
    pub policy: u32,
    /// Whether children get the default policy.
    pub resets_on_fork: bool,
}

/// The pid namespaces of a thread, by the numbers of their inodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PidNamespaces {
    /// Its own.
    pub own: u64,
    /// That of its children; `None` if that has had no process yet.
    pub children: Option<u64>,
}

/// Whether the init of a pid namespace is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    /// It is.
    Alive,
    /// No process is left there.
    Dead,
}

/// A limit in /proc/sys/user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceMax {
    /// The flag that makes such a namespace.
    pub flag: CloneFlags,
    /// The name in /proc/sys: `user.max_user_namespaces`.
    pub sysctl: String,
    /// Its value.
    pub max: u64,
}

/// How memory may be promised (proc(5), `vm.overcommit_memory`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overcommit {
    /// The mode: 0 a guess, 1 always, 2 never beyond the limit.
    pub mode: u32,
    /// `CommitLimit` in /proc/meminfo.
    pub limit_kib: u64,
    /// `Committed_AS` there.
    pub committed_kib: u64,
}

/// What a seccomp filter says to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It lets the kernel answer, or a tracer.
    Passes,
    /// This error.
    Error(Errno),
    /// Anything else: a signal, a listener.
    Other,
}

/// What the descriptor for CLONE_INTO_CGROUP is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupFd {
    /// Not open.
    Closed,
    /// Something else than a directory of cgroup v2.
    Other {
        /// What /proc calls it.
        path: String,
    },
    /// A cgroup.
    Cgroup {
        /// Its directory.
        path: String,
        /// `cgroup.type`; empty for the root, which has none.
        kind: String,
        /// `cgroup.subtree_control`: the controllers that its children have.
        controllers: String,
        /// The mode and owner of its `cgroup.procs`.
        procs: Option<Access>,
    },
    /// A cgroup that was removed.
    Removed {
        /// What /proc calls it.
        path: String,
    },
}

/// What somebody wants to do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Execute a file, or search a directory.
    Execute,
    /// Write to it.
    Write,
}

/// What a file's inode says of who may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Permission bits and type.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

impl Access {
    /// The permission bits.
    pub fn permissions(self) -> u32 {
        self.mode & 0o7777
    }

    /// Whether a thread may use the file, by mode and capabilities
    /// (`generic_permission`, fs/namei.c). Access control lists are not looked
    /// at.
    pub fn permits(self, status: &Status, wanted: Use) -> bool {
        let bit = match wanted {
            Use::Execute => 0o1,
            Use::Write => 0o2,
        };
        let capable = |capability| status.capabilities.has(capability);
        let overrides = match wanted {
            Use::Write => capable(Capability::DAC_OVERRIDE),
            Use::Execute if self.is_directory() => {
                capable(Capability::DAC_OVERRIDE) || capable(Capability::DAC_READ_SEARCH)
            }
            // Somebody must be allowed to execute a file.
            Use::Execute => capable(Capability::DAC_OVERRIDE) && self.mode & 0o111 != 0,
        };
        let shift = if status.fsuid == self.uid {
            6
        } else if status.fsgid == self.gid || status.groups.contains(&self.gid) {
            3
        } else {
            0
        };
        overrides || self.mode >> shift & bit != 0
    }
}

/// What was read when a creating call had failed. Which parts are read depends
/// on the error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evidence {
    /// The caller.
    pub status: Fact<Status>,
    /// How many of its seccomp filters are forktrace's own.
    pub own_filters: u32,
    /// What its seccomp filters answer to this call.
    pub verdict: Fact<Verdict>,
    /// The kernel's version.
    pub release: Fact<Version>,
    /// RLIMIT_NPROC.
    pub nproc: Fact<Limit>,
    /// The tasks of the caller's real user, as far as they are seen.
    pub user_tasks: Fact<u64>,
    /// The cgroups that it is in, and those above, from its own up.
    pub pids: Fact<Vec<PidsCgroup>>,
    /// kernel.threads-max.
    pub threads_max: Fact<u64>,
    /// The tasks of the whole system.
    pub tasks: Fact<u64>,
    /// kernel.pid_max of the reader's pid namespace.
    pub pid_max: Fact<u64>,
    /// The tasks in that pid namespace.
    pub ns_tasks: Fact<u64>,
    /// How it is scheduled.
    pub scheduling: Fact<Scheduling>,
    /// Its pid namespaces.
    pub pid_namespaces: Fact<PidNamespaces>,
    /// The init of its children's pid namespace.
    pub init: Fact<Init>,
    /// Whether it is in the first user namespace.
    pub user_namespace: Fact<UserNamespace>,
    /// The limits on the namespaces that the call makes.
    pub namespaces: Fact<Vec<NamespaceMax>>,
    /// kernel.unprivileged_userns_clone (Debian's kernels).
    pub unprivileged_userns: Fact<u64>,
    /// kernel.apparmor_restrict_unprivileged_userns (Ubuntu's).
    pub apparmor_userns: Fact<u64>,
    /// Its root directory.
    pub root: Fact<Root>,
    /// Whether its user namespace has users.
    pub users: Fact<Users>,
    /// How memory may be promised.
    pub overcommit: Fact<Overcommit>,
    /// The descriptor for CLONE_INTO_CGROUP.
    pub cgroup_fd: Fact<CgroupFd>,
    /// Those of the pids in `set_tid` that are taken.
    pub taken: Fact<Vec<i32>>,
}

/// Which user namespace a thread is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserNamespace {
    /// Whether it is the system's first.
    pub place: Place,
    /// How many levels it is below the reader's; `None` if it is not below it.
    pub depth: Option<u32>,
}

/// The system's first namespace, or one that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The first.
    Initial,
    /// Another.
    Made,
}

/// Whether a user namespace has users: `/proc/PID/uid_map`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Users {
    /// Some, perhaps not all.
    Some,
    /// None: the map was not written yet.
    None,
}

/// What a thread's root directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// A mount: that of the mount namespace, or one that looks like it.
    Mount,
    /// A directory inside of a mount: chroot.
    Directory,
}

impl Evidence {
    /// The seccomp filters that are not forktrace's, if that is known.
    pub fn foreign_filters(&self) -> Option<u32> {
        let status = self.status.get()?;
        match (status.seccomp, status.filters) {
            (0, _) => Some(0),
            (1, _) => None,
            (_, Some(filters)) => Some(filters.saturating_sub(self.own_filters)),
            (_, None) => None,
        }
    }

    /// Whether the caller has a capability, if that is known.
    pub fn has(&self, capability: Capability) -> Option<bool> {
        Some(self.status.get()?.capabilities.has(capability))
    }
}

/// The sizes of an exec call's strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sizes {
    /// Arguments and environment, and the NUL of each.
    pub bytes: u64,
    /// How many there are.
    pub strings: u64,
    /// The longest, its NUL included.
    pub longest: u64,
}

/// A process that has a file open for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writer {
    /// The process.
    pub pid: Pid,
    /// Its name.
    pub comm: Comm,
}

/// A file that an exec needs, as the kernel found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// The path that was asked for.
    pub path: String,
    /// Where that led.
    pub walk: Walk,
    /// Its first bytes.
    pub head: Fact<Head>,
    /// Whether its mount forbids to run programs.
    pub noexec: Fact<bool>,
}

/// What was read when an exec had failed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecEvidence {
    /// The caller.
    pub status: Fact<Status>,
    /// How many of its seccomp filters are forktrace's own.
    pub own_filters: u32,
    /// What its seccomp filters answer to this call.
    pub verdict: Fact<Verdict>,
    /// The files: the program, then its interpreter or loader, and so on, as far
    /// as one names the next.
    pub files: Fact<Vec<Needed>>,
    /// The sizes of arguments and environment.
    pub sizes: Fact<Sizes>,
    /// RLIMIT_STACK.
    pub stack: Fact<Limit>,
    /// RLIMIT_NPROC.
    pub nproc: Fact<Limit>,
    /// The tasks of its user.
    pub user_tasks: Fact<u64>,
    /// Who has the program open for writing.
    pub writers: Fact<Vec<Writer>>,
}
