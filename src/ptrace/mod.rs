//! The tracer: launches a program, or attaches to running ones, and turns the
//! stops of all their threads into events. Deciding is done in [`machine`],
//! purely; here the decisions are carried out.
//!
//! # Speed: what was tried, and what it gave
//!
//! All ratios are CPU time to a bare tracer in C, by `cargo bench`.
//!
//! - The event is shown first, then the tracee goes on. The other way about, so that it
//!   runs on another CPU meanwhile, looks better and is not: 1.18 for threads instead of
//!   1.06 in event mode, and no less wall time, as two tasks then wake each other up
//!   where one would do.
//! - A child's tid in its own pid namespace is taken from the siginfo of its first
//!   stop, one ptrace call, and not from `/proc/TID/status`, which was 8 to 10 µs.
//! - Reports are fetched without waiting until there are none, so that a signal that
//!   shall end a wait is set up only before a wait.
//! - Lines for a file of forktrace's own are written together (`view/output.rs`).
//! - Numbers are written without `fmt` (`digits.rs`), maps hash tids by one
//!   multiplication, and text is put together in one buffer: from 22,600 instructions
//!   a thread to 13,700.
//! - Not done: the tid that the kernel stored for the creator could be assumed instead
//!   of read, which would save 1 µs a thread; but then it would not be what is there.

pub mod attach;
mod evidence;
pub mod filter;
mod jobs;
pub mod live;
pub mod machine;
pub mod probe;
mod refusal;
pub mod signals;
pub mod spawn;
pub mod sys;
pub mod task;
pub mod wait;

use std::collections::{HashSet, VecDeque};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::anyhow;

use crate::abi::Abi;
use crate::event::{End, Ended, Follow, Start, Stops, Target, Wanted};
use crate::ids::{Errno, Pid, Signal, Tid};
use crate::source::{Next, Source};
use attach::Targets;
use jobs::Jobs;
use live::Live;
use machine::{DetachOn, Input, Machine, Output, Settings};
use signals::Post;
use spawn::{Launch, LaunchError, Launched};
use sys::{Inherited, Report, Waited, Witness};
use task::{Resume, Stopped};
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
    /// Whether exec calls carry the environment, which may hold secrets.
    pub environment: Wanted,
    /// Whether the ends of processes tell what they used.
    pub usage: Wanted,
    /// Whether calls that wait and that send signals are told.
    pub waits: Wanted,
    /// Whether it is told who adopts orphans.
    pub orphans: Wanted,
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
    post: Post,
    /// The time of the last report that was looked at, since the start.
    looked: Duration,
    asked_to_leave: bool,
    /// Whether all that is traced is to be killed.
    killing: bool,
    left_by: Option<Signal>,
    draining: bool,
    /// Reports that were fetched but not looked at yet.
    ready: VecDeque<Report>,
    /// The time of the first event that was handed out since it was last said
    /// that none come.
    told: Option<Duration>,
    /// Why tracing ended, once what was seen before is handed out.
    failed: Option<anyhow::Error>,
    /// Stops of threads that the kernel called gone.
    unresumed: Vec<(Stopped, Resume)>,
    /// Who is stopped, the program or others.
    jobs: Jobs,
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
        /// Those of which it was told that they, or threads of theirs, can't
        /// be traced.
        refused: HashSet<Pid>,
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
    /// Tells whether a signal came to the whole process group.
    witness: Option<Witness>,
}

/// How often it is told that nothing happens, where that was asked for.
const TICK_MS: i64 = 200;
/// How long after attaching the thread lists are read again.
const LOOK_AGAIN_MS: i64 = 10;
/// How often they must show nothing new.
const QUIET_ROUNDS: u32 = 2;
/// How long after an event it is said, at the latest, that others don't come.
const QUIET_AFTER: Duration = Duration::from_millis(sys::WAKE_MS as u64);
/// From so many tracees on waitpid is not fair enough.
const MANY: usize = 8;

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
        let launched = spawn::launch(&path, launch, &inherited, how.stops, how.waits)
            .map_err(LaunchError::Refused)?;
        let tid = launched.waiting.tid;
        let program = Program {
            path,
            kill_on_exit: launch.kill_on_exit,
            end: None,
            foreground: !launch.detached,
            // Without one signals to the group may come twice: better than a
            // program that doesn't start.
            witness: (!launch.detached).then(sys::witness).and_then(Result::ok),
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
    pub fn attach(mut targets: Targets, how: How) -> Result<Tracer, LaunchError> {
        if !live::proc_is_ours() {
            return Err(LaunchError::Refused(anyhow!(
                "cannot attach: /proc is not that of this pid namespace, so that its numbers are \
                 others' (mount -t proc proc /proc, in a mount namespace of its own)"
            )));
        }
        let notices = targets.resolve();
        let inherited = sys::take_signals();
        let target = Target::Processes(targets.pids.clone());
        let origin = Origin::Attached {
            targets,
            look_again: None,
            quiet_rounds: 0,
            refused: HashSet::new(),
        };
        let mut tracer = Tracer::new(origin, target, inherited, how);
        tracer.notices.extend(notices);
        sys::admit_signals(&tracer.inherited);
        if let Err(error) = tracer.look_for_threads() {
            return Err(LaunchError::Refused(tracer.give_up(error)));
        }
        if tracer.machine.is_empty() {
            let mut reasons = std::mem::take(&mut tracer.notices);
            if reasons.is_empty() {
                reasons.push("cannot attach: the processes have ended".to_owned());
            }
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
            waits: how.waits,
            orphans: how.orphans,
            environment: how.environment,
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
            waits: how.waits,
            orphans: how.orphans,
        };
        let mut tracer = Tracer {
            machine: Machine::new(settings, start),
            output: Output::default(),
            live: Live::new(how.stops),
            origin,
            inherited,
            start: Instant::now(),
            how,
            post: Post::default(),
            looked: Duration::ZERO,
            asked_to_leave: false,
            killing: false,
            left_by: None,
            draining: false,
            ready: VecDeque::new(),
            told: None,
            failed: None,
            unresumed: Vec::new(),
            jobs: Jobs::default(),
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

    /// Waits for one report and lets the machine decide.
    fn advance(&mut self) -> anyhow::Result<Step> {
        // First what was fetched: leaving with a signal in hand would lose it.
        if let Some(report) = self.ready.pop_front() {
            self.report(report)?;
            return Ok(Step::Went);
        }
        if self.finished() {
            self.conclude();
            return Ok(Step::Done);
        }
        if self.output.is_ready() {
            return Ok(Step::Went);
        }
        self.pass_signals_on();
        self.pass_continue_on();
        self.look_again_if_due()?;
        self.check_gone()?;
        if !self.ready.is_empty() {
            return Ok(Step::Went);
        }
        let held = self.machine.is_waiting();
        let now = self.start.elapsed();
        if held && self.machine.is_due(now) {
            // What is awaited may be there, after a view that took its time.
            if let Ok(Waited::Report(report)) = sys::wait(true, self.stopping(), self.how.usage) {
                self.ready.push_back(report);
                return Ok(Step::Went);
            }
            self.machine.overdue(now, &mut self.live, &mut self.output);
            if self.output.is_ready() || !self.output.resume.is_empty() {
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
        if self.told.is_some() && !sys::can_wake() {
            return Ok(Step::Idle);
        }
        let busy = held || looking || self.told.is_some() || !self.post.is_empty();
        let idle = match self.how.ticks {
            Wanted::Yes => Some(TICK_MS),
            // Now and then, whatever happens: nothing is to be waited for in vain.
            Wanted::No => Some(sys::CHECK_MS),
        };
        sys::wake_every_ms(if busy { Some(sys::WAKE_MS) } else { idle });
        // One that came just before had its wake-up switched off by this.
        if sys::any_arrived() {
            return Ok(Step::Went);
        }
        match sys::wait(false, self.stopping(), self.how.usage) {
            Ok(Waited::Report(report)) => {
                self.ready.push_back(report);
                self.fetch_more();
                Ok(Step::Went)
            }
            Ok(Waited::Nobody) => {
                self.conclude();
                Ok(Step::Done)
            }
            Ok(Waited::Nothing) | Err(Errno::EINTR) => Ok(Step::Idle),
            Err(errno) => Err(anyhow!("cannot wait for the traced program: {errno}")),
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
        while let Ok(Waited::Report(report)) = sys::wait(true, self.stopping(), self.how.usage) {
            self.ready.push_back(report);
        }
        if self.ready.len() < 2 {
            return;
        }
        // New threads first, before their creators' ends.
        let machine = &self.machine;
        self.ready
            .make_contiguous()
            .sort_by_key(|report| machine.group_of(report.tid).is_some());
    }

    fn report(&mut self, report: Report) -> anyhow::Result<()> {
        let Report { tid, usage, .. } = report;
        let status = wait::decode(report.status);
        // Before it is forgotten who is a tracee.
        self.note_arrivals();
        let root = self.root() == Some(tid);
        if self.untraced_stop(tid, status) {
            return self.stop_with_program();
        }
        self.heard_of(tid);
        let told = self.output.events.len();
        let input = match status {
            Status::Stopped(cause) => Input::Stop(Stopped::new(tid), cause),
            Status::Ended(end) => {
                if root {
                    self.program_ended(end);
                }
                Input::End(tid, Ended { end, usage })
            }
        };
        let now = self.start.elapsed();
        self.looked = now;
        self.machine
            .step(now, input, &mut self.live, &mut self.output);
        if self.live.refusal().is_some() {
            // Told from answers that didn't come.
            self.output.events.truncate(told);
        }
        self.note_stop(tid, status);
        self.stop_with_program()?;
        if root && matches!(status, Status::Ended(_)) {
            self.pass_signals_on();
            self.after_program();
        }
        // Again after each report: more may have been born.
        if self.killing {
            self.kill_all();
        }
        Ok(())
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
                self.machine.let_go(now, &mut self.live, &mut self.output);
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
            // A signal to leave is why it ends, also if all views are gone.
            Origin::Attached { .. } => {
                return self.leave() || self.machine.is_empty() || self.draining;
            }
        };
        done || self.leave()
    }

    /// A signal to forktrace, where it isn't the program's, means forktrace:
    /// it goes, and what is left runs on untraced (the kernel sees to that when
    /// a tracer ends). Where a filter needs a tracer it says so, and goes only
    /// if told again.
    fn leave(&mut self) -> bool {
        if self.passes_on() {
            return false;
        }
        if self.left_by.is_some() {
            return true;
        }
        let Some(signal) = self.told_to_leave() else {
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
        let now = self.start.elapsed();
        self.machine.let_go(now, &mut self.live, &mut self.output);
        true
    }

    fn look_again_if_due(&mut self) -> anyhow::Result<()> {
        let due = match &self.origin {
            Origin::Attached { look_again, .. } => look_again.is_some_and(|t| t <= Instant::now()),
            Origin::Launched(_) => false,
        };
        if due {
            self.look_for_threads()?;
        }
        Ok(())
    }

    /// Seizes the threads of the targets that are not traced yet.
    fn look_for_threads(&mut self) -> anyhow::Result<()> {
        let Origin::Attached {
            targets,
            look_again,
            quiet_rounds,
            refused,
        } = &mut self.origin
        else {
            return Ok(());
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
        for (Pid(pid), reason) in round.refused {
            if refused.insert(Pid(pid)) {
                self.notices
                    .push(format!("cannot attach to {pid}: {reason:#}"));
            }
        }
        let now = self.start.elapsed();
        for seized in round.seized {
            let tid = seized.tid;
            self.machine.attach(now, seized, &mut self.output);
            if self.how.stops == Stops::Syscall {
                self.interrupt(tid)?;
            }
        }
        Ok(())
    }
}

impl Source for Tracer {
    fn next(&mut self) -> anyhow::Result<Next> {
        loop {
            // However busy tracees are: lines don't wait for them.
            if self
                .told
                .is_some_and(|told| self.looked >= told + QUIET_AFTER)
            {
                self.told = None;
                return Ok(Next::Quiet);
            }
            if let Some(event) = self.output.pop() {
                self.told.get_or_insert(event.at);
                return Ok(Next::Event(event));
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            match self.resume_all().and_then(|()| self.advance()) {
                Ok(_) if self.output.is_ready() => {}
                Ok(Step::Done) => return Ok(Next::End),
                Ok(Step::Idle) if self.told.take().is_some() => return Ok(Next::Quiet),
                Ok(Step::Idle) if self.how.ticks == Wanted::Yes => return Ok(Next::Quiet),
                Ok(Step::Idle | Step::Went) => {}
                // What was seen before is told before.
                Err(error) => self.failed = Some(self.give_up(error)),
            }
        }
    }
}
