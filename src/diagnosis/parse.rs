//! The texts of /proc and of cgroups, as facts. Whatever they say: a text that
//! is not as expected is none.

use super::evidence::{Capabilities, Hierarchy, Limit, Overcommit, Root, Scheduling, Status};
use crate::clone::rules::Version;

/// A field of a text with a line for each: `Name:\tvalue` (`/proc/PID/status`,
/// fdinfo, /proc/meminfo).
pub fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

/// The number of kibibytes in such a field.
fn kib(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.strip_suffix(" kB")?.trim().parse().ok()
}

/// `/proc/TID/status` (proc_pid_status(5)).
pub fn status(text: &str) -> Option<Status> {
    let numbers = |name| {
        let words = field(text, name)?.split_ascii_whitespace();
        words.map(|word| word.parse().ok()).collect::<Option<_>>()
    };
    let uids: Vec<u32> = numbers("Uid")?;
    let gids: Vec<u32> = numbers("Gid")?;
    let [uid, _, _, fsuid] = uids[..] else {
        return None;
    };
    let [_, _, _, fsgid] = gids[..] else {
        return None;
    };
    let tgids = field(text, "NStgid").or_else(|| field(text, "Tgid"))?;
    let number = |name| field(text, name)?.parse().ok();
    Some(Status {
        uid,
        fsuid,
        fsgid,
        groups: numbers("Groups").unwrap_or_default(),
        capabilities: Capabilities(u64::from_str_radix(field(text, "CapEff")?, 16).ok()?),
        seccomp: number("Seccomp").unwrap_or(0),
        filters: number("Seccomp_filters"),
        ns_tgids: tgids
            .split_ascii_whitespace()
            .map(|word| word.parse().ok())
            .collect::<Option<_>>()?,
        threads: field(text, "Threads")?.parse().ok()?,
        data_kib: kib(text, "VmData"),
    })
}

/// The real user and the number of threads in `/proc/PID/status`: less work than
/// [`status`], for all processes.
pub fn user_and_threads(text: &str) -> Option<(u32, u64)> {
    let uid = field(text, "Uid")?.split_ascii_whitespace().next()?;
    Some((uid.parse().ok()?, field(text, "Threads")?.parse().ok()?))
}

/// A soft limit in `/proc/PID/limits`; names are longer than a word.
pub fn limit(text: &str, name: &str) -> Option<Limit> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(match line.split_ascii_whitespace().next()? {
        "unlimited" => Limit::Unlimited,
        number => Limit::At(number.parse().ok()?),
    })
}

/// A file with a number.
pub fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// `pids.max`: `None` if there is no limit (`max`) or no number.
pub fn pids_max(text: &str) -> Option<u64> {
    number(text)
}

/// The tasks of the whole system, behind the slash in `/proc/loadavg`.
pub fn tasks(loadavg: &str) -> Option<u64> {
    let (_, all) = loadavg.split_ascii_whitespace().nth(3)?.split_once('/')?;
    all.parse().ok()
}

/// A kernel's release: `6.18.44-fc`.
pub fn release(text: &str) -> Option<Version> {
    let mut parts = text.split(|c: char| !c.is_ascii_digit());
    let mut next = || parts.next()?.parse().ok();
    Some(Version(next()?, next()?))
}

/// What sched_getscheduler(2) returns: a policy, and whether children get it.
pub fn scheduling(returned: i32) -> Scheduling {
    /// `SCHED_RESET_ON_FORK` (linux/sched.h).
    const RESET_ON_FORK: u32 = 0x4000_0000;
    let word = returned as u32;
    Scheduling {
        policy: word & !RESET_ON_FORK,
        resets_on_fork: word & RESET_ON_FORK != 0,
    }
}

/// The inode in the text of a link in `/proc/PID/ns`: `pid:[4026531836]`.
pub fn namespace(link: &str) -> Option<u64> {
    let (_, inode) = link.split_once(":[")?;
    inode.strip_suffix(']')?.parse().ok()
}

/// How memory may be promised: `vm.overcommit_memory` and `/proc/meminfo`.
pub fn overcommit(mode: &str, meminfo: &str) -> Option<Overcommit> {
    Some(Overcommit {
        mode: mode.trim().parse().ok()?,
        limit_kib: kib(meminfo, "CommitLimit")?,
        committed_kib: kib(meminfo, "Committed_AS")?,
    })
}

/// Where a cgroup with the pids controller may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupPath {
    /// Of which generation.
    pub hierarchy: Hierarchy,
    /// Its path in the hierarchy, as the reader sees it.
    pub path: String,
}

/// The cgroups in `/proc/TID/cgroup` (cgroups(7)) that may limit tasks.
pub fn cgroups(text: &str) -> Vec<CgroupPath> {
    let of_line = |line: &str| {
        let mut parts = line.splitn(3, ':');
        let (id, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let hierarchy = match (id, controllers) {
            ("0", "") => Hierarchy::V2,
            _ if controllers.split(',').any(|name| name == "pids") => Hierarchy::V1,
            _ => return None,
        };
        // Of one that was removed.
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        Some(CgroupPath {
            hierarchy,
            path: path.to_owned(),
        })
    };
    text.lines().filter_map(of_line).collect()
}

/// Where a hierarchy is mounted: its root in the hierarchy, and the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupMount {
    /// Of which generation.
    pub hierarchy: Hierarchy,
    /// The part of the hierarchy that is there.
    pub root: String,
    /// Where.
    pub directory: String,
}

/// The mounts of cgroups in `/proc/PID/mountinfo` (proc_pid_mountinfo(5)) that
/// may limit tasks.
pub fn cgroup_mounts(mountinfo: &str) -> Vec<CgroupMount> {
    let of_line = |line: &str| {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(3);
        let (root, directory) = (front.next()?, front.next()?);
        let mut back = back.split(' ');
        let hierarchy = match (back.next()?, back.nth(1)?) {
            ("cgroup2", _) => Hierarchy::V2,
            ("cgroup", options) if options.split(',').any(|name| name == "pids") => Hierarchy::V1,
            _ => return None,
        };
        Some(CgroupMount {
            hierarchy,
            root: unescaped(root),
            directory: unescaped(directory),
        })
    };
    mountinfo.lines().filter_map(of_line).collect()
}

/// The mounts that a process answers for, perhaps one that is traced and stopped:
/// who looks there may wait for ever.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Served(Vec<String>);

/// The types of such mounts; also those of a server elsewhere, which may be dead.
const SERVED: [&str; 10] = [
    "fuse", "fuseblk", "autofs", "9p", "nfs", "nfs4", "cifs", "smb3", "ceph", "afs",
];

/// Finds them in `/proc/PID/mountinfo`.
pub fn served(mountinfo: &str) -> Served {
    let of_line = |line: &str| {
        let (front, back) = line.split_once(" - ")?;
        let kind = back.split(' ').next()?;
        let served = SERVED.contains(&kind) || kind.starts_with("fuse.");
        served.then(|| unescaped(front.split(' ').nth(4).unwrap_or("/")))
    };
    Served(mountinfo.lines().filter_map(of_line).collect())
}

impl Served {
    /// Whether a path, without links and `..`, leads to such a mount.
    pub fn holds(&self, path: &str) -> bool {
        self.0.iter().any(|mount| strip(path, mount).is_some())
    }

    /// As if all were such a mount.
    pub fn everywhere() -> Served {
        Served(vec!["/".to_owned()])
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The type of a mount in mountinfo, by its number (`mnt_id` in fdinfo).
pub fn mount_type(mountinfo: &str, id: &str) -> Option<String> {
    let line = mountinfo
        .lines()
        .find(|line| line.split(' ').next() == Some(id))?;
    let (_, back) = line.split_once(" - ")?;
    back.split(' ').next().map(str::to_owned)
}

/// Blanks stand as `\040` in mountinfo, likewise tabs, newlines, backslashes.
fn unescaped(word: &str) -> String {
    let escapes = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    let replace = |word: String, (from, to): &(&str, &str)| word.replace(from, to);
    escapes.iter().fold(word.to_owned(), replace)
}

/// The directories of a cgroup and of those above it, up to where its hierarchy
/// is mounted; none if no mount shows it.
pub fn directories(cgroup: &CgroupPath, mounts: &[CgroupMount]) -> Vec<String> {
    let below = |mount: &&CgroupMount| {
        mount.hierarchy == cgroup.hierarchy && strip(&cgroup.path, &mount.root).is_some()
    };
    let Some(mount) = mounts.iter().find(below) else {
        return Vec::new();
    };
    let rest = strip(&cgroup.path, &mount.root).unwrap_or_default();
    let mut directory = format!("{}{rest}", mount.directory);
    let mut all = Vec::new();
    while directory.len() > mount.directory.len() {
        let end = directory.rfind('/').unwrap_or(0);
        all.push(directory.clone());
        directory.truncate(end);
    }
    all.push(mount.directory.clone());
    all
}

/// A cgroup's directory and those above it, up to where its hierarchy is
/// mounted.
pub fn above(directory: &str, mounts: &[CgroupMount]) -> Vec<String> {
    let mount = mounts
        .iter()
        .find(|mount| strip(directory, &mount.directory).is_some());
    let Some((mount, rest)) =
        mount.and_then(|mount| Some((mount, strip(directory, &mount.directory)?)))
    else {
        return Vec::new();
    };
    let cgroup = CgroupPath {
        hierarchy: mount.hierarchy,
        path: format!("{}{rest}", mount.root.trim_end_matches('/')),
    };
    directories(&cgroup, mounts)
}

/// A path below a root, with its leading slash; empty for the root itself.
fn strip<'a>(path: &'a str, root: &str) -> Option<&'a str> {
    let path = path.trim_end_matches('/');
    let rest = path.strip_prefix(root.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// What a process's root is, by its own `/proc/PID/mountinfo`: mounts outside of
/// its root are not in it, and `/` only if something is mounted there.
pub fn root(mountinfo: &str) -> Root {
    let mut directories = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    match directories.any(|directory| directory == "/") {
        true => Root::Mount,
        false => Root::Directory,
    }
}

#[cfg(test)]
mod tests;
