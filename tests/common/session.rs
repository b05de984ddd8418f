//! An interactive program, such as a shell, on a terminal of its own.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use nix::unistd::Pid;

use super::proc::{eventually, group, state};
use super::run::{Run, Running, Stream, shortened};

/// An interactive program on a terminal of its own.
pub(crate) struct Session {
    pub(crate) running: Running,
    keyboard: File,
    screen: Stream,
    seen: usize,
    /// The process groups of the shell, and of the job that was typed to last.
    shell: i32,
    job: i32,
}

impl Session {
    pub(crate) fn start(words: &[&str]) -> Session {
        let pair = nix::pty::openpty(None, None).expect("a terminal");
        let keyboard = File::from(pair.master);
        let screen = Stream::read(Some(keyboard.try_clone().expect("dup")));
        let copy = |fd: &OwnedFd| Stdio::from(fd.try_clone().expect("dup"));
        let running = Run::new([&["setsid", "--ctty", "--wait"], words].concat())
            .env("PS1", "prompt> ")
            .env("HISTFILE", "/dev/null")
            .stdio(
                copy(&pair.slave),
                copy(&pair.slave),
                Stdio::from(pair.slave),
            )
            .start();
        Session {
            running,
            keyboard,
            screen,
            seen: 0,
            shell: 0,
            job: 0,
        }
    }

    /// Waits for a text after all that was waited for before.
    #[track_caller]
    pub(crate) fn expect(&mut self, wanted: &str) {
        match self.screen.wait_for_after(self.seen, wanted) {
            Ok(end) => self.seen = end,
            Err(text) => panic!("no {wanted:?} on the screen:\n{}", shortened(&text)),
        }
    }

    pub(crate) fn keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("keys");
    }

    /// Waits for a number after this text.
    #[track_caller]
    pub(crate) fn expect_number(&mut self, before: &str) -> i32 {
        self.expect(before);
        let from = self.seen;
        self.expect("\r\n");
        let text = self.screen.text(from, self.seen);
        let number = text.trim().parse();
        number.unwrap_or_else(|_| panic!("no number after {before:?}: {text:?}"))
    }

    /// Types a key that goes to the job in the foreground, once that runs there: a shell
    /// prints its name before it gives it the terminal.
    #[track_caller]
    pub(crate) fn key_to_job(&mut self, key: &str) {
        let shell = self.shell;
        eventually("a job runs in the foreground", || {
            let pgrp = nix::unistd::tcgetpgrp(&self.keyboard).map_or(0, Pid::as_raw);
            let members = group(pgrp);
            pgrp != shell
                && !members.is_empty()
                && members.iter().all(|pid| "RSD".contains(state(*pid)))
        });
        self.job = nix::unistd::tcgetpgrp(&self.keyboard).map_or(0, Pid::as_raw);
        self.keys(key);
    }

    /// Waits until the shell says so and it is true of every process of the job: one that
    /// is late would still take from what is typed next.
    #[track_caller]
    pub(crate) fn expect_stopped(&mut self) {
        self.expect("Stopped");
        let job = self.job;
        eventually("the whole job is stopped", || {
            group(job).iter().all(|pid| "TtZ".contains(state(*pid)))
        });
    }

    /// Waits for the shell's first prompt, and learns of its process group.
    #[track_caller]
    pub(crate) fn first_prompt(&mut self) {
        self.expect("prompt> ");
        self.shell = nix::unistd::tcgetpgrp(&self.keyboard).map_or(0, Pid::as_raw);
        self.seen -= "prompt> ".len();
    }

    /// Types a command at a prompt and waits for what it prints.
    #[track_caller]
    pub(crate) fn command(&mut self, line: &str, wanted: &str) {
        self.expect("prompt> ");
        self.keys(&format!("{line}\n"));
        // The echo of the line itself.
        self.expect(line);
        self.expect(wanted);
    }
}
