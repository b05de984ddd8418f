//! One program, traced by strace and by forktrace in each mode, and the two compared.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use super::Mode;
use super::check::{Summary, check};
use super::fixture::Truth;
use super::run::{Outcome, Run, Scratch, forktrace, shortened};
use super::schema::Schema;
use super::trace::{Line, parse_forktrace, parse_strace};
use super::tree::{Strictness, assert_same, render};

/// Not `-e signal=none`: that would also hide the lines of those killed by signals.
const STRACE: [&str; 5] = [
    "-e",
    "trace=fork,vfork,clone,clone3,execve,execveat",
    "-s",
    "256",
    "--pidns-translation",
];

/// How the program ends, and forktrace with it.
#[derive(Clone, Copy)]
enum End {
    Code(i32),
    Signal(i32),
}

pub(crate) struct Case {
    pub(crate) scratch: Scratch,
    argv: Vec<String>,
    env: Vec<(String, String)>,
    strictness: Strictness,
    expect: Vec<String>,
    end: End,
    timeout: Duration,
    steady_output: bool,
}

/// A run under a tracer, and the trace of it.
pub(crate) struct Traced {
    pub(crate) outcome: Outcome,
    pub(crate) lines: Vec<Line>,
    pub(crate) text: String,
}

impl Traced {
    pub(crate) fn truth(&self) -> Truth {
        Truth::parse(&self.outcome.out())
    }

    /// What must hold for any complete trace.
    #[track_caller]
    pub(crate) fn check(&self, what: &str) -> Summary {
        check(&self.lines)
            .unwrap_or_else(|error| panic!("{what}: {error}\n{}", shortened(&self.text)))
    }
}

impl Case {
    pub(crate) fn new<I, S>(argv: I) -> Case
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        Case {
            scratch: Scratch::new(),
            argv: argv
                .into_iter()
                .map(|word| word.as_ref().to_owned())
                .collect(),
            env: Vec::new(),
            strictness: Strictness::Exact,
            expect: Vec::new(),
            end: End::Code(0),
            timeout: Duration::from_secs(60),
            steady_output: false,
        }
    }
    pub(crate) fn env(mut self, name: &str, value: &str) -> Case {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }
    pub(crate) fn file(self, name: &str, content: &str) -> Case {
        self.scratch.write(name, content);
        self
    }
    pub(crate) fn strictness(mut self, strictness: Strictness) -> Case {
        self.strictness = strictness;
        self
    }
    /// A piece of text that the trace must have: without it the case tests nothing.
    pub(crate) fn expect(mut self, text: &str) -> Case {
        self.expect.push(text.to_owned());
        self
    }
    pub(crate) fn code(mut self, code: i32) -> Case {
        self.end = End::Code(code);
        self
    }
    pub(crate) fn killed(mut self, signal: i32) -> Case {
        self.end = End::Signal(signal);
        self
    }
    pub(crate) fn timeout(mut self, seconds: u64) -> Case {
        self.timeout = Duration::from_secs(seconds);
        self
    }
    /// The program prints the same, byte for byte, in each run.
    pub(crate) fn steady_output(mut self) -> Case {
        self.steady_output = true;
        self
    }

    #[track_caller]
    fn assert_end(&self, outcome: &Outcome) {
        match self.end {
            End::Code(code) => {
                outcome.assert_code(code);
            }
            End::Signal(signal) => assert_eq!(outcome.status.signal(), Some(signal), "{outcome:?}"),
        }
    }

    fn prepare(&self, tracer: &[String]) -> Run {
        let mut run = Run::new(tracer.iter().chain(&self.argv))
            .cwd(self.scratch.path())
            .timeout(self.timeout);
        for (name, value) in &self.env {
            run = run.env(name, value);
        }
        run
    }

    pub(crate) fn native(&self) -> Outcome {
        self.prepare(&[]).run()
    }

    /// `options`: `-f` or nothing.
    pub(crate) fn strace(&self, options: &[&str]) -> Traced {
        let file = self.scratch.file("strace.out");
        let mut tracer = vec!["strace".to_owned(), "-o".to_owned(), text(&file)];
        tracer.extend(STRACE.iter().chain(options).map(|&word| word.to_owned()));
        let outcome = self.prepare(&tracer).run();
        let text = read(&file);
        let lines = parse_strace(&text)
            .unwrap_or_else(|error| panic!("strace: {error}\n{}", shortened(&text)));
        Traced {
            outcome,
            lines,
            text,
        }
    }

    pub(crate) fn forktrace(&self, options: &[&str]) -> Traced {
        let file = self.scratch.file("forktrace.out");
        self.trace_to(&file, &["-o".to_owned(), text(&file)], options)
    }

    fn trace_to(&self, file: &Path, output: &[String], options: &[&str]) -> Traced {
        let mut tracer = vec![text(&forktrace()), "-s".to_owned(), "256".to_owned()];
        tracer.extend_from_slice(output);
        tracer.extend(options.iter().map(|&word| word.to_owned()));
        tracer.push("--".to_owned());
        let outcome = self.prepare(&tracer).run();
        let text = read(file);
        let lines = parse_forktrace(&text).unwrap_or_else(|error| {
            panic!("{error}\n{}--- stderr\n{}", shortened(&text), outcome.err())
        });
        Traced {
            outcome,
            lines,
            text,
        }
    }

    /// The same, recorded as well: what is shown of the log is what was shown live, to the
    /// byte, and the log that is written of a log is that log.
    pub(crate) fn record(&self, options: &[&str]) -> Traced {
        let [file, log, shown, again] =
            ["forktrace.out", "log", "shown", "again"].map(|name| self.scratch.file(name));
        let views = |file: &Path, log: &Path| {
            let views = format!("text:{},json:{}", text(file), text(log));
            ["--as".to_owned(), views]
        };
        let traced = self.trace_to(&file, &views(&file, &log), options);
        let view = [text(&forktrace()), "view".to_owned(), text(&log)];
        let limit = ["-s".to_owned(), "256".to_owned()];
        let viewed = Run::new(view.iter().chain(&limit).chain(&views(&shown, &again))).run();
        viewed.assert_code(0);
        assert_eq!(viewed.err(), "", "what view said of a whole log");
        assert_same_lines("view of the log", &traced.text, &read(&shown));
        let log = read(&log);
        assert_same_lines("the log of the log", &log, &read(&again));
        check_log(&log);
        traced
    }

    /// The whole tree, followed in one mode, with everything checked that needs no strace.
    pub(crate) fn follow(&self, mode: Mode) -> (Traced, Summary) {
        let traced = self.record(&["-f", mode.option()]);
        self.assert_end(&traced.outcome);
        let summary = traced.check(&format!("{mode:?}"));
        for expected in &self.expect {
            assert!(
                traced.text.contains(expected.as_str()),
                "{mode:?}: no {expected:?} in the trace\n{}",
                shortened(&traced.text)
            );
        }
        (traced, summary)
    }

    /// The whole tree in each mode, compared with strace's.
    pub(crate) fn compare(&self) {
        let strace = self.strace(&["-f"]);
        self.assert_end(&strace.outcome);
        for mode in Mode::ALL {
            let (traced, _) = self.follow(mode);
            self.assert_like_strace(mode, &strace, &traced);
            if self.steady_output {
                assert_eq!(
                    strace.outcome.out(),
                    traced.outcome.out(),
                    "{mode:?}: the program printed other things"
                );
            }
            assert_eq!(
                traced.outcome.err(),
                strace.outcome.err(),
                "{mode:?}: standard error differs"
            );
        }
    }

    pub(crate) fn assert_like_strace(&self, mode: Mode, strace: &Traced, traced: &Traced) {
        let cwd = self.scratch.path();
        assert_same(
            &format!("{mode:?} {:?}", self.argv),
            &render(&strace.lines, mode, self.strictness, cwd),
            &render(&traced.lines, mode, self.strictness, cwd),
        );
    }

    /// Only the launched thread's own doings, compared with strace without `-f`.
    pub(crate) fn compare_alone(&self) {
        let strace = self.strace(&[]);
        self.assert_end(&strace.outcome);
        for mode in [Mode::Syscall, Mode::Event] {
            let traced = self.forktrace(&[mode.option()]);
            self.assert_end(&traced.outcome);
            let tids: Vec<i32> = traced
                .lines
                .iter()
                .map(|line| line.tid)
                .filter(|tid| *tid != 0)
                .collect();
            assert!(!tids.is_empty(), "{mode:?}: an empty trace");
            assert!(
                tids.iter().all(|tid| *tid == tids[0]),
                "{mode:?}: others than the launched thread are followed\n{}",
                traced.text
            );
            // A tree of strace's has tid 0 for the only task; creations become leaves.
            self.assert_like_strace(mode, &strace, &traced);
        }
    }
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().expect("a path in UTF-8").to_owned()
}

/// Each line is as the schema says. A storm's lines are all alike: some are enough.
#[track_caller]
fn check_log(log: &str) {
    let schema = Schema(forktrace::log::schema().to_value());
    for line in log.lines().take(2000) {
        if let Err(error) = schema.check_line(line) {
            panic!("{error}: {line}");
        }
    }
}

/// Of long texts only where they part.
#[track_caller]
fn assert_same_lines(what: &str, expected: &str, found: &str) {
    if expected == found {
        return;
    }
    let (mut expected, mut found) = (expected.lines(), found.lines());
    for number in 1.. {
        let pair = (expected.next(), found.next());
        assert!(
            pair.0 == pair.1 && pair.0.is_some(),
            "{what}: line {number}: {pair:?}"
        );
    }
}

pub(crate) fn read(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
