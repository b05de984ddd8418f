//! The heart of the tracer, and pure: one stop (or end) in; events and
//! decisions how stopped tracees go on out. It never calls the kernel: what
//! it needs to know of a tracee it asks of a [`Probe`]. Races are therefore
//! unit tests that permute stops.
//!
//! The stops that matter, by mode (`P` the parent, `C` its child):
//!
//! | mode | a creation | a failed call |
//! | --- | --- | --- |
//! | event | P: created; C: first stop | not seen |
//! | seccomp | P: seccomp; P: created; C: first stop | P: seccomp; P: exit |
//! | syscall | P: entry; P: created; C: first stop; P: exit | P: entry; P: exit |
//!
//! C's first stop may come before P's. Then C is *held*, stopped, until P's
//! event names it. If P is killed before its event, no event comes: see
//! [`Machine::overdue`] and the module `orphans`.

mod birth;
mod calls;
mod ends;
mod orphans;
#[cfg(test)]
mod tests;
mod untraced;

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::probe::{Gone, Phase, Probe};
use super::task::{Cause, Resume, Stopped};
use crate::abi::{Abi, Call, Syscall};
use crate::clone::{self, Request};
use crate::event::{
    Attached, Create, End, Event, EventKind, Exec, Follow, Lost, Outcome, Start, Stops,
};
use crate::exec::{self, ExecCall};
use crate::ids::{Errno, Pid, Signal, Tid};
use untraced::Changed;

/// One thing that `waitpid` reported.
#[derive(Debug)]
pub enum Input {
    /// A tracee stopped.
    Stop(Stopped, Cause),
    /// A thread is gone.
    End(Tid, End),
}

/// What follows from it: events in order, and how stopped tracees go on.
#[derive(Debug, Default)]
pub struct Output {
    /// To be told before any of `resume` is carried out.
    pub events: VecDeque<Event>,
    /// To be carried out, in order.
    pub resume: Vec<(Stopped, Resume)>,
}

/// How to trace.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
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

/// When to let go of tracees that live on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetachOn {
    /// Never.
    Never,
    /// When one execs (but for the first program).
    Exec,
    /// When the first program ends.
    ExitOfRoot,
}

/// What a traced thread is doing, as far as the next stop depends on it.
#[derive(Debug)]
enum Doing {
    Nothing,
    Creating(Box<Request>),
    Executing(Box<ExecCall>),
}

/// A traced thread.
#[derive(Debug)]
struct Task {
    tgid: Pid,
    doing: Doing,
    /// Named by its parent's event, but not yet seen in its own first stop.
    expected: bool,
    /// The thread that waits in vfork for this one's exec or exit.
    vfork_parent: Option<Tid>,
    /// How many pid namespaces below the tracer's its own is.
    ns_level: u8,
    /// Its pid namespace, once that was asked for.
    pid_ns: Option<u64>,
    /// Whether it called unshare or setns, so that its children may be born
    /// in another pid namespace than its own.
    ns_moved: bool,
    /// Still forktrace's own code on the way to the program's exec: nothing
    /// of it is told.
    launching: bool,
    /// The count of reports at its last one.
    last_report: u64,
    /// Told of before its parent's event came, if it ever comes.
    adopted: bool,
    /// Generations of processes between the first one and this.
    depth: u32,
    /// Not wanted, but its filter needs a tracer: nothing of it is told.
    silent: bool,
    /// Not wanted, and to be let go at its first stop.
    unwanted: bool,
    /// What of its creating call is not as the program set it.
    changed: Option<Changed>,
}

/// A thread that was reported before its creation was.
#[derive(Debug)]
struct Held {
    state: HeldState,
    /// When it was reported, on the clock and in the count of reports.
    since: Duration,
    report: u64,
    /// The threads that may have created it, alive.
    suspects: Vec<Tid>,
    /// Those of them that ended without having reported anything else.
    lost: Vec<Tid>,
}

#[derive(Debug)]
enum HeldState {
    Stopped(Stopped, Cause),
    Dead(End),
}

/// A task that ended where it may have been creating a child whose event can't
/// come any more: its end is told a little later, so that the child can be
/// told before it.
#[derive(Debug)]
struct Limbo {
    tid: Tid,
    task: Task,
    end: End,
    since: Duration,
}

/// What a child takes over from its parent.
#[derive(Debug, Clone)]
struct Parent {
    tgid: Pid,
    ns_level: u8,
    ns_moved: bool,
    depth: u32,
    silent: bool,
    changed: Option<Changed>,
}

impl Parent {
    fn of(task: &Task) -> Parent {
        Parent {
            tgid: task.tgid,
            ns_level: task.ns_level,
            ns_moved: task.ns_moved,
            depth: task.depth,
            silent: task.silent,
            changed: task.changed.clone(),
        }
    }
}

/// The state of all traced threads.
#[derive(Debug)]
pub struct Machine {
    settings: Settings,
    tasks: HashMap<Tid, Task>,
    held: HashMap<Tid, Held>,
    limbo: Vec<Limbo>,
    /// Children named by creators that were killed before their call could be
    /// read: it will be, from the child.
    named: HashMap<Tid, (Tid, Parent)>,
    /// Children that forktrace may have to reap but does not trace.
    strangers: HashSet<Tid>,
    /// Reports so far.
    reports: u64,
    draining: bool,
    /// Whether the first event was told: a program that never comes to run has
    /// no trace.
    started: bool,
    /// Whether there are, or were, tasks of which nothing is told.
    any_silent: bool,
    /// Whether it was told that a tracee tries to trace others.
    tracing_told: bool,
    now: Duration,
}

impl Machine {
    /// A machine that traces nothing yet.
    pub fn new(settings: Settings) -> Machine {
        Machine {
            settings,
            tasks: HashMap::new(),
            held: HashMap::new(),
            limbo: Vec::new(),
            named: HashMap::new(),
            strangers: HashSet::new(),
            reports: 0,
            draining: false,
            started: false,
            any_silent: false,
            tracing_told: false,
            now: Duration::ZERO,
        }
    }

    /// Adds the thread that will exec the program to trace.
    pub fn launch(&mut self, tid: Tid) {
        self.tasks.insert(
            tid,
            Task {
                launching: true,
                ..Task::new(Pid::from(tid), 0)
            },
        );
    }

    /// Adds a thread that is there already and was seized, and tells of it.
    pub fn attach(
        &mut self,
        now: Duration,
        tid: Tid,
        tgid: Pid,
        attached: Attached,
        ns_level: u8,
        output: &mut Output,
    ) {
        self.now = now;
        self.tasks.insert(tid, Task::new(tgid, ns_level));
        let kind = EventKind::Attached(Box::new(attached));
        self.tell(output, tid, tgid, kind);
    }

    /// Whether a thread is known.
    pub fn knows(&self, tid: Tid) -> bool {
        self.tasks.contains_key(&tid) || self.held.contains_key(&tid)
    }

    /// The process of a thread that is traced.
    pub fn group_of(&self, tid: Tid) -> Option<Pid> {
        self.tasks.get(&tid).map(|task| task.tgid)
    }

    /// How many threads are traced.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether there is nothing left that could stop or end. A task that was
    /// killed where it may have been creating counts until it is certain that
    /// no child of it comes.
    pub fn is_empty(&self) -> bool {
        let stopped = |held: &Held| matches!(held.state, HeldState::Stopped(..));
        self.tasks.is_empty() && self.limbo.is_empty() && !self.held.values().any(stopped)
    }

    /// Whether something waits that [`Machine::overdue`] has to look after: a
    /// thread that was reported for its creation, or an end for a child to come.
    pub fn is_waiting(&self) -> bool {
        !self.limbo.is_empty() || !self.held.is_empty()
    }

    /// The threads that are traced.
    pub fn tids(&self) -> impl Iterator<Item = Tid> {
        self.tasks.keys().copied()
    }

    /// Takes one report.
    pub fn step<P: Probe>(
        &mut self,
        now: Duration,
        input: Input,
        probe: &mut P,
        output: &mut Output,
    ) {
        self.now = now;
        self.reports += 1;
        match input {
            Input::End(tid, end) => self.ended(tid, end, probe, output),
            Input::Stop(task, cause) => self.stopped(task, cause, probe, output),
        }
    }

    fn tell(&mut self, output: &mut Output, tid: Tid, tgid: Pid, kind: EventKind) {
        if self.tasks.get(&tid).is_some_and(|task| task.silent) {
            return;
        }
        if !std::mem::replace(&mut self.started, true) {
            let start = Start {
                stops: self.settings.stops,
                follow: self.settings.follow,
            };
            self.tell(output, tid, tgid, EventKind::Start(start));
        }
        output.events.push_back(Event {
            at: self.now,
            tid,
            tgid,
            kind,
        });
    }

    fn stopped<P: Probe>(
        &mut self,
        stopped: Stopped,
        cause: Cause,
        probe: &mut P,
        output: &mut Output,
    ) {
        let tid = stopped.tid();
        let Some(task) = self.tasks.get_mut(&tid) else {
            // A thread that execs may get the tid of a leader that nobody knew.
            let execs = cause == Cause::Exec
                && probe
                    .event_message(&stopped)
                    .is_ok_and(|former| self.tasks.contains_key(&Tid(former as i32)));
            if execs {
                self.execed(stopped, probe, output);
            } else {
                self.hold(stopped, cause, probe, output);
            }
            return;
        };
        // The report of an exec is that of the thread that called it; that of a
        // creation may come to nothing, if the thread is killed in its stop.
        if !matches!(cause, Cause::Exec | Cause::Created) || task.expected {
            task.last_report = self.reports;
        }
        if std::mem::take(&mut task.expected) {
            self.put_back(&stopped, probe);
            self.first_stop(stopped, cause, output);
            return;
        }
        match cause {
            Cause::Seccomp | Cause::Syscall => {
                match probe.phase(&stopped) {
                    Ok(Phase::Entry(Some(call))) => self.entered(&stopped, call, probe, output),
                    Ok(Phase::Exit(value)) => {
                        self.put_back(&stopped, probe);
                        self.left(tid, value, probe, output);
                    }
                    Ok(Phase::Entry(None) | Phase::None) | Err(Gone) => {}
                }
                self.go_on(stopped, cause, output);
            }
            Cause::Created => self.created(stopped, probe, output),
            Cause::Exec => self.execed(stopped, probe, output),
            Cause::Trap | Cause::Group(_) | Cause::Signal(_) | Cause::Other => {
                self.go_on(stopped, cause, output);
            }
        }
    }

    /// Resumes a tracee in the way that its mode, its state and the cause of
    /// its stop ask for.
    fn go_on(&mut self, stopped: Stopped, cause: Cause, output: &mut Output) {
        let signal = cause.signal();
        if self.draining {
            self.tasks.remove(&stopped.tid());
            output.resume.push((stopped, Resume::Detach(signal)));
            return;
        }
        let resume = match (cause, self.settings.stops) {
            (Cause::Group(_), _) => Resume::Listen,
            (_, Stops::Syscall) => Resume::Syscall(signal),
            (_, Stops::Event) => Resume::Cont(signal),
            // After the filter's stop of a call that may fail, its exit has to
            // be seen; a success is seen by its event, and costs no exit stop.
            (_, Stops::Seccomp) => match self.tasks.get(&stopped.tid()).map(|t| &t.doing) {
                Some(Doing::Creating(_) | Doing::Executing(_)) => Resume::Syscall(signal),
                _ => Resume::Cont(signal),
            },
        };
        output.resume.push((stopped, resume));
    }
}

impl Task {
    fn new(tgid: Pid, ns_level: u8) -> Task {
        Task {
            tgid,
            doing: Doing::Nothing,
            expected: false,
            vfork_parent: None,
            ns_level,
            pid_ns: None,
            ns_moved: false,
            launching: false,
            last_report: 0,
            adopted: false,
            depth: 0,
            silent: false,
            unwanted: false,
            changed: None,
        }
    }
}

/// Decides the ABI of a creating call read from registers.
///
/// `arch` is asked for only where the number doesn't tell.
pub fn creating_abi(nr: u64, arch: impl FnOnce() -> Option<u32>) -> Option<Abi> {
    Abi::of_creating(nr).or_else(|| Abi::from_audit(arch()?, nr))
}
