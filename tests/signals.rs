//! Signals reach the program once, in order and with all that belongs to them; stops are
//! stops; job control works as if nobody watched.

mod common;

use std::process::Stdio;

use common::case::{Case, text};
use common::check::check;
use common::fixture::fixture;
use common::proc::{eventually, stays_stopped};
use common::program::{need, need_root};
use common::run::{Run, Scratch, forktrace};
use common::session::Session;
use common::trace::parse_forktrace;
use common::{Mode, rounds};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// The same output traced as untraced, followed or not, in each mode.
fn same_as_untraced(words: &[&str], known: &str) {
    same_in(&Mode::ALL, words, known);
}

fn same_in(modes: &[Mode], words: &[&str], known: &str) {
    let Some(program) = fixture("sigs") else {
        return;
    };
    let case = Case::new([&[program.as_str()], words].concat());
    let native = case.native();
    let expected = native.assert_code(0).out();
    assert!(expected.contains(known), "untraced: {expected}");
    for mode in modes {
        let (traced, _) = case.follow(*mode);
        let out = traced.outcome.out();
        assert_eq!(out, expected, "{mode:?} {words:?}");
    }
    for mode in modes.iter().filter(|mode| **mode != Mode::Seccomp) {
        let traced = case.forktrace(&[mode.option()]);
        assert_eq!(traced.outcome.assert_code(0).out(), expected, "{mode:?}");
    }
}

#[test]
fn queued_signals_in_order_with_their_values() {
    for round in 0..rounds() {
        // The full size once.
        let number: usize = if round == 0 { 2000 } else { 500 };
        let known = format!("received {} wrong 0\n", number * 3);
        let words = ["queue", &number.to_string()];
        same_in(&Mode::of_round(round), &words, &known);
    }
}

#[test]
fn what_a_parent_learns_of_its_children() {
    same_as_untraced(&["chld"], "killed: signal 17 code 2 status 9, pid right");
}

#[test]
fn every_standard_signal_with_its_siginfo() {
    same_as_untraced(
        &["standard"],
        "child 15: signal 15 code 0 errno 0 from sender",
    );
}

#[test]
fn a_parent_that_waits_sees_the_same_stops() {
    same_as_untraced(&["waits"], "stopped by 21\n  told once\ncontinued\n");
}

#[test]
fn signals_to_threads() {
    for round in 0..rounds() {
        same_in(&Mode::of_round(round), &["threads"], "thread 4: 51\n");
    }
}

/// Stopped, and not made to run by anything but SIGCONT.
#[test]
fn a_group_stop_is_kept() {
    let Some(program) = fixture("sigs") else {
        return;
    };
    for mode in Mode::ALL {
        let scratch = Scratch::new();
        let file = text(&scratch.file("trace"));
        let binary = text(&forktrace());
        let words = [&binary, "-f", mode.option(), "-o", &file, "--"];
        let running = Run::new([&words[..], &[&program, "sleeper"]].concat()).start();
        let out = running.wait_for_out("\n");
        let pid: i32 = out
            .trim()
            .trim_start_matches("ready ")
            .parse()
            .expect("pid");
        eventually("it is stopped", || stays_stopped(pid));
        // Signals that a stopped process doesn't run for.
        for signal in [Signal::SIGWINCH, Signal::SIGCHLD] {
            kill(Pid::from_raw(pid), signal).expect("kill");
        }
        assert!(stays_stopped(pid), "{mode:?}: it runs");
        kill(Pid::from_raw(pid), Signal::SIGCONT).expect("kill");
        let outcome = running.finish();
        assert!(outcome.assert_code(0).out().contains("resumed\nmade fork "));
        let trace = std::fs::read_to_string(&file).expect("trace");
        let summary = check(&parse_forktrace(&trace).expect("a trace")).expect("whole");
        assert_eq!(summary.pairs.len(), 1, "{mode:?}: {trace}");
    }
}

/// Ctrl-Z, jobs, bg, fg and Ctrl-C in a shell that is traced itself.
#[test]
fn job_control_in_a_traced_shell() {
    let (Some([bash, _]), Some(_)) = (need(["bash", "setsid"]), need(["sleep"])) else {
        return;
    };
    let scratch = Scratch::new();
    for mode in Mode::ALL {
        let file = text(&scratch.file("trace"));
        let binary = text(&forktrace());
        let words = [&binary, "-f", mode.option(), "-o", &file, "--"];
        let shell = [bash.as_str(), "--norc", "--noprofile", "-i"];
        let mut session = Session::start(&[&words[..], &shell].concat());
        session.first_prompt();
        session.command("sh -c 'echo be''gun; exec sleep 1000'", "begun");
        session.key_to_job("\x1a");
        session.expect_stopped();
        session.command("jobs", "Stopped");
        session.command("bg", "sleep 1000");
        session.command("jobs", "Running");
        session.command("fg", "sleep 1000");
        session.key_to_job("\x1a");
        session.expect_stopped();
        session.command("fg", "sleep 1000");
        session.key_to_job("\x03");
        session.command("echo status $?", "status 130");
        session.command("sh -c 'echo be''gun; exec cat' | cat | cat", "begun");
        session.keys("line\n");
        session.expect("line\r\nline");
        session.key_to_job("\x1a");
        session.expect_stopped();
        session.command("fg", "| cat | cat");
        session.keys("\x04");
        session.command("kill -STOP $BASHPID & wait; echo st''ate $?", "state ");
        session.command("kill -CONT %1; wait; echo done''it", "doneit");
        session.expect("prompt> ");
        session.keys("exit 7\n");
        let outcome = session.running.finish();
        outcome.assert_code(7);
        let trace = std::fs::read_to_string(&file).expect("trace");
        let summary = check(&parse_forktrace(&trace).expect("a trace"))
            .unwrap_or_else(|error| panic!("{mode:?}: {error}\n{trace}"));
        assert_eq!(summary.pairs.len(), 5, "{mode:?}: {trace}");
        assert!(trace.contains("+++ killed by SIGINT +++"), "{trace}");
    }
}

/// In an untraced shell, forktrace with its program is one job.
#[test]
fn the_outer_shell_gets_control_back() {
    let (Some([bash, _]), Some(program)) = (need(["bash", "setsid"]), fixture("visual")) else {
        return;
    };
    let scratch = Scratch::new();
    for way in [
        &["-f", "--stops=seccomp"][..],
        &["-f", "--stops=event"],
        &["-f", "--stops=syscall"],
        &["--stops=syscall"],
        &["--stops=event"],
    ] {
        let file = text(&scratch.file("trace"));
        let binary = text(&forktrace());
        let line = format!("{binary} {} -o {file} -- {program}", way.join(" "));
        let mut session = Session::start(&[&bash, "--norc", "--noprofile", "-i"]);
        // Its echo is wrapped by the line editor: not waited for.
        session.first_prompt();
        session.expect("prompt> ");
        session.keys(&format!("{line}; echo status $?\n"));
        for _ in 0..3 {
            session.expect("screen drawn");
            session.key_to_job("\x1a");
            session.expect("screen put back");
            session.expect_stopped();
            session.command("jobs", "Stopped");
            session.command("fg", "screen drawn again");
            session.keys("f");
            session.expect("forked");
            session.key_to_job("\x1a");
            session.expect_stopped();
            session.command("fg", "\n");
        }
        session.expect("screen drawn");
        session.keys("q");
        session.expect("quit");
        session.command("echo st''atus $?", "status 9");
        session.expect("prompt> ");
        session.keys("exit\n");
        session.running.finish().assert_code(0);
        let trace = std::fs::read_to_string(&file).expect("trace");
        assert_eq!(trace.matches("clone(").count(), 3, "{way:?}: {trace}");
        assert!(trace.contains("+++ exited with 9 +++"), "{way:?}: {trace}");
    }
}

/// The default action of SIGTSTP, with a child in the same group.
#[test]
fn control_z_stops_program_children_and_forktrace() {
    let Some([bash, _]) = need(["bash", "setsid"]) else {
        return;
    };
    for mode in Mode::ALL {
        let scratch = Scratch::new();
        let file = text(&scratch.file("trace"));
        let binary = text(&forktrace());
        let mut session = Session::start(&[&bash, "--norc", "--noprofile", "-i"]);
        session.first_prompt();
        session.expect("prompt> ");
        session.keys(&format!(
            "{binary} -f {} -o {file} -- sh -c '(read a; echo got $a; exit 4); exit $?'\n",
            mode.option()
        ));
        // The subshell is there: the line of its creation.
        eventually("both are there", || {
            std::fs::read_to_string(&file).is_ok_and(|trace| trace.contains("clone("))
        });
        session.key_to_job("\x1a");
        session.expect_stopped();
        session.command("fg", "\n");
        session.keys("word\n");
        session.expect("got word");
        session.command("echo st''atus $?", "status 4");
        session.expect("prompt> ");
        session.keys("exit\n");
        session.running.finish().assert_code(0);
    }
}

/// A signal to the process group, or to forktrace alone, reaches the program once, also
/// where it takes it without a handler.
#[test]
fn signals_to_the_group_come_once() {
    let Some(program) = fixture("group") else {
        return;
    };
    let binary = text(&forktrace());
    for options in [
        &["-f", "--stops=seccomp"][..],
        &["-f", "--stops=event"],
        &["-f", "--stops=syscall"],
        &["--stops=event"],
    ] {
        for way in ["sigwait", "signalfd"] {
            for group in [true, false] {
                let words = [
                    &[&binary[..]],
                    options,
                    &["-o", "/dev/null", "--", &program, way],
                ];
                let running = Run::new(words.concat())
                    .stdio(Stdio::piped(), Stdio::piped(), Stdio::piped())
                    .start();
                running.wait_for_out("ready\n");
                let pid = Pid::from_raw(running.pid());
                match group {
                    true => killpg(pid, Signal::SIGTERM).expect("killpg"),
                    false => kill(pid, Signal::SIGTERM).expect("kill"),
                }
                let outcome = running.finish();
                outcome.assert_code(0);
                let what = format!("{options:?} {way} group: {group}");
                assert_eq!(outcome.out(), "ready\ntook 1\n", "{what}");
                assert_eq!(outcome.left, [] as [i32; 0], "{what}");
            }
        }
    }
}

/// Who signals everybody isn't signalled itself, not by way of forktrace either.
#[test]
fn a_signal_to_everybody_spares_its_sender() {
    if !need_root() {
        return;
    }
    let (Some([unshare]), Some(program)) = (need(["unshare"]), fixture("group")) else {
        return;
    };
    let binary = text(&forktrace());
    for mode in Mode::ALL {
        let namespace = [&unshare, "--pid", "--fork", "--mount-proc", "--kill-child"];
        let shell = ["sh", "-c", "trap : TERM; \"$@\"; echo status $?", "sh"];
        let traced = [
            &binary,
            "-f",
            mode.option(),
            "-o",
            "/dev/null",
            "--",
            &program,
        ];
        let words = [&namespace[..], &shell, &traced, &["everybody"]].concat();
        let outcome = Run::new(words).run();
        assert_eq!(outcome.out(), "alive\nstatus 0\n", "{mode:?}");
    }
}

/// What the program sends to its parent is not for forktrace, nor for itself.
#[test]
fn a_signal_to_the_parent_reaches_forktraces_own() {
    let Some(program) = fixture("group") else {
        return;
    };
    let binary = text(&forktrace());
    for mode in Mode::ALL {
        let shell = [
            "/bin/sh",
            "-c",
            "trap 'echo told' USR1; \"$@\"; echo status $?",
            "sh",
        ];
        let traced = [
            &binary,
            "-f",
            mode.option(),
            "-o",
            "/dev/null",
            "--",
            &program,
        ];
        let outcome = Run::new([&shell[..], &traced, &["parent"]].concat()).run();
        assert_eq!(outcome.out(), "done\ntold\nstatus 0\n", "{mode:?}");
    }
}
