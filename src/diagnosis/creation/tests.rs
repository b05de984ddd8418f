//! Each cause of a failed creation, with a control where the neighbouring cause
//! is the true one.

use super::*;
use crate::abi::{Abi, Syscall};
use crate::clone::decode;
use crate::diagnosis::evidence::{
    Access, Capabilities, Hierarchy, Limit, NamespaceMax, Overcommit, PidsCgroup, Scheduling,
    UserNamespace,
};
use crate::diagnosis::words;
use crate::memory::Regions;

const FORK: u64 = 17;
const THREAD: u64 = 0x003d_0f00;

fn clone(flags: u64) -> Request {
    let syscall = Syscall {
        abi: Abi::X86_64,
        nr: 56,
        args: [flags, 0x5000, 0x7000, 0x7000, 0x9000, 0],
    };
    decode(syscall, &mut Regions::default(), 32).unwrap()
}

/// clone3 with these flags, pids and descriptor of a cgroup.
fn clone3(flags: u64, pids: &[i32], cgroup: u64) -> Request {
    let array = if pids.is_empty() { 0 } else { 0x2000 };
    let fields = [
        flags,
        0,
        0,
        0,
        17,
        0,
        0,
        0,
        array,
        pids.len() as u64,
        cgroup,
    ];
    let bytes = |words: &[u64]| words.iter().flat_map(|f| f.to_le_bytes()).collect();
    let syscall = Syscall {
        abi: Abi::X86_64,
        nr: 435,
        args: [0x1000, 88, 0, 0, 0, 0],
    };
    let mut memory = Regions(vec![
        (0x1000, bytes(&fields)),
        (0x2000, pids.iter().flat_map(|p| p.to_le_bytes()).collect()),
    ]);
    decode(syscall, &mut memory, 32).unwrap()
}

const INTO_CGROUP: u64 = 1 << 33;

fn status() -> Status {
    Status {
        uid: 1000,
        fsuid: 1000,
        fsgid: 1000,
        groups: Vec::new(),
        capabilities: Capabilities(0),
        seccomp: 0,
        filters: Some(0),
        ns_tgids: vec![500],
        threads: 1,
        data_kib: Some(1000),
    }
}

fn root() -> Status {
    Status {
        uid: 0,
        fsuid: 0,
        capabilities: Capabilities(u64::MAX),
        ..status()
    }
}

/// An ordinary user on an ordinary system, with all limits far away.
fn ordinary(status: Status) -> Evidence {
    Evidence {
        status: Fact::Read(status),
        verdict: Fact::NotRead,
        own_filters: 0,
        release: Fact::Read(Version(6, 18)),
        nproc: Fact::Read(Limit::At(4000)),
        user_tasks: Fact::Read(20),
        pids: Fact::Read(vec![cgroup("/sys/fs/cgroup/a", 512, 20)]),
        threads_max: Fact::Read(10_000),
        tasks: Fact::Read(200),
        pid_max: Fact::Read(32_768),
        ns_tasks: Fact::Read(200),
        scheduling: Fact::Read(Scheduling {
            policy: 0,
            resets_on_fork: false,
        }),
        pid_namespaces: Fact::Read(PidNamespaces {
            own: 1,
            children: Some(1),
        }),
        init: Fact::Read(Init::Alive),
        user_namespace: Fact::Read(UserNamespace {
            place: Place::Initial,
            depth: Some(0),
        }),
        namespaces: Fact::Read(Vec::new()),
        unprivileged_userns: Fact::NotRead,
        apparmor_userns: Fact::NotRead,
        root: Fact::Read(Root::Mount),
        users: Fact::Read(Users::Some),
        overcommit: Fact::Read(Overcommit {
            mode: 0,
            limit_kib: 10_000,
            committed_kib: 5_000,
        }),
        cgroup_fd: Fact::NotRead,
        taken: Fact::Read(Vec::new()),
    }
}

fn cgroup(path: &str, max: u64, current: u64) -> PidsCgroup {
    PidsCgroup {
        path: path.to_owned(),
        hierarchy: Hierarchy::V2,
        max,
        current,
    }
}

fn said(request: &Request, errno: Errno, evidence: &Evidence) -> String {
    words(&diagnose(request, errno, evidence)).unwrap_or_default()
}

/// A change of the ordinary evidence, and what is said then.
type Row = (fn(&mut Evidence), &'static str);

#[track_caller]
fn table(request: &Request, errno: Errno, base: &Evidence, rows: &[Row]) {
    for (index, (change, expected)) in rows.iter().enumerate() {
        let mut evidence = base.clone();
        change(&mut evidence);
        assert_eq!(said(request, errno, &evidence), *expected, "row {index}");
    }
}

fn edit(evidence: &mut Evidence, change: impl FnOnce(&mut Status)) {
    if let Fact::Read(status) = &mut evidence.status {
        change(status);
    }
}

#[test]
fn limits_on_tasks() {
    let rows: &[Row] = &[
        // None is reached as far as is seen, but the user may have tasks that are
        // not.
        (
            |_| {},
            "perhaps RLIMIT_NPROC 4000 (ulimit -u), tasks of user 1000: 20",
        ),
        (
            |e| e.user_tasks = Fact::Read(4000),
            "RLIMIT_NPROC 4000 (ulimit -u), tasks of user 1000: 4000",
        ),
        (
            |e| e.user_tasks = Fact::NotRead,
            "perhaps RLIMIT_NPROC 4000 (ulimit -u), of user 1000",
        ),
        (
            |e| e.pids = Fact::Read(vec![cgroup("/c/a", 512, 512), cgroup("/c", 900, 600)]),
            "pids.max 512, pids.current 512 in /c/a",
        ),
        // The ancestor binds, not its own.
        (
            |e| e.pids = Fact::Read(vec![cgroup("/c/a", 512, 100), cgroup("/c", 600, 601)]),
            "pids.max 600, pids.current 601 in /c",
        ),
        (
            |e| e.pids = Fact::Read(vec![cgroup("/c/a", 512, 500)]),
            "perhaps RLIMIT_NPROC 4000 (ulimit -u), tasks of user 1000: 20; or pids.max 512, \
             pids.current 500 in /c/a",
        ),
        (
            |e| e.threads_max = Fact::Read(200),
            "kernel.threads-max 200, tasks on the system 200",
        ),
        (
            |e| {
                e.scheduling = Fact::Read(Scheduling {
                    policy: 6,
                    resets_on_fork: false,
                });
            },
            "the caller's scheduling policy is SCHED_DEADLINE, without reset-on-fork",
        ),
        (
            |e| e.ns_tasks = Fact::Read(32_500),
            "kernel.pid_max 32768, tasks in the pid namespace 32500",
        ),
        (
            |e| {
                e.pid_max = Fact::Read(400);
                e.ns_tasks = Fact::Read(399);
            },
            "kernel.pid_max 400, tasks in the pid namespace 399",
        ),
    ];
    table(&clone(FORK), Errno::EAGAIN, &ordinary(status()), rows);
}

#[test]
fn limits_that_do_not_hold() {
    let rows: &[Row] = &[
        // Of root, and of those with the capability, the kernel asks no limit.
        (
            |e| {
                e.status = Fact::Read(root());
                e.user_tasks = Fact::Read(4000);
            },
            "",
        ),
        (
            |e| {
                edit(e, |s| s.capabilities = Capabilities(1 << 24));
                e.user_tasks = Fact::Read(4000);
            },
            "",
        ),
        // But in a user namespace of one's own capabilities don't help.
        (
            |e| {
                edit(e, |s| s.capabilities = Capabilities(u64::MAX));
                e.user_tasks = Fact::Read(4000);
                e.user_namespace = Fact::Read(UserNamespace {
                    place: Place::Made,
                    depth: Some(1),
                });
            },
            "RLIMIT_NPROC 4000 (ulimit -u), tasks of user 1000: 4000",
        ),
        (|e| e.nproc = Fact::Read(Limit::Unlimited), ""),
        (
            |e| {
                e.nproc = Fact::Read(Limit::Unlimited);
                e.scheduling = Fact::Read(Scheduling {
                    policy: 6,
                    resets_on_fork: true,
                });
            },
            "",
        ),
        (
            |e| {
                e.nproc = Fact::Read(Limit::Unlimited);
                edit(e, |s| s.ns_tgids = vec![500, 7]);
            },
            "perhaps kernel.pid_max of the caller's own pid namespace, which can't be read from \
             outside",
        ),
        (
            |e| {
                e.nproc = Fact::Read(Limit::Unlimited);
                e.release = Fact::Read(Version(6, 13));
                edit(e, |s| s.ns_tgids = vec![500, 7]);
            },
            "",
        ),
        // Both: the kernel comes to the user's first.
        (
            |e| {
                e.user_tasks = Fact::Read(4000);
                e.pids = Fact::Read(vec![cgroup("/c", 20, 20)]);
            },
            "RLIMIT_NPROC 4000 (ulimit -u), tasks of user 1000: 4000",
        ),
    ];
    table(&clone(FORK), Errno::EAGAIN, &ordinary(status()), rows);
}

#[test]
fn rules_that_the_arguments_break() {
    let evidence = ordinary(status());
    for (flags, expected) in [
        (0x1_0011, "CLONE_THREAD needs CLONE_SIGHAND"),
        (0x811, "CLONE_SIGHAND needs CLONE_VM"),
        (0x0040_1011, "CLONE_PIDFD doesn't go with CLONE_DETACHED"),
    ] {
        assert_eq!(said(&clone(flags), Errno::EINVAL, &evidence), expected);
    }
    // A rule of old kernels only there.
    let pidfd = clone(THREAD & !0x10_0000 | 0x1000);
    let old = Evidence {
        release: Fact::Read(Version(6, 8)),
        ..evidence.clone()
    };
    assert_eq!(
        said(&pidfd, Errno::EINVAL, &old),
        "CLONE_PIDFD doesn't go with CLONE_THREAD (before Linux 6.9)"
    );
    assert_eq!(said(&pidfd, Errno::EINVAL, &evidence), "");
    let unknown = Evidence {
        release: Fact::NotRead,
        ..evidence
    };
    assert!(said(&pidfd, Errno::EINVAL, &unknown).starts_with("perhaps CLONE_PIDFD"));
}

#[test]
fn rules_that_the_callers_state_breaks() {
    let elsewhere = |children| {
        move |e: &mut Evidence| {
            e.pid_namespaces = Fact::Read(PidNamespaces { own: 1, children });
        }
    };
    let thread = "CLONE_THREAD, where the caller's children belong to another pid namespace than \
                  itself (unshare, setns)";
    for (children, expected) in [(Some(1), ""), (Some(2), thread), (None, thread)] {
        let mut evidence = ordinary(status());
        elsewhere(children)(&mut evidence);
        assert_eq!(said(&clone(THREAD), Errno::EINVAL, &evidence), expected);
    }
    let rows: &[Row] = &[
        (|_| {}, ""),
        (
            |e| edit(e, |s| s.ns_tgids = vec![500, 1]),
            "CLONE_PARENT, where the caller is init (pid 1) of a pid namespace",
        ),
        (
            |e| e.status = Fact::NotRead,
            "perhaps CLONE_PARENT, where the caller is init (pid 1) of a pid namespace",
        ),
    ];
    table(&clone(0x8011), Errno::EINVAL, &ordinary(status()), rows);
}

#[test]
fn privileges() {
    let rows: &[Row] = &[
        (
            |_| {},
            "CLONE_NEWNS|CLONE_NEWPID needs CAP_SYS_ADMIN, which the caller lacks",
        ),
        // Root may: then it was somebody else.
        (|e| e.status = Fact::Read(root()), ""),
        (
            |e| {
                e.status = Fact::Read(root());
                edit(e, |s| (s.seccomp, s.filters) = (2, Some(3)));
                e.own_filters = 1;
            },
            "perhaps a seccomp filter of the program answers, not the kernel (2 filters)",
        ),
        (
            |e| {
                edit(e, |s| (s.seccomp, s.filters) = (2, Some(2)));
                e.own_filters = 1;
                e.verdict = Fact::Read(Verdict::Error(Errno::EPERM));
            },
            "a seccomp filter of the program answers, not the kernel (1 filter)",
        ),
        // It has filters, but they let the call through.
        (
            |e| {
                edit(e, |s| (s.seccomp, s.filters) = (2, Some(2)));
                e.verdict = Fact::Read(Verdict::Passes);
            },
            "CLONE_NEWNS|CLONE_NEWPID needs CAP_SYS_ADMIN, which the caller lacks",
        ),
        // Only forktrace's own.
        (
            |e| {
                e.status = Fact::Read(root());
                edit(e, |s| (s.seccomp, s.filters) = (2, Some(1)));
                e.own_filters = 1;
            },
            "",
        ),
    ];
    let request = clone(0x2002_0011);
    table(&request, Errno::EPERM, &ordinary(status()), rows);
}

#[test]
fn user_namespaces() {
    let rule = "perhaps CLONE_NEWUSER, where the caller is in a chroot, or its user or group has \
                no id in its own user namespace";
    let rows: &[Row] = &[
        (|e| e.root = Fact::Read(Root::Directory), {
            "the caller is in a chroot, and may make no user namespace there"
        }),
        (|e| e.users = Fact::Read(Users::None), {
            "the caller has no id in its own user namespace: nothing was written to its uid_map"
        }),
        (|e| e.unprivileged_userns = Fact::Read(0), {
            "kernel.unprivileged_userns_clone is 0: no user namespaces for those without \
             privileges"
        }),
        (|e| e.apparmor_userns = Fact::Read(1), {
            "perhaps kernel.apparmor_restrict_unprivileged_userns is 1: no user namespaces for \
             those without privileges; or CLONE_NEWUSER, where the caller is in a chroot, or its \
             user or group has no id in its own user namespace"
        }),
        (
            |e| {
                e.unprivileged_userns = Fact::Read(1);
                e.apparmor_userns = Fact::Read(0);
            },
            rule,
        ),
        // Not for root.
        (
            |e| {
                e.status = Fact::Read(root());
                e.unprivileged_userns = Fact::Read(0);
            },
            rule,
        ),
    ];
    let request = clone(0x1000_0011);
    table(&request, Errno::EPERM, &ordinary(status()), rows);
}

#[test]
fn limits_on_namespaces() {
    fn max(flag: CloneFlags, sysctl: &str, max: u64) -> NamespaceMax {
        NamespaceMax {
            flag,
            sysctl: sysctl.to_owned(),
            max,
        }
    }
    let rows: &[Row] = &[
        (
            |e| {
                e.namespaces = Fact::Read(vec![
                    max(CloneFlags::NEWNS, "user.max_mnt_namespaces", 100),
                    max(CloneFlags::NEWPID, "user.max_pid_namespaces", 0),
                ]);
            },
            "user.max_pid_namespaces is 0",
        ),
        (
            |e| {
                e.namespaces = Fact::Read(vec![
                    max(CloneFlags::NEWNS, "user.max_mnt_namespaces", 100),
                    max(CloneFlags::NEWNET, "user.max_net_namespaces", 0),
                ]);
            },
            "perhaps user.max_mnt_namespaces is 100",
        ),
        (
            |e| edit(e, |s| s.ns_tgids = vec![1; 33]),
            "the caller's pid namespace is the last of 32, the most",
        ),
        (
            |e| edit(e, |s| s.ns_tgids = vec![1; 32]),
            "perhaps a new namespace, where a limit in /proc/sys/user is reached, or user or pid \
             namespaces are nested 32 deep",
        ),
    ];
    let request = clone(0x2002_0011);
    table(&request, Errno::ENOSPC, &ordinary(root()), rows);
    let rows: &[Row] = &[(
        |e| {
            e.user_namespace = Fact::Read(UserNamespace {
                place: Place::Made,
                depth: Some(33),
            });
        },
        "the caller's user namespace is the last of 33, the most",
    )];
    let request = clone(0x1000_0011);
    table(&request, Errno::ENOSPC, &ordinary(root()), rows);
}

#[test]
fn chosen_pids() {
    let evidence = ordinary(root());
    let user = ordinary(status());
    let said = |pids: &[i32], errno, evidence| said(&clone3(0, pids, 0), errno, evidence);
    assert_eq!(
        said(&[7], Errno::EPERM, &user),
        "set_tid needs CAP_CHECKPOINT_RESTORE, which the caller lacks"
    );
    assert_eq!(said(&[7], Errno::EPERM, &evidence), "");
    assert_eq!(
        said(&[7, 8], Errno::EINVAL, &evidence),
        "set_tid has 2 pids, and the child 1 pid namespaces"
    );
    assert_eq!(
        said(&[32_768], Errno::EINVAL, &evidence),
        "set_tid has pid 32768, and kernel.pid_max is 32768"
    );
    let taken = Evidence {
        taken: Fact::Read(vec![7]),
        ..evidence.clone()
    };
    assert_eq!(
        said(&[7], Errno::EEXIST, &taken),
        "pid 7, chosen with set_tid, is taken"
    );
    assert_eq!(
        said(&[7], Errno::EEXIST, &evidence),
        "perhaps set_tid, where such a pid is taken"
    );
    assert_eq!(
        said(&[0], Errno::EINVAL, &evidence),
        "set_tid has a pid below 1"
    );
}

#[test]
fn cgroups_to_be_born_in() {
    fn fd(path: &str, kind: &str, controllers: &str, procs: u32) -> Fact<CgroupFd> {
        Fact::Read(CgroupFd::Cgroup {
            path: path.to_owned(),
            kind: kind.to_owned(),
            controllers: controllers.to_owned(),
            procs: Some(Access {
                mode: procs,
                uid: 0,
                gid: 0,
            }),
        })
    }
    let request = clone3(INTO_CGROUP, &[], 9);
    let path = "/sys/fs/cgroup/x".to_owned();
    let removed = Fact::Read(CgroupFd::Removed { path: path.clone() });
    let other = Fact::Read(CgroupFd::Other {
        path: "/tmp".to_owned(),
    });
    for (errno, cgroup_fd, expected) in [
        (
            Errno::EBADF,
            Fact::Read(CgroupFd::Closed),
            "descriptor 9 for CLONE_INTO_CGROUP is not open",
        ),
        (
            Errno::EBADF,
            other,
            "descriptor 9 for CLONE_INTO_CGROUP is /tmp, no directory of cgroup v2",
        ),
        (
            Errno::ENODEV,
            removed,
            "the cgroup /sys/fs/cgroup/x was removed",
        ),
        (
            Errno::EBUSY,
            fd(&path, "domain", "cpu pids", 0o100_644),
            "the cgroup /sys/fs/cgroup/x hands on controllers (cpu pids) and can't have \
             processes of its own",
        ),
        (Errno::EBUSY, fd(&path, "domain", "", 0o100_644), ""),
        (
            Errno::EOPNOTSUPP,
            fd(&path, "threaded", "", 0o100_644),
            "the cgroup /sys/fs/cgroup/x is threaded, and takes no processes",
        ),
        (Errno::EOPNOTSUPP, fd(&path, "domain", "", 0o100_644), ""),
        (
            Errno::EACCES,
            fd(&path, "domain", "", 0o100_644),
            "the caller may not write to cgroup.procs in /sys/fs/cgroup/x (mode 0644, owner 0)",
        ),
        (
            Errno::EACCES,
            fd(&path, "domain", "", 0o100_646),
            "perhaps CLONE_INTO_CGROUP, where the caller may not put processes there",
        ),
    ] {
        let evidence = Evidence {
            cgroup_fd,
            ..ordinary(status())
        };
        assert_eq!(said(&request, errno, &evidence), expected, "{errno:?}");
    }
}

#[test]
fn calls_that_are_not_there() {
    let filter = "a seccomp filter of the program answers, not the kernel (1 filter)";
    let rows: &[Row] = &[
        (|_| {}, ""),
        (
            |e| edit(e, |s| (s.seccomp, s.filters) = (2, Some(1))),
            filter,
        ),
        (
            |e| {
                e.release = Fact::Read(Version(5, 2));
                edit(e, |s| (s.seccomp, s.filters) = (2, Some(1)));
            },
            "Linux 5.2 lacks the call, which came with 5.3",
        ),
        (
            |e| {
                e.release = Fact::Read(Version(5, 2));
                edit(e, |s| (s.seccomp, s.filters) = (2, Some(1)));
                e.verdict = Fact::Read(Verdict::Error(Errno::ENOSYS));
            },
            filter,
        ),
        (
            |e| {
                e.release = Fact::NotRead;
                edit(e, |s| (s.seccomp, s.filters) = (2, Some(1)));
            },
            "perhaps a seccomp filter of the program answers, not the kernel (1 filter)",
        ),
    ];
    let base = ordinary(status());
    table(&clone3(0, &[], 0), Errno::ENOSYS, &base, rows);
}

#[test]
fn memory_and_restarts() {
    let rows: &[Row] = &[
        (
            |_| {},
            "perhaps the kernel is out of memory, or a cgroup's is",
        ),
        (
            |e| e.init = Fact::Read(Init::Dead),
            "the init of the pid namespace that the child would be born in has died",
        ),
        (
            |e| {
                e.overcommit = Fact::Read(Overcommit {
                    mode: 2,
                    limit_kib: 10_000,
                    committed_kib: 9_500,
                });
            },
            "vm.overcommit_memory is 2: CommitLimit 10000 kB, Committed_AS 9500 kB, a copy of the \
             caller 1000 kB",
        ),
    ];
    let base = ordinary(status());
    table(&clone(FORK), Errno::ENOMEM, &base, rows);
    // A thread copies nothing.
    let full = Evidence {
        overcommit: Fact::Read(Overcommit {
            mode: 2,
            limit_kib: 10_000,
            committed_kib: 9_999,
        }),
        ..base.clone()
    };
    assert_eq!(
        said(&clone(THREAD), Errno::ENOMEM, &full),
        "perhaps the kernel is out of memory, or a cgroup's is"
    );
    assert_eq!(
        said(&clone(FORK), Errno(513), &Evidence::default()),
        "a signal came first, the kernel repeats the call"
    );
}

/// Without evidence nothing is certain but what the arguments decide.
#[test]
fn nothing_read_nothing_certain() {
    let none = Evidence::default();
    for errno in [Errno::EAGAIN, Errno::EPERM, Errno::ENOSYS, Errno::ENOSPC] {
        for request in [clone(FORK), clone(THREAD), clone(0x7e02_0011)] {
            let causes = diagnose(&request, errno, &none);
            assert!(!is_explained(&causes), "{errno:?} {causes:?}");
        }
    }
    assert_eq!(
        said(&clone(0x1_0011), Errno::EINVAL, &none),
        "CLONE_THREAD needs CLONE_SIGHAND"
    );
}
