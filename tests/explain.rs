//! `forktrace explain`: golden files of its answers and of annotated logs; standard input
//! as it comes, and what can go wrong with it.
//!
//! `tests/logs/NAME.log` is a log, `NAME.out` the same annotated. `tests/logs/terms.txt` has
//! commands behind `$` and their output. `FORKTRACE_BLESS=1` writes what comes out now
//! into these files, to be read before it is kept.

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::case::text;
use common::run::{Outcome, Run, Scratch, forktrace, until_unread};

fn logs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/logs")
}

fn explain(words: &[&str]) -> Run {
    Run::new([text(&forktrace()).as_str(), "explain"].iter().chain(words))
}

fn explain_file(path: &Path) -> Outcome {
    explain(&["-"])
        .stdio(
            Stdio::from(File::open(path).expect("a log")),
            Stdio::piped(),
            Stdio::piped(),
        )
        .run()
}

/// Compares with a golden file, or writes it.
#[track_caller]
fn assert_golden(path: &Path, found: &[u8]) {
    if std::env::var_os("FORKTRACE_BLESS").is_some() {
        std::fs::write(path, found).expect("a golden file");
    }
    let golden = std::fs::read(path).unwrap_or_default();
    assert!(
        golden == found,
        "{} differs from:\n{}",
        path.display(),
        String::from_utf8_lossy(found)
    );
}

#[test]
fn annotated_logs_are_the_golden_ones() {
    let mut count = 0;
    for entry in std::fs::read_dir(logs()).expect("logs") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|ending| ending != "log") {
            continue;
        }
        count += 1;
        let outcome = explain_file(&path);
        outcome.assert_code(0);
        assert_eq!(outcome.err(), "");
        assert_golden(&path.with_extension("out"), &outcome.stdout);
        // Without the meanings it is the log, byte for byte.
        let log = std::fs::read(&path).expect("a log");
        let mut meanings = 0;
        let lines: Vec<&[u8]> = outcome.stdout.split_inclusive(|b| *b == b'\n').collect();
        let was: Vec<&[u8]> = log.split_inclusive(|b| *b == b'\n').collect();
        assert_eq!(lines.len(), was.len(), "{}", path.display());
        for (line, was) in lines.into_iter().zip(was) {
            if line == was {
                continue;
            }
            meanings += 1;
            let end = was.len() - was.iter().rev().take_while(|b| b"\r\n".contains(b)).count();
            let rest = line
                .strip_prefix(&was[..end])
                .and_then(|rest| rest.strip_suffix(&was[end..]))
                .unwrap_or_else(|| panic!("{:?} was changed", String::from_utf8_lossy(was)));
            assert!(rest.starts_with(b"  # "), "{}", path.display());
        }
        assert!(meanings > 0, "{}: nothing is explained", path.display());
        // Twice is no more than once.
        let scratch = Scratch::new();
        let again = scratch.file("again");
        std::fs::write(&again, &outcome.stdout).expect("a file");
        assert!(
            explain_file(&again).stdout == outcome.stdout,
            "{}",
            path.display()
        );
    }
    assert!(count > 10, "only {count} logs");
}

/// Every creating call of these logs has its meaning, counted by eye.
#[test]
fn no_creation_is_left_out() {
    for (name, calls) in [
        ("python-threads-tt-T", 6),
        ("ruby-stderr", 4),
        ("make-r-comm", 3),
        ("strace-7", 10),
    ] {
        let out = std::fs::read_to_string(logs().join(name).with_extension("out")).expect("out");
        assert_eq!(out.matches("  # ").count(), calls, "{name}");
    }
}

#[test]
fn answers_are_the_golden_ones() {
    let path = logs().join("terms.txt");
    let golden = std::fs::read_to_string(&path).expect("terms.txt");
    let scratch = Scratch::new();
    scratch.write("log.txt", "fork() = 1\n");
    let mut found = String::new();
    for command in golden.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let mut run = Run::new(["sh", "-c", &format!("{command} 2>&1")]);
        let here = forktrace();
        let bin = here.parent().expect("a directory");
        run.command
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .current_dir(scratch.path());
        let outcome = run.run();
        found += &format!("$ {command}\n{}", outcome.out());
        match outcome.status.code() {
            Some(0) => found.push('\n'),
            code => found += &format!("[exit status {}]\n\n", code.expect("an end")),
        }
    }
    assert_golden(&path, found.as_bytes());
}

/// `tail -f log | forktrace explain -`: a line comes out before the next one goes in.
#[test]
fn lines_come_out_as_they_come_in() {
    let mut running = explain(&["-"])
        .stdio(Stdio::piped(), Stdio::piped(), Stdio::piped())
        .start();
    let mut input = running.stdin();
    for (line, wanted) in [
        ("read(3) = 0\n", "read(3) = 0\n"),
        ("1 vfork( <unfinished ...>\n", "1 vfork( <unfinished ...>\n"),
        (
            "1 <... vfork resumed>) = 2\n",
            "vfork resumed>) = 2  # vfork child: ",
        ),
        ("\u{e9}\n", "\u{e9}\n"),
    ] {
        input.write_all(line.as_bytes()).expect("input");
        running.wait_for_out(wanted);
    }
    drop(input);
    running.finish().assert_code(0);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let scratch = Scratch::new();
    let log = scratch.write("log", &"fork() = 1\n".repeat(100_000));
    for words in [&["-"][..], &["fork"]] {
        let (reader, writer) = std::io::pipe().expect("pipe");
        drop(reader);
        until_unread(&writer);
        let outcome = explain(words)
            .stdio(
                Stdio::from(File::open(&log).expect("a log")),
                Stdio::from(writer),
                Stdio::piped(),
            )
            .run();
        outcome.assert_code(0);
        assert_eq!(outcome.err(), "", "{words:?}");
    }
}

#[test]
fn what_cannot_be_read_or_written_is_said() {
    let scratch = Scratch::new();
    let log = scratch.write("log", "fork() = 1\n");
    let full = || {
        File::options()
            .write(true)
            .open("/dev/full")
            .expect("/dev/full")
    };
    for words in [&["-"][..], &["fork"]] {
        let outcome = explain(words)
            .stdio(
                Stdio::from(File::open(&log).expect("a log")),
                Stdio::from(full()),
                Stdio::piped(),
            )
            .run();
        outcome.assert_code(1);
        assert_eq!(
            outcome.err(),
            "forktrace: cannot write to standard output: No space left on device\n"
        );
    }
    let outcome = explain_file(scratch.path());
    outcome.assert_code(1);
    assert_eq!(
        outcome.err(),
        "forktrace: cannot read standard input: Is a directory\n"
    );
    let shell = format!("{} explain", text(&forktrace()));
    for (script, error) in [
        (
            format!("{shell} - <&-"),
            "cannot read standard input: Bad file descriptor",
        ),
        (
            format!("{shell} fork >&-"),
            "cannot write to standard output: Bad file descriptor",
        ),
    ] {
        let outcome = Run::new(["sh", "-c", &script]).run();
        outcome.assert_code(1);
        assert_eq!(outcome.err(), format!("forktrace: {error}\n"), "{script}");
    }
}

/// A recorded log has no calls to explain: it would pass in silence.
#[test]
fn a_recorded_log_is_for_view() {
    let outcome = explain_file(&logs().join("ruby.ndjson"));
    outcome.assert_code(1);
    assert_eq!(outcome.out(), "");
    assert_eq!(
        outcome.err(),
        "forktrace: standard input is a log recorded with --json: forktrace view - shows it\n"
    );
}

/// Coloured text is the same text.
#[test]
fn colours_only_colour() {
    for words in [
        &["clone", "0x10011"][..],
        &["CLONE_THREAD"],
        &["fork"],
        &["EINVAL"],
    ] {
        let plain = explain(words).run().out();
        let coloured = explain(&[&["--color=always"], words].concat()).run().out();
        assert!(coloured.contains("\u{1b}["), "{words:?}");
        let mut text = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, after)) = rest.split_once("\u{1b}[") {
            text += before;
            rest = after.split_once('m').expect("an end").1;
        }
        text += rest;
        assert_eq!(text, plain, "{words:?}");
    }
}

/// What is held is what the log may come back to: not what is over.
#[test]
fn a_long_log_takes_little_memory() {
    let (input, mut lines) = std::io::pipe().expect("pipe");
    let null = File::options()
        .write(true)
        .open("/dev/null")
        .expect("/dev/null");
    let running = explain(&["-"])
        .stdio(Stdio::from(input), Stdio::from(null), Stdio::piped())
        .start();
    let mut some = String::new();
    for pid in 1000..2000 {
        some += &format!(
            "9 fork( <unfinished ...>\n9 <... fork resumed>) = {pid}\n{pid} +++ exited with 0 +++\n"
        );
    }
    for _ in 0..100 {
        lines.write_all(some.as_bytes()).expect("input");
    }
    // All but what the pipe holds has been read.
    let mut memory = String::new();
    File::open(format!("/proc/{}/status", running.pid()))
        .and_then(|mut file| file.read_to_string(&mut memory))
        .expect("status");
    let peak: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok())
        .expect("VmHWM");
    drop(lines);
    running.finish().assert_code(0);
    assert!(peak < 32 * 1024, "{peak} kB");
}
