//! In a container that allows ptrace, made by bubblewrap with namespaces of its own, all
//! works as outside; in one whose seccomp filter forbids what tracing needs, one line says
//! what to do, or the trace is true all the same.

mod common;

use std::path::Path;

use common::Mode;
use common::check::check;
use common::fixture::{Truth, fixture};
use common::program::{need, need_root};
use common::run::{OpenScratch, Outcome, Run, forktrace};
use common::trace::parse_forktrace;

/// A container, with forktrace and the fixture in it.
struct Container {
    directory: OpenScratch,
    bwrap: String,
    forktrace: String,
    program: String,
    /// The words that make a command run as an ordinary user; none: as root.
    user: Vec<String>,
}

/// Namespaces of its own, and a /proc; /mnt may be written to.
const NAMESPACES: [&str; 15] = [
    "--unshare-user",
    "--unshare-pid",
    "--unshare-net",
    "--unshare-ipc",
    "--unshare-uts",
    "--die-with-parent",
    "--ro-bind",
    "/",
    "/",
    "--proc",
    "/proc",
    "--dev",
    "/dev",
    "--tmpfs",
    "/mnt",
];

/// One for root, one for an ordinary user.
fn containers() -> Option<[Container; 2]> {
    let [bwrap, setpriv] = need(["bwrap", "setpriv"])?;
    if !need_root() {
        return None;
    }
    let program = fixture("hard")?;
    let nobody = [&setpriv, "--reuid=65534", "--regid=65534", "--clear-groups"];
    Some(
        [Vec::new(), nobody.map(str::to_owned).to_vec()].map(|user| {
            let directory = OpenScratch::new();
            Container {
                bwrap: bwrap.clone(),
                forktrace: directory.copy(&forktrace(), 0o755),
                program: directory.copy(Path::new(&program), 0o755),
                directory,
                user,
            }
        }),
    )
}

impl Container {
    fn who(&self) -> &str {
        if self.user.is_empty() {
            "root"
        } else {
            "nobody"
        }
    }

    /// Runs a command in the container, under a filter that answers these calls with an
    /// error, if any is given.
    fn run(&self, filter: Option<(&[u32], i32)>, words: &[&str]) -> Outcome {
        let mut argv: Vec<&str> = self.user.iter().map(String::as_str).collect();
        let file;
        if let Some((calls, errno)) = filter {
            let path = self.directory.path().join("filter");
            std::fs::write(&path, refusing(calls, errno)).expect("a filter");
            file = path.to_str().expect("a path in UTF-8").to_owned();
            argv.extend(["sh", "-c", "exec 9<\"$0\"; exec \"$@\"", &file]);
        }
        argv.push(&self.bwrap);
        argv.extend(NAMESPACES);
        if filter.is_some() {
            argv.extend(["--seccomp", "9"]);
        }
        argv.extend(words);
        Run::new(argv).cwd(Path::new("/")).run()
    }

    fn trace(&self, filter: Option<(&[u32], i32)>, mode: Mode, case: &str) -> Outcome {
        let words = [&self.forktrace, "-f", mode.option(), "--", &self.program];
        self.run(filter, &[&words[..], &[case]].concat())
    }
}

/// A seccomp filter as bubblewrap reads it: an array of `struct sock_filter`.
fn refusing(calls: &[u32], errno: i32) -> Vec<u8> {
    const LOAD: u16 = 0x20;
    const JUMP_EQ: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    const ERRNO: u32 = 0x0005_0000;
    let mut code: Vec<(u16, u8, u32)> = vec![(LOAD, 0, 0)];
    for (index, call) in calls.iter().enumerate() {
        code.push((JUMP_EQ, (calls.len() - index) as u8, *call));
    }
    code.push((RETURN, 0, ALLOW));
    code.push((RETURN, 0, ERRNO | errno.cast_unsigned()));
    code.iter()
        .flat_map(|(code, to, k)| {
            let mut bytes = code.to_ne_bytes().to_vec();
            bytes.extend([*to, 0]);
            bytes.extend(k.to_ne_bytes());
            bytes
        })
        .collect()
}

const PTRACE: u32 = 101;
const PROCESS_VM_READV: u32 = 310;
const PROCESS_VM_WRITEV: u32 = 311;
const CLONE3: u32 = 435;
const EPERM: i32 = 1;
const ENOSYS: i32 = 38;

/// The trace on standard error, without what forktrace says.
fn lines(outcome: &Outcome) -> String {
    let said = |line: &&str| !line.starts_with("forktrace: ");
    let keep = |line: &str| format!("{line}\n");
    outcome.err().lines().filter(said).map(keep).collect()
}

/// The trace is the truth, in so far as the mode shows it.
#[track_caller]
fn assert_true(what: &str, mode: Mode, outcome: &Outcome) {
    let trace = lines(outcome);
    let summary = parse_forktrace(&trace)
        .and_then(|lines| check(&lines))
        .unwrap_or_else(|error| panic!("{what}: {error}\n{trace}"));
    let mut truth = Truth::parse(&outcome.out());
    truth.made.retain(|made| match made.case.as_str() {
        "untraced" => mode != Mode::Event,
        "below" => mode == Mode::Seccomp,
        _ => true,
    });
    assert_eq!(summary.pairs, truth.pairs(), "{what}\n{trace}");
    assert_eq!(outcome.left, [] as [i32; 0], "{what}");
}

#[test]
fn launching() {
    let Some(containers) = containers() else {
        return;
    };
    for container in &containers {
        for mode in Mode::ALL {
            let what = format!("{} {mode:?}", container.who());
            let outcome = container.trace(None, mode, "everything");
            outcome.assert_code(5);
            assert!(!outcome.err().contains("forktrace: "), "{what}");
            assert_true(&what, mode, &outcome);
        }
    }
}

/// Attaches to what runs beside it, and leaves at its end.
#[test]
fn attaching() {
    const SCRIPT: &str = r#"
        cd /mnt; mkfifo in; exec 8<>in
        "$1" waits < in > out 8>&- & target=$!
        until grep -qs ready out; do sleep 0.01; done
        "$0" -f "$2" -o trace -p $target 8>&- & tracer=$!
        until grep -qs attached trace; do sleep 0.01; done
        exec 8>&-
        wait $target; echo target $?
        wait $tracer; echo tracer $?
        cat out; cat trace >&2
    "#;
    let Some(containers) = containers() else {
        return;
    };
    for container in &containers {
        for mode in [Mode::Event, Mode::Syscall] {
            let what = format!("{} {mode:?}", container.who());
            let words = ["sh", "-c", SCRIPT, &container.forktrace, &container.program];
            let outcome = container.run(None, &[&words[..], &[mode.option()]].concat());
            let out = outcome.assert_code(0).out();
            assert!(
                out.contains("target 8\ntracer 0\n") && out.contains("lived on\n"),
                "{what}: {out} {}",
                outcome.err()
            );
            let trace = lines(&outcome);
            let summary = check(&parse_forktrace(&trace).expect("a trace"))
                .unwrap_or_else(|error| panic!("{what}: {error}\n{trace}"));
            // But for the one that was there before.
            let told = Truth::parse(&out).pairs();
            assert_eq!(summary.pairs, told[1..], "{what}\n{trace}");
        }
    }
}

/// Where ptrace is forbidden the program isn't run at all, and a running one not touched.
#[test]
fn without_ptrace() {
    let Some(containers) = containers() else {
        return;
    };
    for container in &containers {
        for errno in [EPERM, ENOSYS] {
            let filter = Some((&[PTRACE][..], errno));
            let what = format!("{} {errno}", container.who());
            let said = |outcome: &Outcome| {
                let err = outcome.err();
                err.starts_with("forktrace: ")
                    && err.lines().count() == 1
                    && err.contains("--cap-add=SYS_PTRACE")
            };
            for mode in Mode::ALL {
                let outcome = container.trace(filter, mode, "everything");
                outcome.assert_code(1);
                assert_eq!(outcome.out(), "", "{what} {mode:?}: the program ran");
                assert!(said(&outcome), "{what} {mode:?}: {}", outcome.err());
                assert_eq!(outcome.left, [] as [i32; 0], "{what} {mode:?}");
            }
            let script = r#""$0" -p $$; echo status $?"#;
            let outcome = container.run(filter, &["sh", "-c", script, &container.forktrace]);
            assert_eq!(outcome.assert_code(0).out(), "status 1\n", "{what}");
            assert!(said(&outcome), "{what}: {}", outcome.err());
        }
    }
}

/// Then the tracee's memory is read, and written, word by word: the lines are the same.
#[test]
fn without_process_vm_readv() {
    let Some(containers) = containers() else {
        return;
    };
    for container in &containers {
        for errno in [EPERM, ENOSYS] {
            let filter = Some((&[PROCESS_VM_READV][..], errno));
            for mode in Mode::ALL {
                let what = format!("{} {errno} {mode:?}", container.who());
                let outcome = container.trace(filter, mode, "everything");
                outcome.assert_code(5);
                assert_true(&what, mode, &outcome);
                let trace = lines(&outcome);
                // And what is written to memory for the time of a call.
                let both = Some((&[PROCESS_VM_READV, PROCESS_VM_WRITEV][..], errno));
                let untraced = container.trace(both, mode, "clone3_untraced");
                untraced.assert_code(0);
                let taken_out = lines(&untraced).matches("taken out for the call").count();
                assert_eq!(
                    taken_out,
                    if mode == Mode::Seccomp { 4 } else { 0 },
                    "{what}"
                );
                for wanted in [
                    "execve(\"/bin/true\", [\"true\"], ",
                    "clone3({flags=CLONE_VM|",
                ] {
                    assert!(trace.contains(wanted), "{what}: no {wanted}\n{trace}");
                }
            }
        }
    }
}

/// A runtime's profile that refuses clone3: what it refuses made nothing, and where that
/// can't be seen it is said.
#[test]
fn without_clone3() {
    let Some(containers) = containers() else {
        return;
    };
    for container in &containers {
        for (errno, name) in [(EPERM, "EPERM"), (ENOSYS, "ENOSYS")] {
            let filter = Some((&[CLONE3][..], errno));
            for mode in Mode::ALL {
                let what = format!("{} {name} {mode:?}", container.who());
                let outcome = container.trace(filter, mode, "clone3_or_fork");
                outcome.assert_code(0);
                assert_true(&what, mode, &outcome);
                let told = Truth::parse(&outcome.out());
                assert_eq!(told.failed, [("clone3".to_owned(), errno)], "{what}");
                assert_eq!(told.made.len(), 4, "{what}");
                let seen = lines(&outcome).contains(&format!("= -1 {name}"));
                assert_eq!(seen, mode == Mode::Syscall, "{what}: {}", outcome.err());
                let notice = outcome.err().contains("a seccomp filter is in force here");
                assert_eq!(notice, mode == Mode::Seccomp, "{what}: {}", outcome.err());
            }
        }
        // A C library takes clone in its place, and nobody is the wiser.
        let filter = Some((&[CLONE3][..], ENOSYS));
        for mode in Mode::ALL {
            let outcome = container.trace(filter, mode, "everything");
            outcome.assert_code(5);
            assert_true(&format!("{} {mode:?}", container.who()), mode, &outcome);
        }
    }
}
