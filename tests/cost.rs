//! What tracing costs, as far as it can be counted: stops a creation, memory. (Time is
//! for the benchmark.)

mod common;

use std::process::Stdio;

use common::case::text;
use common::fixture::fixture;
use common::proc::status;
use common::program::need;
use common::run::{Run, Scratch, forktrace};

/// How often forktrace finds a tracee stopped while a program makes that many creations.
fn stops(strace: &str, program: &str, mode: &str, what: &str, number: usize) -> usize {
    let scratch = Scratch::new();
    let [log, trace] = ["log", "trace"].map(|name| text(&scratch.file(name)));
    let binary = text(&forktrace());
    let number = number.to_string();
    let strace = [
        strace,
        "-qq",
        "-e",
        "trace=wait4",
        "-e",
        "signal=none",
        "-o",
        &log,
    ];
    let forktrace = [&binary, "-f", mode, "-o", &trace, "--"];
    let words = [&strace[..], &forktrace, &[program, what, &number]].concat();
    Run::new(words).run().assert_code(0);
    let log = std::fs::read_to_string(&log).expect("strace's log");
    log.lines()
        .filter(|line| line.contains("WIFSTOPPED"))
        .count()
}

/// The stops of the creation, its child's first one, and, for a process, that for the
/// SIGCHLD of its end; with a filter also that of the call's entry.
#[test]
fn stops_a_creation() {
    let (Some([strace]), Some(program)) = (need(["strace"]), fixture("cost")) else {
        return;
    };
    for (mode, what, expected) in [
        ("--stops=event", "fork", 3),
        ("--stops=event", "thread", 2),
        ("--stops=event", "fail", 0),
        ("--stops=seccomp", "fork", 4),
        ("--stops=seccomp", "thread", 3),
        ("--stops=seccomp", "fail", 2),
    ] {
        // What starting and ending cost is in both.
        let few = stops(&strace, &program, mode, what, 10);
        let many = stops(&strace, &program, mode, what, 110);
        assert_eq!(many - few, 100 * expected, "{mode} {what}");
    }
}

/// However much there was to trace, forktrace needs no more memory.
#[test]
fn memory_stays_flat() {
    const MIB: u64 = 1024;
    let Some(program) = fixture("cost") else {
        return;
    };
    for mode in ["--stops=event", "--stops=seccomp"] {
        let scratch = Scratch::new();
        let trace = text(&scratch.file("trace"));
        let binary = text(&forktrace());
        let words = [&binary, "-f", mode, "-o", &trace, "--", &program, "thread"];
        let peak = |number: &str| {
            let mut running = Run::new([&words[..], &[number]].concat())
                .stdio(Stdio::piped(), Stdio::piped(), Stdio::piped())
                .start();
            let input = running.stdin();
            running.wait_for_out("done\n");
            let peak = status(running.pid(), "VmHWM").expect("its peak");
            drop(input);
            running.finish().assert_code(0);
            let number = peak.split_ascii_whitespace().next().expect("a number");
            number.parse::<u64>().expect("KiB")
        };
        let (few, many) = (peak("1000"), peak("30000"));
        assert!(many < 16 * MIB, "{mode}: {many} KiB");
        assert!(many < few + MIB / 2, "{mode}: {few} KiB, then {many} KiB");
    }
}
