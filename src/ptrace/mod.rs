//! The tracer: launches a program and turns the stops of all its threads into
//! events. Deciding is done in [`machine`], purely; here the decisions are
//! carried out.

pub mod filter;
pub mod live;
pub mod machine;
pub mod probe;
pub mod spawn;
pub mod sys;
pub mod task;
pub mod wait;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, anyhow};

use crate::event::{End, Event, Stops};
use crate::ids::{Errno, Signal, Tid};
use crate::source::Source;
use live::Live;
use machine::{Input, Machine, Output, Settings};
use spawn::{LaunchError, Launched};
use sys::Inherited;
use task::Stopped;
use wait::Status;

/// What to launch and how to trace it.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The command and its arguments.
    pub command: Vec<OsString>,
    /// Where tracees stop.
    pub stops: Stops,
    /// Whether another way to stop may be taken if that one is refused.
    pub may_fall_back: bool,
    /// Whether descendants are followed.
    pub follow: bool,
    /// Whether tracees die with the program and with forktrace.
    pub kill_on_exit: bool,
    /// The most bytes of a string, and elements of an array, that are read.
    pub string_limit: usize,
}

/// A live trace.
pub struct Tracer {
    machine: Machine,
    output: Output,
    live: Live,
    program: Launched,
    path: PathBuf,
    inherited: Inherited,
    start: Instant,
    follow: bool,
    kill_on_exit: bool,
    program_end: Option<End>,
    /// When a held child was first seen to wait, in rounds of waiting.
    overdue_rounds: u32,
    asked_to_leave: bool,
    notices: Vec<String>,
}

/// How long to wait, at a time, for the event that names a held child.
const OVERDUE_MS: i64 = 50;
/// After so many rounds a held child is taken up although a process lives
/// that might be its parent.
const OVERDUE_ROUNDS: u32 = 40;

impl Tracer {
    /// Starts a program under trace.
    ///
    /// # Errors
    /// Where there is no such program or tracing is refused.
    pub fn launch(launch: Launch) -> Result<Tracer, LaunchError> {
        let command = launch
            .command
            .first()
            .ok_or_else(|| LaunchError::NotFound(anyhow!("no command given")))?;
        let path = spawn::find(command)?;
        let inherited = sys::take_signals();
        let mut program = spawn::launch(
            &path,
            &launch.command,
            &inherited,
            launch.stops,
            launch.may_fall_back,
            launch.kill_on_exit,
        )
        .map_err(LaunchError::Refused)?;
        let mut machine = Machine::new(Settings {
            stops: program.stops,
            follow: launch.follow,
            string_limit: launch.string_limit,
        });
        machine.launch(program.waiting.tid);
        sys::pass_signals_to(Some(program.waiting.tid), &inherited);
        program.waiting.go();
        let notices = program.notice.take().into_iter().collect();
        Ok(Tracer {
            machine,
            output: Output::default(),
            live: Live,
            program,
            path,
            inherited,
            start: Instant::now(),
            follow: launch.follow,
            kill_on_exit: launch.kill_on_exit,
            program_end: None,
            overdue_rounds: 0,
            asked_to_leave: false,
            notices,
        })
    }

    /// How tracees are stopped in this run.
    pub fn stops(&self) -> Stops {
        self.program.stops
    }

    /// What the user should know, a line each; handed out once.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Nobody reads the events any more: traces as little as possible from
    /// here on. Tracees that have a filter must still be traced.
    pub fn drain(&mut self) {
        self.machine.drain();
    }

    /// How the program ended, once it has.
    ///
    /// # Errors
    /// If it never came into being: its exec failed.
    pub fn program_end(&self) -> Result<Option<End>, LaunchError> {
        match self.program_end {
            // The child reports only a failed exec.
            Some(End::Exited(127)) => match self.program.waiting.report() {
                Some(errno) => Err(spawn::exec_failed(&self.path, errno)),
                None => Ok(self.program_end),
            },
            end => Ok(end),
        }
    }

    fn resume_all(&mut self) -> anyhow::Result<()> {
        for (stopped, how) in self.output.resume.drain(..) {
            let tid = stopped.tid();
            sys::resume(stopped, how)
                .map_err(|errno| anyhow!("cannot resume thread {tid}: {errno}"))?;
        }
        Ok(())
    }

    /// Waits for one report and lets the machine decide. `false`: nothing is
    /// left to trace.
    fn advance(&mut self) -> anyhow::Result<bool> {
        if self.finished() {
            return Ok(false);
        }
        let held = self.machine.has_held();
        if held {
            sys::wake_after_ms(OVERDUE_MS);
        }
        match sys::wait() {
            Ok(Some((tid, status))) => {
                self.overdue_rounds = 0;
                self.report(tid, wait::decode(status));
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(Errno(libc::EINTR)) => {
                if held {
                    self.overdue_rounds += 1;
                    let patient = self.overdue_rounds < OVERDUE_ROUNDS;
                    self.machine.overdue(
                        self.start.elapsed(),
                        patient,
                        &mut self.live,
                        &mut self.output,
                    );
                }
                Ok(true)
            }
            Err(errno) => Err(anyhow!("{errno}")).context("cannot wait for the traced program"),
        }
    }

    fn report(&mut self, tid: Tid, status: Status) {
        let input = match status {
            Status::Stopped(cause) => Input::Stop(Stopped::new(tid), cause),
            Status::Ended(end) => {
                if tid == self.program.waiting.tid && self.program_end.is_none() {
                    self.program_ended(end);
                }
                Input::End(tid, end)
            }
        };
        self.machine.step(
            self.start.elapsed(),
            input,
            &mut self.live,
            &mut self.output,
        );
    }

    fn program_ended(&mut self, end: End) {
        self.program_end = Some(end);
        sys::pass_signals_to(None, &self.inherited);
        if self.kill_on_exit {
            for tid in self.machine.tids() {
                if tid != self.program.waiting.tid {
                    sys::kill(tid, Signal(libc::SIGKILL));
                }
            }
        }
    }

    fn finished(&mut self) -> bool {
        let done = match self.program_end {
            Some(_) => !self.follow || self.machine.is_empty(),
            None => false,
        };
        done || self.leave()
    }

    /// After the program's end a signal to forktrace means forktrace: it goes,
    /// and what is left runs on untraced. Where a filter needs a tracer it
    /// says so, and goes only if told again.
    fn leave(&mut self) -> bool {
        if self.program_end.is_none() {
            return false;
        }
        let Some(signal) = sys::taken_signal() else {
            return false;
        };
        if self.program.stops == Stops::Seccomp && !self.asked_to_leave {
            self.asked_to_leave = true;
            self.notices.push(format!(
                "{signal}: the program has ended, but threads it left behind can't run without \
                 forktrace (--stops=seccomp); once more ends them"
            ));
            return false;
        }
        self.machine.let_go(&mut self.output);
        true
    }
}

impl Source for Tracer {
    fn next(&mut self) -> anyhow::Result<Option<Event>> {
        loop {
            if let Some(event) = self.output.events.pop_front() {
                return Ok(Some(event));
            }
            self.resume_all()?;
            if !self.advance()? && self.output.events.is_empty() {
                return Ok(None);
            }
        }
    }
}
