//! How lines look and which are shown: times and names as strace writes them,
//! filters, and what `forktrace generate` writes.

mod common;

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::Mode;
use common::case::text;
use common::program::need;
use common::run::{Outcome, Run, Scratch, forktrace};
use common::trace::{Event, Line, parse_forktrace};

/// Makes processes by clone and by vfork; an exec fails.
const SCRIPT: [&str; 3] = ["/bin/sh", "-c", "/bin/true & wait; /nonexistent; exit 3"];

/// The text of a trace of `command` with these options.
fn trace(tracer: &str, options: &[&str], command: &[&str], zone: &str) -> (Outcome, String) {
    let scratch = Scratch::new();
    let file = scratch.file("trace");
    let outcome = Run::new([&[tracer, "-f", "-o", &text(&file)], options, command].concat())
        .env("TZ", zone)
        .run();
    let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{error}: {}", outcome.err()));
    let text = String::from_utf8(bytes).expect("escaped text");
    (outcome, text)
}

fn forktrace_lines(options: &[&str], command: &[&str]) -> Vec<String> {
    let options = [options, &["--"]].concat();
    let (_, text) = trace(&text(&forktrace()), &options, command, "UTC");
    assert!(!text.is_empty(), "{options:?}: nothing was traced");
    text.lines()
        .filter(|line| !line.starts_with("# "))
        .map(str::to_owned)
        .collect()
}

/// Not those of calls that forktrace has no lines for.
fn strace_lines(options: &[&str], command: &[&str]) -> Vec<String> {
    let calls = "trace=fork,vfork,clone,clone3,execve,execveat";
    let (_, text) = trace(
        "strace",
        &[options, &["-e", calls]].concat(),
        command,
        "UTC",
    );
    let lines = text.lines().map(str::to_owned);
    lines.filter(|line| !line.contains(" --- SIG")).collect()
}

/// A line's parts.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    tid: i32,
    name: String,
    /// The times, up to what happened.
    stamp: String,
    happened: String,
}

fn row(line: &str) -> Row {
    let digits = line.find(|c: char| !c.is_ascii_digit()).expect("a tid");
    let (tid, rest) = line.split_at(digits);
    let (name, rest) = match rest.strip_prefix('<') {
        Some(rest) => rest.split_once('>').expect("a name that ends"),
        None => ("", rest),
    };
    let rest = rest.strip_prefix(' ').expect("a space behind the tid");
    let starts = |at: &usize| {
        let rest = &rest[*at..];
        rest.starts_with(|c: char| c.is_ascii_alphabetic())
            || rest.starts_with("+++ ")
            || rest.starts_with("<... ")
    };
    let at = (0..rest.len()).find(starts).expect("something happened");
    Row {
        tid: tid.parse().expect("a tid"),
        name: name.to_owned(),
        stamp: rest[..at].to_owned(),
        happened: rest[at..].to_owned(),
    }
}

/// strace pads what stands before the times to five columns.
fn strace_row(line: &str) -> Row {
    let mut row = row(line);
    if row.name.is_empty() {
        let padding = 5_usize.saturating_sub(row.tid.to_string().len());
        row.stamp.drain(..padding);
    }
    row
}

/// A text with each digit replaced, to compare how numbers are written.
fn form(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_digit() { '9' } else { c })
        .collect()
}

#[test]
fn times_are_written_as_strace_writes_them() {
    let Some([_]) = need(["strace"]) else { return };
    for options in [
        &["-t"][..],
        &["-tt"],
        &["-ttt"],
        &["-t", "-t"],
        &["-tttt"],
        &["-r"],
        &["-t", "-r"],
        &["-tt", "-r"],
        &["-r", "-ttt"],
        &["-Y", "-tt"],
    ] {
        let forms = |rows: Vec<Row>| -> BTreeSet<String> {
            rows.iter().map(|row| form(&row.stamp)).collect()
        };
        let strace = strace_lines(options, &SCRIPT);
        let expected = forms(strace.iter().map(|line| strace_row(line)).collect());
        assert_eq!(expected.len(), 1, "{options:?}: {expected:?}");
        for mode in Mode::ALL {
            let lines = forktrace_lines(&[options, &[mode.option()]].concat(), &SCRIPT);
            let found = forms(lines.iter().map(|line| row(line)).collect());
            assert_eq!(found, expected, "{options:?} {mode:?}: {lines:#?}");
        }
    }
}

#[test]
fn without_times_lines_are_as_ever() {
    let plain = forktrace_lines(&["-q"], &SCRIPT);
    for line in plain {
        assert_eq!(row(&line).stamp, "", "{line}");
    }
}

/// Seconds and microseconds as microseconds.
fn micros(text: &str) -> u128 {
    let (seconds, micros) = text.trim().split_once('.').expect("seconds.micros");
    assert_eq!(micros.len(), 6, "{text}");
    let parse = |text: &str| text.parse::<u128>().expect("a number");
    parse(seconds) * 1_000_000 + parse(micros)
}

fn now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("a clock after 1970")
}

#[test]
fn times_are_those_of_the_clock_and_differences_add_up() {
    let before = now().as_micros();
    let lines = forktrace_lines(&["-ttt", "-r"], &SCRIPT);
    let after = now().as_micros();
    let mut previous = None;
    for line in &lines {
        let stamp = row(line).stamp;
        let (wall, since) = stamp.trim_end().split_once(" (+").expect("both times");
        let wall = micros(wall);
        let since = micros(since.strip_suffix(')').expect("a bracket"));
        assert!((before..=after).contains(&wall), "{before} {line} {after}");
        let difference = wall - previous.unwrap_or(wall);
        // Each is cut to microseconds.
        assert!(difference.abs_diff(since) <= 1, "{line}: {difference}");
        previous = Some(wall);
    }
    assert!(lines.len() > 5, "{lines:?}");
}

#[test]
fn the_time_of_day_is_that_of_the_time_zone() {
    const DAY: u64 = 24 * 60 * 60;
    for (zone, offset) in [
        ("UTC", 0),
        ("", 0),
        ("XXX-5:30", 5 * 3600 + 1800),
        ("<-11>11", DAY - 11 * 3600),
        ("Asia/Kolkata", 5 * 3600 + 1800),
        ("No/Such", 0),
    ] {
        if zone == "Asia/Kolkata" && !std::path::Path::new("/usr/share/zoneinfo/Asia").exists() {
            continue;
        }
        let before = now().as_secs();
        let program = text(&forktrace());
        let (_, text) = trace(&program, &["-t", "--"], &["/bin/true"], zone);
        let after = now().as_secs();
        let times: BTreeSet<String> = (before..=after)
            .map(|second| {
                let of_day = (second + offset) % DAY;
                let (hour, minute) = (of_day / 3600, of_day / 60 % 60);
                format!("{hour:02}:{minute:02}:{:02} ", of_day % 60)
            })
            .collect();
        for line in text.lines() {
            let stamp = row(line).stamp;
            assert!(times.contains(&stamp), "{zone}: {line}, not in {times:?}");
        }
    }
}

/// What stands behind the result of a call, up to the meaning.
fn behind_result(line: &str) -> Option<String> {
    let happened = row(line).happened;
    let (_, result) = happened
        .rsplit_once(") = ")
        .or(happened.rsplit_once(") "))?;
    let result = result.split("  # ").next().expect("a result");
    Some(form(result.find(" <").map_or("", |at| &result[at..])))
}

#[test]
fn the_time_in_a_call_stands_behind_its_result() {
    let Some([_]) = need(["strace"]) else { return };
    let calls = |lines: &[String]| -> Vec<String> {
        let whole = lines.iter().filter(|line| !line.contains("<unfinished"));
        let mut ends: Vec<String> = whole
            .filter(|line| !line.contains("+++ "))
            .map(|line| behind_result(line).unwrap_or_else(|| panic!("no result: {line}")))
            .collect();
        ends.sort();
        ends
    };
    let expected = calls(&strace_lines(&["-T"], &SCRIPT));
    // Two programs, a clone, a vfork, a failed exec.
    assert_eq!(expected, [" <9.999999>"; 5]);
    for mode in [Mode::Seccomp, Mode::Syscall] {
        for options in [&["-T", "-q"][..], &["-T"], &["-v", "-T", "-tt", "-Y"]] {
            let lines = forktrace_lines(&[options, &[mode.option()]].concat(), &SCRIPT);
            let lines: Vec<String> = lines
                .into_iter()
                .filter(|line| !line.starts_with("    "))
                .collect();
            assert_eq!(calls(&lines), expected, "{mode:?} {options:?}");
            for line in lines.iter().filter(|line| line.contains("+++ ")) {
                assert!(!line.contains(" <9") && !line.ends_with('>'), "{line}");
            }
        }
    }
    // Entries are not seen there.
    let lines = forktrace_lines(&["-T", "-q", Mode::Event.option()], &SCRIPT);
    assert_eq!(calls(&lines), [""; 4], "{lines:?}");
}

/// Which names take part in what, as the same words for both tracers: `sh makes
/// sh`, `true ends`. Not exec: strace writes the name before it.
fn names(rows: &[Row]) -> Vec<String> {
    let mut all: Vec<String> = rows
        .iter()
        .filter_map(|row| {
            let name = &row.name;
            if row.happened.contains("+++ exited") {
                return Some(format!("{name} ends"));
            }
            let creates = ["clone", "vfork", "fork", "<... clone", "<... vfork"];
            if !creates.iter().any(|call| row.happened.starts_with(call)) {
                return None;
            }
            // A child has a name if its parent has.
            let (_, child) = row.happened.rsplit_once("= ")?;
            let child = child.split_once('<').map_or("", |(_, name)| name);
            let child = child.split('>').next().unwrap_or_default();
            Some(format!("{name} makes {child}"))
        })
        .collect();
    all.sort();
    all
}

#[test]
fn names_are_written_as_strace_writes_them() {
    let Some([_, python]) = need(["strace", "python3"]) else {
        return;
    };
    const NAMES: &str = r#"
import ctypes, os
c = ctypes.CDLL(None)
for name in [b"a<b>c", b'q"x\\y', b"\xffz", b"sp ace", b"\x1b[3m7", b"<1", b"0123456789abcde", b""]:
    c.prctl(15, name)
    if os.fork() == 0: os._exit(0)
    os.wait()
"#;
    let odd = [python.as_str(), "-c", NAMES];
    for command in [&SCRIPT[..], &odd] {
        let strace: Vec<Row> = strace_lines(&["-Y"], command)
            .iter()
            .map(|line| strace_row(line))
            .collect();
        let expected = names(&strace);
        assert!(expected.len() > 4, "{strace:#?}");
        for mode in Mode::ALL {
            for option in ["-Y", "--decode-pids=comm", "--decode-pids=pidns,comm"] {
                let lines = forktrace_lines(&["-q", option, mode.option()], command);
                let rows: Vec<Row> = lines.iter().map(|line| row(line)).collect();
                assert_eq!(names(&rows), expected, "{mode:?} {option}: {lines:#?}");
            }
        }
    }
}

#[test]
fn no_byte_of_a_name_breaks_a_line() {
    let Some([python]) = need(["python3"]) else {
        return;
    };
    let code = "import ctypes, os\nctypes.CDLL(None).prctl(15, b'a\\nb> c')\n\
                if os.fork() == 0: os._exit(0)\nos.wait()";
    let lines = forktrace_lines(&["-Y", "-q"], &[&python, "-c", code]);
    let created: Vec<&String> = lines.iter().filter(|line| line.contains(") = ")).collect();
    assert!(
        created
            .last()
            .is_some_and(|line| line.ends_with(r"<a\nb\76 c>")),
        "{lines:?}"
    );
    // python itself, its fork, two ends.
    assert_eq!(lines.len(), 4, "{lines:?}");
}

#[test]
fn an_exec_counts_under_the_new_name() {
    let lines = forktrace_lines(&["-Y", "-q"], &SCRIPT);
    let of = |wanted: &str| -> Vec<String> {
        let found = lines.iter().filter(|line| line.contains(wanted));
        found.map(|line| row(line).name).collect()
    };
    assert_eq!(of("\"/bin/true\""), ["true"]);
    assert_eq!(of("\"/bin/sh\""), ["sh"]);
    // One that failed changes nothing.
    assert_eq!(of("\"/nonexistent\""), ["sh"]);
}

/// A thread, a fork whose child exits with 3, a vfork child that becomes true,
/// another that becomes sh and makes a true of its own, a child killed, an exec
/// that fails in vfork.
const PROGRAM: &str = r#"
import os, signal, subprocess, threading
t = threading.Thread(target=lambda: None)
t.start()
t.join()
if os.fork() == 0: os._exit(3)
os.wait()
subprocess.call(["/bin/true"])
subprocess.call(["/bin/sh", "-c", "/bin/true & wait"])
if os.fork() == 0: os.kill(os.getpid(), signal.SIGKILL)
os.wait()
try: subprocess.call(["/nonexistent"])
except OSError: pass
"#;

struct Filtered {
    python: String,
    all: Vec<Line>,
}

impl Filtered {
    fn new(python: &str) -> Filtered {
        let mut filtered = Filtered {
            python: python.to_owned(),
            all: Vec::new(),
        };
        filtered.all = filtered.lines(&[]);
        filtered
    }

    fn lines(&self, options: &[&str]) -> Vec<Line> {
        let command = [
            &["-s", "512"],
            options,
            &["--", &self.python, "-c", PROGRAM],
        ]
        .concat();
        let (outcome, text) = trace(&text(&forktrace()), &command, &[], "UTC");
        outcome.assert_code(0);
        parse_forktrace(&text).unwrap_or_else(|error| panic!("{options:?}: {error}"))
    }

    /// What is shown with these options is what of another run without any is
    /// `kept`.
    #[track_caller]
    fn assert(&self, options: &[&str], kept: impl Fn(&Line) -> bool) -> Vec<Line> {
        let shown = self.lines(options);
        let expected: Vec<&Line> = self.all.iter().filter(|line| kept(line)).collect();
        assert_eq!(
            normal(shown.iter()),
            normal(expected.into_iter()),
            "{options:?}"
        );
        shown
    }
}

/// Lines without what differs from run to run, sorted: processes run beside
/// each other.
fn normal<'a>(lines: impl Iterator<Item = &'a Line>) -> Vec<String> {
    let mut all: Vec<String> = lines
        .map(|line| match &line.event {
            Event::Call(call) => call.normal(),
            other => format!("{other:?}"),
        })
        .collect();
    all.sort();
    all
}

fn asks_for(line: &Line, word: &str) -> bool {
    line.call()
        .is_some_and(|call| call.creates() && (call.args.contains(word) || call.name == word))
}

#[test]
fn filters_show_what_they_keep_and_trace_all() {
    let Some([python]) = need(["python3"]) else {
        return;
    };
    let filtered = Filtered::new(&python);
    let creates = |line: &Line| line.call().is_some_and(|call| call.creates());
    let executes = |line: &Line| line.call().is_some_and(|call| call.executes());
    let ends = |line: &Line| matches!(line.event, Event::Exited(_) | Event::Killed(_));
    let thread = |line: &Line| asks_for(line, "CLONE_THREAD");
    let failed = |line: &Line| match &line.event {
        Event::Call(call) => matches!(call.ret, common::trace::Ret::Error(_)),
        Event::Exited(status) => *status != 0,
        Event::Killed(_) => true,
        _ => false,
    };
    // Each kind is there.
    assert_eq!(filtered.all.iter().filter(|line| creates(line)).count(), 7);
    assert_eq!(filtered.all.iter().filter(|line| executes(line)).count(), 5);
    assert_eq!(filtered.all.iter().filter(|line| ends(line)).count(), 8);

    filtered.assert(&["--only", "creations"], creates);
    filtered.assert(&["--only=threads"], thread);
    filtered.assert(&["--only", "processes"], |line| {
        creates(line) && !thread(line)
    });
    filtered.assert(&["--only", "vforks"], |line| {
        asks_for(line, "CLONE_VFORK") || asks_for(line, "vfork")
    });
    filtered.assert(&["--only", "execs"], executes);
    // The ends of processes whose creation is not shown, too.
    filtered.assert(&["--only", "exits"], ends);
    filtered.assert(&["--only", "kills"], |line| {
        matches!(line.event, Event::Killed(_))
    });
    filtered.assert(&["--only", "attaches"], |_| false);
    // Values are alternatives, in one word or in several; singular is as good.
    for options in [
        &["--only", "thread,exit"][..],
        &["--only=exits", "--only=threads"],
    ] {
        filtered.assert(options, |line| thread(line) || ends(line));
    }
    filtered.assert(&["--failed"], failed);
    filtered.assert(&["--ok"], |line| !failed(line));
    // Options narrow together.
    filtered.assert(&["--failed", "--only", "execs"], |line| {
        failed(line) && executes(line)
    });
    filtered.assert(&["--failed", "--only", "threads"], |_| false);
    let clone3 = |line: &Line| line.call().is_some_and(|call| call.name == "clone3");
    filtered.assert(&["--syscall", "clone3"], clone3);
    filtered.assert(&["--syscall", "clone3,execve"], |line| {
        clone3(line) || executes(line)
    });
    for flag in [
        "CLONE_THREAD",
        "thread",
        "0x10000",
        "65536",
        "THREAD|CLONE_VM",
    ] {
        filtered.assert(&["--flag", flag], thread);
    }
    filtered.assert(&["--flag", "NEWUSER"], |_| false);
    filtered.assert(&["--depth", "9"], |_| true);
    assert!(filtered.lines(&["--comm", "no*such"]).is_empty());
}

#[test]
fn filters_by_descent_and_name() {
    let Some([python]) = need(["python3"]) else {
        return;
    };
    let filtered = Filtered::new(&python);
    let root = filtered.all[0].tid;
    let sh = filtered
        .all
        .iter()
        .find(|line| {
            line.call()
                .is_some_and(|call| call.executes() && call.args.starts_with("\"/bin/sh\""))
        })
        .map(|line| line.tid)
        .expect("sh");
    let thread = filtered
        .all
        .iter()
        .find(|line| asks_for(line, "CLONE_THREAD"))
        .and_then(Line::created)
        .expect("a thread");
    let below_sh: Vec<i32> = filtered
        .all
        .iter()
        .filter(|line| line.tid == sh)
        .filter_map(Line::created)
        .collect();
    assert_eq!(below_sh.len(), 1);
    let is_below = |line: &Line| {
        below_sh.contains(&line.tid) || line.created().is_some_and(|tid| below_sh.contains(&tid))
    };
    filtered.assert(&["--below", "sh"], is_below);
    filtered.assert(&["--below", "s[a-z]"], is_below);
    // Of what python makes all is below it, and it is below none.
    filtered.assert(&["--below", "python*"], |line| {
        let makes = line.created().is_some_and(|tid| tid != thread);
        makes || (line.tid != root && line.tid != thread)
    });
    filtered.assert(&["--depth", "0"], |line| {
        line.tid == root || line.tid == thread
    });
    filtered.assert(&["--depth", "1"], |line| !below_sh.contains(&line.tid));
    // A thread keeps its name; its creation, its exec and its end are its own.
    let shown = filtered.assert(&["--comm", "sh"], |line| {
        let by_sh = line.tid == sh;
        by_sh && !matches!(&line.event, Event::Note(_))
    });
    assert_eq!(shown.len(), 3, "{shown:#?}");
    filtered.assert(&["--comm", "true,sh", "--only", "execs"], |line| {
        line.call().is_some_and(|call| {
            call.executes()
                && ["/bin/true", "/bin/sh"]
                    .iter()
                    .any(|path| call.args.starts_with(&format!("\"{path}\"")))
        })
    });
}

#[test]
fn a_process_is_picked_by_number_while_others_are_traced() {
    let Some([python]) = need(["python3"]) else {
        return;
    };
    // The number of what runs already is known before it is traced.
    let code = "import os, sys\nprint('ready', flush=True)\nsys.stdin.readline()\n\
                for _ in range(2):\n    if os.fork() == 0: os._exit(0)\n    os.wait()";
    let mut target = Run::new([python.as_str(), "-c", code])
        .stdio(Stdio::piped(), Stdio::piped(), Stdio::piped())
        .start();
    target.wait_for_out("ready");
    let tid = target.pid();
    let pid = tid.to_string();
    let attachment = common::attachment::Attachment::start(&["-f", "-p", &pid, "--pid", &pid]);
    attachment.wait_for_trace("+++ attached");
    attachment.wait_until_traced(tid);
    drop(target.stdin());
    target.finish().assert_code(0);
    let left = attachment.finish();
    let by_it = left.lines.iter().filter(|line| line.tid == tid);
    // Attached, two creations, its end; the note on what is not seen.
    assert_eq!(by_it.count(), 4, "{}", left.text);
    assert_eq!(left.lines.len(), 5, "{}", left.text);
}

#[test]
fn differences_are_between_lines_that_are_shown() {
    let lines = forktrace_lines(&["--only", "exits", "-ttt", "-r"], &SCRIPT);
    assert_eq!(lines.len(), 3, "{lines:?}");
    let mut previous = None;
    for line in lines {
        let stamp = row(&line).stamp;
        let (wall, since) = stamp.trim_end().split_once(" (+").expect("both times");
        let wall = micros(wall);
        let difference = wall - previous.unwrap_or(wall);
        assert!(difference.abs_diff(micros(&since[..since.len() - 1])) <= 1);
        previous = Some(wall);
    }
}

fn run(words: &[&str]) -> Outcome {
    Run::new([&[text(&forktrace()).as_str()], words].concat()).run()
}

#[test]
fn what_is_unknown_is_answered_with_what_there_is() {
    for (words, expected) in [
        (
            &["--only", "forks", "true"][..],
            "creations, threads, processes, vforks, execs, exits",
        ),
        (&["--only", "proceses", "true"], "'processes'"),
        (
            &["--syscall", "clone2", "true"],
            "fork, vfork, clone, clone3, execve, execveat",
        ),
        (
            &["--flag", "CLONE_NEWUSR", "true"],
            "did you mean CLONE_NEWUSER?",
        ),
        (&["--flag", "SIGCHLD", "true"], "there are NEWTIME, VM, FS"),
        (&["--comm", "[a", "true"], "'[' without a ']'"),
        (&["--comm", "", "true"], "can't be empty"),
        (&["--below", "0", "true"], "no process has such a pid"),
        (&["--depth", "-1", "true"], "'-1'"),
        (
            &["--failed", "--ok", "true"],
            "'--failed' cannot be used with '--ok'",
        ),
        (&["--decode-pids=com", "true"], "'comm'"),
        (
            &["--pid", "1"],
            "to trace a process that runs already: -p PID",
        ),
        (&["generate", "tcsh"], "man, bash, zsh, fish"),
        (&["generate"], "Usage: forktrace generate"),
    ] {
        let outcome = run(words);
        outcome.assert_code(1);
        let error = outcome.err();
        assert!(error.contains(expected), "{words:?}: {error}");
        assert_eq!(outcome.out(), "", "{words:?}");
        let lines = error.lines().count();
        assert!(lines == 1 || words == ["generate"], "{words:?}: {error}");
    }
}

#[test]
fn what_is_generated_goes_to_standard_output() {
    for what in ["man", "bash", "zsh", "fish"] {
        let outcome = run(&["generate", what]);
        outcome.assert_code(0);
        assert!(
            outcome.out().ends_with('\n') && outcome.err().is_empty(),
            "{what}"
        );
    }
    // A program of that name is not the subcommand.
    run(&["--", "generate", "man"]).assert_code(127);
    let full = std::fs::File::options().write(true).open("/dev/full");
    let outcome = Run::new([text(&forktrace()).as_str(), "generate", "man"])
        .stdio(
            Stdio::null(),
            full.expect("/dev/full").into(),
            Stdio::piped(),
        )
        .run();
    outcome.assert_code(1);
    assert_eq!(
        outcome.err(),
        "forktrace: cannot write to standard output: No space left on device\n"
    );
}

/// What prints and is done says where it can't: not all of it may be lost in silence.
#[test]
fn what_can_not_be_printed_is_said() {
    let tracer = text(&forktrace());
    for words in ["generate zsh", "schema", "--help", "help view", "--version"] {
        for (to, why) in [
            (">&-", "Bad file descriptor"),
            (">/dev/full", "No space left on device"),
        ] {
            let outcome = Run::new(["sh", "-c", &format!("'{tracer}' {words} {to}")]).run();
            outcome.assert_code(1);
            assert_eq!(
                outcome.err(),
                format!("forktrace: cannot write to standard output: {why}\n"),
                "{words} {to}"
            );
        }
    }
}

fn generated(what: &str) -> String {
    let outcome = run(&["generate", what]);
    outcome.assert_code(0);
    outcome.out()
}

/// The options that a help text lists.
fn options_of(help: &str) -> Vec<&str> {
    let heads = help.lines().map(str::trim_start);
    heads
        .filter(|line| line.starts_with('-'))
        .flat_map(|line| line.split([' ', ',', '.', '=', '[']))
        .filter(|word| word.starts_with('-') && word.len() > 1)
        .collect()
}

#[test]
fn the_man_page_is_clean_and_has_each_option() {
    let Some([man]) = need(["man"]) else { return };
    let scratch = Scratch::new();
    let page = text(&scratch.write("forktrace.1", &generated("man")));
    let outcome = Run::new([man.as_str(), "-l", "--warnings", "-E", "UTF-8", &page])
        .env("MANWIDTH", "80")
        .env("MANPAGER", "cat")
        .run();
    outcome.assert_code(0);
    assert_eq!(outcome.err(), "", "warnings");
    let shown = outcome.out();
    assert!(
        shown.contains("User Commands") && shown.contains("forktrace 0."),
        "{shown}"
    );
    for words in [
        &["--help"][..],
        &["explain", "--help"],
        &["generate", "--help"],
    ] {
        let help = run(words).out();
        let options = options_of(&help);
        assert!(options.contains(&"--help"), "{help}");
        for option in options {
            assert!(shown.contains(option), "{words:?}: {option}");
        }
    }
}

#[test]
fn bash_loads_its_completions() {
    let Some([bash]) = need(["bash"]) else { return };
    let scratch = Scratch::new();
    let file = text(&scratch.write("completions", &generated("bash")));
    Run::new([bash.as_str(), "-n", &file]).run().assert_code(0);
    let complete = "complete () { builtin complete \"$@\"; }\n. \"$1\"\ncomplete -p forktrace\n\
                    try () { COMP_WORDS=(forktrace \"$@\"); COMP_CWORD=$#; COMPREPLY=()\n\
                    local n=$(($# - 1)); \
                    _forktrace forktrace \"${COMP_WORDS[$COMP_CWORD]}\" \"${COMP_WORDS[$n]}\"\n\
                    echo \"$*: ${COMPREPLY[*]}\"; }\n\
                    try --stops ''\ntry --kill\ntry expl\ntry --only thr\ntry generate z\n\
                    try --flag CLONE_NEWU\n";
    let outcome = Run::new([bash.as_str(), "--norc", "-c", complete, "bash", &file]).run();
    outcome.assert_code(0);
    assert_eq!(outcome.err(), "");
    let out = outcome.out();
    let mut lines = out.lines();
    let registered = lines.next().unwrap_or_default();
    assert!(
        registered.starts_with("complete ") && registered.ends_with(" forktrace"),
        "{out}"
    );
    assert_eq!(
        lines.collect::<Vec<_>>(),
        [
            "--stops : auto seccomp event syscall",
            "--kill: --kill-on-exit",
            "expl: explain",
            "--only thr: threads",
            "generate z: zsh",
            "--flag CLONE_NEWU: CLONE_NEWUTS CLONE_NEWUSER",
        ]
    );
}

#[test]
fn zsh_reads_its_completions() {
    let Some([zsh]) = need(["zsh"]) else { return };
    let scratch = Scratch::new();
    let file = text(&scratch.write("_forktrace", &generated("zsh")));
    Run::new([zsh.as_str(), "-n", &file]).run().assert_code(0);
    // Sourced, it registers one function, whose name is the program's.
    let load = "compdef () { print -r -- $*; }; source $1; print -r -- ${(ok)functions}";
    let outcome = Run::new([zsh.as_str(), "-f", "-c", load, "zsh", &file]).run();
    outcome.assert_code(0);
    assert_eq!(outcome.err(), "");
    assert_eq!(outcome.out().lines().next(), Some("_forktrace forktrace"));
    for function in [
        "_forktrace-trace",
        "_forktrace-explain",
        "_forktrace-generate",
    ] {
        assert!(outcome.out().contains(function), "{function}");
    }
}

#[test]
fn fish_completes() {
    let Some([fish]) = need(["fish"]) else { return };
    let scratch = Scratch::new();
    let file = text(&scratch.write("forktrace.fish", &generated("fish")));
    let home = Scratch::new();
    let fish = |words: &[&str]| {
        let outcome = Run::new([&[fish.as_str(), "--no-config"], words].concat())
            .env("HOME", &text(home.path()))
            .run();
        outcome.assert_code(0);
        outcome.out()
    };
    fish(&["-n", &file]);
    let completed = |line: &str| {
        let code = format!("source {file}; complete -C '{line}'");
        let out = fish(&["-c", &code]);
        let words = out.lines().filter_map(|line| line.split('\t').next());
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(completed("forktrace --kill"), ["--kill-on-exit"]);
    assert_eq!(
        completed("forktrace --stops "),
        ["auto", "event", "seccomp", "syscall"]
    );
    assert_eq!(completed("forktrace explain --c"), ["--color"]);
}
