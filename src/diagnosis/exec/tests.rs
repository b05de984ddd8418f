//! Each cause of a failed exec, with what it is told from.

use super::*;
use crate::abi::Call;
use crate::diagnosis::evidence::{Access, Capabilities, Writer};
use crate::diagnosis::image::Elf;
use crate::diagnosis::path::{Start, Walk};
use crate::diagnosis::words;
use crate::exec::{Env, ListEnd, Strings};
use crate::ids::{Comm, Pid};

fn call() -> ExecCall {
    ExecCall {
        syscall: None,
        call: Call::Execve,
        path: Text::Bytes {
            bytes: b"/p".to_vec(),
            truncated: false,
        },
        argv: Strings::List {
            items: Vec::new(),
            end: ListEnd::Complete,
        },
        env: Env {
            addr: None,
            vars: None,
            unterminated: false,
            text: None,
        },
    }
}

fn user(capabilities: u64) -> Fact<Status> {
    Fact::Read(Status {
        uid: 1000,
        fsuid: 1000,
        fsgid: 1000,
        groups: vec![4],
        capabilities: Capabilities(capabilities),
        seccomp: 0,
        filters: Some(0),
        ns_tgids: vec![7],
        threads: 1,
        data_kib: Some(100),
    })
}

fn access(mode: u32, uid: u32, gid: u32) -> Access {
    Access { mode, uid, gid }
}

const PROGRAM: u32 = 0o100_755;

fn file(path: &str, end: End, head: Fact<Head>) -> Needed {
    Needed {
        path: path.to_owned(),
        walk: Walk {
            searched: vec![("/".to_owned(), access(0o040_755, 0, 0))],
            end,
            at: (Start::Root, Vec::new()),
        },
        head,
        noexec: Fact::Read(false),
    }
}

fn with_mode(mode: u32, uid: u32, gid: u32) -> Needed {
    file("/p", End::File(access(mode, uid, gid)), Fact::NotRead)
}

fn with_head(head: Head) -> Needed {
    let end = End::File(access(PROGRAM, 0, 0));
    file("/p", end, Fact::Read(head))
}

fn script() -> Needed {
    with_head(Head::Script(b"/i".to_vec()))
}

fn elf(machine: u16, kind: u16) -> Head {
    Head::Elf(Elf {
        bits: 64,
        machine,
        kind,
        headers: 64,
        header_size: 56,
        header_count: 1,
        loader: None,
    })
}

fn missing(path: &str) -> Needed {
    let path_text = path.to_owned();
    file(path, End::Missing { path: path_text }, Fact::NotRead)
}

fn said(errno: Errno, evidence: &ExecEvidence) -> String {
    words(&diagnose(&call(), errno, evidence)).unwrap_or_default()
}

fn of_files(errno: Errno, files: Vec<Needed>) -> String {
    let evidence = ExecEvidence {
        status: user(0),
        files: Fact::Read(files),
        ..ExecEvidence::default()
    };
    said(errno, &evidence)
}

#[test]
fn what_is_missing_is_told_apart() {
    let dangling = End::Dangling {
        path: "/p".to_owned(),
        target: "/q".to_owned(),
    };
    let no_directory = End::NotDirectory {
        path: "/f".to_owned(),
    };
    for (errno, files, words) in [
        (Errno::ENOENT, vec![missing("/p")], "/p does not exist"),
        (
            Errno::ENOENT,
            vec![script(), missing("/i")],
            "the script's interpreter /i does not exist",
        ),
        (
            Errno::ENOENT,
            vec![with_head(elf(62, 3)), missing("/lib/ld.so")],
            "the program's loader /lib/ld.so does not exist",
        ),
        (
            Errno::ENOENT,
            vec![file("/p", dangling, Fact::NotRead)],
            "/p is a link to /q, which does not exist",
        ),
        (
            Errno::ENOTDIR,
            vec![file("/f/p", no_directory, Fact::NotRead)],
            "/f is no directory",
        ),
        (
            Errno::ELOOP,
            vec![file("/p", End::Loop, Fact::NotRead)],
            "/p goes through too many symbolic links",
        ),
        (
            Errno::ELOOP,
            vec![script(); 6],
            "scripts that are interpreters of scripts, more than 5 deep",
        ),
        // Present after all: somebody made it since. Nothing is said.
        (Errno::ENOENT, vec![script()], ""),
        (Errno::ELOOP, vec![script(); 5], ""),
    ] {
        assert_eq!(of_files(errno, files.clone()), words, "{errno:?} {files:?}");
    }
}

#[test]
fn who_may_not_and_where() {
    let mut behind = with_mode(PROGRAM, 0, 0);
    let locked = ("/d".to_owned(), access(0o040_700, 0, 0));
    behind.walk.searched.push(locked);
    let mut interpreter_behind = behind.clone();
    interpreter_behind.path = "/d/i".to_owned();
    let mut noexec = with_mode(PROGRAM, 0, 0);
    noexec.noexec = Fact::Read(true);
    let not_mine = "/p may not be executed by user 1000 (mode 0750, owner 0)";
    for (files, words) in [
        (
            vec![behind],
            "directory /d may not be searched by user 1000 (mode 0700, owner 0)",
        ),
        (
            vec![script(), interpreter_behind],
            "directory /d, on the way to the script's interpreter, may not be searched by user \
             1000 (mode 0700, owner 0)",
        ),
        (vec![noexec], "/p is on a mount with noexec"),
        (
            vec![with_mode(0o100_644, 0, 0)],
            "/p is not executable (mode 0644)",
        ),
        (vec![with_mode(0o100_750, 0, 0)], not_mine),
        (
            vec![with_mode(0o040_755, 0, 0)],
            "/p is a directory, no regular file",
        ),
        // By its group, and as its owner.
        (vec![with_mode(0o100_750, 0, 4)], ""),
        (vec![with_mode(0o100_700, 1000, 0)], ""),
    ] {
        assert_eq!(of_files(Errno::EACCES, files.clone()), words, "{files:?}");
    }
}

#[test]
fn capabilities_open_what_modes_close() {
    let evidence = |capabilities, mode| ExecEvidence {
        status: user(capabilities),
        files: Fact::Read(vec![with_mode(mode, 0, 0)]),
        ..ExecEvidence::default()
    };
    assert_eq!(said(Errno::EACCES, &evidence(0b10, 0o100_700)), "");
    assert_eq!(
        said(Errno::EACCES, &evidence(0b10, 0o100_600)),
        "/p is not executable (mode 0600)"
    );
}

#[test]
fn formats_that_the_kernel_does_not_run() {
    for (errno, files, words) in [
        (Errno::ENOEXEC, vec![with_head(Head::Empty)], "/p is empty"),
        (
            Errno::ENOEXEC,
            vec![with_head(Head::Text)],
            "/p is text without a first line #!, which only shells run",
        ),
        (
            Errno::ENOEXEC,
            vec![with_head(Head::Other)],
            "/p is in no format that the kernel runs",
        ),
        (
            Errno::ENOEXEC,
            vec![with_head(Head::NoInterpreter)],
            "/p names no interpreter after #!",
        ),
        (
            Errno::ENOEXEC,
            vec![with_head(elf(183, 2))],
            "/p is a 64-bit program for aarch64",
        ),
        (
            Errno::ENOEXEC,
            vec![with_head(elf(9999, 2))],
            "/p is a 64-bit program for machine 9999",
        ),
        (
            Errno::ENOEXEC,
            vec![with_head(elf(62, 1))],
            "/p is no ELF program, or a damaged one",
        ),
        (
            Errno::ENOEXEC,
            vec![script(), with_head(Head::Empty)],
            "/p is empty",
        ),
        (
            Errno::ELIBBAD,
            vec![with_head(elf(62, 3)), with_head(Head::Text)],
            "the program's loader /p is no ELF program, or a damaged one",
        ),
        (Errno::ENOEXEC, vec![with_head(elf(62, 3))], ""),
    ] {
        assert_eq!(of_files(errno, files.clone()), words, "{errno:?} {files:?}");
    }
}

#[test]
fn sizes_and_their_limits() {
    let evidence = |bytes, strings, longest, stack| ExecEvidence {
        sizes: Fact::Read(Sizes {
            bytes,
            strings,
            longest,
        }),
        stack: Fact::Read(stack),
        ..ExecEvidence::default()
    };
    let mib8 = Limit::At(8 << 20);
    for (evidence, words) in [
        (
            evidence(131_100, 2, 131_073, mib8),
            "one argument or variable has 131073 bytes, the most is 131072",
        ),
        (evidence(131_100, 2, 131_072, mib8), ""),
        (
            evidence(2_000_000, 20_000, 100, mib8),
            "arguments and environment have 2160003 bytes, the most is 2097152 (a quarter of \
             ulimit -s, 6 MiB at most)",
        ),
        (evidence(2_097_141, 1, 100, mib8), ""),
        (
            evidence(2_097_142, 1, 100, mib8),
            "arguments and environment have 2097153 bytes, the most is 2097152 (a quarter of \
             ulimit -s, 6 MiB at most)",
        ),
        (evidence(131_000, 1, 100, Limit::At(4096)), ""),
        (evidence(6_000_000, 1, 100, Limit::Unlimited), ""),
    ] {
        assert_eq!(said(Errno::E2BIG, &evidence), words, "{evidence:?}");
    }
}

#[test]
fn the_rest() {
    let writer = Writer {
        pid: Pid(77),
        comm: Comm::new(b"cc1"),
    };
    let busy = |writers| ExecEvidence {
        files: Fact::Read(vec![with_mode(PROGRAM, 0, 0)]),
        writers: Fact::Read(writers),
        ..ExecEvidence::default()
    };
    assert_eq!(
        said(Errno::ETXTBSY, &busy(vec![writer])),
        "/p is open for writing in process 77 (cc1)"
    );
    assert_eq!(said(Errno::ETXTBSY, &busy(Vec::new())), "");
    let tasks = |tasks| ExecEvidence {
        status: user(0),
        nproc: Fact::Read(Limit::At(5)),
        user_tasks: Fact::Read(tasks),
        ..ExecEvidence::default()
    };
    assert_eq!(
        said(Errno::EAGAIN, &tasks(6)),
        "RLIMIT_NPROC 5 (ulimit -u), tasks of user 1000: 6"
    );
    assert!(said(Errno::EAGAIN, &tasks(5)).starts_with("perhaps "));
    let refused = ExecEvidence {
        status: match user(0) {
            Fact::Read(status) => Fact::Read(Status {
                seccomp: 2,
                filters: Some(2),
                ..status
            }),
            other => other,
        },
        own_filters: 1,
        verdict: Fact::Read(Verdict::Error(Errno::EPERM)),
        ..ExecEvidence::default()
    };
    assert_eq!(
        said(Errno::EPERM, &refused),
        "a seccomp filter of the program answers, not the kernel (1 filter)"
    );
    let passed = ExecEvidence {
        verdict: Fact::Read(Verdict::Passes),
        ..refused
    };
    assert_eq!(said(Errno::EPERM, &passed), "");
    assert_eq!(said(Errno::EIO, &ExecEvidence::default()), "");
}
