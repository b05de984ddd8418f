//! What ends or blocks a program that isn't prepared for it must neither end forktrace nor
//! hold up what it traces: limits, signals of every kind, readers that don't read.

mod common;

use std::io::{PipeReader, PipeWriter, Read};
use std::os::fd::AsFd;
use std::process::Stdio;

use common::Mode;
use common::case::{Case, text};
use common::check::check;
use common::fixture::fixture;
use common::proc::{eventually, group, stays_stopped, tracer};
use common::program::need;
use common::run::{Run, Running, Scratch, forktrace};
use common::trace::parse_forktrace;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

/// A trace that grows beyond RLIMIT_FSIZE: SIGXFSZ is not for forktrace.
#[test]
fn a_limit_on_the_size_of_files() {
    // Each has its line: some 100 bytes at the least.
    let script = "n=0; while [ $n -lt 100 ]; do (true); n=$((n+1)); done; echo done; exit 3";
    for mode in Mode::ALL {
        for code in [3, 0] {
            let scratch = Scratch::new();
            let (binary, file) = (text(&forktrace()), text(&scratch.file("trace")));
            let limited = ["sh", "-c", "ulimit -f 8; exec \"$@\"", "sh"];
            let script = script.replace("exit 3", &format!("exit {code}"));
            let traced = [&binary, "-f", mode.option(), "-o", &file, "--"];
            let words = [&limited[..], &traced, &["sh", "-c", &script]].concat();
            let outcome = Run::new(words).run();
            // A lost trace is no success, but never hides a failure.
            outcome.assert_code(if code == 0 { 1 } else { code });
            assert_eq!(outcome.out(), "done\n", "{mode:?}");
            let err = outcome.err();
            assert!(
                err.lines().count() == 1 && err.contains("File too large; the trace ends here"),
                "{mode:?}: {err}"
            );
            assert_eq!(outcome.left, [] as [i32; 0], "{mode:?}");
        }
    }
}

/// The program, which expects them, gets each once, and forktrace lives on.
#[test]
fn every_signal_to_the_group() {
    let Some(program) = fixture("sent") else {
        return;
    };
    let case = Case::new([&program, "group"]);
    let native = case.native().assert_code(0).out();
    let counts = |out: &str| -> Vec<String> {
        let counts = out.lines().filter(|line| line.contains("came"));
        counts.map(str::to_owned).collect()
    };
    let expected = counts(&native);
    assert!(
        expected.len() > 40 && expected.iter().all(|line| line.ends_with(" came 1")),
        "untraced: {native}"
    );
    for mode in Mode::ALL {
        let (traced, summary) = case.follow(mode);
        assert_eq!(counts(&traced.outcome.out()), expected, "{mode:?}");
        assert_eq!(summary.pairs, traced.truth().pairs(), "{mode:?}");
    }
}

/// What a container's runtime sends to the first process, whatever it is, is the program's.
#[test]
fn every_signal_to_forktrace_alone() {
    let (Some(program), Some([kill])) = (fixture("sent"), need(["kill"])) else {
        return;
    };
    let standard = [1, 2, 3, 10, 12, 14, 16, 24, 26, 27, 28, 29, 30];
    let binary = text(&forktrace());
    for mode in Mode::ALL {
        let words = [
            &binary,
            "-f",
            mode.option(),
            "-o",
            "/dev/null",
            "--",
            &program,
            "takes",
        ];
        let running = Run::new(words)
            .stdio(Stdio::null(), Stdio::piped(), Stdio::piped())
            .start();
        running.wait_for_out("ready\n");
        let id = running.pid().to_string();
        for signal in standard.into_iter().chain(34..=64) {
            let sent = Run::new([&kill, &format!("-{signal}"), &id]).run();
            sent.assert_code(0);
            running.wait_for_out(&format!("took {signal}\n"));
        }
        Run::new([&kill, "-15", &id]).run().assert_code(0);
        let outcome = running.finish();
        outcome.assert_code(0);
        let took = outcome.out().matches("took").count();
        assert_eq!(took, standard.len() + 31, "{mode:?}: {}", outcome.out());
    }
}

/// forktrace with a standard error that nobody reads, and both ends of that.
fn into_a_pipe(words: &[&str]) -> (Running, PipeReader, PipeWriter) {
    let (reading, writing) = std::io::pipe().expect("a pipe");
    let copy = writing.try_clone().expect("dup");
    let running = Run::new([&[text(&forktrace()).as_str()], words].concat())
        .stdio(Stdio::null(), Stdio::piped(), Stdio::from(writing))
        .start();
    (running, reading, copy)
}

/// Until the pipe is full and one of a group waits for the line that doesn't fit.
#[track_caller]
fn wait_until_blocked(writing: PipeWriter, pgrp: i32) {
    eventually("the pipe is full", || {
        let mut fds = [PollFd::new(writing.as_fd(), PollFlags::POLLOUT)];
        poll(&mut fds, PollTimeout::ZERO).expect("poll") == 0
    });
    eventually("one is held up", || {
        group(pgrp).into_iter().any(stays_stopped)
    });
}

/// Far more lines than a pipe holds, unless a signal ends it before.
const FORKS: &str = "trap 'echo told; exit 7' TERM; echo pid $$; read go; n=0; \
                     while [ $n -lt 2000 ]; do (true); n=$((n+1)); done; echo done; exit 5";

fn pid_in(out: &str) -> i32 {
    let pid = out.trim().trim_start_matches("pid ");
    pid.parse().expect("a pid")
}

/// What is attached to is held up by a reader that doesn't read, but not kept.
#[test]
fn leaving_while_nobody_reads() {
    for mode in [Mode::Event, Mode::Syscall] {
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            let mut target = Run::new(["sh", "-c", FORKS])
                .stdio(Stdio::piped(), Stdio::piped(), Stdio::piped())
                .start();
            let pid = pid_in(&target.wait_for_out("\n"));
            let words = ["-f", mode.option(), "-p", &pid.to_string()];
            let (running, _reading, writing) = into_a_pipe(&words);
            eventually("it is traced", || tracer(pid) == running.pid());
            drop(target.stdin());
            wait_until_blocked(writing, pid);
            running.signal(signal);
            let status = running.finish().status;
            let killed_by = std::os::unix::process::ExitStatusExt::signal(&status);
            assert_eq!(killed_by, Some(signal as i32), "{mode:?}");
            let outcome = target.finish();
            outcome.assert_code(5);
            assert!(outcome.out().ends_with("done\n"), "{mode:?}");
        }
    }
}

/// A launched program gets its signals all the same, and acts on them; its trace waits for
/// its reader, until forktrace is told to end.
#[test]
fn signals_while_nobody_reads() {
    let script = FORKS.replace("read go;", "");
    for mode in Mode::ALL {
        for read in [true, false] {
            let words = ["-f", mode.option(), "--", "sh", "-c", &script];
            let (running, mut reading, writing) = into_a_pipe(&words);
            let pid = pid_in(&running.wait_for_out("\n"));
            wait_until_blocked(writing, running.pid());
            running.signal(Signal::SIGTERM);
            running.wait_for_out("told\n");
            let mut trace = Vec::new();
            if read {
                reading.read_to_end(&mut trace).expect("the trace");
            } else {
                eventually("the program has ended", || common::proc::state(pid) == ' ');
                running.signal(Signal::SIGTERM);
            }
            let outcome = running.finish();
            outcome.assert_code(7);
            assert!(outcome.out().ends_with("told\n"), "{mode:?}");
            assert_eq!(outcome.left, [] as [i32; 0], "{mode:?}");
            if read {
                let trace = String::from_utf8(trace).expect("text");
                let lines = parse_forktrace(&trace).expect("a trace");
                let summary = check(&lines).expect("whole");
                assert_eq!(summary.ended, summary.pairs.len() + 1, "{mode:?}");
            }
        }
    }
}
