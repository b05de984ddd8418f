//! The tracer: launches a program, or attaches to running ones, and turns the
//! stops of all their threads into events. Deciding is done in [`machine`],
//! purely; here the decisions are carried out.

pub mod attach;
pub mod filter;
pub mod live;
pub mod machine;
pub mod probe;
pub mod spawn;
pub mod sys;
pub mod task;
pub mod wait;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

use crate::event::{End, Event, Follow, Stops};
use crate::ids::{Errno, Pid, Signal, Tid};
use crate::source::Source;
use attach::Targets;
use live::Live;
use machine::{DetachOn, Input, Machine, Output, Settings};
use spawn::{Launch, LaunchError, Launched};
use sys::Inherited;
use task::{Cause, Stopped};
use wait::Status;

/// How to trace, launched or attached.
#[derive(Debug, Clone)]
pub struct How {
    /// Where tracees stop.
    pub stops: Stops,
    /// Which descendants are followed.
    pub follow: Follow,
    /// How many generations of processes below the first are followed.
    pub max_depth: Option<u32>,
    /// When to let go of tracees.
    pub detach_on: DetachOn,
    /// The most bytes of a string, and elements of an array, that are read.
    pub string_limit: usize,
}

/// A live trace.
pub struct Tracer {
    machine: Machine,
    output: Output,
    live: Live,
    origin: Origin,
    inherited: Inherited,
    start: Instant,
    how: How,
    /// Rounds in which a held child was waited for in vain.
    overdue_rounds: u32,
    asked_to_leave: bool,
    left_by: Option<Signal>,
    draining: bool,
    /// Failures of waitpid in a row.
    failures: u32,
    notices: Vec<String>,
}

/// Where the tracees come from.
enum Origin {
    Launched(Box<Program>),
    Attached {
        targets: Targets,
        /// When to look again for threads born while attaching.
        look_again: Option<Instant>,
        quiet_rounds: u32,
    },
}

/// A program that forktrace launched.
struct Program {
    launched: Launched,
    path: PathBuf,
    kill_on_exit: bool,
    end: Option<End>,
    /// Whether signals to forktrace are meant for the program, and a stop of
    /// the program is one of forktrace: not if it runs detached.
    foreground: bool,
}

/// How long to wait, at a time, for the event that names a held child.
const OVERDUE_MS: i64 = 50;
/// After so many rounds a held child is taken up although a process lives
/// that might be its parent.
const OVERDUE_ROUNDS: u32 = 40;
/// How long after attaching the thread lists are read again.
const LOOK_AGAIN_MS: i64 = 10;
/// How often they must show nothing new.
const QUIET_ROUNDS: u32 = 2;
/// waitpid may fail so often in a row before that counts.
const FAILURES_MAX: u32 = 3;

impl Tracer {
    /// Starts a program under trace.
    ///
    /// # Errors
    /// Where there is no such program or tracing is refused.
    pub fn launch(launch: &Launch, how: How) -> Result<Tracer, LaunchError> {
        let command = launch
            .command
            .first()
            .ok_or_else(|| LaunchError::NotFound(anyhow!("no command given")))?;
        let path = spawn::find(command)?;
        let inherited = sys::take_signals();
        let launched =
            spawn::launch(&path, launch, &inherited, how.stops).map_err(LaunchError::Refused)?;
        let tid = launched.waiting.tid;
        let program = Program {
            path,
            kill_on_exit: launch.kill_on_exit,
            end: None,
            foreground: !launch.detached,
            launched,
        };
        let how = How {
            stops: program.launched.stops,
            ..how
        };
        let mut tracer = Tracer::new(Origin::Launched(Box::new(program)), inherited, how);
        tracer.machine.launch(tid);
        if let Origin::Launched(program) = &mut tracer.origin {
            let target = program.foreground.then_some(tid);
            sys::pass_signals_to(target, &tracer.inherited);
            tracer.notices.extend(program.launched.notice.take());
            program.launched.waiting.go();
        }
        Ok(tracer)
    }

    /// Attaches to processes that run. Some may be refused as long as one is
    /// not: that is a notice.
    ///
    /// # Errors
    /// Where none can be traced.
    pub fn attach(targets: Targets, how: How) -> Result<Tracer, LaunchError> {
        let inherited = sys::take_signals();
        let origin = Origin::Attached {
            targets,
            look_again: None,
            quiet_rounds: 0,
        };
        let mut tracer = Tracer::new(origin, inherited, how);
        sys::pass_signals_to(None, &tracer.inherited);
        tracer.look_for_threads();
        if tracer.machine.is_empty() {
            let reasons = std::mem::take(&mut tracer.notices);
            return Err(LaunchError::Refused(anyhow!("{}", reasons.join("; "))));
        }
        Ok(tracer)
    }

    fn new(origin: Origin, inherited: Inherited, how: How) -> Tracer {
        Tracer {
            machine: Machine::new(Settings {
                stops: how.stops,
                follow: how.follow,
                max_depth: how.max_depth,
                detach_on: how.detach_on,
                string_limit: how.string_limit,
            }),
            output: Output::default(),
            live: Live,
            origin,
            inherited,
            start: Instant::now(),
            how,
            overdue_rounds: 0,
            asked_to_leave: false,
            left_by: None,
            draining: false,
            failures: 0,
            notices: Vec::new(),
        }
    }

    /// How tracees are stopped in this run.
    pub fn stops(&self) -> Stops {
        self.how.stops
    }

    /// What the user should know, a line each; handed out once.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Nobody reads the events any more: traces as little as possible from
    /// here on. Tracees that have a filter must still be traced.
    pub fn drain(&mut self) {
        self.draining = true;
        self.machine.drain();
    }

    /// How the program ended, once it has.
    ///
    /// # Errors
    /// If it never came into being: its exec failed.
    pub fn program_end(&self) -> Result<Option<End>, LaunchError> {
        let Origin::Launched(program) = &self.origin else {
            return Ok(None);
        };
        match program.end {
            // The child reports only a failed exec.
            Some(End::Exited(126 | 127)) => match program.launched.waiting.report() {
                Some(errno) => Err(spawn::exec_failed(&program.path, errno)),
                None => Ok(program.end),
            },
            end => Ok(end),
        }
    }

    /// The signal that made forktrace leave, if that is why it ended.
    pub fn left_by(&self) -> Option<Signal> {
        self.left_by
    }

    fn program(&self) -> Option<&Program> {
        match &self.origin {
            Origin::Launched(program) => Some(program),
            Origin::Attached { .. } => None,
        }
    }

    fn root(&self) -> Option<Tid> {
        self.program().map(|program| program.launched.waiting.tid)
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
        self.look_again_if_due();
        match sys::wait() {
            Ok(Some((tid, status))) => {
                self.overdue_rounds = 0;
                self.failures = 0;
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
            Err(_) if self.failures < FAILURES_MAX => {
                self.failures += 1;
                Ok(true)
            }
            Err(errno) => Err(anyhow!("{errno}")).context("cannot wait for the traced program"),
        }
    }

    fn report(&mut self, tid: Tid, status: Status) {
        let root = self.root() == Some(tid);
        let input = match status {
            Status::Stopped(cause) => Input::Stop(Stopped::new(tid), cause),
            Status::Ended(end) => {
                if root {
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
        if let (true, Status::Stopped(Cause::Group(signal))) = (root, status) {
            self.stop_with_program(signal);
        }
        if root && matches!(status, Status::Ended(_)) {
            self.after_program();
        }
    }

    /// A terminal stopped the program: its shell waits for forktrace, so that
    /// stops as well, until the shell continues both.
    fn stop_with_program(&mut self, signal: Signal) {
        let foreground = self.program().is_some_and(|program| program.foreground);
        if foreground && sys::group_was_stopped_by(signal) && self.resume_all().is_ok() {
            sys::stop_self();
        }
    }

    fn program_ended(&mut self, end: End) {
        if let Origin::Launched(program) = &mut self.origin
            && program.end.is_none()
        {
            program.end = Some(end);
            sys::pass_signals_to(None, &self.inherited);
        }
    }

    /// What the program's end means for those that it leaves behind.
    fn after_program(&mut self) {
        let Origin::Launched(program) = &self.origin else {
            return;
        };
        if program.kill_on_exit {
            self.kill_all();
        } else if self.how.detach_on == DetachOn::ExitOfRoot {
            let now = self.start.elapsed();
            if self.how.stops == Stops::Seccomp {
                self.machine.silence_all(now, &mut self.output);
            } else {
                self.machine.let_go(now, &mut self.output);
            }
        }
    }

    /// Kills what is left; its ends are waited for and told.
    fn kill_all(&self) {
        for tid in self.machine.tids() {
            sys::kill(tid, Signal(libc::SIGKILL));
        }
    }

    fn finished(&mut self) -> bool {
        let done = match &self.origin {
            Origin::Launched(program) => {
                program.end.is_some()
                    && (self.how.follow == Follow::None
                        || self.machine.is_empty()
                        // Those left are untraced at their next stop, or when
                        // forktrace ends.
                        || (self.draining && self.how.stops != Stops::Seccomp))
            }
            Origin::Attached { .. } => self.machine.is_empty() || self.draining,
        };
        done || self.leave()
    }

    /// A signal to forktrace, where it isn't the program's, means forktrace:
    /// it goes, and what is left runs on untraced (the kernel sees to that when
    /// a tracer ends). Where a filter needs a tracer it says so, and goes only
    /// if told again.
    fn leave(&mut self) -> bool {
        let Some(signal) = sys::taken_signal() else {
            return false;
        };
        if self.how.stops == Stops::Seccomp {
            if std::mem::replace(&mut self.asked_to_leave, true) {
                self.kill_all();
            } else {
                let now = self.start.elapsed();
                self.machine.must_stay(now, signal, &mut self.output);
            }
            return false;
        }
        self.left_by = Some(signal);
        self.machine.let_go(self.start.elapsed(), &mut self.output);
        true
    }

    fn look_again_if_due(&mut self) {
        if let Origin::Attached {
            look_again: Some(when),
            ..
        } = &self.origin
        {
            if *when <= Instant::now() {
                self.look_for_threads();
            } else {
                sys::wake_after_ms(LOOK_AGAIN_MS);
            }
        }
    }

    /// Seizes the threads of the targets that are not traced yet.
    fn look_for_threads(&mut self) {
        let Origin::Attached {
            targets,
            look_again,
            quiet_rounds,
        } = &mut self.origin
        else {
            return;
        };
        let first = look_again.is_none();
        let machine = &self.machine;
        let round = attach::seize_all(targets, spawn::options(self.how.stops, false), &|tid| {
            machine.knows(tid)
        });
        *quiet_rounds = if round.seized.is_empty() && !first {
            *quiet_rounds + 1
        } else {
            0
        };
        *look_again = (*quiet_rounds < QUIET_ROUNDS)
            .then(|| Instant::now() + Duration::from_millis(LOOK_AGAIN_MS as u64));
        if look_again.is_some() {
            sys::wake_after_ms(LOOK_AGAIN_MS);
        }
        let now = self.start.elapsed();
        for seized in round.seized {
            self.machine.attach(
                now,
                seized.tid,
                seized.tgid,
                seized.attached,
                seized.ns_level,
                &mut self.output,
            );
            if self.how.stops == Stops::Syscall {
                // Gone already, or it will stop: no third way.
                let _ = sys::interrupt(seized.tid);
            }
        }
        if first {
            for (Pid(pid), reason) in round.refused {
                self.notices
                    .push(format!("cannot attach to {pid}: {reason:#}"));
            }
        }
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
