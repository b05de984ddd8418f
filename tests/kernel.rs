//! Every way of creating a task and every way of ending one, by fixtures that know what
//! they did: forktrace must say the same, in each mode, and spell it as strace does.

mod common;

use std::os::unix::process::ExitStatusExt;

use common::Mode;
use common::case::Case;
use common::fixture::{Truth, dynamic_fixture, fixture, i386_fixture};
use common::program::{need, need_root};
use common::run::{Run, forktrace};
use common::tree::Strictness;

/// The creations in the trace are those that the fixture reports: none more, none less.
#[track_caller]
fn assert_truth(what: &str, pairs: &[(i32, i32)], truth: &Truth, unreported: usize) {
    let told = truth.pairs();
    for pair in &told {
        assert!(
            pairs.contains(pair),
            "{what}: {pair:?} was created and isn't in the trace"
        );
    }
    assert_eq!(
        pairs.len(),
        told.len() + unreported,
        "{what}: the trace has {pairs:?}, the truth is {told:?}"
    );
}

/// `CLONE_UNTRACED` raises no event: only a mode that sees calls return knows of it.
fn visible(mut truth: Truth, mode: Mode) -> Truth {
    if mode == Mode::Event {
        truth.made.retain(|made| made.case != "clone_untraced");
    }
    truth
}

#[test]
fn raw_calls_like_strace() {
    let (Some(_), Some(raw)) = (need(["strace"]), fixture("raw")) else {
        return;
    };
    if !need_root() {
        return;
    }
    for name in raw_cases(&raw) {
        // What these two leave to see isn't the program's own: the stack's content beyond
        // the arguments; an argv that the kernel replaces.
        if name == "clone3_huge" {
            continue;
        }
        let case = Case::new([raw.as_str(), &name]);
        let strace = case.strace(&["-f"]);
        for mode in Mode::ALL {
            if name == "exec_null" && mode == Mode::Event {
                continue;
            }
            let (traced, summary) = case.follow(mode);
            // There the flag is taken out, and the child followed as strace doesn't.
            if name != "clone_untraced" || mode != Mode::Seccomp {
                case.assert_like_strace(mode, &strace, &traced);
            }
            let truth = visible(traced.truth(), mode);
            assert_truth(&format!("{mode:?} {name}"), &summary.pairs, &truth, 0);
        }
    }
}

fn raw_cases(raw: &str) -> Vec<String> {
    let names: Vec<String> = Run::new([raw, "list"])
        .run()
        .out()
        .lines()
        .map(str::to_owned)
        .collect();
    assert!(names.len() > 50, "only {names:?}");
    names
}

#[test]
fn raw_calls_in_one_program() {
    let Some(raw) = fixture("raw") else { return };
    let case = Case::new([raw.as_str(), "all"]);
    for mode in Mode::ALL {
        let (traced, summary) = case.follow(mode);
        let truth = visible(traced.truth(), mode);
        assert!(truth.made.len() > 30, "the fixture made only {truth:?}");
        assert_truth(&format!("{mode:?}"), &summary.pairs, &truth, 0);
        let expected = if mode == Mode::Event {
            0
        } else {
            truth.failed.len()
        };
        assert_eq!(
            summary.failed, expected,
            "{mode:?}: failed calls\n{}",
            traced.text
        );
    }
}

/// No other program is asked here: these texts are what the calls are.
#[test]
fn raw_calls_have_known_texts() {
    let Some(raw) = fixture("raw") else { return };
    let known = [
        ("fork", "fork() = CHILD"),
        ("vfork", "vfork() = CHILD"),
        (
            "clone_sigchld",
            "clone(child_stack=NULL, flags=SIGCHLD) = CHILD",
        ),
        ("clone_nosignal", "clone(child_stack=NULL, flags=0) = CHILD"),
        (
            "clone_usr1",
            "clone(child_stack=NULL, flags=SIGUSR1) = CHILD",
        ),
        (
            "clone_realtime",
            "clone(child_stack=NULL, flags=SIGRT_4) = CHILD",
        ),
        (
            "clone_vfork_stack",
            "clone(child_stack=ADDR, flags=CLONE_VM|CLONE_VFORK|SIGCHLD) = CHILD",
        ),
        (
            "clone_vm",
            "clone(child_stack=ADDR, flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|SIGCHLD) = CHILD",
        ),
        (
            "clone_vm_nosignal",
            "clone(child_stack=ADDR, flags=CLONE_VM) = CHILD",
        ),
        (
            "clone_parent_settid",
            "clone(child_stack=NULL, flags=CLONE_PARENT_SETTID|SIGCHLD, parent_tid=[CHILD]) = CHILD",
        ),
        (
            "clone_pidfd",
            "clone(child_stack=NULL, flags=CLONE_PIDFD|SIGCHLD, parent_tid=[3]) = CHILD",
        ),
        (
            "clone_untraced",
            "clone(child_stack=NULL, flags=CLONE_UNTRACED|SIGCHLD) = CHILD",
        ),
        (
            "clone_thread",
            "clone(child_stack=ADDR, flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD|CLONE_SYSVSEM|CLONE_SETTLS|CLONE_PARENT_SETTID|CLONE_CHILD_CLEARTID, parent_tid=[CHILD], tls=ADDR, child_tidptr=ADDR) = CHILD",
        ),
        (
            "clone3_88",
            "clone3({flags=0, exit_signal=SIGCHLD, stack=NULL, stack_size=0}, 88) = CHILD",
        ),
        (
            "clone3_zero_tail",
            "clone3({flags=0, exit_signal=SIGCHLD, stack=NULL, stack_size=0}, 128) = CHILD",
        ),
        (
            "clone3_vfork_stack",
            "clone3({flags=CLONE_VM|CLONE_VFORK|CLONE_CLEAR_SIGHAND, exit_signal=SIGCHLD, stack=ADDR, stack_size=0x10000}, 88) = CHILD",
        ),
    ];
    for (name, text) in known {
        let case = Case::new([raw.as_str(), name]);
        for mode in Mode::ALL {
            let (traced, _) = case.follow(mode);
            let calls: Vec<String> = traced
                .lines
                .iter()
                .filter_map(|line| line.call().filter(|call| call.creates()))
                .map(|call| call.normal())
                .collect();
            if mode == Mode::Event && name == "clone_untraced" {
                assert!(calls.is_empty(), "{mode:?} {name}: {calls:?}");
            } else {
                assert_eq!(calls, [text], "{mode:?} {name}");
            }
        }
    }
}

#[test]
fn without_f_only_the_launched_thread() {
    let (Some(_), Some(raw)) = (need(["strace"]), fixture("raw")) else {
        return;
    };
    for name in [
        "fork",
        "vfork",
        "clone_thread",
        "clone3_thread",
        "clone_vfork_stack",
        "nested",
        "clone_parent",
    ] {
        Case::new([raw.as_str(), name]).compare_alone();
    }
}

/// Failed calls raise no event; the mode that lives on events says so at the start.
#[test]
fn event_mode_admits_what_it_cannot_see() {
    let Some(raw) = fixture("raw") else { return };
    let case = Case::new([raw.as_str(), "clone_thread_alone"]);
    let (traced, summary) = case.follow(Mode::Event);
    assert_eq!(summary.failed, 0);
    assert!(
        traced.text.starts_with("# "),
        "no note at the start: {}",
        traced.text
    );
    for mode in [Mode::Seccomp, Mode::Syscall] {
        let (traced, summary) = case.follow(mode);
        assert_eq!(summary.failed, 1, "{mode:?}");
        assert!(!traced.text.starts_with("# "), "{mode:?}: {}", traced.text);
    }
}

#[test]
fn every_event_has_one_meaning_unless_quiet() {
    let Some(raw) = fixture("raw") else { return };
    let case = Case::new([raw.as_str(), "all"]);
    for mode in Mode::ALL {
        let (traced, _) = case.follow(mode);
        for line in traced.lines.iter().filter(|line| line.created().is_some()) {
            assert!(
                line.comment.as_ref().is_some_and(|text| text.len() > 5),
                "{mode:?}: no meaning: {}",
                line.text
            );
        }
        let quiet = case.forktrace(&["-f", "-q", mode.option()]);
        for line in &quiet.lines {
            assert!(line.comment.is_none(), "{mode:?} -q: {}", line.text);
        }
    }
}

#[test]
fn i386_program() {
    let (Some(_), Some(i386)) = (need(["strace"]), i386_fixture("i386")) else {
        return;
    };
    if Run::new([i386.as_str()]).run().status.code() != Some(9) {
        return common::program::skip("a kernel that runs i386 programs");
    }
    let case = Case::new([i386.as_str()])
        .code(9)
        .expect("vfork()")
        .expect("entry_number=12");
    case.compare();
    for mode in Mode::ALL {
        let (traced, summary) = case.follow(mode);
        assert_truth(&format!("{mode:?}"), &summary.pairs, &traced.truth(), 0);
    }
}

#[test]
fn i386_calls_from_64_bit_code() {
    let (Some(_), Some(int80)) = (need(["strace"]), fixture("int80")) else {
        return;
    };
    if Run::new([int80.as_str()]).run().status.code() != Some(0) {
        return common::program::skip("a kernel with int $0x80");
    }
    let case = Case::new([int80.as_str()]);
    case.compare();
    for mode in Mode::ALL {
        let (traced, summary) = case.follow(mode);
        assert_eq!(summary.pairs.len(), 3, "{mode:?}: {}", traced.text);
        assert_truth(&format!("{mode:?}"), &summary.pairs, &traced.truth(), 0);
    }
}

#[test]
fn exec_from_a_thread_that_is_not_the_leader() {
    let (Some(_), Some(program)) = (need(["strace"]), fixture("execthread")) else {
        return;
    };
    let case = Case::new([program.as_str()]).code(5);
    let strace = case.strace(&["-f"]);
    for mode in Mode::ALL {
        for _ in 0..5 {
            let (traced, summary) = case.follow(mode);
            case.assert_like_strace(mode, &strace, &traced);
            // The two threads don't report themselves.
            assert_truth(&format!("{mode:?}"), &summary.pairs, &traced.truth(), 2);
            assert_eq!(
                traced.text.matches("superseded by execve").count(),
                1,
                "{mode:?}: {}",
                traced.text
            );
        }
    }
}

/// The same while the leader has not come back from the call that made the thread: its
/// result is known only from the event.
#[test]
fn exec_from_a_thread_while_the_leader_creates_it() {
    let Some(program) = fixture("execthread") else {
        return;
    };
    let case = Case::new([program.as_str(), "early"]).code(5);
    for mode in Mode::ALL {
        for _ in 0..20 {
            let (traced, summary) = case.follow(mode);
            assert_truth(&format!("{mode:?}"), &summary.pairs, &traced.truth(), 2);
        }
    }
}

#[test]
fn descendants_that_outlive_the_program() {
    let (Some(_), Some(orphan)) = (need(["strace"]), fixture("orphan")) else {
        return;
    };
    let case = Case::new([orphan.as_str()]).code(7);
    let strace = case.strace(&["-f"]);
    for mode in Mode::ALL {
        let (traced, summary) = case.follow(mode);
        assert!(traced.outcome.out().ends_with("after all\n"));
        assert_truth(&format!("{mode:?}"), &summary.pairs, &traced.truth(), 0);
        assert_eq!(summary.ended, 5, "{mode:?}: {}", traced.text);
        case.assert_like_strace(mode, &strace, &traced);
    }
}

/// Without -f nobody but the program is traced: its descendants run free and to the end.
#[test]
fn descendants_run_free_without_f() {
    let Some(orphan) = fixture("orphan") else {
        return;
    };
    let case = Case::new([orphan.as_str()]);
    for mode in [Mode::Syscall, Mode::Event] {
        let traced = case.forktrace(&[mode.option()]);
        traced.outcome.assert_code(7);
        // The pipe is read until its end, that is until the last descendant's.
        assert!(
            traced.outcome.out().ends_with("after all\n"),
            "{mode:?}: {}",
            traced.outcome.out()
        );
        assert_eq!(
            traced
                .lines
                .iter()
                .filter(|line| line.created().is_some())
                .count(),
            1
        );
    }
}

#[test]
fn a_search_along_path() {
    let (Some(_), Some(program)) = (need(["strace"]), fixture("manyexec")) else {
        return;
    };
    let mut argv = vec![program.as_str()];
    argv.extend([
        "/nonexistent/a",
        "/nonexistent/b",
        "/proc",
        "/etc/passwd",
        "/nonexistent/c",
        "/bin",
    ]);
    Case::new(argv).expect("execve(\"/bin/true\"").compare();
}

#[test]
fn a_dynamic_program_of_threads() {
    let (Some(_), Some(threads)) = (need(["strace"]), dynamic_fixture("threads")) else {
        return;
    };
    let case = Case::new([threads.as_str(), "10"])
        .strictness(Strictness::AnyOrder)
        .expect("CLONE_THREAD");
    case.compare();
}

#[test]
fn forktrace_ends_as_the_program_does() {
    let Some(exits) = fixture("exits") else {
        return;
    };
    let modes: [&[&str]; 5] = [
        &["--stops=syscall"],
        &["--stops=event"],
        &["-f", "--stops=seccomp"],
        &["-f", "--stops=event"],
        &["-f", "--stops=syscall"],
    ];
    for options in modes {
        for code in [0, 1, 2, 77, 126, 127, 128, 130, 255] {
            let case = Case::new([exits.as_str(), "code", &code.to_string()]);
            let traced = case.forktrace(options);
            assert_eq!(traced.outcome.status.code(), Some(code), "{options:?}");
            assert!(
                traced.text.contains(&format!("+++ exited with {code} +++")),
                "{options:?}: {}",
                traced.text
            );
        }
        for (signal, name) in [
            (1, "SIGHUP"),
            (2, "SIGINT"),
            (3, "SIGQUIT"),
            (6, "SIGABRT"),
            (9, "SIGKILL"),
            (11, "SIGSEGV"),
            (13, "SIGPIPE"),
            (15, "SIGTERM"),
            (10, "SIGUSR1"),
            (34, "SIGRT_2"),
            (64, "SIGRT_32"),
        ] {
            let case = Case::new([exits.as_str(), "signal", &signal.to_string()]);
            let traced = case.forktrace(options);
            assert_eq!(
                traced.outcome.status.signal(),
                Some(signal),
                "{options:?} {name}: {:?}",
                traced.outcome
            );
            assert!(
                !traced.outcome.status.core_dumped(),
                "{options:?} {name}: forktrace dumped core"
            );
            assert!(
                traced.text.contains(&format!("+++ killed by {name} +++")),
                "{options:?} {name}: {}",
                traced.text
            );
        }
    }
}

#[test]
fn deaths_are_spelt_as_strace_does() {
    let (Some(_), Some(exits)) = (need(["strace"]), fixture("exits")) else {
        return;
    };
    for signal in (1..=64).filter(|s| ![17, 18, 19, 20, 21, 22, 23, 28, 32, 33].contains(s)) {
        let case = Case::new([exits.as_str(), "signal", &signal.to_string()]);
        let strace = case.strace(&["-f"]);
        strace.check("strace");
        let traced = case.forktrace(&["-f"]);
        assert_eq!(traced.outcome.status.signal(), Some(signal));
        case.assert_like_strace(Mode::Seccomp, &strace, &traced);
    }
}

#[test]
fn the_binary_is_there() {
    assert!(forktrace().is_file());
}
