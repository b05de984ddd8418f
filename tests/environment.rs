//! A traced program must not be able to tell: descriptors, signals, limits, names and
//! the rest of what it inherits are what they would be without forktrace.

mod common;

use std::process::Stdio;

use common::case::text;
use common::fixture::fixture;
use common::program::need;
use common::run::{Run, Scratch, forktrace};

const WAYS: [&[&str]; 5] = [
    &["--stops=syscall"],
    &["--stops=event"],
    &["-f", "--stops=seccomp"],
    &["-f", "--stops=event"],
    &["-f", "--stops=syscall"],
];

/// What the probe reports when started by `shell` (in which `"$@"` is the program),
/// with the names of pipes masked and the ids checked and removed.
fn report(scratch: &Scratch, probe: &str, shell: &str, tracer: &[&str]) -> String {
    let file = scratch.file("report");
    let _ = std::fs::remove_file(&file);
    let binary = text(&forktrace());
    let mut argv = vec!["/bin/sh", "-c", shell, "sh"];
    let trace = text(&scratch.file("trace"));
    if !tracer.is_empty() {
        argv.push(&binary);
        argv.extend(tracer);
        argv.extend(["-o", &trace, "--"]);
    }
    let file_text = text(&file);
    argv.extend([probe, &file_text, "an argument", "", "\u{1b}[1m"]);
    let outcome = Run::new(&argv)
        .cwd(scratch.path())
        .stdio(Stdio::null(), Stdio::piped(), Stdio::piped())
        .run();
    outcome.assert_code(0);
    assert_eq!(outcome.err(), "", "{shell} {tracer:?}");
    let report = std::fs::read_to_string(&file).expect("the probe's report");
    // The shell replaces itself: its pid, a group leader's, is the tracer's or the program's.
    let session = nix::unistd::getsid(None).expect("getsid");
    let ids = format!("pgrp {} sid {session}\n", outcome.pid);
    assert!(
        report.ends_with(&ids),
        "{shell} {tracer:?}: wanted {ids} at the end of {report}"
    );
    report
        .trim_end_matches(&ids)
        .lines()
        .map(|line| match line.split_once("pipe:[") {
            Some((before, after)) => {
                format!(
                    "{before}pipe{}\n",
                    after.trim_start_matches(|c: char| c.is_ascii_digit())
                )
            }
            None => format!("{line}\n"),
        })
        .collect()
}

fn same(shell: &str) {
    let Some(probe) = fixture("env") else { return };
    let scratch = Scratch::new();
    let native = report(&scratch, &probe, shell, &[]);
    assert!(
        native.contains("SigBlk:") && native.contains("rlimit 0 ") && native.contains("argv0 "),
        "{native}"
    );
    let mut wrong = String::new();
    for way in WAYS {
        let traced = report(&scratch, &probe, shell, way);
        for line in native.lines().filter(|line| !traced.contains(line)) {
            wrong.push_str(&format!("{way:?}: - {line}\n"));
        }
        for line in traced.lines().filter(|line| !native.contains(line)) {
            wrong.push_str(&format!("{way:?}: + {line}\n"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{shell}: native (-) and traced (+) differ\n{wrong}"
    );
}

#[test]
fn plainly() {
    same(r#"exec "$@""#);
}

#[test]
fn with_sigpipe_ignored() {
    let Some(_) = need(["env"]) else { return };
    same(r#"exec env --ignore-signal=PIPE "$@""#);
}

#[test]
fn with_sigpipe_by_default() {
    let Some(_) = need(["env"]) else { return };
    same(r#"exec env --default-signal=PIPE "$@""#);
}

#[test]
fn with_sigchld_ignored() {
    let Some(_) = need(["env"]) else { return };
    same(r#"exec env --ignore-signal=CHLD "$@""#);
}

#[test]
fn with_many_signals_ignored() {
    let Some(_) = need(["env"]) else { return };
    same(r#"exec env --ignore-signal=INT,TERM,HUP,QUIT,USR1,TTOU,TTIN,TSTP,ALRM "$@""#);
}

#[test]
fn with_signals_blocked() {
    let Some(_) = need(["env"]) else { return };
    same(r#"exec env --block-signal=USR1,TERM,INT,CHLD,PIPE,ALRM "$@""#);
}

#[test]
fn with_every_signal_ignored() {
    let Some(_) = need(["env"]) else { return };
    same(r#"exec env --ignore-signal "$@""#);
}

#[test]
fn with_every_signal_blocked() {
    let Some(_) = need(["env"]) else { return };
    same(r#"exec env --block-signal "$@""#);
}

#[test]
fn with_input_closed() {
    same(r#"exec "$@" <&-"#);
}

#[test]
fn with_output_closed() {
    same(r#"exec "$@" >&-"#);
}

#[test]
fn with_error_closed() {
    same(r#"exec "$@" 2>&-"#);
}

#[test]
fn with_all_three_closed() {
    same(r#"exec "$@" <&- >&- 2>&-"#);
}

#[test]
fn with_more_descriptors() {
    same(r#"exec "$@" 3</dev/null 5>/dev/null 9</"#);
}

#[test]
fn with_other_limits_and_mask() {
    same(
        r#"umask 027; ulimit -n 100; ulimit -c 0; ulimit -s 4096; ulimit -t 1000; nice -n 3 true; exec nice -n 3 "$@""#,
    );
}

#[test]
fn in_another_personality() {
    let Some(_) = need(["setarch"]) else { return };
    same(r#"exec setarch -R "$@""#);
}
