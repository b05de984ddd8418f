//! What each flag does to parent and child, since when there is it, and where
//! it is documented: clone(2) of the Linux manual, linux/sched.h for what is
//! newer than that.

use super::flags::CloneFlags;

/// A flag, described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// What it does to parent and child.
    pub text: &'static str,
    /// Where that is documented.
    pub page: &'static str,
    /// The first Linux that has it.
    pub since: &'static str,
}

/// Describes a flag; `None` for what is no flag.
pub fn flag(flag: CloneFlags) -> Option<Entry> {
    let (text, page, since) = match flag {
        CloneFlags::VM => (
            "one address space for both: a write or mmap by either is seen by the other",
            "clone(2)",
            "2.0",
        ),
        CloneFlags::FS => (
            "root, working directory and umask are shared: a chdir by either moves both",
            "clone(2)",
            "2.0",
        ),
        CloneFlags::FILES => (
            "one table of file descriptors: an open, dup or close by either is seen by both",
            "clone(2)",
            "2.0",
        ),
        CloneFlags::SIGHAND => (
            "one table of signal handlers: a sigaction by either counts for both (masks stay apart)",
            "clone(2)",
            "2.0",
        ),
        CloneFlags::PIDFD => (
            "the parent gets a file descriptor that refers to the child",
            "pidfd_open(2)",
            "5.2",
        ),
        CloneFlags::PTRACE => (
            "where the caller is traced, its tracer gets the child as well",
            "ptrace(2)",
            "2.2",
        ),
        CloneFlags::VFORK => (
            "the caller is suspended until the child execs or exits",
            "vfork(2)",
            "2.2",
        ),
        CloneFlags::PARENT => (
            "the child's parent is the caller's parent, which gets its exit signal",
            "clone(2)",
            "2.3.12",
        ),
        CloneFlags::THREAD => (
            "the child joins the caller's thread group: same pid, signals and exit as one process",
            "clone(2)",
            "2.4.0",
        ),
        CloneFlags::NEWNS => (
            "the child gets a mount namespace of its own, a copy of the caller's",
            "mount_namespaces(7)",
            "2.4.19",
        ),
        CloneFlags::SYSVSEM => (
            "one list of System V semaphore adjustments (SEM_UNDO), undone when the last sharer ends",
            "semop(2)",
            "2.5.10",
        ),
        CloneFlags::SETTLS => (
            "the child starts with the TLS given (x86_64: its fs base)",
            "arch_prctl(2)",
            "2.5.32",
        ),
        CloneFlags::PARENT_SETTID => (
            "the kernel stores the child's tid in the parent's memory before the call returns",
            "clone(2)",
            "2.5.49",
        ),
        CloneFlags::CHILD_CLEARTID => (
            "when the child exits the kernel clears its tid word and wakes a futex waiter there",
            "set_tid_address(2)",
            "2.5.49",
        ),
        CloneFlags::DETACHED => (
            "has had no effect since Linux 2.6; clone refuses it together with CLONE_PIDFD, clone3 \
             always",
            "clone(2)",
            "2.5.32",
        ),
        CloneFlags::UNTRACED => (
            "a tracer of the caller does not get the child, whatever it asked for",
            "clone(2)",
            "2.5.46",
        ),
        CloneFlags::CHILD_SETTID => (
            "the kernel stores the child's tid in the child's memory before it runs",
            "clone(2)",
            "2.5.49",
        ),
        CloneFlags::NEWCGROUP => (
            "the child gets a cgroup namespace: its present cgroup is the root that it sees",
            "cgroup_namespaces(7)",
            "4.6",
        ),
        CloneFlags::NEWUTS => (
            "the child gets a UTS namespace: host and domain name of its own",
            "uts_namespaces(7)",
            "2.6.19",
        ),
        CloneFlags::NEWIPC => (
            "the child gets an IPC namespace: System V IPC and POSIX queues of its own",
            "ipc_namespaces(7)",
            "2.6.19",
        ),
        CloneFlags::NEWUSER => (
            "the child gets a user namespace: all capabilities in it, ids mapped",
            "user_namespaces(7)",
            "2.6.23",
        ),
        CloneFlags::NEWPID => (
            "the child is pid 1 of a new pid namespace; when it ends, all in it are killed",
            "pid_namespaces(7)",
            "2.6.24",
        ),
        CloneFlags::NEWNET => (
            "the child gets a network namespace: devices, routes and ports of its own",
            "network_namespaces(7)",
            "2.6.24",
        ),
        CloneFlags::IO => (
            "one I/O context: the disk scheduler takes both for one",
            "clone(2)",
            "2.6.25",
        ),
        CloneFlags::NEWTIME => (
            "the child gets a time namespace: boot and monotonic clocks of its own",
            "time_namespaces(7)",
            "5.6",
        ),
        CloneFlags::CLEAR_SIGHAND => (
            "signals that the caller catches are at their defaults in the child; ignored ones stay",
            "clone(2)",
            "5.5",
        ),
        CloneFlags::INTO_CGROUP => (
            "the child starts in the cgroup given, not in the caller's",
            "clone(2)",
            "5.7",
        ),
        CloneFlags::AUTOREAP => (
            "the kernel reaps the child when it exits: no zombie, nothing for wait",
            "linux/sched.h",
            "7.1",
        ),
        CloneFlags::NNP => (
            "the child starts with no_new_privs: exec can't gain privileges",
            "PR_SET_NO_NEW_PRIVS(2const)",
            "7.1",
        ),
        CloneFlags::PIDFD_AUTOKILL => (
            "the child is killed when the pidfd made with it is closed",
            "linux/sched.h",
            "7.1",
        ),
        CloneFlags::EMPTY_MNTNS => (
            "the child gets a mount namespace of its own without the caller's mounts; implies \
             CLONE_NEWNS",
            "linux/sched.h",
            "7.1",
        ),
        _ => return None,
    };
    Some(Entry { text, page, since })
}

/// Flags that are no more: the name, and what became of it.
pub const GONE: &[(&str, &str)] = &[
    (
        "CLONE_PID",
        "gave the child the caller's pid, from Linux 2.0 to 2.5.15; its bit 0x1000 is CLONE_PIDFD now",
    ),
    (
        "CLONE_STOPPED",
        "the child began stopped, from Linux 2.6.0 to 2.6.37; its bit 0x2000000 is CLONE_NEWCGROUP now",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clone::flags::NAMES;

    #[test]
    fn every_flag_has_its_own_words() {
        let mut seen = std::collections::HashSet::new();
        for (one, name) in NAMES {
            let entry = flag(*one).unwrap_or_else(|| panic!("{name} is not described"));
            assert!(
                entry.page.contains('(') || entry.page.contains('/'),
                "{name}: {entry:?}"
            );
            assert!(
                entry
                    .since
                    .split('.')
                    .all(|part| part.parse::<u32>().is_ok()),
                "{name}: {entry:?}"
            );
            assert!(seen.insert(entry.text), "{name} has the words of another");
        }
        assert_eq!(flag(CloneFlags(1)), None);
    }
}
