//! Why calls fail, brought about for real: each cause by a program that runs into
//! it, with a control where the neighbouring cause is the true one.

mod common;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use common::Mode;
use common::case::Case;
use common::fixture::{dynamic_fixture, fixture};
use common::program::need_root;
use common::run::{OpenScratch, Run, forktrace};

/// A user that nobody else is.
const USER: &str = "54321";
/// One whose tasks are counted, in one test alone.
const COUNTED: &str = "54322";

/// What a program that failed says, and what forktrace says of it.
struct Seen {
    /// What the program printed.
    out: String,
    /// The meanings of the calls that failed.
    failed: Vec<String>,
    trace: String,
}

fn see_with(before: &[&str], options: &[&str], program: &[&str]) -> Seen {
    let forktrace = forktrace();
    let mut words: Vec<&str> = before.to_vec();
    words.push(forktrace.to_str().expect("a path in UTF-8"));
    words.push("-f");
    words.extend(options);
    words.push("--");
    words.extend(program);
    let outcome = Run::new(&words).run();
    let trace = outcome.err();
    let failed = trace.lines().filter(|line| line.contains(" = -1 E"));
    Seen {
        out: outcome.out(),
        failed: failed
            .map(|line| {
                line.split_once("  # ")
                    .map_or("", |(_, why)| why)
                    .to_owned()
            })
            .collect(),
        trace,
    }
}

/// The steps of the fixture under forktrace.
fn see(steps: &[&str]) -> Option<Seen> {
    let program = fixture("refused")?;
    let mut words = vec![program.as_str()];
    words.extend(steps);
    Some(see_with(&[], &[], &words))
}

impl Seen {
    /// Whether the program could do what it needs; said aloud if not.
    fn was_able(&self) -> bool {
        match self.out.lines().find(|line| line.starts_with("unable ")) {
            None => true,
            Some(line) => {
                println!("skipped: {line}");
                false
            }
        }
    }

    /// The last failed call's line ends with this.
    #[track_caller]
    fn says(&self, step: &str, errno: i32, why: &str) {
        if !self.was_able() {
            return;
        }
        let line = format!("failed {step} {errno}\n");
        assert!(self.out.contains(&line), "{}\n{}", self.out, self.trace);
        let last = self.failed.last().map_or("", String::as_str);
        assert_eq!(last, why, "{}", self.trace);
    }
}

/// Runs steps, and checks what is said of their last call.
#[track_caller]
fn creation(steps: &[&str], step: &str, errno: i32, why: &str) {
    if let Some(seen) = see(steps) {
        seen.says(step, errno, why);
    }
}

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const E2BIG: i32 = 7;
const ENOEXEC: i32 = 8;
const EBADF: i32 = 9;
const EAGAIN: i32 = 11;
const ENOMEM: i32 = 12;
const EACCES: i32 = 13;
const EBUSY: i32 = 16;
const EEXIST: i32 = 17;
const ENOTDIR: i32 = 20;
const EINVAL: i32 = 22;
const ETXTBSY: i32 = 26;
const ENOSPC: i32 = 28;
const ENAMETOOLONG: i32 = 36;
const ENOSYS: i32 = 38;
const ELOOP: i32 = 40;
const EOPNOTSUPP: i32 = 95;

/// A cgroup of a test's own, gone with the value.
struct Cgroup(PathBuf);

impl Cgroup {
    /// In a hierarchy; `None` (said aloud) if there is none.
    fn new(hierarchy: &str, name: &str) -> Option<Cgroup> {
        let path = Path::new(hierarchy).join(format!("forktrace-{}-{name}", std::process::id()));
        match std::fs::create_dir(&path) {
            Ok(()) => Some(Cgroup(path)),
            Err(error) => {
                println!("skipped: {}: {error}", path.display());
                None
            }
        }
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.0.join(file), text).expect("a file of a cgroup");
    }

    fn text(&self) -> &str {
        self.0.to_str().expect("a path in UTF-8")
    }

    fn procs(&self) -> String {
        format!("{}/cgroup.procs", self.text())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

const PIDS: &str = "/sys/fs/cgroup/pids";
const UNIFIED: &str = "/sys/fs/cgroup/unified";

#[test]
fn the_users_limit_and_the_cgroups() {
    let Some(group) = Cgroup::new(PIDS, "one").filter(|_| need_root()) else {
        return;
    };
    let nothing = "no process created: ";
    // The user's limit, in a cgroup that has room.
    group.write("pids.max", "5");
    let procs = group.procs();
    creation(
        &[
            "write", &procs, "0", "nproc", "1", "uid", COUNTED, "clone", "11",
        ],
        "clone",
        EAGAIN,
        &format!("{nothing}RLIMIT_NPROC 1 (ulimit -u), tasks of user 54322: 1"),
    );
    // The cgroup's, with a user's limit that has room.
    group.write("pids.max", "1");
    creation(
        &[
            "write", &procs, "0", "nproc", "9", "uid", COUNTED, "clone", "11",
        ],
        "clone",
        EAGAIN,
        &format!("{nothing}pids.max 1, pids.current 1 in {}", group.text()),
    );
    // Root is asked for no limit of a user's.
    creation(
        &["write", &procs, "0", "nproc", "1", "clone", "11"],
        "clone",
        EAGAIN,
        &format!("{nothing}pids.max 1, pids.current 1 in {}", group.text()),
    );
}

#[test]
fn the_cgroup_above_binds() {
    let Some(outer) = Cgroup::new(PIDS, "outer").filter(|_| need_root()) else {
        return;
    };
    let Some(inner) = Cgroup::new(outer.text(), "inner") else {
        return;
    };
    outer.write("pids.max", "1");
    inner.write("pids.max", "7");
    creation(
        &["write", &inner.procs(), "0", "clone", "11"],
        "clone",
        EAGAIN,
        &format!(
            "no process created: pids.max 1, pids.current 1 in {}",
            outer.text()
        ),
    );
}

#[test]
fn deadline_tasks_create_nothing() {
    if need_root() {
        creation(
            &["deadline", "clone", "11"],
            "clone",
            EAGAIN,
            "no process created: the caller's scheduling policy is SCHED_DEADLINE, without \
             reset-on-fork",
        );
    }
}

/// The pids of a namespace of its own, seen from inside and from outside.
#[test]
fn all_pids_are_in_use() {
    let Some(program) = fixture("refused").filter(|_| need_root()) else {
        return;
    };
    let namespace = ["unshare", "-p", "-f", "--mount-proc", "sh", "-c"];
    let limit = "echo 301 > /proc/sys/kernel/pid_max || exit 77; exec \"$0\" \"$@\"";
    let inside: Vec<&str> = namespace.iter().copied().chain([limit]).collect();
    let seen = see_with(&inside, &[], &[program.as_str(), "fill"]);
    let why = seen.failed.last().map_or("", String::as_str);
    assert!(
        why.contains("kernel.pid_max 301, tasks in the pid namespace "),
        "{}",
        seen.trace
    );
    let outside: Vec<&str> = inside
        .iter()
        .copied()
        .chain([&program[..], "fill"])
        .collect();
    see_with(&[], &[], &outside).says(
        "fill",
        EAGAIN,
        "no process created: perhaps kernel.pid_max of the caller's own pid namespace, which \
         can't be read from outside",
    );
}

#[test]
fn rules_of_the_callers_state() {
    if !need_root() {
        return;
    }
    // A thread, where children go elsewhere.
    creation(
        &["unshare", "20000000", "clone", "10f00"],
        "clone",
        EINVAL,
        "no thread created: CLONE_THREAD, where the caller's children belong to another pid \
         namespace than itself (unshare, setns)",
    );
    // The same error, but the arguments decide.
    creation(
        &["unshare", "20000000", "clone", "10011"],
        "clone",
        EINVAL,
        "no thread created: CLONE_THREAD needs CLONE_SIGHAND",
    );
    creation(
        &["unshare", "20000000", "child", "clone", "8011"],
        "clone",
        EINVAL,
        "no process created: CLONE_PARENT, where the caller is init (pid 1) of a pid namespace",
    );
}

#[test]
fn privileges_filters_and_chroots() {
    let (Some(program), true) = (fixture("refused"), need_root()) else {
        return;
    };
    creation(
        &["uid", USER, "clone", "20020011"],
        "clone",
        EPERM,
        "no process created: CLONE_NEWNS|CLONE_NEWPID needs CAP_SYS_ADMIN, which the caller lacks",
    );
    creation(
        &["uid", USER, "clone3", "0", "0", "9999"],
        "clone3",
        EPERM,
        "no process created: set_tid needs CAP_CHECKPOINT_RESTORE, which the caller lacks",
    );
    // The caller has the privilege, and lacks it: the filter answers all the same.
    let filter = "no process created: a seccomp filter of the program answers, not the kernel \
                  (1 filter)";
    for user in [&[][..], &["uid", USER][..]] {
        let mut words = vec![program.as_str()];
        words.extend(user);
        words.extend(["refuse", "56", "1", "clone", "20020011"]);
        see_with(&[], &["--stops=syscall"], &words).says("clone", EPERM, filter);
    }
    // A filter that lets it through.
    let words = [
        program.as_str(),
        "uid",
        USER,
        "refuse",
        "435",
        "1",
        "clone",
        "20020011",
    ];
    see_with(&[], &["--stops=syscall"], &words).says(
        "clone",
        EPERM,
        "no process created: CLONE_NEWNS|CLONE_NEWPID needs CAP_SYS_ADMIN, which the caller lacks",
    );
    let scratch = OpenScratch::new();
    let root = scratch.path().to_str().expect("a path in UTF-8");
    creation(
        &["chroot", root, "clone", "10000011"],
        "clone",
        EPERM,
        "no process created: the caller is in a chroot, and may make no user namespace there",
    );
    creation(
        &["unshare", "10000000", "clone", "10000011"],
        "clone",
        EPERM,
        "no process created: the caller has no id in its own user namespace: nothing was written \
         to its uid_map",
    );
}

/// The C library's clone3, refused by a filter, and its clone after that.
#[test]
fn a_refused_clone3_is_made_good() {
    let Some(program) = dynamic_fixture("refused") else {
        return;
    };
    let words = [program.as_str(), "refuse", "435", "38", "pthread"];
    let seen = see_with(&[], &["--stops=syscall"], &words);
    assert!(seen.out.contains("made pthread"), "{}", seen.out);
    assert_eq!(
        seen.failed.last().map(String::as_str),
        Some(
            "no thread created: a seccomp filter of the program answers, not the kernel (1 \
             filter); glibc then falls back to clone"
        ),
        "{}",
        seen.trace
    );
    let retries = |seen: &Seen| {
        let retry = |line: &&str| {
            line.contains("clone(") && line.contains("; retry of the clone3 above, whose failure")
        };
        seen.trace.lines().filter(retry).count()
    };
    assert_eq!(retries(&seen), 1, "{}", seen.trace);
    // Without a filter there is nothing to make good.
    let seen = see_with(&[], &["--stops=syscall"], &[program.as_str(), "pthread"]);
    assert_eq!(
        (retries(&seen), seen.failed.len()),
        (0, 0),
        "{}",
        seen.trace
    );
    // Alone it is no harmless retry.
    let words = [
        program.as_str(),
        "refuse",
        "435",
        "38",
        "clone3",
        "0",
        "0",
        "0",
    ];
    see_with(&[], &["--stops=syscall"], &words).says(
        "clone3",
        ENOSYS,
        "no process created: a seccomp filter of the program answers, not the kernel (1 filter); \
         glibc then falls back to clone",
    );
}

#[test]
fn limits_on_namespaces() {
    let Some(program) = fixture("refused").filter(|_| need_root()) else {
        return;
    };
    let shell = "echo 0 > /proc/sys/user/max_uts_namespaces || exit 77; exec \"$0\" \"$@\"";
    let namespace = ["unshare", "-U", "-r", "sh", "-c", shell];
    let call = [program.as_str(), "clone", "4000011"];
    see_with(&namespace, &[], &call).says(
        "clone",
        ENOSPC,
        "no process created: user.max_uts_namespaces is 0",
    );
    // From outside the limit is another one, and not read.
    let outside: Vec<&str> = namespace.iter().chain(&call).copied().collect();
    see_with(&[], &[], &outside).says(
        "clone",
        ENOSPC,
        "no process created: perhaps a new namespace, where a limit in /proc/sys/user is reached, \
         or user or pid namespaces are nested 32 deep",
    );
    creation(
        &["nest", "20000000"],
        "nest",
        ENOSPC,
        "no process created: the caller's pid namespace is the last of 32, the most",
    );
    creation(
        &["nest", "10000000"],
        "nest",
        ENOSPC,
        "no process created: the caller's user namespace is the last of 33, the most",
    );
}

#[test]
fn inits_and_chosen_pids() {
    if !need_root() {
        return;
    }
    creation(
        &["unshare", "20000000", "short-lived", "clone", "11"],
        "clone",
        ENOMEM,
        "no process created: the init of the pid namespace that the child would be born in has \
         died",
    );
    let Some(seen) = see(&["clone3", "0", "0", "-1"]) else {
        return;
    };
    let pid = seen.trace.split(' ').next().unwrap_or_default().to_owned();
    let why = format!("no process created: pid {pid}, chosen with set_tid, is taken");
    seen.says("clone3", EEXIST, &why);
    let max = std::fs::read_to_string("/proc/sys/kernel/pid_max").expect("pid_max");
    let max = max.trim();
    creation(
        &["clone3", "0", "0", max],
        "clone3",
        EINVAL,
        &format!("no process created: set_tid has pid {max}, and kernel.pid_max is {max}"),
    );
}

#[test]
fn cgroups_to_be_born_in() {
    let into = "200000000";
    creation(
        &["clone3", into, "9", "0"],
        "clone3",
        EBADF,
        "no process created: descriptor 9 for CLONE_INTO_CGROUP is not open",
    );
    creation(
        &["open", "/proc", "clone3", into, "3", "0"],
        "clone3",
        EBADF,
        "no process created: descriptor 3 for CLONE_INTO_CGROUP is /proc, no directory of cgroup \
         v2",
    );
    let Some(group) = Cgroup::new(UNIFIED, "into").filter(|_| need_root()) else {
        return;
    };
    let path = group.text();
    creation(
        &["open", path, "uid", USER, "clone3", into, "3", "0"],
        "clone3",
        EACCES,
        &format!(
            "no process created: the caller may not write to cgroup.procs in {path} (mode 0644, \
             owner 0)"
        ),
    );
    group.write("cgroup.type", "threaded");
    let Some(below) = Cgroup::new(path, "below") else {
        return;
    };
    creation(
        &["open", below.text(), "clone3", into, "3", "0"],
        "clone3",
        EOPNOTSUPP,
        &format!(
            "no process created: the cgroup {} is domain invalid, and takes no processes",
            below.text()
        ),
    );
    let removed = below.text();
    creation(
        &["open", removed, "rmdir", removed, "clone3", into, "3", "0"],
        "clone3",
        ENOENT,
        &format!("no process created: the cgroup {removed} was removed"),
    );
}

/// A cgroup that hands a controller on may have no processes. For that the root
/// has to hand it on as well, as long as the test runs.
#[test]
fn a_cgroup_that_hands_controllers_on() {
    let controllers = std::fs::read_to_string(format!("{UNIFIED}/cgroup.controllers"));
    let controllers = controllers.unwrap_or_default();
    let Some(controller) = controllers.split_whitespace().next() else {
        println!("skipped: no controller in {UNIFIED}");
        return;
    };
    let root = format!("{UNIFIED}/cgroup.subtree_control");
    let before = std::fs::read_to_string(&root).unwrap_or_default();
    if !need_root() || before.split_whitespace().any(|one| one == controller) {
        return;
    }
    let Some(group) = Cgroup::new(UNIFIED, "busy") else {
        return;
    };
    struct Undo(String, String);
    impl Drop for Undo {
        fn drop(&mut self) {
            let _ = std::fs::write(&self.0, &self.1);
        }
    }
    std::fs::write(&root, format!("+{controller}")).expect("subtree_control");
    let _outer = Undo(root, format!("-{controller}"));
    group.write("cgroup.subtree_control", &format!("+{controller}"));
    let path = group.text();
    let own = format!("{path}/cgroup.subtree_control");
    let _inner = Undo(own, format!("-{controller}"));
    creation(
        &["open", path, "clone3", "200000000", "3", "0"],
        "clone3",
        EBUSY,
        &format!(
            "no process created: the cgroup {path} hands on controllers ({controller}) and can't \
             have processes of its own"
        ),
    );
}

/// The log has it all: what is shown of it is what was shown live, and the schema
/// describes it.
#[test]
fn reasons_are_in_the_log() {
    let (Some(program), Some(dynamic)) = (fixture("refused"), dynamic_fixture("refused")) else {
        return;
    };
    let steps = ["clone", "10011", "exec", "/no/where", "0", "0"];
    let broken = Case::new([&[program.as_str()], &steps[..]].concat())
        .expect("no thread created: CLONE_THREAD needs CLONE_SIGHAND")
        .expect("/no/where does not exist; the old program goes on");
    for mode in [Mode::Seccomp, Mode::Syscall] {
        broken.follow(mode);
    }
    Case::new([dynamic.as_str(), "refuse", "435", "38", "pthread"])
        .expect("; retry of the clone3 above, whose failure did no harm")
        .follow(Mode::Syscall);
}

/// A file in a scratch directory, with these bytes and this mode.
fn file(scratch: &OpenScratch, name: &str, bytes: &[u8], mode: u32) -> String {
    let path = scratch.path().join(name);
    std::fs::write(&path, bytes).expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
    path.to_str().expect("a path in UTF-8").to_owned()
}

fn link(scratch: &OpenScratch, name: &str, target: &str) -> String {
    let path = scratch.path().join(name);
    symlink(target, &path).expect("a link");
    path.to_str().expect("a path in UTF-8").to_owned()
}

/// An exec of a path fails with this error and reason.
#[track_caller]
fn exec(before: &[&str], path: &str, errno: i32, why: &str) {
    let steps: Vec<&str> = before
        .iter()
        .copied()
        .chain(["exec", path, "0", "0"])
        .collect();
    creation(
        &steps,
        "exec",
        errno,
        &format!("{why}; the old program goes on"),
    );
}

#[test]
fn files_that_are_not_there() {
    let scratch = OpenScratch::new();
    let base = scratch.path().to_str().expect("a path in UTF-8");
    let nothing = format!("{base}/nothing");
    exec(&[], &nothing, ENOENT, &format!("{nothing} does not exist"));
    let dangling = link(&scratch, "dangling", "/no/where");
    exec(
        &[],
        &dangling,
        ENOENT,
        &format!("{dangling} is a link to /no/where, which does not exist"),
    );
    let script = file(&scratch, "script", b"#!/no/shell -e\n", 0o755);
    let interpreter = "the script's interpreter /no does not exist";
    exec(&[], &script, ENOENT, interpreter);
    let dos = file(&scratch, "dos", b"#!/bin/sh\r\necho\r\n", 0o755);
    let interpreter = "the script's interpreter /bin/sh\\r does not exist";
    // Where /bin is a link the way is longer.
    let Some(seen) = see(&["exec", &dos, "0", "0"]) else {
        return;
    };
    let last = seen.failed.last().expect("a failed exec");
    let expected = interpreter.replace("/bin/sh", "/usr/bin/sh");
    assert!(
        [interpreter, &expected]
            .iter()
            .any(|why| last.starts_with(why)),
        "{}",
        seen.trace
    );
    exec(
        &["chdir", base],
        "./nothing",
        ENOENT,
        "nothing does not exist",
    );
    exec(
        &[],
        &format!("{script}/x"),
        ENOTDIR,
        &format!("{script} is no directory"),
    );
    let round = link(&scratch, "round", "round");
    exec(
        &[],
        &round,
        ELOOP,
        &format!("{round} goes through too many symbolic links"),
    );
    let long = format!("/{}", "x".repeat(300));
    exec(
        &[],
        &long,
        ENAMETOOLONG,
        "the path has 301 bytes; the most is 4095, and 255 for each part",
    );
    let Some(program) = dynamic_fixture("refused") else {
        return;
    };
    let mut bytes = std::fs::read(program).expect("a program");
    let loader = b"/lib64/ld-linux-x86-64.so.2\0";
    let Some(at) = bytes.windows(loader.len()).position(|part| part == loader) else {
        println!("skipped: another loader");
        return;
    };
    bytes[at + 1..at + 4].copy_from_slice(b"nil");
    let program = file(&scratch, "program", &bytes, 0o755);
    let why = "the program's loader /nil64 does not exist";
    exec(&[], &program, ENOENT, why);
}

/// Interpreters that are scripts: five are followed, and not more.
#[test]
fn scripts_as_interpreters_of_scripts() {
    let scratch = OpenScratch::new();
    let mut last = file(&scratch, "0", b"#!/bin/true\n", 0o755);
    for number in 1..=4 {
        let line = format!("#!{last}\n");
        last = file(&scratch, &number.to_string(), line.as_bytes(), 0o755);
    }
    let Some(seen) = see(&["exec", &last, "0", "0"]) else {
        return;
    };
    assert_eq!(
        (&seen.out[..], seen.failed.len()),
        ("", 0),
        "{}",
        seen.trace
    );
    let line = format!("#!{last}\n");
    let last = file(&scratch, "5", line.as_bytes(), 0o755);
    exec(
        &[],
        &last,
        ELOOP,
        "scripts that are interpreters of scripts, more than 5 deep",
    );
}

#[test]
fn files_that_may_not_be_executed() {
    if !need_root() {
        return;
    }
    let scratch = OpenScratch::new();
    let base = scratch.path().to_str().expect("a path in UTF-8");
    let script = b"#!/bin/true\n";
    let plain = file(&scratch, "plain", script, 0o644);
    exec(
        &[],
        &plain,
        EACCES,
        &format!("{plain} is not executable (mode 0644)"),
    );
    let mine = file(&scratch, "mine", script, 0o700);
    exec(
        &["uid", USER],
        &mine,
        EACCES,
        &format!("{mine} may not be executed by user {USER} (mode 0700, owner 0)"),
    );
    exec(
        &[],
        base,
        EACCES,
        &format!("{base} is a directory, no regular file"),
    );
    let locked = format!("{base}/locked");
    std::fs::create_dir(&locked).expect("a directory");
    let inside = file(&scratch, "locked/inside", script, 0o755);
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o700)).expect("chmod");
    exec(
        &["uid", USER],
        &inside,
        EACCES,
        &format!("directory {locked} may not be searched by user {USER} (mode 0700, owner 0)"),
    );
    let by_it = file(&scratch, "by-it", format!("#!{plain}\n").as_bytes(), 0o755);
    exec(
        &[],
        &by_it,
        EACCES,
        &format!("the script's interpreter {plain} is not executable (mode 0644)"),
    );
}

/// In a mount namespace of the program's own.
#[test]
fn a_mount_without_programs() {
    let Some(program) = fixture("refused").filter(|_| need_root()) else {
        return;
    };
    let scratch = OpenScratch::new();
    let base = scratch.path().to_str().expect("a path in UTF-8");
    let shell = "mount -t tmpfs -o noexec none \"$1\" && cp /bin/true \"$1\" && \
                 exec \"$2\" exec \"$1/true\" 0 0";
    let words = ["unshare", "-m", "sh", "-c", shell, "sh", base, &program];
    see_with(&[], &[], &words).says(
        "exec",
        EACCES,
        &format!("{base}/true is on a mount with noexec; the old program goes on"),
    );
}

#[test]
fn formats_that_the_kernel_does_not_run() {
    let scratch = OpenScratch::new();
    let mut foreign = vec![0; 120];
    foreign[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    foreign[16] = 2;
    foreign[18] = 183;
    foreign[54] = 56;
    for (name, bytes, why) in [
        ("empty", &b""[..], "is empty"),
        (
            "text",
            b"echo hello\n",
            "is text without a first line #!, which only shells run",
        ),
        (
            "noise",
            b"\x01\x02\x03\x00 noise",
            "is in no format that the kernel runs",
        ),
        ("nobody", b"#!\n", "names no interpreter after #!"),
        ("foreign", &foreign, "is a 64-bit program for aarch64"),
    ] {
        let path = file(&scratch, name, bytes, 0o755);
        exec(&[], &path, ENOEXEC, &format!("{path} {why}"));
    }
}

#[test]
fn arguments_that_are_too_large() {
    let path = "/bin/true";
    let said = |steps: &[&str], why: &str| {
        let why = format!("{why}; the old program goes on");
        creation(steps, "exec", E2BIG, &why);
    };
    said(
        &["exec", path, "1", "131072"],
        "one argument or variable has 131073 bytes, the most is 131072",
    );
    // 1001 strings, their pointers and the path: 10 + 1000 * 1001 + 10 + 1001 * 8.
    said(
        &["stack", "1048576", "exec", path, "1000", "1000"],
        "arguments and environment have 1009028 bytes, the most is 262144 (a quarter of ulimit \
         -s, 6 MiB at most)",
    );
    // As many, where the limit is larger.
    let Some(seen) = see(&["stack", "8388608", "exec", path, "1000", "1000"]) else {
        return;
    };
    assert_eq!(
        (&seen.out[..], seen.failed.len()),
        ("", 0),
        "{}",
        seen.trace
    );
}

#[test]
fn a_program_that_is_being_written() {
    let scratch = OpenScratch::new();
    let path = scratch.copy(Path::new("/bin/true"), 0o755);
    let Some(seen) = see(&["hold", &path, "exec", &path, "0", "0"]) else {
        return;
    };
    let pid = seen.trace.split(' ').next().unwrap_or_default().to_owned();
    let why = format!("{path} is open for writing in process {pid} (refused-");
    let last = seen.failed.last().map_or("", String::as_str);
    assert!(last.starts_with(&why), "{}", seen.trace);
    assert!(seen.out.contains(&format!("failed exec {ETXTBSY}\n")));
}
