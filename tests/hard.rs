//! What makes tracers fail, by fixtures that know what they did: exec from threads, vfork,
//! clone's rarer flags, pids used again, filters, privileges.

mod common;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use common::case::{Case, Traced, text};
use common::check::Summary;
use common::fixture::{Truth, fixture};
use common::proc::{eventually, status};
use common::program::{need, need_root};
use common::run::{OpenScratch, Run, Scratch, forktrace};
use common::trace::{Event, parse_forktrace};
use common::{Mode, rounds};
use nix::sys::signal::Signal;

fn hard(words: &[&str]) -> Option<Case> {
    let program = fixture("hard")?;
    Some(Case::new([&[program.as_str()], words].concat()))
}

/// The creations in the trace are those that the fixture reports, and nothing is left.
#[track_caller]
fn assert_true(what: &str, traced: &Traced, summary: &Summary) {
    let told = traced.truth().pairs();
    assert_eq!(summary.pairs, told, "{what}\n{}", traced.text);
    assert_eq!(traced.outcome.left, [] as [i32; 0], "{what}: left over");
}

/// In each mode some times over; each trace must be the truth.
fn true_in_each_mode(words: &[&str], code: i32, times: usize) {
    true_in(&Mode::ALL, words, code, times);
}

fn true_in(modes: &[Mode], words: &[&str], code: i32, times: usize) {
    let Some(case) = hard(words) else { return };
    let case = case.code(code);
    for mode in modes {
        for _ in 0..times {
            let (traced, summary) = case.follow(*mode);
            assert_true(&format!("{mode:?} {words:?}"), &traced, &summary);
        }
    }
}

#[test]
fn exec_from_a_thread_while_the_leader_reads() {
    true_in_each_mode(&["exec_leader_reads"], 5, 10);
}

#[test]
fn exec_from_a_thread_while_the_leader_waits_in_vfork() {
    true_in_each_mode(&["exec_leader_in_vfork"], 5, 10);
}

#[test]
fn exec_from_a_thread_whose_leader_is_gone() {
    true_in_each_mode(&["exec_leader_gone"], 5, 10);
}

#[test]
fn exec_from_threads_two_hundred_times() {
    for round in 0..rounds() {
        let times = if round == 0 { "200" } else { "40" };
        true_in(&Mode::of_round(round), &["exec_loop", times], 0, 1);
    }
}

/// Four threads exec at the same moment; whichever wins, the next calls are seen.
#[test]
fn exec_from_all_threads_at_once() {
    for round in 0..rounds() {
        let times = if round == 0 { 30 } else { 10 };
        let Some(case) = hard(&["exec_race", &times.to_string()]) else {
            return;
        };
        for mode in Mode::of_round(round) {
            let (traced, summary) = case.follow(mode);
            let told = traced.truth().pairs();
            assert_eq!(told.len(), times + 1);
            let lost: Vec<_> = told
                .iter()
                .filter(|pair| !summary.pairs.contains(pair))
                .collect();
            assert!(lost.is_empty(), "{mode:?}: {lost:?}\n{}", traced.text);
            assert_eq!(traced.outcome.left, [] as [i32; 0], "{mode:?}");
        }
    }
}

#[test]
fn nested_vfork() {
    true_in_each_mode(&["nested_vfork"], 0, 5);
}

/// Ctrl-C while a parent is suspended in vfork: both end by it, both are told.
#[test]
fn control_c_while_a_parent_waits_in_vfork() {
    let Some(program) = fixture("hard") else {
        return;
    };
    for mode in Mode::ALL {
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            let scratch = Scratch::new();
            let file = text(&scratch.file("trace"));
            let binary = text(&forktrace());
            let words = [&binary, "-f", mode.option(), "-o", &file, "--", &program];
            let mut running = Run::new([&words[..], &["vfork_waits"]].concat())
                .stdio(Stdio::piped(), Stdio::piped(), Stdio::piped())
                .start();
            let input = running.stdin();
            running.wait_for_out("ready\n");
            if signal == Signal::SIGINT {
                // As the terminal does: the whole group.
                nix::sys::signal::killpg(nix::unistd::Pid::from_raw(running.pid()), signal)
                    .expect("killpg");
            } else {
                // Only the parent, which can't take it before its child lets it go.
                let out = running.wait_for_out("made ");
                let parent = Truth::parse(&out).made[0].parent;
                running.signal(signal);
                eventually("it is pending", || {
                    let pending = |name| status(parent, name).unwrap_or_default();
                    let bits = [pending("SigPnd"), pending("ShdPnd")]
                        .map(|word| u64::from_str_radix(&word, 16).unwrap_or(0));
                    (bits[0] | bits[1]) & (1 << (signal as i32 - 1)) != 0
                });
                drop(input);
            }
            let outcome = running.finish();
            let what = format!("{mode:?} {signal}");
            assert_eq!(
                outcome.status.signal(),
                Some(signal as i32),
                "{what}: {outcome:?}"
            );
            let trace = std::fs::read_to_string(&file).expect("trace");
            let lines = parse_forktrace(&trace).expect("a trace");
            let summary = common::check::check(&lines)
                .unwrap_or_else(|error| panic!("{what}: {error}\n{trace}"));
            let told = Truth::parse(&outcome.out()).pairs();
            assert_eq!(summary.pairs, told, "{what}\n{trace}");
            assert_eq!(summary.ended, 2, "{what}: {trace}");
        }
    }
}

#[test]
fn siblings_by_clone_parent() {
    true_in_each_mode(&["clone_parent"], 0, 3);
}

#[test]
fn clone_ptrace() {
    true_in_each_mode(&["clone_ptrace"], 0, 3);
}

/// The kernel gives us such a child even where nobody asked for children.
#[test]
fn clone_ptrace_without_f() {
    let Some(case) = hard(&["clone_ptrace"]) else {
        return;
    };
    for mode in [Mode::Event, Mode::Syscall] {
        let traced = case.forktrace(&[mode.option()]);
        traced.outcome.assert_code(0);
        assert_eq!(traced.truth().made.len(), 2, "{mode:?}");
        let created: Vec<i32> = traced.lines.iter().filter_map(|l| l.created()).collect();
        let truth = traced.truth();
        let child = truth.made.iter().find(|made| made.case == "child");
        assert_eq!(created, [child.expect("a child").child], "{mode:?}");
        assert_eq!(traced.outcome.left, [] as [i32; 0], "{mode:?}");
    }
}

/// With a filter such a child would lose its calls if it were not followed.
#[test]
fn clone_untraced() {
    let Some(case) = hard(&["clone_untraced"]) else {
        return;
    };
    for mode in Mode::ALL {
        let (traced, summary) = case.follow(mode);
        let truth = traced.truth();
        assert_eq!(truth.made.len(), 3, "{mode:?}: it works");
        let root = summary.root;
        let expected: Vec<(i32, i32)> = match mode {
            Mode::Seccomp => truth.pairs(),
            Mode::Syscall => truth.pairs().into_iter().filter(|p| p.0 == root).collect(),
            Mode::Event => Vec::new(),
        };
        assert_eq!(summary.pairs, expected, "{mode:?}: {}", traced.text);
        if mode == Mode::Seccomp {
            assert!(traced.text.contains("CLONE_UNTRACED"), "{}", traced.text);
            assert_eq!(summary.ended, 4, "{}", traced.text);
        }
    }
}

/// Out of clone3 as well, by a copy of its structure; and nothing of that is to be seen.
#[test]
fn clone3_untraced() {
    let Some(case) = hard(&["clone3_untraced"]) else {
        return;
    };
    case.native().assert_code(0);
    for mode in Mode::ALL {
        let (traced, summary) = case.follow(mode);
        let truth = traced.truth();
        assert_eq!(truth.made.len(), 7, "{mode:?}: it works");
        assert_eq!(traced.outcome.left, [] as [i32; 0], "{mode:?}");
        let root = summary.root;
        let expected: Vec<(i32, i32)> = match mode {
            Mode::Seccomp => truth.pairs(),
            Mode::Syscall => truth.pairs().into_iter().filter(|p| p.0 == root).collect(),
            Mode::Event => Vec::new(),
        };
        assert_eq!(summary.pairs, expected, "{mode:?}: {}", traced.text);
        let shown = traced
            .text
            .matches("clone3({flags=CLONE_UNTRACED, ")
            .count();
        assert_eq!(shown, if mode == Mode::Event { 0 } else { 3 }, "{mode:?}");
        let taken_out = traced.text.matches("taken out for the call").count();
        assert_eq!(taken_out, if mode == Mode::Seccomp { 4 } else { 0 });
    }
}

/// Also where the structure is larger than any kernel knows yet.
#[test]
fn clone3_untraced_with_a_large_structure() {
    let Some(case) = hard(&["clone3_large"]) else {
        return;
    };
    case.native().assert_code(0);
    let (traced, summary) = case.follow(Mode::Seccomp);
    let truth = traced.truth();
    assert_eq!(truth.made.len(), 6, "three, with a child each");
    assert_eq!(summary.pairs, truth.pairs(), "{}", traced.text);
    assert_eq!(traced.text.matches("taken out for the call").count(), 3);
}

/// Where the copy has no place all stays as it is, and the line says what comes of it.
#[test]
fn clone3_untraced_without_a_place_for_the_copy() {
    let Some(case) = hard(&["clone3_stranded"]) else {
        return;
    };
    for mode in Mode::ALL {
        let (traced, summary) = case.follow(mode);
        let truth = traced.truth();
        let root = summary.root;
        let mut expected = truth.pairs();
        expected.retain(|pair| pair.0 == root);
        if mode == Mode::Event {
            expected.remove(0);
        }
        assert_eq!(summary.pairs, expected, "{mode:?}: {}", traced.text);
        let stranded = traced.text.contains("could not be taken out");
        assert_eq!(stranded, mode == Mode::Seccomp, "{}", traced.text);
        let failed = (mode == Mode::Seccomp).then(|| ("below".to_owned(), 38));
        assert_eq!(truth.failed, Vec::from_iter(failed), "{mode:?}");
    }
}

/// Both pids of a child in another namespace are shown.
#[test]
fn new_pid_namespaces() {
    if !need_root() {
        return;
    }
    let Some(case) = hard(&["new_pid_namespace"]) else {
        return;
    };
    for mode in Mode::ALL {
        let (traced, summary) = case.follow(mode);
        let init = traced.truth().made[0].child;
        assert_eq!(summary.pairs.len(), 4, "{mode:?}: {}", traced.text);
        assert!(
            traced
                .text
                .contains(&format!(" = {init} (1 in its pid namespace)")),
            "{mode:?}: {}",
            traced.text
        );
        for inner in 2..5 {
            let found = traced
                .text
                .lines()
                .filter(|line| line.starts_with(&format!("{init} ")))
                .filter(|line| line.contains(&format!("({inner} in its pid namespace)")))
                .count();
            assert_eq!(found, 1, "{mode:?}: {inner}\n{}", traced.text);
        }
    }
}

/// One pid for 100 processes after each other, some with children, some killed.
#[test]
fn a_pid_used_again() {
    if !need_root() {
        return;
    }
    true_in_each_mode(&["same_pid", "100"], 0, 1);
}

/// The counter of pids put back: forktrace and all in a pid namespace of their own.
#[test]
fn pids_handed_out_again() {
    if !need_root() {
        return;
    }
    let (Some([unshare]), Some(program)) = (need(["unshare"]), fixture("hard")) else {
        return;
    };
    for mode in Mode::ALL {
        let scratch = Scratch::new();
        let file = text(&scratch.file("trace"));
        let binary = text(&forktrace());
        let namespace = [&unshare, "--pid", "--fork", "--mount-proc", "--kill-child"];
        let words = [&binary, "-f", mode.option(), "-o", &file, "--"];
        let outcome =
            Run::new([&namespace[..], &words, &[&program, "last_pid", "200"]].concat()).run();
        outcome.assert_code(0);
        let trace = std::fs::read_to_string(&file).expect("trace");
        let summary = common::check::check(&parse_forktrace(&trace).expect("a trace"))
            .unwrap_or_else(|error| panic!("{mode:?}: {error}\n{trace}"));
        let told = Truth::parse(&outcome.out()).pairs();
        assert_eq!(summary.pairs, told, "{mode:?}");
        assert_eq!(told.windows(2).filter(|w| w[0] == w[1]).count(), 199);
    }
}

#[test]
fn a_leader_that_exits_before_its_threads() {
    true_in_each_mode(&["leader_first"], 0, 10);
}

/// A tracee's own tracing fails as under strace, and that is said once.
#[test]
fn a_tracee_that_traces() {
    let Some(case) = hard(&["traceme"]) else {
        return;
    };
    let expected = need(["strace"]).map(|_| {
        let out = case.strace(&["-f"]).outcome.out();
        without_made(&out)
    });
    for mode in Mode::ALL {
        let (traced, summary) = case.follow(mode);
        assert_true(&format!("{mode:?}"), &traced, &summary);
        let out = without_made(&traced.outcome.out());
        assert!(out.contains("traceme -1 1\n"), "{mode:?}: {out}");
        if let Some(expected) = &expected {
            assert_eq!(&out, expected, "{mode:?}");
        }
        let notes = traced
            .lines
            .iter()
            .filter(|line| matches!(&line.event, Event::Note(note) if note.contains("ptrace")))
            .count();
        // Events alone don't show it.
        assert_eq!(
            notes,
            usize::from(mode != Mode::Event),
            "{mode:?}: {}",
            traced.text
        );
    }
}

fn without_made(out: &str) -> String {
    let keep = |line: &&str| !line.starts_with("made ");
    out.lines().filter(keep).map(|l| format!("{l}\n")).collect()
}

/// strace and gdb themselves: the same failure under forktrace as under strace.
#[test]
fn tracers_under_forktrace() {
    let Some([strace]) = need(["strace"]) else {
        return;
    };
    let mut programs = vec![vec![strace.clone(), "/bin/true".to_owned()]];
    if let Some(gdb) = common::program::find("gdb") {
        let words = [
            "-nx",
            "-batch",
            "-ex",
            "run",
            "-ex",
            "info inferiors",
            "/bin/true",
        ];
        let mut argv = vec![text(&gdb)];
        argv.extend(words.map(str::to_owned));
        programs.push(argv);
    }
    for argv in programs {
        let case = Case::new(&argv).timeout(30);
        let expected = case.strace(&["-f"]).outcome;
        for mode in Mode::ALL {
            let traced = case.forktrace(&["-f", mode.option()]);
            assert_eq!(
                traced.outcome.status.code(),
                expected.status.code(),
                "{mode:?} {argv:?}: {} {}",
                traced.outcome.out(),
                traced.outcome.err()
            );
            traced.check(&format!("{mode:?} {argv:?}"));
            assert_eq!(traced.outcome.left, [] as [i32; 0], "{mode:?} {argv:?}");
        }
    }
}

/// The tracee's own filter goes before ours: what it refuses is refused all the same.
#[test]
fn a_tracee_with_its_own_filter() {
    let Some(case) = hard(&["filter_errno"]) else {
        return;
    };
    for mode in Mode::ALL {
        let (traced, summary) = case.follow(mode);
        assert_true(&format!("{mode:?}"), &traced, &summary);
        assert_eq!(traced.truth().failed, [("clone3".to_owned(), libc_eperm())]);
        let seen = traced.text.contains("= -1 EPERM");
        assert_eq!(seen, mode == Mode::Syscall, "{mode:?}: {}", traced.text);
    }
}

/// What its filter would ask a tracer fails, as no tracer is there for that.
#[test]
fn a_tracee_whose_filter_asks_for_a_tracer() {
    let Some(case) = hard(&["filter_trace"]) else {
        return;
    };
    let enosys = nix::errno::Errno::ENOSYS as i32;
    for mode in Mode::ALL {
        let (traced, summary) = case.follow(mode);
        assert_true(&format!("{mode:?}"), &traced, &summary);
        let failed = ["getppid", "fork"].map(|name| (name.to_owned(), enosys));
        assert_eq!(traced.truth().failed, failed, "{mode:?}");
        let seen = traced.text.contains("fork() = -1 ENOSYS");
        assert_eq!(seen, mode != Mode::Event, "{mode:?}: {}", traced.text);
    }
}

fn libc_eperm() -> i32 {
    nix::errno::Errno::EPERM as i32
}

#[test]
fn a_tracee_killed_by_its_own_filter() {
    let Some(case) = hard(&["filter_kill"]) else {
        return;
    };
    for mode in Mode::ALL {
        let (traced, summary) = case.follow(mode);
        assert_true(&format!("{mode:?}"), &traced, &summary);
        assert!(traced.outcome.out().ends_with("killed by 31\n"), "{mode:?}");
        assert!(
            traced.text.contains("+++ killed by SIGSYS"),
            "{mode:?}: {}",
            traced.text
        );
    }
}

/// Run by root as another user, a set-user-id program has the power it would have.
#[test]
fn a_setuid_program_for_another_user() {
    if !need_root() {
        return;
    }
    let Some(program) = fixture("hard") else {
        return;
    };
    let directory = OpenScratch::new();
    let flags = nix::sys::statvfs::statvfs(directory.path())
        .expect("statvfs")
        .flags();
    if flags.contains(nix::sys::statvfs::FsFlags::ST_NOSUID) {
        return common::program::skip("a temporary directory that honours setuid");
    }
    let setuid = directory.copy(Path::new(&program), 0o4755);
    let plain = {
        let other = OpenScratch::new();
        let path = other.copy(Path::new(&program), 0o755);
        (other, path)
    };
    let binary = text(&forktrace());
    for mode in Mode::ALL {
        for (program, uids) in [
            (&setuid, "nnp 0\nuids 65534 0 0\n"),
            (&plain.1, "nnp 0\nuids 65534 65534 65534\n"),
        ] {
            let words = [&binary, "-u", "nobody", "-f", mode.option(), "--", program];
            let outcome = Run::new([&words[..], &["privileges"]].concat())
                .cwd(Path::new("/"))
                .run();
            outcome.assert_code(0);
            assert_eq!(without_made(&outcome.out()), uids, "{mode:?}");
            let lines = parse_forktrace(&outcome.err()).expect("a trace");
            let summary = common::check::check(&lines).expect("whole");
            assert_eq!(
                summary.pairs,
                Truth::parse(&outcome.out()).pairs(),
                "{mode:?}"
            );
        }
    }
}

/// A fork that a signal makes start again is one creation.
#[test]
fn forks_that_are_restarted() {
    true_in_each_mode(&["alarms_while_forking", "500"], 0, 1);
}

#[test]
fn a_daemon_that_outlives_everything() {
    let Some(case) = hard(&["daemon_of_two_forks"]) else {
        return;
    };
    let case = case.code(6);
    for mode in Mode::ALL {
        let (traced, summary) = case.follow(mode);
        assert_true(&format!("{mode:?}"), &traced, &summary);
        assert!(traced.outcome.out().ends_with("daemon ends\n"), "{mode:?}");
        assert_eq!(summary.pairs.len(), 7);
    }
}

/// The fixtures themselves, untraced: what they do doesn't hang or fail by itself.
#[test]
fn the_fixtures_work_untraced() {
    let Some(program) = fixture("hard") else {
        return;
    };
    for (name, code) in [
        ("exec_leader_reads", 5),
        ("exec_leader_in_vfork", 5),
        ("exec_leader_gone", 5),
        ("clone_parent", 0),
        ("clone_untraced", 0),
        ("leader_first", 0),
        ("filter_errno", 0),
        ("filter_kill", 0),
        ("everything", 5),
    ] {
        let status = Command::new(&program)
            .arg(name)
            .stdout(Stdio::null())
            .status()
            .expect("run");
        assert_eq!(status.code(), Some(code), "{name}");
    }
}
