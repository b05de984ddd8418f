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
//! [`Machine::overdue`] and the module `birth`.

mod birth;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::probe::{Gone, Phase, Probe};
use super::task::{Cause, Resume, Stopped};
use crate::abi::{Abi, Call, Syscall};
use crate::clone::{self, CloneFlags, Request, Spec};
use crate::event::{
    Attached, Create, End, Event, EventKind, Exec, Follow, Lost, Outcome, Start, Stops,
};
use crate::exec::{self, ExecCall};
use crate::ids::{Errno, Pid, Signal, Tid};

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
    /// The flags register of its clone as the program set it, while it holds
    /// something else.
    changed_flags: Option<(Abi, u64)>,
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
#[derive(Debug, Clone, Copy)]
struct Parent {
    tgid: Pid,
    ns_level: u8,
    ns_moved: bool,
    depth: u32,
    silent: bool,
}

impl Parent {
    fn of(task: &Task) -> Parent {
        Parent {
            tgid: task.tgid,
            ns_level: task.ns_level,
            ns_moved: task.ns_moved,
            depth: task.depth,
            silent: task.silent,
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

    /// Whether there is nothing left that could stop or end.
    pub fn is_empty(&self) -> bool {
        let stopped = |held: &Held| matches!(held.state, HeldState::Stopped(..));
        self.tasks.is_empty() && !self.held.values().any(stopped)
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

    /// Lets go of every tracee at its next stop, where no filter forbids it;
    /// for when nobody reads the events any more.
    pub fn drain(&mut self, output: &mut Output) {
        self.draining = self.settings.stops != Stops::Seccomp;
        if self.draining {
            for (_, held) in self.held.drain() {
                if let HeldState::Stopped(stopped, cause) = held.state {
                    output
                        .resume
                        .push((stopped, Resume::Detach(cause.signal())));
                }
            }
        }
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
            self.restore_flags(&stopped, probe);
            self.first_stop(stopped, cause, output);
            return;
        }
        match cause {
            Cause::Seccomp | Cause::Syscall => {
                match probe.phase(&stopped) {
                    Ok(Phase::Entry(Some(call))) => self.entered(&stopped, call, probe, output),
                    Ok(Phase::Exit(value)) => {
                        self.restore_flags(&stopped, probe);
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

    /// A call is entered.
    fn entered<P: Probe>(
        &mut self,
        stopped: &Stopped,
        syscall: Syscall,
        probe: &mut P,
        output: &mut Output,
    ) {
        let limit = self.settings.string_limit;
        let Some(task) = self
            .tasks
            .get_mut(&stopped.tid())
            .filter(|task| !task.silent)
        else {
            return;
        };
        task.doing = match syscall.call() {
            None => Doing::Nothing,
            Some(Call::Ptrace) => {
                let tgid = task.tgid;
                if ptrace_takes_a_tracee(syscall.args[0])
                    && !std::mem::replace(&mut self.tracing_told, true)
                {
                    self.tell(output, stopped.tid(), tgid, EventKind::Tracing);
                }
                return;
            }
            Some(Call::Fork | Call::Vfork | Call::Clone | Call::Clone3) => {
                let mut memory = probe.memory(stopped);
                let request = clone::decode(syscall, &mut memory, limit);
                drop(memory);
                if self.settings.stops == Stops::Seccomp
                    && let Some(request) = &request
                {
                    task.changed_flags = without_untraced(request)
                        .filter(|(abi, _, to)| probe.set_clone_flags(stopped, *abi, *to).is_ok())
                        .map(|(abi, from, _)| (abi, from));
                }
                request.map_or(Doing::Nothing, |r| Doing::Creating(Box::new(r)))
            }
            Some(Call::Execve | Call::Execveat) => {
                let mut memory = probe.memory(stopped);
                exec::decode(syscall, &mut memory, limit)
                    .map_or(Doing::Nothing, |e| Doing::Executing(Box::new(e)))
            }
            Some(Call::Unshare | Call::Setns) => {
                task.ns_moved = true;
                Doing::Nothing
            }
        };
    }

    /// Puts the flags register of a clone back to what the program set.
    fn restore_flags<P: Probe>(&mut self, stopped: &Stopped, probe: &mut P) {
        let task = self.tasks.get_mut(&stopped.tid());
        if let Some((abi, flags)) = task.and_then(|task| task.changed_flags.take()) {
            // Gone: then nobody will look at it.
            let _ = probe.set_clone_flags(stopped, abi, flags);
        }
    }

    /// A call is left, with no event before: it failed, or its child is hidden
    /// from tracers. The exit after an event finds nothing to do.
    fn left<P: Probe>(&mut self, tid: Tid, value: i64, probe: &mut P, output: &mut Output) {
        let Some(task) = self.tasks.get_mut(&tid) else {
            return;
        };
        let (tgid, launching, level) = (task.tgid, task.launching, task.ns_level);
        let error = (value < 0).then(|| Errno(value.unsigned_abs() as i32));
        match std::mem::replace(&mut task.doing, Doing::Nothing) {
            Doing::Nothing => {}
            Doing::Creating(request) => match error {
                Some(errno) => {
                    self.tell_create(output, tid, tgid, *request, Outcome::Failed(errno));
                }
                None => self.born_unseen(tid, value as i32, level, *request, probe, output),
            },
            Doing::Executing(call) => {
                // Success raises an event; an exit without one is a failure
                // (or EXECVE_CHECK, which succeeds and changes nothing).
                if !launching {
                    let exec = Exec {
                        call: *call,
                        result: Some(error.map_or(Ok(()), Err)),
                        continues_as: None,
                        releases: None,
                    };
                    self.tell(output, tid, tgid, EventKind::Exec(Box::new(exec)));
                }
            }
        }
    }

    fn tell_create(
        &mut self,
        output: &mut Output,
        tid: Tid,
        tgid: Pid,
        request: Request,
        outcome: Outcome,
    ) {
        self.tell(
            output,
            tid,
            tgid,
            EventKind::Create(Box::new(Create { request, outcome })),
        );
    }

    /// A new program is in place.
    fn execed<P: Probe>(&mut self, stopped: Stopped, probe: &mut P, output: &mut Output) {
        let tid = stopped.tid();
        let limit = self.settings.string_limit;
        // Another thread than the leader called exec: it has the leader's tid
        // now, and the leader is gone without an end.
        let former = match probe.event_message(&stopped) {
            Ok(message) => Tid(message as i32),
            Err(Gone) => tid,
        };
        let caller = match former == tid {
            true => None,
            false => self.tasks.remove(&former),
        };
        if let Some(mut caller) = caller {
            // Not there if it had ended before it could be attached to.
            if let Some(leader) = self.tasks.remove(&tid) {
                let (tgid, silent) = (leader.tgid, leader.silent);
                caller.vfork_parent = leader.vfork_parent;
                self.suspect_ended(tid, leader.last_report);
                self.settle(tid, leader, probe, output);
                if !silent {
                    let kind = EventKind::Superseded { by: former };
                    self.tell(output, tid, tgid, kind);
                }
            }
            self.tasks.insert(tid, caller);
        }
        let Some(task) = self.tasks.get_mut(&tid) else {
            return;
        };
        task.last_report = self.reports;
        let first = std::mem::replace(&mut task.launching, false);
        let releases = task.vfork_parent.take();
        let tgid = task.tgid;
        let call = match std::mem::replace(&mut task.doing, Doing::Nothing) {
            Doing::Executing(call) => Some(*call),
            _ => probe.new_image(&stopped).ok().map(|(sp, abi)| {
                let mut memory = probe.memory(&stopped);
                exec::decode_image(sp, abi, &mut memory, limit)
            }),
        };
        if let Some(call) = call {
            let exec = Exec {
                call,
                result: Some(Ok(())),
                continues_as: (former != tid).then_some(tid),
                releases,
            };
            let silent = self.tasks.get(&tid).is_some_and(|task| task.silent);
            if !silent {
                self.tell(output, former, tgid, EventKind::Exec(Box::new(exec)));
            }
        }
        if self.settings.detach_on == DetachOn::Exec && !first {
            self.release(stopped, Cause::Exec, output);
        } else {
            self.go_on(stopped, Cause::Exec, output);
        }
    }

    /// A thread is gone.
    fn ended<P: Probe>(&mut self, tid: Tid, end: End, probe: &mut P, output: &mut Output) {
        let Some(task) = self.tasks.remove(&tid) else {
            self.hold_dead(tid, end);
            return;
        };
        let told = !task.launching && !task.silent && !self.draining;
        let may_leave_a_child = match self.settings.stops {
            _ if self.settings.follow == Follow::None => false,
            Stops::Event => matches!(end, End::Killed { .. }),
            _ => matches!(task.doing, Doing::Creating(_)),
        };
        self.suspect_ended(tid, task.last_report);
        if told && may_leave_a_child && self.child_left_by(tid).is_none() {
            self.limbo.push(Limbo {
                tid,
                task,
                end,
                since: self.now,
            });
            return;
        }
        self.bury(tid, task, end, probe, output);
    }

    /// Tells the last of a thread that is gone.
    fn bury<P: Probe>(
        &mut self,
        tid: Tid,
        task: Task,
        end: End,
        probe: &mut P,
        output: &mut Output,
    ) {
        let (tgid, told) = (task.tgid, !task.launching && !task.silent);
        self.settle(tid, task, probe, output);
        if told {
            self.tell(output, tid, tgid, EventKind::End(end));
        }
    }

    /// Settles what a task was doing that is gone: a call without an answer,
    /// or a child whose creation it can't report any more.
    fn settle<P: Probe>(&mut self, tid: Tid, task: Task, probe: &mut P, output: &mut Output) {
        let tgid = task.tgid;
        let silent = task.silent || task.launching;
        let mut child = self.child_left_by(tid);
        let parent = Parent::of(&task);
        match task.doing {
            Doing::Creating(request) if child.is_none() && !silent => {
                self.tell_create(output, tid, tgid, *request, Outcome::Unknown);
            }
            Doing::Executing(call) if !silent => {
                let exec = Exec {
                    call: *call,
                    result: None,
                    continues_as: None,
                    releases: None,
                };
                self.tell(output, tid, tgid, EventKind::Exec(Box::new(exec)));
            }
            _ => {}
        }
        if let Some(child) = child.take() {
            self.adopt(tid, parent, child, probe, output);
        }
    }

    /// Lets go of a stopped thread; where its filter needs a tracer, in so far
    /// as nothing more is told of it.
    fn release(&mut self, stopped: Stopped, cause: Cause, output: &mut Output) {
        let tid = stopped.tid();
        let tgid = self.tasks.get(&tid).map_or(Pid::from(tid), |t| t.tgid);
        if self.settings.stops == Stops::Seccomp {
            self.silence(tid, tgid, output);
            self.go_on(stopped, cause, output);
        } else {
            self.tell(output, tid, tgid, EventKind::Lost(Lost::Detached));
            self.tasks.remove(&tid);
            output
                .resume
                .push((stopped, Resume::Detach(cause.signal())));
        }
    }

    fn silence(&mut self, tid: Tid, tgid: Pid, output: &mut Output) {
        self.tell(output, tid, tgid, EventKind::Lost(Lost::Silenced));
        if let Some(task) = self.tasks.get_mut(&tid) {
            task.silent = true;
        }
    }

    /// Tells nothing more of any thread left, though all are traced on.
    pub fn silence_all(&mut self, now: Duration, output: &mut Output) {
        self.now = now;
        let mut left: Vec<(Tid, Pid)> = self.tasks.iter().map(|(t, k)| (*t, k.tgid)).collect();
        left.sort_unstable();
        for (tid, tgid) in left {
            self.silence(tid, tgid, output);
        }
    }

    /// Tells that forktrace was asked to leave and can't.
    pub fn must_stay(&mut self, now: Duration, signal: Signal, output: &mut Output) {
        self.now = now;
        self.tell(output, Tid(0), Pid(0), EventKind::MustStay(signal));
    }

    /// Forgets everything, telling that the threads left are not followed any
    /// more.
    pub fn let_go(&mut self, now: Duration, output: &mut Output) {
        self.now = now;
        let mut left: Vec<(Tid, Pid)> = self
            .tasks
            .drain()
            .filter(|(_, task)| !task.silent && !task.unwanted)
            .map(|(tid, task)| (tid, task.tgid))
            .collect();
        left.sort_unstable();
        self.held.clear();
        self.limbo.clear();
        for (tid, tgid) in left {
            self.tell(output, tid, tgid, EventKind::Lost(Lost::Detached));
        }
    }
}

/// A clone that hides its child from tracers: its ABI, its flags register, and
/// that register without CLONE_UNTRACED. The child would inherit the filter
/// without a tracer, and all its own forks and execs would fail.
fn without_untraced(request: &Request) -> Option<(Abi, u64, u64)> {
    let Spec::Clone(clone) = &request.spec else {
        return None;
    };
    let untraced = request.flags().has(CloneFlags::UNTRACED);
    untraced.then(|| {
        let without = clone.flags & !CloneFlags::UNTRACED.0;
        (request.syscall.abi, clone.flags, without)
    })
}

/// Whether a ptrace request makes a tracer: TRACEME, ATTACH, SEIZE.
fn ptrace_takes_a_tracee(request: u64) -> bool {
    const REQUESTS: [u64; 3] = [0, 16, 0x4206];
    REQUESTS.contains(&request)
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
            changed_flags: None,
        }
    }
}

/// Decides the ABI of a creating call read from registers.
///
/// `arch` is asked for only where the number doesn't tell.
pub fn creating_abi(nr: u64, arch: impl FnOnce() -> Option<u32>) -> Option<Abi> {
    Abi::of_creating(nr).or_else(|| Abi::from_audit(arch()?, nr))
}
