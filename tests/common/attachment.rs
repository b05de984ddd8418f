//! forktrace attached to something that runs already.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::case::text;
use super::check::{Summary, check};
use super::proc::{eventually, state, status, threads};
use super::run::{Outcome, Run, Running, Scratch, forktrace, shortened};
use super::trace::{Line, parse_forktrace};

pub(crate) struct Attachment {
    running: Running,
    file: PathBuf,
    _scratch: Scratch,
}

/// What an attachment left.
pub(crate) struct Left {
    pub(crate) outcome: Outcome,
    pub(crate) lines: Vec<Line>,
    pub(crate) text: String,
}

impl Left {
    /// What must hold for any trace.
    #[track_caller]
    pub(crate) fn check(&self, what: &str) -> Summary {
        check(&self.lines)
            .unwrap_or_else(|error| panic!("{what}: {error}\n{}", shortened(&self.text)))
    }

    #[track_caller]
    pub(crate) fn assert_killed_by(&self, signal: Signal) {
        assert_eq!(
            signal_of(self.outcome.status),
            Some(signal as i32),
            "{:?}",
            self.outcome
        );
    }
}

fn signal_of(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

impl Attachment {
    /// `options`: those that say what to attach to, and how.
    pub(crate) fn start(options: &[&str]) -> Attachment {
        let scratch = Scratch::new();
        let file = scratch.file("trace");
        let mut words = vec![text(&forktrace()), "-o".to_owned(), text(&file)];
        words.extend(options.iter().map(|&word| word.to_owned()));
        let running = Run::new(words).timeout(Duration::from_secs(120)).start();
        Attachment {
            running,
            file,
            _scratch: scratch,
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.running.pid()
    }

    /// Until each thread that a process has is traced by this forktrace.
    #[track_caller]
    pub(crate) fn wait_until_traced(&self, pid: i32) {
        let me = self.pid();
        // Twice: while the list was read for the first time, a thread that was not yet
        // traced may have made another.
        let mut rounds = 0;
        eventually("every thread is traced", || {
            assert_ne!(state(me), 'Z', "forktrace ended: {}", self.trace());
            let all = threads(pid).into_iter().all(|tid| {
                status(tid, "TracerPid").is_none_or(|found| found == me.to_string())
                    || matches!(state(tid), 'Z' | 'X' | ' ')
            });
            rounds = if all { rounds + 1 } else { 0 };
            rounds == 2
        });
    }

    /// The trace as far as it is written.
    pub(crate) fn trace(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.file).unwrap_or_default()).into_owned()
    }

    #[track_caller]
    pub(crate) fn wait_for_trace(&self, wanted: &str) {
        eventually(wanted, || self.trace().contains(wanted));
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    #[track_caller]
    pub(crate) fn finish(self) -> Left {
        let outcome = self.running.finish();
        let text =
            String::from_utf8_lossy(&std::fs::read(&self.file).unwrap_or_default()).into_owned();
        let lines =
            parse_forktrace(&text).unwrap_or_else(|error| panic!("{error}\n{}", outcome.err()));
        Left {
            outcome,
            lines,
            text,
        }
    }

    /// Asks it to go, and waits until it has.
    #[track_caller]
    pub(crate) fn leave(self, signal: Signal) -> Left {
        self.signal(signal);
        let left = self.finish();
        left.assert_killed_by(signal);
        left
    }
}
