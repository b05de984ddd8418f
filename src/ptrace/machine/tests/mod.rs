//! The machine against every order in which the kernel may report stops.
//!
//! A scenario is a list of threads, each with its reports in order. A thread
//! can report only when it exists and, after a stop, only once it has been
//! resumed: so a decision that is forgotten shows as a scenario that hangs.

mod any;
mod births;
mod edges;
mod execs;
mod hidden;
mod limits;
mod orphans;
mod waits;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use super::*;
use crate::clone::CloneFlags;
use crate::diagnosis::evidence::{Evidence, ExecEvidence};
use crate::event::{Followed, Target};
use crate::memory::{Memory, Regions};
use crate::ptrace::probe::Probe;

const FORK: Syscall = syscall(57, [0; 6]);
const VFORK: Syscall = syscall(58, [0; 6]);
const THREAD: Syscall = syscall(56, [0x0001_0f00, 0x5000, 0, 0, 0, 0]);
const EXEC: Syscall = syscall(59, [0x1000, 0, 0, 0, 0, 0]);

const fn syscall(nr: u64, args: [u64; 6]) -> Syscall {
    Syscall {
        abi: Abi::X86_64,
        nr,
        args,
    }
}

/// One report of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Report {
    Seccomp(Syscall),
    /// The same for a filter of the program's own.
    Foreign(Syscall),
    Entry(Syscall),
    Exit(i64),
    /// The event of a creation: its child, and the call for the registers.
    Created(i32, Syscall),
    /// The event of an exec: the former tid, and the thread that reports next
    /// under this tid.
    Exec(i32),
    Trap,
    Group(i32),
    Delivery(i32),
    Ended(End),
}
use Report::*;

const GONE: Report = Ended(End::Exited(0));
const KILLED: Report = Ended(End::Killed {
    signal: Signal(9),
    core_dumped: false,
});

/// A thread of a scenario.
#[derive(Debug, Clone)]
struct Thread {
    tid: i32,
    /// (tid, how many of its reports have been made) before this one's first.
    after: (i32, usize),
    reports: Vec<Report>,
    /// The call that made it, as its registers at the first stop show it.
    born_by: Syscall,
    /// Reports that come only after so many of another thread: the index of the
    /// report, that thread and the number.
    gates: Vec<(usize, (i32, usize))>,
    /// The report at which it is killed in its stop: no question is answered.
    deaf_at: Option<usize>,
}

impl Thread {
    /// Its report of this index comes only after so many of another thread.
    fn gate(mut self, report: usize, after: (i32, usize)) -> Thread {
        self.gates.push((report, after));
        self
    }

    /// Whether its next report may come, given how many each thread has made.
    fn may_report(&self, made: &BTreeMap<i32, usize>) -> bool {
        let count = |tid: i32| made.get(&tid).copied().unwrap_or(0);
        let next = count(self.tid);
        let open = |(tid, number): (i32, usize)| count(tid) >= number;
        let gates = self.gates.iter().filter(|(report, _)| *report == next);
        next < self.reports.len() && open(self.after) && gates.into_iter().all(|(_, g)| open(*g))
    }
}

fn thread(tid: i32, after: (i32, usize), born_by: Syscall, reports: &[Report]) -> Thread {
    Thread {
        tid,
        after,
        reports: reports.to_vec(),
        born_by,
        gates: Vec::new(),
        deaf_at: None,
    }
}

const BELOW_STACK: u64 = 0x6f00;

/// Answers for the report that is being made.
#[derive(Default)]
struct Answers {
    report: Option<Report>,
    registers: HashMap<i32, Syscall>,
    families: HashMap<i32, (i32, i32)>,
    /// Who had a call refused.
    refused: Vec<i32>,
    /// Threads whose end was reported, and nothing since.
    ended: HashSet<i32>,
    gone: bool,
    no_registers: Option<i32>,
    asleep: Vec<i32>,
    /// What stands at 0x2000.
    structure: Vec<u8>,
    ns_tids: HashMap<i32, Vec<i32>>,
    /// First arguments as they were set: (tid, value).
    first_arguments: Vec<(i32, u64)>,
    /// What stands below stacks; `None`: nothing can be written there.
    below_stack: Option<Vec<u8>>,
    /// How often evidence was asked for.
    asked: usize,
    /// What was written there.
    lent: Vec<u8>,
    /// What was written elsewhere, or put back: (tid, address, bytes).
    written: Vec<(i32, u64, Vec<u8>)>,
}

impl Probe for Answers {
    fn event_message(&mut self, _: &Stopped) -> Result<u64, Gone> {
        match self.report {
            _ if self.gone => Err(Gone),
            Some(Created(child, _)) => Ok(child as u64),
            Some(Exec(former)) => Ok(former as u64),
            other => panic!("no message at {other:?}"),
        }
    }

    fn phase(&mut self, _: &Stopped) -> Result<Phase, Gone> {
        Ok(match self.report {
            _ if self.gone => return Err(Gone),
            Some(Seccomp(call) | Entry(call)) => Phase::Entry(Some(call)),
            Some(Foreign(call)) => Phase::Refused(Some(call)),
            Some(Exit(value)) => Phase::Exit(value),
            other => panic!("no call at {other:?}"),
        })
    }

    fn creating_call(&mut self, task: &Stopped) -> Result<Syscall, Gone> {
        match (self.report, self.registers.get(&task.tid().0)) {
            _ if self.gone || self.no_registers == Some(task.tid().0) => Err(Gone),
            (Some(Created(_, call)), _) => Ok(call),
            (_, Some(call)) => Ok(*call),
            _ => Err(Gone),
        }
    }

    fn new_image(&mut self, _: &Stopped) -> Result<(u64, Abi), Gone> {
        Ok((0x9000, Abi::X86_64))
    }

    fn set_first_argument(&mut self, task: &Stopped, _: Abi, value: u64) -> Result<(), Gone> {
        self.first_arguments.push((task.tid().0, value));
        if self.gone { Err(Gone) } else { Ok(()) }
    }

    fn lend_below_stack(&mut self, _: &Stopped, bytes: &[u8]) -> Option<(u64, Vec<u8>)> {
        let before = self.below_stack.clone()?;
        self.lent = bytes.to_vec();
        Some((BELOW_STACK, before))
    }

    fn write_memory(&mut self, task: &Stopped, addr: u64, bytes: &[u8]) -> bool {
        self.written.push((task.tid().0, addr, bytes.to_vec()));
        true
    }

    fn memory(&mut self, _: &Stopped) -> impl Memory {
        Regions(vec![
            (0x1000, b"/bin/true\0".to_vec()),
            (0x2000, self.structure.clone()),
        ])
    }

    fn ns_tids(&mut self, tid: Tid) -> Option<Vec<i32>> {
        let known = self.ns_tids.get(&tid.0).cloned();
        Some(known.unwrap_or_else(|| vec![tid.0]))
    }

    fn sleeps(&mut self, tid: Tid) -> bool {
        self.asleep.contains(&tid.0)
    }

    fn comm(&mut self, _: Tid) -> Comm {
        Comm::new(b"orphan")
    }

    fn own_tid(&mut self, task: &Stopped) -> Result<Tid, Gone> {
        let tids = self.ns_tids(task.tid());
        Ok(Tid(tids.and_then(|t| t.last().copied()).unwrap_or(0)))
    }

    fn refuse(&mut self, task: &Stopped) -> Result<(), Gone> {
        self.refused.push(task.tid().0);
        Ok(())
    }

    fn behind_pidfd(&mut self, _: Tid, fd: i32) -> Option<Pid> {
        (fd == 3).then_some(Pid(2))
    }

    fn creation_evidence(&mut self, _: &Stopped, _: &Request, _: Errno) -> Evidence {
        self.asked += 1;
        Evidence::default()
    }

    fn exec_evidence(&mut self, _: &Stopped, _: &ExecCall, _: Errno) -> ExecEvidence {
        self.asked += 1;
        ExecEvidence::default()
    }

    fn family(&mut self, tid: Tid) -> Option<(Pid, Pid)> {
        if self.ended.contains(&tid.0) {
            return None;
        }
        self.families.get(&tid.0).map(|(g, p)| (Pid(*g), Pid(*p)))
    }
}

fn settings(stops: Stops, follow: bool) -> Settings {
    Settings {
        stops,
        follow: if follow { Follow::All } else { Follow::None },
        max_depth: None,
        detach_on: DetachOn::Never,
        string_limit: 32,
        names: Wanted::No,
        waits: Wanted::No,
        orphans: Wanted::No,
        environment: Wanted::No,
    }
}

fn start(stops: Stops) -> Start {
    Start {
        version: String::new(),
        wall: Duration::ZERO,
        monotonic: Duration::ZERO,
        target: Target::Command(Vec::new()),
        abi: Abi::X86_64,
        stops,
        follow: Follow::All,
        waits: Wanted::No,
        orphans: Wanted::No,
    }
}

/// A run of a scenario in one order.
struct Run {
    machine: Machine,
    probe: Answers,
    events: Vec<Event>,
    /// tid to whether it may report (it runs).
    running: BTreeMap<i32, bool>,
    /// How each stop was resumed.
    resumed: Vec<(i32, Resume)>,
    held_back: usize,
}

impl Run {
    fn new(stops: Stops, follow: bool) -> Run {
        let mut machine = Machine::new(settings(stops, follow), start(stops));
        machine.start = None;
        machine.launch(Tid(1));
        machine.tasks.get_mut(&Tid(1)).unwrap().launching = false;
        Run {
            machine,
            probe: Answers::default(),
            events: Vec::new(),
            running: BTreeMap::new(),
            resumed: Vec::new(),
            held_back: 0,
        }
    }

    fn feed(&mut self, tid: i32, report: Report) {
        let stop = |cause| Input::Stop(Stopped::new(Tid(tid)), cause);
        let input = match report {
            Seccomp(_) | Foreign(_) => stop(Cause::Seccomp),
            Entry(_) | Exit(_) => stop(Cause::Syscall),
            Created(..) => stop(Cause::Created),
            Exec(_) => stop(Cause::Exec),
            Trap => stop(Cause::Trap),
            Group(signal) => stop(Cause::Group(Signal(signal))),
            Delivery(signal) => stop(Cause::Signal(Signal(signal))),
            Ended(end) => Input::End(Tid(tid), end.into()),
        };
        // Killed in its stop, or, a leader, by another thread's exec.
        if matches!(report, Ended(_) | Exec(_)) && self.running.get(&tid) == Some(&false) {
            self.running.insert(tid, true);
            self.held_back -= 1;
        }
        if matches!(input, Input::Stop(..)) {
            self.running.insert(tid, false);
            self.held_back += 1;
        }
        match report {
            Ended(_) => self.probe.ended.insert(tid),
            _ => self.probe.ended.remove(&tid),
        };
        self.probe.report = Some(report);
        let mut output = Output::default();
        self.machine
            .step(Duration::ZERO, input, &mut self.probe, &mut output);
        self.take(output);
    }

    /// Some time passes without the report that would name a held child.
    fn overdue(&mut self, ms: u64) {
        let mut output = Output::default();
        let now = Duration::from_millis(ms);
        self.machine.overdue(now, &mut self.probe, &mut output);
        self.take(output);
    }

    /// Nobody is left to report anything.
    fn conclude(&mut self) {
        let mut output = Output::default();
        self.machine
            .conclude(Duration::ZERO, &mut self.probe, &mut output);
        self.take(output);
    }

    fn take(&mut self, output: Output) {
        self.events.extend(output.events);
        for (stopped, how) in output.resume {
            let tid = stopped.tid().0;
            let before = self.running.insert(tid, true);
            assert_eq!(before, Some(false), "{tid} resumed twice");
            self.held_back -= 1;
            self.resumed.push((tid, how));
        }
    }

    /// Events in short: for comparing, and for reading when a test fails.
    fn lines(&self) -> Vec<String> {
        self.events.iter().map(line).collect()
    }
}

fn line(event: &Event) -> String {
    let tid = event.tid;
    match &event.kind {
        EventKind::Create(create) => match &create.outcome {
            Outcome::Created(child) => format!(
                "{tid} made {:?} {}",
                create.request.kind(),
                child.tid.map_or(-1, |t| t.0)
            ),
            Outcome::Failed(errno) => format!("{tid} failed {}", errno.0),
            Outcome::Unknown => format!("{tid} unknown"),
            Outcome::Skipped(_) => format!("{tid} skipped"),
        },
        EventKind::Exec(exec) => format!("{tid} exec {:?}", exec.result.map(|r| r.is_ok())),
        EventKind::End(ended) => format!("{tid} {:?}", ended.end),
        EventKind::VforkDone { child } => format!("{tid} goes on after {child}"),
        EventKind::Superseded { by } => format!("{tid} superseded by {by}"),
        EventKind::Lost(_) => format!("{tid} lost"),
        EventKind::Start(_) => "start".to_owned(),
        EventKind::Attached(_) => format!("{tid} attached"),
        EventKind::Tracing => format!("{tid} traces"),
        EventKind::Wait(wait) => {
            let child = wait.child.map(|tid| tid.0);
            format!("{tid} waited {:?} {child:?}", wait.answer)
        }
        EventKind::Kill(kill) => {
            let target = kill.target.map(|tid| tid.0);
            format!("{tid} signalled {target:?} {:?}", kill.answer)
        }
        EventKind::Orphaned { by } => format!("{tid} orphaned, {by} adopts"),
        EventKind::MustStay(signal) => format!("must stay: {signal}"),
    }
}

/// Every order of a scenario's reports that the kernel may choose.
fn for_every_order(stops: Stops, follow: bool, threads: &[Thread], check: &dyn Fn(&Run)) -> usize {
    for_every_order_after(stops, follow, threads, &|_| {}, check)
}

/// The same, with each run prepared.
fn for_every_order_after(
    stops: Stops,
    follow: bool,
    threads: &[Thread],
    prepare: &dyn Fn(&mut Run),
    check: &dyn Fn(&Run),
) -> usize {
    let descent = Descent {
        stops,
        follow,
        threads,
        prepare,
        check,
    };
    descent.descend(&mut Vec::new())
}

/// A scenario, and what to do in each order of it.
struct Descent<'a> {
    stops: Stops,
    follow: bool,
    threads: &'a [Thread],
    prepare: &'a dyn Fn(&mut Run),
    check: &'a dyn Fn(&Run),
}

impl Descent<'_> {
    /// All orders that begin with `prefix`, a list of indices of threads. How
    /// many there are.
    fn descend(&self, prefix: &mut Vec<usize>) -> usize {
        let threads = self.threads;
        // Runs are replayed from the start: cheaper to write than to clone.
        let mut run = Run::new(self.stops, self.follow);
        for t in threads {
            if t.tid != 1 {
                run.probe.registers.insert(t.tid, t.born_by);
            }
        }
        (self.prepare)(&mut run);
        let mut made: BTreeMap<i32, usize> = BTreeMap::new();
        for index in prefix.iter() {
            let t = &threads[*index];
            let count = made.entry(t.tid).or_default();
            run.probe.gone = t.deaf_at == Some(*count);
            run.feed(t.tid, t.reports[*count]);
            run.probe.gone = false;
            *count += 1;
        }
        let ready: Vec<usize> = threads
            .iter()
            .enumerate()
            .filter(|(_, t)| {
                let next = t.reports.get(made.get(&t.tid).copied().unwrap_or(0));
                // The end can come even to a thread that is held (SIGKILL).
                let free = run.running.get(&t.tid).copied().unwrap_or(true)
                    || matches!(next, Some(Ended(_) | Exec(_)));
                free && t.may_report(&made)
            })
            .map(|(index, _)| index)
            .collect();
        let total: usize = threads.iter().map(|t| t.reports.len()).sum();
        if prefix.len() == total {
            run.overdue(3000);
            run.overdue(6000);
            (self.check)(&run);
            return 1;
        }
        assert!(
            !ready.is_empty(),
            "hangs after {:?}: {:?}",
            prefix.iter().map(|i| threads[*i].tid).collect::<Vec<_>>(),
            run.lines()
        );
        let mut orders = 0;
        for index in ready {
            prefix.push(index);
            orders += self.descend(prefix);
            prefix.pop();
        }
        orders
    }
}

/// Nobody is created, or there, twice at once; nobody is left without a
/// decision.
fn assert_sound(run: &Run) {
    assert_single_births(&run.events);
    assert_eq!(run.held_back, 0, "{:?}", run.lines());
    assert!(!run.machine.is_waiting(), "{:?}", run.lines());
}

/// No thread that lives is born, or found, again.
fn assert_single_births(events: &[Event]) {
    let mut alive: HashSet<Tid> = HashSet::new();
    for event in events {
        match &event.kind {
            EventKind::Create(create) => {
                let followed = |child: &&Child| child.followed == Followed::Yes;
                if let Some(child) = create.child().filter(followed).and_then(|c| c.tid) {
                    assert!(alive.insert(child), "{child} is born twice: {events:#?}");
                }
            }
            EventKind::Attached(_) => {
                assert!(alive.insert(event.tid), "{} is there twice", event.tid);
            }
            EventKind::Exec(exec) => {
                if let Some(leader) = exec.continues_as {
                    alive.remove(&event.tid);
                    alive.insert(leader);
                }
            }
            EventKind::End(_) | EventKind::Superseded { .. } | EventKind::Lost(_) => {
                alive.remove(&event.tid);
            }
            _ => {}
        }
    }
}

/// How many events are those lines.
fn count(run: &Run, wanted: &[&str]) -> usize {
    let is = |line: &String| wanted.contains(&line.as_str());
    run.lines().iter().filter(|line| is(line)).count()
}

/// The reports of an exec up to its event, which comes under the leader's tid.
fn exec_entry(stops: Stops) -> Vec<Report> {
    match stops {
        Stops::Event => vec![],
        Stops::Seccomp => vec![Seccomp(EXEC)],
        Stops::Syscall => vec![Entry(EXEC)],
    }
}

fn position(lines: &[String], wanted: &str) -> usize {
    lines
        .iter()
        .position(|l| l == wanted)
        .unwrap_or_else(|| panic!("no '{wanted}' in {lines:?}"))
}

fn assert_set(run: &Run, expected: &[&str]) {
    let mut lines = run.lines();
    lines.sort();
    let mut expected: Vec<String> = expected.iter().map(|s| (*s).to_owned()).collect();
    expected.sort();
    assert_eq!(lines, expected);
}

/// The reports of a successful creation in each mode.
fn creation(stops: Stops, call: Syscall, child: i32) -> Vec<Report> {
    match stops {
        Stops::Event => vec![Created(child, call)],
        Stops::Seccomp => vec![Seccomp(call), Created(child, call)],
        Stops::Syscall => vec![Entry(call), Created(child, call), Exit(child.into())],
    }
}

/// How many reports come before the child exists.
fn before_birth(stops: Stops) -> usize {
    usize::from(stops != Stops::Event)
}

const ALL: [Stops; 3] = [Stops::Event, Stops::Seccomp, Stops::Syscall];

/// With a map that is at its emptiest, 7 of 16 places taken, that makes 256
/// bytes a thread; the request of a call lives as long as the call.
#[test]
fn a_live_thread_costs_little_memory() {
    assert!(
        size_of::<(Tid, Task)>() <= 112,
        "{}",
        size_of::<(Tid, Task)>()
    );
}
