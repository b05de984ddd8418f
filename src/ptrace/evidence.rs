//! Evidence of why a call failed, read while the caller is still stopped behind
//! it: from /proc, cgroups and the filters of the tracee. Only what has a
//! bearing on the error is read, and only after a failure; what the texts mean
//! is for `diagnosis`.

mod exec;
mod tasks;

use std::fs::{File, Metadata};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{filter, sys};
use crate::abi::Syscall;
use crate::clone::{CloneFlags, Request};
use crate::diagnosis::bpf::{self, Instruction};
use crate::diagnosis::evidence::{
    Access, CgroupFd, Evidence, Fact, Hierarchy, Init, Limit, NamespaceMax, PidNamespaces,
    PidsCgroup, Place, Status, UserNamespace, Users, Verdict,
};
use crate::diagnosis::{limits, parse};
use crate::event::Stops;
use crate::ids::{Errno, Tid};

pub(super) use exec::of_exec;

/// The inode of the first user namespace (`PROC_USER_INIT_INO`,
/// linux/proc_ns.h).
const FIRST_USER_NAMESPACE: u64 = 0xefff_fffd;

/// The caller of a failed call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    /// The thread, stopped.
    pub(super) tid: Tid,
    /// How many of its seccomp filters are forktrace's.
    pub(super) own_filters: u32,
}

impl Caller {
    /// A thread of a run with such stops.
    pub(super) fn new(tid: Tid, stops: Stops) -> Caller {
        Caller {
            tid,
            own_filters: u32::from(stops == Stops::Seccomp),
        }
    }

    fn path(self, file: &str) -> String {
        format!("/proc/{}/{file}", self.tid)
    }

    /// A file of its own in /proc.
    fn text(self, file: &str) -> Fact<String> {
        text(&self.path(file))
    }

    fn status(self) -> Fact<Status> {
        self.text("status").parsed(|text| parse::status(&text))
    }

    fn limit(self, name: &str) -> Fact<Limit> {
        self.text("limits").parsed(|text| parse::limit(&text, name))
    }

    /// The inode behind a link in its `ns` directory.
    fn namespace(self, kind: &str) -> Fact<u64> {
        namespace(&self.path(&format!("ns/{kind}")))
    }

    /// What its seccomp filters answer to a call; not asked where it has none but
    /// forktrace's.
    fn verdict(self, status: &Fact<Status>, call: Option<&Syscall>) -> Fact<Verdict> {
        let (Some(status), Some(call)) = (status.get(), call) else {
            return Fact::NotRead;
        };
        if status.seccomp != 2 || status.filters.is_some_and(|all| all <= self.own_filters) {
            return Fact::NotRead;
        }
        let mut filters = Vec::new();
        loop {
            match sys::seccomp_filter(self.tid, filters.len()) {
                Ok(filter) => filters.push(filter.iter().map(instruction).collect()),
                Err(Errno::ENOENT) if !filters.is_empty() => break,
                Err(errno) => return Fact::Unreadable(errno),
            }
        }
        Fact::Read(filters).parsed(|filters| bpf::verdict(&filters, call, filter::MARK))
    }
}

fn instruction(filter: &libc::sock_filter) -> Instruction {
    let libc::sock_filter { code, jt, jf, k } = *filter;
    Instruction { code, jt, jf, k }
}

/// The error of a failed call to std.
fn errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno)
}

/// A file of /proc or of a cgroup, as text.
fn text(path: &str) -> Fact<String> {
    match sys::read_proc(path) {
        Ok(bytes) => Fact::Read(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => Fact::Unreadable(errno(&error)),
    }
}

fn number(path: &str) -> Fact<u64> {
    text(path).parsed(|text| parse::number(&text))
}

fn link(path: &str) -> Result<String, Errno> {
    std::fs::read_link(path)
        .map(|link| link.to_string_lossy().into_owned())
        .map_err(|error| errno(&error))
}

fn namespace(path: &str) -> Fact<u64> {
    Fact::from(link(path)).parsed(|link| parse::namespace(&link))
}

impl From<&Metadata> for Access {
    fn from(metadata: &Metadata) -> Access {
        Access {
            mode: metadata.mode(),
            uid: metadata.uid(),
            gid: metadata.gid(),
        }
    }
}

/// What there is to know of a creating call that failed with an error.
pub(super) fn of_creation(caller: Caller, request: &Request, errno: Errno) -> Evidence {
    if errno.restart().is_some() {
        return Evidence::default();
    }
    let flags = request.flags();
    let status = caller.status();
    let mut evidence = Evidence {
        verdict: caller.verdict(&status, Some(&request.syscall)),
        status,
        own_filters: caller.own_filters,
        release: text("/proc/sys/kernel/osrelease").parsed(|text| parse::release(&text)),
        ..Evidence::default()
    };
    if evidence.verdict == Fact::Read(Verdict::Error(errno)) {
        return evidence;
    }
    if flags.has(CloneFlags::INTO_CGROUP) {
        let fd = request.clone_args().map_or(0, |args| args.cgroup);
        evidence.cgroup_fd = cgroup_fd(caller, fd);
    }
    match errno {
        Errno::EAGAIN => read_limits(caller, &mut evidence),
        Errno::EINVAL => {
            evidence.pid_namespaces = pid_namespaces(caller);
            if request.set_tid().is_some() {
                evidence.pid_max = number("/proc/sys/kernel/pid_max");
            }
        }
        Errno::EPERM => {
            evidence.user_namespace = user_namespace(caller);
            if flags.has(CloneFlags::NEWUSER) {
                let sysctl = |name: &str| number(&format!("/proc/sys/kernel/{name}"));
                evidence.unprivileged_userns = sysctl("unprivileged_userns_clone");
                evidence.apparmor_userns = sysctl("apparmor_restrict_unprivileged_userns");
                let mounts = caller.text("mountinfo");
                evidence.users = caller.text("uid_map").parsed(|text| {
                    Some(match text.trim() {
                        "" => Users::None,
                        _ => Users::Some,
                    })
                });
                evidence.root = mounts.parsed(|text| Some(parse::root(&text)));
            }
        }
        Errno::ENOSPC => {
            evidence.user_namespace = user_namespace(caller);
            evidence.namespaces = namespaces(caller, flags);
        }
        Errno::ENOMEM => {
            evidence.pid_namespaces = pid_namespaces(caller);
            if let Some(PidNamespaces {
                children: Some(children),
                ..
            }) = evidence.pid_namespaces.get()
                && let Some(lives) = tasks::look(|| tasks::has_init(*children))
            {
                evidence.init = Fact::Read(match lives {
                    true => Init::Alive,
                    false => Init::Dead,
                });
            }
            evidence.overcommit = text("/proc/sys/vm/overcommit_memory").parsed(|mode| {
                let meminfo = text("/proc/meminfo");
                parse::overcommit(&mode, meminfo.get()?)
            });
        }
        Errno::EEXIST => evidence.taken = taken(caller, request),
        _ => {}
    }
    evidence
}

/// The limits on tasks. All tasks are counted only if no other limit is reached
/// and the count decides: there may be many.
fn read_limits(caller: Caller, evidence: &mut Evidence) {
    evidence.nproc = caller.limit("Max processes");
    evidence.user_namespace = user_namespace(caller);
    evidence.threads_max = number("/proc/sys/kernel/threads-max");
    evidence.tasks = text("/proc/loadavg").parsed(|text| parse::tasks(&text));
    evidence.pid_max = number("/proc/sys/kernel/pid_max");
    evidence.scheduling =
        Fact::from(sys::scheduler(caller.tid)).parsed(|word| Some(parse::scheduling(word)));
    let into = match evidence.cgroup_fd.get() {
        Some(CgroupFd::Cgroup { path, .. }) => Some(path.as_str()),
        _ => None,
    };
    evidence.pids = Fact::Read(pids_cgroups(caller, into));
    let reached = limits::reached(evidence)
        .iter()
        .any(|cause| cause.certainty == crate::diagnosis::Certainty::Certain);
    let Some(status) = evidence.status.get().filter(|_| !reached) else {
        return;
    };
    let limited = limits::nproc_limit(evidence).is_some();
    let near = match (evidence.tasks.get(), evidence.pid_max.get()) {
        (Some(tasks), Some(max)) => tasks.saturating_add(limits::RESERVED_PIDS) >= *max,
        _ => false,
    };
    if (limited || near)
        && let Some(counted) = tasks::look(|| tasks::count(status.uid))
    {
        evidence.user_tasks = Fact::Read(counted.of_user);
        evidence.ns_tasks = Fact::Read(counted.all);
    }
}

/// The cgroups with a limit on tasks that a child of the caller would count in:
/// those of the caller, or the one that it is to be born in, and those above.
fn pids_cgroups(caller: Caller, into: Option<&str>) -> Vec<PidsCgroup> {
    let (Fact::Read(cgroups), Fact::Read(mountinfo)) =
        (caller.text("cgroup"), text("/proc/self/mountinfo"))
    else {
        return Vec::new();
    };
    let mounts = parse::cgroup_mounts(&mountinfo);
    let mut directories = Vec::new();
    for cgroup in parse::cgroups(&cgroups) {
        let path = match (into, cgroup.hierarchy) {
            (Some(path), Hierarchy::V2) => parse::above(path, &mounts),
            _ => parse::directories(&cgroup, &mounts),
        };
        directories.extend(path.into_iter().map(|path| (cgroup.hierarchy, path)));
    }
    directories
        .into_iter()
        .filter_map(|(hierarchy, path)| {
            let file = |name: &str| text(&format!("{path}/{name}"));
            let max = file("pids.max").parsed(|text| parse::pids_max(&text));
            let max = *max.get()?;
            let current = file("pids.current").parsed(|text| parse::number(&text));
            Some(PidsCgroup {
                hierarchy,
                max,
                current: *current.get()?,
                path,
            })
        })
        .collect()
}

fn pid_namespaces(caller: Caller) -> Fact<PidNamespaces> {
    let children = match caller.namespace("pid_for_children") {
        Fact::Read(children) => Some(children),
        // No process was born there yet (pid_namespaces(7)).
        Fact::Unreadable(Errno::ENOENT) => None,
        other => return other.parsed(|_| None),
    };
    caller
        .namespace("pid")
        .parsed(|own| Some(PidNamespaces { own, children }))
}

fn user_namespace(caller: Caller) -> Fact<UserNamespace> {
    caller.namespace("user").parsed(|inode| {
        Some(UserNamespace {
            place: match inode {
                FIRST_USER_NAMESPACE => Place::Initial,
                _ => Place::Made,
            },
            depth: depth(&caller.path("ns/user"), &namespace("/proc/self/ns/user")),
        })
    })
}

/// How many levels a user namespace is below another.
fn depth(path: &str, top: &Fact<u64>) -> Option<u32> {
    /// More than can be nested.
    const LEVELS: u32 = 64;
    let top = *top.get()?;
    let mut namespace = std::os::fd::OwnedFd::from(File::open(path).ok()?);
    for depth in 0..LEVELS {
        let copy = File::from(namespace.try_clone().ok()?);
        if copy.metadata().ok()?.ino() == top {
            return Some(depth);
        }
        namespace = sys::parent_namespace(namespace.as_fd()).ok()?;
    }
    None
}

/// The limits on the namespaces that flags make: those of the reader's user
/// namespace, so only for a caller in the same.
fn namespaces(caller: Caller, flags: CloneFlags) -> Fact<Vec<NamespaceMax>> {
    const SYSCTLS: [(CloneFlags, &str); 8] = [
        (CloneFlags::NEWUSER, "max_user_namespaces"),
        (CloneFlags::NEWPID, "max_pid_namespaces"),
        (CloneFlags::NEWNS, "max_mnt_namespaces"),
        (CloneFlags::NEWNET, "max_net_namespaces"),
        (CloneFlags::NEWIPC, "max_ipc_namespaces"),
        (CloneFlags::NEWUTS, "max_uts_namespaces"),
        (CloneFlags::NEWCGROUP, "max_cgroup_namespaces"),
        (CloneFlags::NEWTIME, "max_time_namespaces"),
    ];
    if caller.namespace("user") != namespace("/proc/self/ns/user") {
        return Fact::Unreadable(Errno::EPERM);
    }
    let made = SYSCTLS.iter().filter(|(flag, _)| flags.has(*flag));
    let read = made.filter_map(|(flag, name)| {
        let max = number(&format!("/proc/sys/user/{name}"));
        Some(NamespaceMax {
            flag: *flag,
            sysctl: format!("user.{name}"),
            max: *max.get()?,
        })
    });
    Fact::Read(read.collect())
}

/// The pids that were asked for and are in use, as far as they are in the
/// reader's own pid namespace.
fn taken(caller: Caller, request: &Request) -> Fact<Vec<i32>> {
    let Fact::Read(ours) = namespace("/proc/self/ns/pid") else {
        return Fact::NotRead;
    };
    if caller.namespace("pid_for_children") != Fact::Read(ours) {
        return Fact::NotRead;
    }
    // The innermost comes first: that of a new namespace, if one is made.
    let index = usize::from(request.flags().has(CloneFlags::NEWPID));
    let pids = request.set_tid().unwrap_or_default();
    let there = |pid: &&i32| Path::new(&format!("/proc/{pid}")).exists();
    Fact::Read(
        pids.iter()
            .skip(index)
            .take(1)
            .filter(there)
            .copied()
            .collect(),
    )
}

/// What a descriptor of the caller's is, as a cgroup.
fn cgroup_fd(caller: Caller, fd: u64) -> Fact<CgroupFd> {
    let at = caller.path(&format!("fd/{fd}"));
    let path = match link(&at) {
        Ok(path) => path,
        Err(Errno::ENOENT) => return Fact::Read(CgroupFd::Closed),
        Err(errno) => return Fact::Unreadable(errno),
    };
    // Not by statfs(2): who answers for other files may be stopped.
    let info = text(&caller.path(&format!("fdinfo/{fd}")));
    let mounts = caller.text("mountinfo");
    let kind = match (&info, &mounts) {
        (Fact::Read(info), Fact::Read(mounts)) => {
            parse::field(info, "mnt_id").and_then(|id| parse::mount_type(mounts, id))
        }
        _ => None,
    };
    match kind.as_deref() {
        Some("cgroup2") => {}
        // Pipes and the like are in no mount.
        None if path.starts_with('/') => return Fact::Unreadable(Errno::EIO),
        Some(_) | None => return Fact::Read(CgroupFd::Other { path }),
    }
    if let Some(path) = path.strip_suffix(" (deleted)") {
        let path = path.to_owned();
        return Fact::Read(CgroupFd::Removed { path });
    }
    let file = |name: &str| match text(&format!("{at}/{name}")) {
        Fact::Read(text) => text.trim().to_owned(),
        // The root has no type.
        Fact::NotRead | Fact::Unreadable(_) => String::new(),
    };
    let procs = std::fs::metadata(format!("{at}/cgroup.procs"));
    Fact::Read(CgroupFd::Cgroup {
        kind: file("cgroup.type"),
        controllers: file("cgroup.subtree_control"),
        procs: procs.ok().as_ref().map(Access::from),
        path,
    })
}
