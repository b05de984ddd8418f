//! The log: recordings of real programs, whole and damaged, with what is shown of them; the
//! schema; what `view` and `--as` do with what people give them.

mod common;

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::Mode;
use common::case::{Case, read, text};
use common::fixture::fixture;
use common::program::need;
use common::run::{Outcome, Run, Scratch, forktrace};
use common::schema::Schema;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use serde_json::Value;

fn logs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/logs")
}

fn recording(name: &str) -> String {
    read(&logs().join(name))
}

fn schema() -> Schema {
    Schema(forktrace::log::schema().to_value())
}

/// `forktrace` with words of one's own.
fn run<const N: usize>(words: [&str; N]) -> Outcome {
    let mut argv = vec![text(&forktrace())];
    argv.extend(words.map(str::to_owned));
    Run::new(argv).cwd(&logs()).run()
}

/// `FORKTRACE_BLESS=1` writes what is shown now instead; read the diff then.
#[track_caller]
fn assert_shown(file: &str, shown: &str) {
    if std::env::var_os("FORKTRACE_BLESS").is_some() {
        std::fs::write(logs().join(file), shown).expect("the expected text");
    }
    let expected = recording(file);
    for (number, pair) in expected.lines().zip(shown.lines()).enumerate() {
        assert_eq!(pair.0, pair.1, "{file}, line {}", number + 1);
    }
    assert_eq!(expected.len(), shown.len(), "{file}: one has more");
}

/// One line on standard error, and nothing else came of it.
#[track_caller]
fn assert_refused(outcome: &Outcome, said: &str) {
    outcome.assert_code(1);
    let err = outcome.err();
    assert!(
        err.starts_with("forktrace: ") && err.contains(said),
        "{err}"
    );
    assert_eq!(err.lines().count(), 1, "{err}");
    assert_eq!(outcome.out(), "");
}

/// Recorded with `--waits`: `orphan` and `waits`, which are fixtures, and `build`, a
/// `make -k -j4` of a hundred files of which one doesn't compile.
const WHOLE: [&str; 12] = [
    "attached",
    "build",
    "execthread",
    "failing",
    "i386",
    "make",
    "not-utf8",
    "orphan",
    "python-threads",
    "reuse",
    "ruby",
    "waits",
];

#[test]
fn recordings_are_shown_as_ever() {
    for name in WHOLE.iter().chain(&["truncated", "unknown", "broken"]) {
        let log = format!("{name}.ndjson");
        for (view, ending) in [
            ("lanes", "lanes"),
            ("tree", "tree"),
            ("summary", "summary"),
            ("summary-json", "summary.json"),
        ] {
            let outcome = run(["view", &log, "--as", view]);
            assert_shown(&format!("{name}.{ending}"), &outcome.out());
        }
        let outcome = run(["view", &log]);
        assert_shown(&format!("{name}.txt"), &outcome.out());
        let said = match *name {
            "truncated" | "unknown" | "broken" => recording(&format!("{name}.err")),
            _ => String::new(),
        };
        assert_eq!(outcome.err(), said, "{name}");
        outcome.assert_code(i32::from(*name == "broken"));
    }
}

/// The format is what it was: what is written today is what was written then, but
/// for the version of the format, which is today's.
#[test]
fn recordings_are_written_again_as_they_were() {
    let schema = schema();
    for name in WHOLE {
        let log = recording(&format!("{name}.ndjson"));
        let outcome = run(["view", "--json", &format!("{name}.ndjson")]);
        outcome.assert_code(0);
        let of = |version: &str| format!("\"format_version\":\"{version}\"");
        let today = log.replacen(&of("1.0"), &of(forktrace::log::VERSION), 1);
        assert_eq!(outcome.out(), today, "{name}");
        for line in log.lines() {
            schema
                .check_line(line)
                .unwrap_or_else(|error| panic!("{name}: {error}: {line}"));
        }
    }
}

/// A log out of which lines were taken, or into which some were put, is not whole.
#[test]
fn missing_lines_are_counted() {
    let scratch = Scratch::new();
    let log = recording("ruby.ndjson");
    let lines: Vec<&str> = log.lines().collect();
    let [without_one, without_three] = [&[4][..], &[2, 4, 5]].map(|missing: &[usize]| {
        let kept = lines.iter().enumerate();
        let kept = kept.filter(|(index, _)| !missing.contains(index));
        kept.map(|(_, line)| format!("{line}\n"))
            .collect::<String>()
    });
    let with_one = log.replacen(lines[9], &format!("{0}\n{0}", lines[9]), 1);
    for (content, said) in [
        (without_one, "1 line is missing"),
        (without_three, "3 lines are missing"),
        (with_one, "1 line more than was recorded"),
    ] {
        let file = text(&scratch.write("log", &content));
        let shown = run(["view", "--json", &file]);
        shown.assert_code(0);
        assert_eq!(shown.err(), format!("forktrace: {file}: {said}\n"));
        assert!(!shown.out().contains("\"event\":\"end\""), "{said}");
    }
}

/// What was cut off is not made whole by writing it again.
#[test]
fn a_log_of_a_damaged_log_has_no_end() {
    for name in ["truncated.ndjson", "broken.ndjson"] {
        let log = run(["view", "--json", name]).out();
        assert!(log.ends_with("}\n"), "{log}");
        assert!(!log.contains("\"event\":\"end\""), "{name}: {log}");
    }
}

#[test]
fn the_schema_is_printed_and_refuses_what_is_wrong() {
    let printed = run(["schema"]);
    printed.assert_code(0);
    let schema = schema();
    assert_eq!(
        serde_json::from_str::<Value>(&printed.out()).expect("JSON"),
        schema.0
    );
    let log = recording("ruby.ndjson");
    let create = log.lines().nth(2).expect("a creation");
    schema.check_line(create).expect("right");
    for (from, to) in [
        ("\"event\":\"create\"", "\"event\":\"created\""),
        ("\"tid\":22855,", ""),
        ("\"tid\":22855", "\"tid\":\"22855\""),
        ("\"kind\":\"process\"", "\"kind\":\"task\""),
        ("\"flags_raw\":\"0x1200000\"", "\"flags_raw\":\"1200000\""),
        ("\"0x0\",", ""),
        ("\"nr\":56", "\"nr\":-56"),
        ("\"nr\":56", "\"nr\":56,\"number\":56"),
        ("\"syscall\":\"clone\"", "\"syscall\":\"setns\""),
        ("\"syscall\":\"clone\"", "\"syscall\":\"execve\""),
    ] {
        let wrong = create.replacen(from, to, 1);
        assert_ne!(wrong, create, "{from}");
        assert!(schema.check_line(&wrong).is_err(), "{from} -> {to}");
    }
    let exec = log.lines().nth(1).expect("an exec");
    let failed = "\"event\":\"exec_failed\",\"outcome\":\"error\",\"errno_nr\":2";
    let exec = &exec.replacen("\"event\":\"exec\"", failed, 1);
    schema.check_line(exec).expect("right");
    for (from, to) in [
        ("\"outcome\":\"error\"", "\"outcome\":\"skipped\""),
        ("\"syscall\":\"execve\"", "\"syscall\":\"clone\""),
    ] {
        let wrong = exec.replacen(from, to, 1);
        assert_ne!(&wrong, exec, "{from}");
        assert!(schema.check_line(&wrong).is_err(), "{from} -> {to}");
    }
}

/// Every creating call that there is, each way of seeing it, the environment too.
#[test]
fn live_logs_are_as_the_schema_says() {
    let Some(raw) = fixture("raw") else { return };
    let case = Case::new([raw.as_str(), "all"]).env("A_SECRET", "of mine");
    for mode in Mode::ALL {
        for option in ["-f", "--env"] {
            let traced = case.record(&["-f", option, mode.option()]);
            let log = read(&case.scratch.file("log"));
            let creations = log.matches("{\"event\":\"create\"").count();
            let lines = traced.lines.iter().filter(|line| line.created().is_some());
            assert_eq!(creations, lines.count(), "{mode:?}");
            assert_eq!(
                log.contains("A_SECRET=of mine"),
                option == "--env",
                "{mode:?}"
            );
            let end = log.lines().last().expect("an end");
            let end: Value = serde_json::from_str(end).expect("JSON");
            assert_eq!(end["event"], "end");
            assert_eq!(end["events"], log.lines().count() - 1);
        }
    }
}

/// What people filter by.
#[test]
fn jq_finds_what_it_is_asked_for() {
    let Some([jq]) = need(["jq"]) else { return };
    for (log, filter, found) in [
        (
            "ruby",
            "select(.event==\"create\" and .kind==\"thread\").child_tid",
            "22867\n",
        ),
        (
            "ruby",
            "select(.flags|index(\"CLONE_THREAD\")).stack_size",
            "2097024\n",
        ),
        ("failing", "select(.errno==\"EEXIST\").set_tid[0]", "1\n"),
        (
            "not-utf8",
            "select(.event==\"exec\").argv[1]",
            "\"back\\\\slash\"\n",
        ),
    ] {
        let outcome = Run::new([&jq, filter, &text(&logs().join(format!("{log}.ndjson")))]).run();
        outcome.assert_code(0);
        assert_eq!(outcome.out(), found, "{filter}");
    }
}

#[test]
fn what_is_no_log_is_refused_in_a_line() {
    let scratch = Scratch::new();
    let header = recording("ruby.ndjson");
    let header = header.lines().next().expect("a header");
    let newer = header.replace("\"format_version\":\"1.0\"", "\"format_version\":\"2.0\"");
    let older = header.replace("\"format_version\":\"1.0\"", "\"format_version\":\"0.9\"");
    let other = header.replace("\"format\":\"forktrace\"", "\"format\":\"another\"");
    for (content, said) in [
        ("", "is empty: no log"),
        (
            "1234 fork() = 1235\n",
            "is not a log of forktrace's (recorded with --json); a log of strace's: forktrace \
             explain - < ",
        ),
        ("\u{0}\u{1}", "is not a log of forktrace's"),
        ("{\"event\":\"exit\"}\n", "is not a log of forktrace's"),
        (&other, "is not a log of forktrace's"),
        (
            &newer,
            "is a log of format 2.0, and this forktrace reads 1.x: a newer one is needed",
        ),
        (
            &older,
            "is a log of format 0.9, and this forktrace reads 1.x: an older one is needed",
        ),
        (&header.replace("\"tid\"", "\"id\""), "missing field `tid`"),
        (
            &header.replace("\"abi\":\"x86_64\"", "\"abi\":\"aarch64\""),
            "is a log of format 1.0 with abi \"aarch64\", which this forktrace does not know: a \
             newer one is needed",
        ),
        (
            &header.replace("\"stops\":\"seccomp\"", "\"stops\":7"),
            "invalid type: integer `7`, expected a string",
        ),
    ] {
        let file = scratch.write("log", content);
        assert_refused(&run(["view", &text(&file)]), said);
    }
    assert_refused(
        &run(["view", "nothing"]),
        "cannot read nothing: No such file",
    );
    assert_refused(&run(["view", "/"]), "cannot read /: Is a directory");
    let shown = run(["view", "ruby.ndjson", "--as", "picture"]);
    assert_refused(&shown, "no view named \"picture\"");
}

#[test]
fn a_log_is_not_written_over_by_its_own_view() {
    let scratch = Scratch::new();
    let content = recording("ruby.ndjson");
    let file = text(&scratch.write("log", &content));
    std::os::unix::fs::symlink(&file, scratch.file("link")).expect("a link");
    for other in [file.clone(), text(&scratch.file("link"))] {
        for words in [
            ["view", &file, "-o", &other],
            ["view", &other, "--as", &format!("json:{file}")],
        ] {
            assert_refused(&run(words), "is the log itself");
        }
    }
    assert_eq!(read(Path::new(&file)), content);
}

#[test]
fn standard_input_is_a_log_like_any_other() {
    let log = std::fs::File::open(logs().join("ruby.ndjson")).expect("a file");
    let outcome = Run::new([text(&forktrace()), "view".into(), "-".into()])
        .stdio(log.into(), Stdio::piped(), Stdio::piped())
        .run();
    assert_eq!(outcome.out(), recording("ruby.txt"));
    let mut running = Run::new([text(&forktrace()), "view".into(), "-".into()])
        .stdio(Stdio::piped(), Stdio::piped(), Stdio::piped())
        .start();
    let mut pipe = running.stdin();
    let log = recording("ruby.ndjson");
    let (first, rest) = log.split_at(log.len() / 2);
    pipe.write_all(first.as_bytes()).expect("a pipe");
    // What is whole is shown though the pipe is still open.
    running.wait_for_out("22862 +++ exited with 3 +++\n");
    pipe.write_all(rest.as_bytes()).expect("a pipe");
    drop(pipe);
    let outcome = running.finish();
    assert_eq!(outcome.out(), recording("ruby.txt"));
    outcome.assert_code(0);
}

/// A file that grows is followed to the end of its recording.
#[test]
fn a_growing_log_is_followed_to_its_end() {
    let scratch = Scratch::new();
    let log = recording("ruby.ndjson");
    let file = scratch.write("log", "");
    let view = |file: &Path| {
        Run::new([
            text(&forktrace()),
            "view".into(),
            "--follow".into(),
            text(file),
        ])
        .start()
    };
    let add = |part: &str| {
        let mut file = OpenOptions::new()
            .append(true)
            .open(&file)
            .expect("the log");
        file.write_all(part.as_bytes()).expect("the log");
    };
    let running = view(&file);
    let half = log.len() / 2;
    for (part, shown) in [
        (&log[..100], ""),
        (&log[100..half], "22862 +++ exited with 3 +++\n"),
        (&log[half..], "22855 +++ exited with 0 +++\n"),
    ] {
        add(part);
        running.wait_for_out(shown);
    }
    let outcome = running.finish();
    outcome.assert_code(0);
    assert_eq!(
        (outcome.out(), outcome.err()),
        (recording("ruby.txt"), String::new())
    );

    // One without an end is followed until somebody has seen enough.
    let file = scratch.write("endless", &log[..half]);
    let running = view(&file);
    running.wait_for_out("22862 +++ exited with 3 +++\n");
    running.signal(Signal::SIGINT);
    let outcome = running.finish();
    assert_eq!(outcome.status.signal(), Some(Signal::SIGINT as i32));
    assert_eq!(outcome.err(), "");
    assert!(recording("ruby.txt").starts_with(&outcome.out()));
}

/// Nor does it take a reader that reads: what nobody reads is given up, other views are
/// finished.
#[test]
fn following_is_ended_while_nobody_reads() {
    let scratch = Scratch::new();
    let log = recording("ruby.ndjson");
    let (header, _) = log.split_once('\n').expect("a header");
    let exits = (2..20_000).map(|tid| {
        format!(
            "{{\"event\":\"exit\",\"time_ns\":282991,\"tid\":{tid},\"tgid\":{tid},\
             \"comm\":\"\",\"exit_status\":0}}\n"
        )
    });
    let content = std::iter::once(format!("{header}\n")).chain(exits);
    let file = text(&scratch.write("log", &content.collect::<String>()));
    let summary = scratch.file("summary");
    let views = format!("text,summary:{}", text(&summary));
    let words = ["view", "--follow", &file, "--as", &views].map(str::to_owned);
    let (_unread, full) = std::io::pipe().expect("a pipe");
    let stdout = full.try_clone().expect("a descriptor");
    let mut running = Run::new([text(&forktrace())].iter().chain(&words))
        .stdio(Stdio::null(), stdout.into(), Stdio::piped())
        .start();
    common::proc::eventually("a full pipe", || {
        let mut pipe = [PollFd::new(full.as_fd(), PollFlags::POLLOUT)];
        poll(&mut pipe, PollTimeout::ZERO) == Ok(0)
    });
    running.signal(Signal::SIGTERM);
    let status = running.wait();
    assert_eq!(status.signal(), Some(Signal::SIGTERM as i32), "{status:?}");
    assert_eq!(
        running.finish().err(),
        "forktrace: cannot write to standard output: nobody reads it\n"
    );
    assert!(read(&summary).contains("created "), "{}", read(&summary));
}

/// A file that was emptied is another recording: nothing of it is taken for the rest of
/// the old one.
#[test]
fn a_log_that_begins_anew_ends_the_following() {
    let scratch = Scratch::new();
    let log = recording("ruby.ndjson");
    let half = log.len() / 2;
    let file = scratch.write("log", &log[..half]);
    let view = ["view", "--follow", &text(&file)].map(str::to_owned);
    let running = Run::new([text(&forktrace())].iter().chain(&view)).start();
    running.wait_for_out("22862 +++ exited with 3 +++\n");
    scratch.write("log", &log[..half / 2]);
    let outcome = running.finish();
    outcome.assert_code(1);
    assert_eq!(
        outcome.err(),
        format!(
            "forktrace: cannot read {}: it was emptied while it was followed; perhaps it is \
             recorded anew\n",
            text(&file)
        )
    );
    assert!(recording("ruby.txt").starts_with(&outcome.out()));
}

/// forktrace killed at any moment leaves whole lines but for the last, which the kernel may
/// cut where a kill comes into the middle of a write.
#[test]
fn a_log_cut_off_by_force_is_whole_lines() {
    let scratch = Scratch::new();
    let log = scratch.file("log");
    let words = ["-f", "--json", "-o", &text(&log), "--"].map(str::to_owned);
    let program = ["sh", "-c", "echo begun; while :; do /bin/true; done"].map(str::to_owned);
    let running = Run::new([text(&forktrace())].iter().chain(&words).chain(&program)).start();
    running.wait_for_out("begun");
    common::proc::eventually("a log of some length", || read(&log).len() > 200_000);
    running.signal(Signal::SIGKILL);
    assert_eq!(running.finish().status.signal(), Some(9));
    let log = read(&log);
    let (whole, _) = log.rsplit_once('\n').expect("a line");
    let schema = schema();
    for line in whole.lines() {
        schema
            .check_line(line)
            .unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    assert!(!log.contains("\"event\":\"end\""));
    let shown = run(["view", &text(&scratch.file("log"))]);
    shown.assert_code(0);
    assert!(
        shown.err().contains("the recording breaks off"),
        "{}",
        shown.err()
    );
}

/// A view that can't be written harms no other, and the exit status tells.
#[test]
fn a_full_disk_ends_one_view_only() {
    let case = Case::new(["sh", "-c", "/bin/true; (exit 0)"]);
    let file = case.scratch.file("trace");
    let views = format!("text:{},json:/dev/full", text(&file));
    let words = [
        "-f",
        "--as",
        &views,
        "--",
        "sh",
        "-c",
        "/bin/true; (exit 0)",
    ];
    let argv = std::iter::once(text(&forktrace())).chain(words.map(str::to_owned));
    let outcome = Run::new(argv).run();
    assert_refused(
        &outcome,
        "cannot write to /dev/full: No space left on device; the trace ends here",
    );
    assert!(read(&file).ends_with("+++ exited with 0 +++\n"));
    let shown = run(["view", "ruby.ndjson", "-o", "/dev/full"]);
    assert_refused(&shown, "cannot write to /dev/full: No space left on device");
    assert!(!shown.err().contains("program"), "{}", shown.err());
}

/// All that says how lines look and which are shown means the same of a log, which holds all.
#[test]
fn times_names_and_filters_mean_the_same_of_a_log() {
    let Some(program) = fixture("threads") else {
        return;
    };
    let scratch = Scratch::new();
    let names = ["text", "log", "tree", "summary"];
    let [live, log, tree, summary] = names.map(|name| text(&scratch.file(name)));
    let views = format!("text:{live},json:{log},tree:{tree},summary:{summary}");
    let looks: [&[&str]; 3] = [
        &["-tt", "-r", "-T", "-Y"],
        &["-ttt", "-v", "--only", "threads,exits", "--ok"],
        &["-q", "--comm", "thr*", "--syscall", "clone,clone3"],
    ];
    for look in looks {
        let argv = |words: &[&str], rest: &[&str]| {
            let words = words.iter().chain(look).chain(rest);
            let words = words.map(|word| (*word).to_owned());
            std::iter::once(text(&forktrace()))
                .chain(words)
                .collect::<Vec<_>>()
        };
        let traced = ["-f", "--as", &views];
        Run::new(argv(&traced, &["--", &program, "20"]))
            .run()
            .assert_code(0);
        let shown = Run::new(argv(&["view", &log], &[])).run();
        shown.assert_code(0);
        assert_eq!(shown.out(), read(Path::new(&live)), "{look:?}");
        for (view, live) in [("tree", &tree), ("summary", &summary)] {
            let shown = Run::new(argv(&["view", &log, "--as", view], &[])).run();
            shown.assert_code(0);
            assert_eq!(shown.out(), read(Path::new(live)), "{look:?}");
        }
        let counted = look
            .contains(&"--only")
            .then_some("filtered  20 of 20 creations");
        let counted = counted.unwrap_or("created   0 processes, 20 threads");
        assert!(read(Path::new(&summary)).contains(counted), "{look:?}");
        let ends = read(Path::new(&log)).matches("\"event\":\"exit\"").count();
        assert_eq!(ends, 21, "{look:?}: the log holds all");
    }
}

/// Options that make no sense are told before anything runs.
#[test]
fn views_that_would_mix_are_refused_before_the_program_runs() {
    for (words, said) in [
        (
            ["--as", "text,json"],
            "text and json would both go to standard error",
        ),
        (["--json", "--as=text"], "would both go to"),
        (["--env", "-q"], "--env needs --json"),
        (["--as", "nothing"], "there are text, json"),
        (["--json", "--failed"], "a log holds all events"),
    ] {
        let outcome = run([words[0], words[1], "--", "echo", "ran"]);
        assert_refused(&outcome, said);
    }
}
