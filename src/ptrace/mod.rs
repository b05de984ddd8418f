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

use std::collections::VecDeque;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

use crate::abi::Abi;
use crate::event::{End, Ended, Follow, Start, Stops, Target, Wanted};
use crate::ids::{Errno, Pid, Signal, Tid};
use crate::source::{Next, Source};
use attach::Targets;
use live::Live;
use machine::{DetachOn, Input, Machine, Output, Settings};
use spawn::{Launch, LaunchError, Launched};
use sys::{Arrival, Inherited, Report, Waited};
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
    /// Whether all events carry the names of threads.
    pub names: Wanted,
    /// Whether the ends of processes tell what they used.
    pub usage: Wanted,
    /// Whether it is told several times a second that nothing happens.
    pub ticks: Wanted,
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
    /// Signals to forktrace that may be meant for the program.
    to_pass_on: Vec<(Arrival, Instant)>,
    /// Signals that the program got itself, lately.
    programs_own: Vec<(Arrival, Instant)>,
    asked_to_leave: bool,
    /// Whether all that is traced is to be killed.
    killing: bool,
    left_by: Option<Signal>,
    draining: bool,
    /// Reports that were fetched but not looked at yet.
    ready: VecDeque<Report>,
    /// Whether events were handed out since it was last said that none come.
    told: bool,
    /// Failures of waitpid in a row.
    failures: u32,
    notices: Vec<String>,
}

/// What a step came to.
enum Step {
    /// Something was looked at.
    Went,
    /// Nothing happened for a moment.
    Idle,
    /// Nothing is left to trace.
    Done,
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

/// How long a signal to forktrace waits before it is passed on: somebody who
/// signals the process group sends it to the program as well.
const PASS_ON_AFTER: Duration = Duration::from_millis(10);
/// How long such a signal to the program counts as the same.
const SAME_SIGNAL: Duration = Duration::from_millis(500);
/// How often it is told that nothing happens, where that was asked for.
const TICK_MS: i64 = 200;
/// How long after attaching the thread lists are read again.
const LOOK_AGAIN_MS: i64 = 10;
/// How often they must show nothing new.
const QUIET_ROUNDS: u32 = 2;
/// From so many tracees on waitpid is not fair enough.
const MANY: usize = 8;
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
        let words = launch.command.iter().map(|word| word.as_bytes().to_vec());
        let target = Target::Command(words.collect());
        let origin = Origin::Launched(Box::new(program));
        let mut tracer = Tracer::new(origin, target, inherited, how);
        tracer.machine.launch(tid);
        sys::admit_signals(&tracer.inherited);
        if let Origin::Launched(program) = &mut tracer.origin {
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
        let target = Target::Processes(targets.pids.clone());
        let origin = Origin::Attached {
            targets,
            look_again: None,
            quiet_rounds: 0,
        };
        let mut tracer = Tracer::new(origin, target, inherited, how);
        sys::admit_signals(&tracer.inherited);
        tracer.look_for_threads();
        if tracer.machine.is_empty() {
            let reasons = std::mem::take(&mut tracer.notices);
            return Err(LaunchError::Refused(anyhow!("{}", reasons.join("; "))));
        }
        Ok(tracer)
    }

    fn new(origin: Origin, target: Target, inherited: Inherited, how: How) -> Tracer {
        let settings = Settings {
            stops: how.stops,
            follow: how.follow,
            max_depth: how.max_depth,
            detach_on: how.detach_on,
            string_limit: how.string_limit,
            names: how.names,
        };
        let (wall, monotonic) = sys::clocks();
        let start = Start {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            wall,
            monotonic,
            target,
            abi: Abi::NATIVE,
            stops: how.stops,
            follow: how.follow,
        };
        let mut tracer = Tracer {
            machine: Machine::new(settings, start),
            output: Output::default(),
            live: Live::new(),
            origin,
            inherited,
            start: Instant::now(),
            how,
            to_pass_on: Vec::new(),
            programs_own: Vec::new(),
            asked_to_leave: false,
            killing: false,
            left_by: None,
            draining: false,
            ready: VecDeque::new(),
            told: false,
            failures: 0,
            notices: Vec::new(),
        };
        if !tracer.live.has_proc() {
            tracer.notices.push(
                "/proc is not that of this pid namespace: pids in inner namespaces can't be told \
                 (mount a new one: unshare --mount-proc)"
                    .to_owned(),
            );
        }
        tracer
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
        self.machine.drain(&mut self.output);
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

    /// Waits for one report and lets the machine decide.
    fn advance(&mut self) -> anyhow::Result<Step> {
        // First what was fetched: leaving with a signal in hand would lose it.
        if let Some(report) = self.ready.pop_front() {
            self.report(report);
            return Ok(Step::Went);
        }
        if self.finished() {
            self.conclude();
            return Ok(Step::Done);
        }
        if !self.output.events.is_empty() {
            return Ok(Step::Went);
        }
        self.pass_signals_on();
        self.look_again_if_due();
        let held = self.machine.is_waiting();
        if held {
            let now = self.start.elapsed();
            self.machine.overdue(now, &mut self.live, &mut self.output);
            if !self.output.events.is_empty() || !self.output.resume.is_empty() {
                return Ok(Step::Went);
            }
        }
        let looking = matches!(
            &self.origin,
            Origin::Attached {
                look_again: Some(_),
                ..
            }
        );
        if self.told && !sys::can_wake() {
            return Ok(Step::Idle);
        }
        let busy = held || looking || self.told || !self.to_pass_on.is_empty();
        let tick = (self.how.ticks == Wanted::Yes).then_some(TICK_MS);
        sys::wake_every_ms(busy.then_some(sys::WAKE_MS).or(tick));
        match sys::wait(false, self.how.usage) {
            Ok(Waited::Report(report)) => {
                self.failures = 0;
                self.ready.push_back(report);
                self.fetch_more();
                Ok(Step::Went)
            }
            Ok(Waited::Nobody) => {
                self.conclude();
                Ok(Step::Done)
            }
            Ok(Waited::Nothing) | Err(Errno(libc::EINTR)) => Ok(Step::Idle),
            Err(_) if self.failures < FAILURES_MAX => {
                self.failures += 1;
                Ok(Step::Went)
            }
            Err(errno) => Err(anyhow!("{errno}")).context("cannot wait for the traced program"),
        }
    }

    /// Nobody is left: tells what was kept back.
    fn conclude(&mut self) {
        let now = self.start.elapsed();
        self.machine.conclude(now, &mut self.live, &mut self.output);
    }

    /// Fetches what else is reported before any of it is looked at: waitpid
    /// takes the first in its list that has something to say, again and again,
    /// so that among many busy tracees the last would not be heard for seconds.
    fn fetch_more(&mut self) {
        if self.machine.len() < MANY {
            return;
        }
        while let Ok(Waited::Report(report)) = sys::wait(true, self.how.usage) {
            self.ready.push_back(report);
        }
        // New threads first, before their creators' ends.
        let machine = &self.machine;
        self.ready
            .make_contiguous()
            .sort_by_key(|report| machine.group_of(report.tid).is_some());
    }

    fn report(&mut self, report: Report) {
        let Report { tid, usage, .. } = report;
        let status = wait::decode(report.status);
        let root = self.root() == Some(tid);
        if let Status::Stopped(Cause::Signal(signal)) = status
            && sys::is_passed_on(signal)
        {
            self.note_signal(tid, signal);
        }
        let input = match status {
            Status::Stopped(cause) => Input::Stop(Stopped::new(tid), cause),
            Status::Ended(end) => {
                if root {
                    self.program_ended(end);
                }
                Input::End(tid, Ended { end, usage })
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
        // Again after each report: more may have been born.
        if self.killing {
            self.kill_all();
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
        }
    }

    /// What the program's end means for those that it leaves behind.
    fn after_program(&mut self) {
        let Origin::Launched(program) = &self.origin else {
            return;
        };
        if program.kill_on_exit {
            self.killing = true;
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

    /// Remembers who signalled the program.
    fn note_signal(&mut self, tid: Tid, signal: Signal) {
        let root = self.root().map(Pid::from);
        if root.is_none() || self.machine.group_of(tid) != root {
            return;
        }
        let Ok(sender) = sys::signal_sender(tid) else {
            return;
        };
        if sender != Some(sys::own_tid().0) {
            let now = Instant::now();
            self.programs_own
                .retain(|(_, when)| now - *when < SAME_SIGNAL);
            self.programs_own.push((Arrival { signal, sender }, now));
        }
    }

    /// Passes on to the program what was sent to forktrace and meant for it:
    /// not what its terminal or somebody who signals the group sent to both.
    fn pass_signals_on(&mut self) {
        let target = match self.program() {
            Some(program) if program.end.is_none() && program.foreground => {
                program.launched.waiting.tid
            }
            _ => return,
        };
        let now = Instant::now();
        for arrival in sys::arrivals() {
            let from_terminal = arrival.sender.is_none()
                && arrival.signal != Signal(libc::SIGALRM)
                && !(arrival.signal == Signal(libc::SIGHUP) && sys::leads_session());
            if !from_terminal {
                self.to_pass_on.push((arrival, now));
            }
        }
        let own = &mut self.programs_own;
        self.to_pass_on.retain(|(arrival, when)| {
            // Without a timer nothing would come back to it in time.
            if now - *when < PASS_ON_AFTER && sys::can_wake() {
                return true;
            }
            let same = |(other, since): &(Arrival, Instant)| {
                other == arrival && other.sender.is_some() && *since + SAME_SIGNAL > *when
            };
            match own.iter().position(same) {
                Some(index) => {
                    own.remove(index);
                }
                None => sys::kill(target, arrival.signal),
            }
            false
        });
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
        let passes_on = self
            .program()
            .is_some_and(|program| program.end.is_none() && program.foreground);
        if passes_on {
            return false;
        }
        // SIGALRM is a signal to the program only: here it is nobody's.
        let told = sys::arrivals()
            .into_iter()
            .find(|arrival| arrival.signal != Signal(libc::SIGALRM));
        let Some(Arrival { signal, .. }) = told else {
            return false;
        };
        if self.how.stops == Stops::Seccomp {
            if std::mem::replace(&mut self.asked_to_leave, true) {
                self.killing = true;
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
        let due = match &self.origin {
            Origin::Attached { look_again, .. } => look_again.is_some_and(|t| t <= Instant::now()),
            Origin::Launched(_) => false,
        };
        if due {
            self.look_for_threads();
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
        let now = self.start.elapsed();
        for seized in round.seized {
            let tid = seized.tid;
            self.machine.attach(now, seized, &mut self.output);
            if self.how.stops == Stops::Syscall {
                // Gone already, or it will stop: no third way.
                let _ = sys::interrupt(tid);
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
    fn next(&mut self) -> anyhow::Result<Next> {
        loop {
            if let Some(event) = self.output.events.pop_front() {
                self.told = true;
                return Ok(Next::Event(event));
            }
            self.resume_all()?;
            let step = self.advance()?;
            match step {
                _ if !self.output.events.is_empty() => {}
                Step::Done => return Ok(Next::End),
                Step::Idle if std::mem::take(&mut self.told) => return Ok(Next::Quiet),
                Step::Idle if self.how.ticks == Wanted::Yes => return Ok(Next::Quiet),
                Step::Idle | Step::Went => {}
            }
        }
    }
}
