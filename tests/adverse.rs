//! What ends or blocks a program that isn't prepared for it must neither end forktrace nor
//! hold up what it traces: limits, signals of every kind, readers that don't read.

mod common;

use std::process::Stdio;

use common::Mode;
use common::case::{Case, text};
use common::fixture::fixture;
use common::program::need;
use common::run::{Run, Scratch, forktrace};

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
