//! The lanes view of real programs: each birth, end and reaping has its row, and no row
//! is wider than it may be. (What rows look like is tested over made-up traces.)

mod common;

use std::os::unix::process::ExitStatusExt;

use common::Mode;
use common::case::text;
use common::fixture::fixture;
use common::program::need;
use common::run::{Run, Scratch, forktrace};

/// The picture of a program, with the program's status code.
fn picture(options: &[&str], columns: Option<&str>, command: &[&str]) -> (String, Option<i32>) {
    let scratch = Scratch::new();
    let file = text(&scratch.file("lanes"));
    let tracer = text(&forktrace());
    let words = [tracer.as_str(), "-f", "--as", "lanes", "-o", &file];
    let mut run = Run::new(words.iter().chain(options).chain(&["--"]).chain(command));
    if let Some(columns) = columns {
        run = run.env("COLUMNS", columns);
    }
    let outcome = run.run();
    assert_eq!(outcome.status.signal(), None, "{}", outcome.err());
    let picture = std::fs::read_to_string(&file).expect("a picture");
    (picture, outcome.status.code())
}

#[test]
fn a_pipeline_of_a_shell() {
    let Some([sh]) = need(["sh"]) else { return };
    let program = "true | (exit 3) | (exit 4); (exit 5) & wait $!";
    for mode in [Mode::Seccomp, Mode::Syscall] {
        let (picture, code) = picture(&[mode.option()], None, &[&sh, "-c", program]);
        assert_eq!(code, Some(5));
        let count = |what: &str| picture.lines().filter(|line| line.contains(what)).count();
        assert_eq!(count(" sh forks "), 4, "{picture}");
        assert_eq!(count(" sh reaps "), 4, "{picture}");
        assert_eq!(count(" exits with "), 5, "{picture}");
        for status in [3, 4] {
            assert_eq!(count(&format!(" exits with {status}")), 1, "{picture}");
        }
        // The last child's, and the shell's own with the same status.
        assert_eq!(count(" exits with 5"), 2, "{picture}");
        let rows_with = |c: char| {
            picture
                .lines()
                .skip(1)
                .filter(|line| line.contains(c))
                .count()
        };
        assert_eq!((rows_with('╮'), rows_with('╯')), (4, 4), "{picture}");
        let last = picture.lines().last().expect("a row");
        assert!(last.contains('■') && !last.contains('│'), "{picture}");
    }
}

#[test]
fn no_line_is_wider_than_asked_for() {
    let Some(waits) = fixture("waits") else {
        return;
    };
    for (columns, most) in [
        (None, 80),
        (Some("60"), 60),
        (Some("160"), 160),
        (Some("x"), 80),
    ] {
        for options in [&[][..], &["--ascii"]] {
            let (picture, code) = picture(options, columns, &[&waits]);
            assert_eq!(code, Some(0));
            assert!(picture.lines().count() > 60, "{picture}");
            for line in picture.lines() {
                assert!(line.chars().count() <= most, "{columns:?}: {line}");
                assert!(options.is_empty() || line.is_ascii(), "{line}");
            }
        }
    }
}

#[test]
fn lanes_need_calls_to_be_seen() {
    let tracer = text(&forktrace());
    let words = [
        tracer.as_str(),
        "-f",
        "--as",
        "lanes",
        "--stops=event",
        "true",
    ];
    let outcome = Run::new(words).run();
    outcome.assert_code(1);
    assert!(
        outcome.err().contains("--stops=syscall"),
        "{}",
        outcome.err()
    );
}

/// What was recorded is drawn as it was live.
#[test]
fn the_picture_of_a_log() {
    let Some(waits) = fixture("waits") else {
        return;
    };
    let scratch = Scratch::new();
    let [live, log, again] = ["live", "log", "again"].map(|name| text(&scratch.file(name)));
    let views = format!("lanes:{live},json:{log}");
    let tracer = text(&forktrace());
    let words = [&tracer, "-f", "--as", &views, "--", &waits];
    Run::new(words).run().assert_code(0);
    Run::new([&tracer, "view", &log, "--as", "lanes", "-o", &again])
        .run()
        .assert_code(0);
    let read = |file: &str| std::fs::read_to_string(file).expect("a picture");
    assert!(read(&live).lines().count() > 60);
    assert_eq!(read(&live), read(&again));
}

/// Lanes of those that a filter chooses, live and of the log, which holds all.
#[test]
fn the_picture_of_some() {
    let Some([sh]) = need(["sh"]) else { return };
    let scratch = Scratch::new();
    let [live, log, again, all] =
        ["live", "log", "again", "all"].map(|name| text(&scratch.file(name)));
    let views = format!("lanes:{live},json:{log}");
    let tracer = text(&forktrace());
    let program = "(exit 3); (exit 4); exit 0";
    let some = ["--depth", "0"];
    let words = [
        tracer.as_str(),
        "-f",
        "--as",
        &views,
        "--depth",
        "0",
        "--",
        &sh,
        "-c",
        program,
    ];
    Run::new(words).run().assert_code(0);
    for (options, file) in [(&some[..], &again), (&[], &all)] {
        let words = [tracer.as_str(), "view", &log, "--as", "lanes", "-o", file];
        Run::new(words.iter().chain(options)).run().assert_code(0);
    }
    let read = |file: &str| std::fs::read_to_string(file).expect("a picture");
    assert_eq!(read(&live), read(&again));
    let (some, all) = (read(&again), read(&all));
    let count = |picture: &str, what: &str| picture.matches(what).count();
    for (what, of_some, of_all) in [
        (" forks ", 2, 2),
        (" reaps ", 2, 2),
        (" exits with ", 1, 3),
        ("╮ ", 0, 2),
        ("◇ ", 4, 0),
    ] {
        // But for the legend.
        let rows = |picture: &str| picture.lines().skip(1).collect::<Vec<_>>().join("\n");
        assert_eq!(count(&rows(&some), what), of_some, "{what}: {some}");
        assert_eq!(count(&rows(&all), what), of_all, "{what}: {all}");
    }
}
