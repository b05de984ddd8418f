//! Texts as kernels write them.

use proptest::prelude::*;

use super::*;
use crate::diagnosis::evidence::Capability;

const STATUS: &str = "\
Name:\tsh: x
Umask:\t0022
State:\tt (tracing stop)
Tgid:\t4312
Ngid:\t0
Pid:\t4315
PPid:\t4311
TracerPid:\t4310
Uid:\t1000\t1001\t1002\t1003
Gid:\t100\t101\t102\t103
FDSize:\t64
Groups:\t4 24 1000 
NStgid:\t4312\t1
NSpid:\t4315\t3
VmData:\t     632 kB
Threads:\t2
SigQ:\t1/96365
CapEff:\t0000000000200000
NoNewPrivs:\t0
Seccomp:\t2
Seccomp_filters:\t3
";

#[test]
fn a_status() {
    let status = status(STATUS).unwrap();
    assert_eq!((status.uid, status.fsuid, status.fsgid), (1000, 1003, 103));
    assert_eq!(status.groups, [4, 24, 1000]);
    assert!(status.capabilities.has(Capability::SYS_ADMIN));
    assert!(!status.capabilities.has(Capability::SYS_RESOURCE));
    assert_eq!((status.seccomp, status.filters), (2, Some(3)));
    assert_eq!(status.ns_tgids, [4312, 1]);
    assert_eq!((status.threads, status.data_kib), (2, Some(632)));
    assert_eq!(user_and_threads(STATUS), Some((1000, 2)));
    // A kernel before 5.9, and one without any of it.
    let old = STATUS.replace("Seccomp_filters:\t3\n", "");
    assert_eq!(super::status(&old).unwrap().filters, None);
    assert_eq!(super::status("Name:\tsh\n"), None);
}

#[test]
fn limits() {
    let text = "\
Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max stack size            8388608              unlimited            bytes     
Max processes             128455               128455               processes 
";
    assert_eq!(limit(text, "Max stack size"), Some(Limit::At(8_388_608)));
    assert_eq!(limit(text, "Max processes"), Some(Limit::At(128_455)));
    assert_eq!(limit(text, "Max cpu time"), Some(Limit::Unlimited));
    assert_eq!(limit(text, "Max widgets"), None);
}

#[test]
fn small_files() {
    assert_eq!(number("32768\n"), Some(32_768));
    assert_eq!(pids_max("max\n"), None);
    assert_eq!(pids_max("512\n"), Some(512));
    assert_eq!(tasks("0.20 0.18 0.12 1/205 11206\n"), Some(205));
    assert_eq!(tasks(""), None);
    for (text, version) in [
        ("6.18.44-fc-v595", Some(Version(6, 18))),
        ("5.3-rc1", Some(Version(5, 3))),
        ("5.10.0-28-amd64\n", Some(Version(5, 10))),
        ("six", None),
    ] {
        assert_eq!(release(text), version, "{text}");
    }
    assert_eq!(namespace("pid:[4026531836]"), Some(4_026_531_836));
    assert_eq!(namespace("/dev/null"), None);
    let meminfo = "MemTotal: 16000 kB\nCommitLimit:    8032156 kB\nCommitted_AS:   515044 kB\n";
    assert_eq!(
        overcommit("2\n", meminfo),
        Some(Overcommit {
            mode: 2,
            limit_kib: 8_032_156,
            committed_kib: 515_044,
        })
    );
}

#[test]
fn policies() {
    let expected = |resets_on_fork| Scheduling {
        policy: 6,
        resets_on_fork,
    };
    assert_eq!(scheduling(6), expected(false));
    assert_eq!(scheduling(0x4000_0006), expected(true));
}

const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime - ext4 /dev/root rw
30 22 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
38 30 0:34 / /sys/fs/cgroup/pids rw,relatime shared:5 - cgroup cgroup rw,pids
39 30 0:35 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
40 30 0:36 / /sys/fs/cgroup/uni\\040fied rw,relatime - cgroup2 cgroup2 rw
";

#[test]
fn cgroups_of_both_generations() {
    let text = "8:pids:/a/b\n7:blkio,cpu:/x\n1:name=systemd:/\n0::/u.slice/c:d\n";
    let of = |hierarchy, path: &str| CgroupPath {
        hierarchy,
        path: path.to_owned(),
    };
    let expected = [of(Hierarchy::V1, "/a/b"), of(Hierarchy::V2, "/u.slice/c:d")];
    assert_eq!(cgroups(text), expected);
    let mounts = cgroup_mounts(MOUNTS);
    assert_eq!(mounts.len(), 2);
    assert_eq!(
        directories(&expected[0], &mounts),
        [
            "/sys/fs/cgroup/pids/a/b",
            "/sys/fs/cgroup/pids/a",
            "/sys/fs/cgroup/pids"
        ]
    );
    assert_eq!(
        directories(&expected[1], &mounts),
        [
            "/sys/fs/cgroup/uni fied/u.slice/c:d",
            "/sys/fs/cgroup/uni fied/u.slice",
            "/sys/fs/cgroup/uni fied"
        ]
    );
    let root = of(Hierarchy::V1, "/");
    assert_eq!(directories(&root, &mounts), ["/sys/fs/cgroup/pids"]);
}

/// In a container a part of the hierarchy is mounted.
#[test]
fn a_part_of_a_hierarchy() {
    let mounts = cgroup_mounts("38 30 0:34 /box/1 /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n");
    let of = |path: &str| CgroupPath {
        hierarchy: Hierarchy::V2,
        path: path.to_owned(),
    };
    assert_eq!(
        directories(&of("/box/1/app"), &mounts),
        ["/sys/fs/cgroup/app", "/sys/fs/cgroup"]
    );
    assert_eq!(directories(&of("/box/1"), &mounts), ["/sys/fs/cgroup"]);
    assert!(directories(&of("/box/12"), &mounts).is_empty());
    assert!(directories(&of("/other"), &mounts).is_empty());
}

#[test]
fn a_directory_and_those_above() {
    let mounts = cgroup_mounts("38 30 0:34 /box /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n");
    assert_eq!(
        above("/sys/fs/cgroup/a/b", &mounts),
        ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"]
    );
    assert!(above("/sys/fs/cgroups", &mounts).is_empty());
}

#[test]
fn mounts_that_somebody_answers_for() {
    assert!(served(MOUNTS).is_empty());
    let text = "\
50 22 0:50 / /home/u/remote rw - fuse.sshfs host: rw
51 22 0:51 / /mnt/n rw master:1 - nfs4 host:/ rw
";
    let served = served(text);
    for (path, held) in [
        ("/home/u/remote", true),
        ("/home/u/remote/bin/x", true),
        ("/mnt/n/x", true),
        ("/home/u/remote2", false),
        ("/home/u", false),
        ("/", false),
    ] {
        assert_eq!(served.holds(path), held, "{path}");
    }
    let root = super::served("1 0 0:1 / / rw - fuse x rw\n");
    assert!(root.holds("/") && root.holds("/bin/sh"));
    assert_eq!(mount_type(text, "51").as_deref(), Some("nfs4"));
    assert_eq!(mount_type(text, "5"), None);
}

#[test]
fn roots() {
    assert_eq!(root(MOUNTS), Root::Mount);
    assert_eq!(
        root("30 22 0:26 / /proc rw - proc proc rw\n"),
        Root::Directory
    );
    // No mount inside of it at all.
    assert_eq!(root(""), Root::Directory);
}

proptest! {
    #[test]
    fn no_text_is_too_strange(text in "[a-zA-Z:/ \\t\\n0-9()-]{0,200}", name in "[A-Za-z]{0,8}") {
        let _ = status(&text);
        let _ = limit(&text, &name);
        let _ = (tasks(&text), release(&text), namespace(&text));
        let mounts = cgroup_mounts(&text);
        for cgroup in cgroups(&text) {
            let _ = directories(&cgroup, &mounts);
        }
    }
}
