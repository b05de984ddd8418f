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
mod kin;
mod orphans;
#[cfg(test)]
mod tests;
mod untraced;
mod waits;

use std::collections::VecDeque;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};

use super::attach::Seized;
use super::probe::{Gone, Phase, Probe};
use super::task::{Cause, Resume, Stopped};
use crate::abi::{Abi, Call, Syscall};
use crate::clone::{self, Request};
use crate::diagnosis::{self, Causes, retry};
use crate::event::{
    Child, Create, End, Ended, Event, EventKind, Exec, Follow, Lost, Outcome, Start, Stops, Wanted,
};
use crate::exec::{self, ExecCall};
use crate::ids::{Comm, Errno, Pid, Signal, Tid};
use crate::waits::WaitCall;
use kin::Kin;
use untraced::Changed;
use waits::Signalling;

/// One thing that `waitpid` reported.
#[derive(Debug)]
pub enum Input {
    /// A tracee stopped.
    Stop(Stopped, Cause),
    /// A thread is gone.
    End(Tid, Ended),
}

/// What follows from it: events in order, and how stopped tracees go on.
#[derive(Debug, Default)]
pub struct Output {
    /// To be told before any of `resume` is carried out, but for those that
    /// wait for a child in `unsure`, and what comes after them.
    pub events: VecDeque<Event>,
    /// Children whose creation is among the events, but not yet their number
    /// in their own pid namespace: their first stop, which is due, tells it.
    unsure: Vec<Tid>,
    /// To be carried out, in order.
    pub resume: Vec<(Stopped, Resume)>,
}

impl Output {
    /// Takes the next event that can be told.
    pub fn pop(&mut self) -> Option<Event> {
        self.is_ready().then(|| self.events.pop_front()).flatten()
    }

    /// Whether an event can be told.
    pub fn is_ready(&self) -> bool {
        let Some(event) = self.events.front() else {
            return false;
        };
        match &event.kind {
            _ if self.unsure.is_empty() => true,
            EventKind::Create(create) => create
                .child()
                .and_then(|child| child.tid)
                .is_none_or(|tid| !self.unsure.contains(&tid)),
            _ => true,
        }
    }

    /// Nothing more will be known of children that are not sure yet.
    pub fn settle(&mut self) {
        self.unsure.clear();
    }

    /// The creation of a child that is not sure yet.
    fn unsure_child(&mut self, tid: Tid) -> Option<&mut Child> {
        let index = self.unsure.iter().position(|unsure| *unsure == tid)?;
        self.unsure.swap_remove(index);
        self.events.iter_mut().rev().find_map(|event| {
            let EventKind::Create(create) = &mut event.kind else {
                return None;
            };
            match &mut create.outcome {
                Outcome::Created(child) if child.tid == Some(tid) => Some(child),
                _ => None,
            }
        })
    }
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
    /// Whether all events carry the names of threads, which costs system calls,
    /// or only that of one that was found.
    pub names: Wanted,
    /// Whether calls that wait and that send signals are told.
    pub waits: Wanted,
    /// Whether it is told who adopts orphans.
    pub orphans: Wanted,
    /// Whether exec calls carry the environment.
    pub environment: Wanted,
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
    Waiting(Box<WaitCall>),
    Signalling(Box<Signalling>),
}

/// A traced thread.
#[derive(Debug)]
struct Task {
    tgid: Pid,
    /// Its name when it was last looked up.
    comm: Comm,
    doing: Doing,
    /// When it entered the call that it is in.
    entered: Duration,
    /// Named by its parent's event, but not yet seen in its own first stop.
    expected: bool,
    /// The thread that waits in vfork for this one's exec or exit.
    vfork_parent: Option<Tid>,
    /// How many pid namespaces below the tracer's its own is.
    ns_level: u8,
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
    changed: Option<Box<Changed>>,
    /// Its last creating call, if that failed in a way that the next one may make
    /// good.
    failed: Option<Box<(Request, Errno)>>,
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
    Dead(Ended),
}

/// A task that ended where it may have been creating a child whose event can't
/// come any more: its end is told a little later, so that the child can be
/// told before it.
#[derive(Debug)]
struct Limbo {
    tid: Tid,
    task: Task,
    end: Ended,
    since: Duration,
}

/// Whom an event is about.
#[derive(Debug, Clone, Copy)]
struct Who {
    tid: Tid,
    tgid: Pid,
    comm: Comm,
}

/// What a child takes over from its parent.
#[derive(Debug, Clone)]
struct Parent {
    who: Who,
    ns_level: u8,
    ns_moved: bool,
    depth: u32,
    silent: bool,
    changed: Option<Box<Changed>>,
}

impl Parent {
    fn of(tid: Tid, task: &Task) -> Parent {
        Parent {
            who: task.who(tid),
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
    tasks: FxHashMap<Tid, Task>,
    held: FxHashMap<Tid, Held>,
    limbo: Vec<Limbo>,
    /// Those of them whose end is just about to be told: before that nobody is
    /// born with their tid.
    burying: Vec<Tid>,
    /// Children named by creators that were killed before their call could be
    /// read: it will be, from the child.
    named: FxHashMap<Tid, Parent>,
    /// Threads that called exec and gave up their tid by it, which is another
    /// thread's now, though the exec is still to be reported.
    outlived: FxHashMap<Tid, Task>,
    /// Children that forktrace may have to reap but does not trace.
    strangers: FxHashSet<Tid>,
    /// Who is whose child, where orphans are told, and under which numbers,
    /// where waits are.
    kin: Kin,
    /// Reports so far.
    reports: u64,
    draining: bool,
    /// The first event, until it was told: a program that never comes to run
    /// has no trace.
    start: Option<Box<Start>>,
    /// Whether there are, or were, tasks of which nothing is told.
    any_silent: bool,
    /// Whether it was told that a tracee tries to trace others.
    tracing_told: bool,
    now: Duration,
}

impl Machine {
    /// A machine that traces nothing yet; `start` will be its first event.
    pub fn new(settings: Settings, start: Start) -> Machine {
        Machine {
            settings,
            tasks: FxHashMap::default(),
            held: FxHashMap::default(),
            limbo: Vec::new(),
            burying: Vec::new(),
            named: FxHashMap::default(),
            outlived: FxHashMap::default(),
            strangers: FxHashSet::default(),
            kin: Kin::default(),
            reports: 0,
            draining: false,
            start: Some(Box::new(start)),
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
    pub fn attach(&mut self, now: Duration, seized: Seized, output: &mut Output) {
        self.now = now;
        let task = Task {
            comm: seized.comm,
            ..Task::new(seized.tgid, seized.ns_level)
        };
        let who = task.who(seized.tid);
        self.tasks.insert(seized.tid, task);
        let kind = EventKind::Attached(Box::new(seized.attached));
        self.tell(output, who, kind);
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

    /// All threads that anything is known of.
    pub fn known(&self) -> impl Iterator<Item = Tid> {
        self.tasks.keys().chain(self.held.keys()).copied()
    }

    /// The threads that are traced, those included whose creation is not told yet.
    pub fn tids(&self) -> impl Iterator<Item = Tid> {
        let stopped = |(_, held): &(&Tid, &Held)| matches!(held.state, HeldState::Stopped(..));
        let held = self.held.iter().filter(stopped).map(|(tid, _)| tid);
        self.tasks.keys().chain(held).copied()
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

    fn tell(&mut self, output: &mut Output, who: Who, kind: EventKind) {
        if self.tasks.get(&who.tid).is_some_and(|task| task.silent) {
            return;
        }
        if let Some(start) = self.start.take() {
            self.tell(output, who, EventKind::Start(start));
        }
        output.events.push_back(Event {
            at: self.now,
            tid: who.tid,
            tgid: who.tgid,
            comm: who.comm,
            kind,
        });
    }

    /// A tid was given to another thread.
    fn outlive(&mut self, tid: Tid) {
        if let Some(task) = self.tasks.remove(&tid) {
            self.outlived.insert(tid, task);
        }
    }

    /// Looks up a thread's name, where names are wanted.
    fn read_name<P: Probe>(&mut self, tid: Tid, probe: &mut P) {
        if self.settings.names == Wanted::Yes
            && let Some(task) = self.tasks.get_mut(&tid)
            && !task.silent
        {
            task.comm = probe.comm(tid);
        }
    }

    /// Tells that a thread's wait in vfork is over.
    fn vfork_done(&mut self, parent: Tid, child: Tid, output: &mut Output) {
        if let Some(task) = self.tasks.get(&parent) {
            let who = task.who(parent);
            self.tell(output, who, EventKind::VforkDone { child });
        }
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
            let known =
                |tid: Tid| self.tasks.contains_key(&tid) || self.outlived.contains_key(&tid);
            let execs = cause == Cause::Exec
                && probe
                    .event_message(&stopped)
                    .is_ok_and(|former| known(Tid(former as i32)));
            if execs {
                self.execed(stopped, probe, output);
            } else {
                self.hold(stopped, cause, probe, output);
            }
            return;
        };
        // The tid of a thread that called exec is free before its event is
        // reported, and may be another thread's by now.
        if cause == Cause::Trap
            && !task.expected
            && let Some((tgid, _)) = probe.family(tid)
            && tgid != task.tgid
        {
            self.outlive(tid);
            self.hold(stopped, cause, probe, output);
            return;
        }
        // The report of an exec is that of the thread that called it; that of a
        // creation may come to nothing, if the thread is killed in its stop.
        if !matches!(cause, Cause::Exec | Cause::Created) || task.expected {
            task.last_report = self.reports;
        }
        if std::mem::take(&mut task.expected) {
            self.put_back(&stopped, probe);
            self.make_sure(&stopped, probe, output);
            self.first_stop(stopped, cause, output);
            return;
        }
        match cause {
            Cause::Seccomp | Cause::Syscall => {
                match probe.phase(&stopped) {
                    Ok(Phase::Entry(Some(call))) => self.entered(&stopped, call, probe, output),
                    Ok(Phase::Refused(call)) => {
                        if let Some(call) = call {
                            self.entered(&stopped, call, probe, output);
                        }
                        // Gone: then it doesn't make the call either.
                        let _ = probe.refuse(&stopped);
                    }
                    Ok(Phase::Exit(value)) => {
                        self.put_back(&stopped, probe);
                        self.left(&stopped, value, probe, output);
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
            (_, Stops::Seccomp) => match self.tasks.get(&stopped.tid()) {
                Some(task) if task.changed.is_some() => Resume::Syscall(signal),
                None
                | Some(Task {
                    doing: Doing::Nothing,
                    ..
                }) => Resume::Cont(signal),
                Some(_) => Resume::Syscall(signal),
            },
        };
        output.resume.push((stopped, resume));
    }
}

impl Task {
    fn who(&self, tid: Tid) -> Who {
        Who {
            tid,
            tgid: self.tgid,
            comm: self.comm,
        }
    }

    fn new(tgid: Pid, ns_level: u8) -> Task {
        Task {
            tgid,
            comm: Comm::default(),
            doing: Doing::Nothing,
            entered: Duration::ZERO,
            expected: false,
            vfork_parent: None,
            ns_level,
            ns_moved: false,
            launching: false,
            last_report: 0,
            adopted: false,
            depth: 0,
            silent: false,
            unwanted: false,
            changed: None,
            failed: None,
        }
    }
}

/// Decides the ABI of a creating call read from registers.
///
/// `arch` is asked for only where the number doesn't tell.
pub fn creating_abi(nr: u64, arch: impl FnOnce() -> Option<u32>) -> Option<Abi> {
    Abi::of_creating(nr).or_else(|| Abi::from_audit(arch()?, nr))
}
