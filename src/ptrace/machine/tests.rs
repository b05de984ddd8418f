//! The machine against every order in which the kernel may report stops.
//!
//! A scenario is a list of threads, each with its reports in order. A thread
//! can report only when it exists and, after a stop, only once it has been
//! resumed: so a decision that is forgotten shows as a scenario that hangs.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
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
}

fn thread(tid: i32, after: (i32, usize), born_by: Syscall, reports: &[Report]) -> Thread {
    Thread {
        tid,
        after,
        reports: reports.to_vec(),
        born_by,
    }
}

/// Answers for the report that is being made.
#[derive(Default)]
struct Answers {
    report: Option<Report>,
    registers: HashMap<i32, Syscall>,
    families: HashMap<i32, (i32, i32)>,
    /// Who had a call refused.
    refused: Vec<i32>,
    gone: bool,
    no_registers: Option<i32>,
    asleep: Vec<i32>,
    /// What stands at 0x2000.
    structure: Vec<u8>,
    ns_tids: HashMap<i32, Vec<i32>>,
    /// Flags registers as they were set: (tid, value).
    flags: Vec<(i32, u64)>,
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

    fn refuse(&mut self, task: &Stopped) -> Result<(), Gone> {
        self.refused.push(task.tid().0);
        Ok(())
    }

    fn set_clone_flags(&mut self, task: &Stopped, _: Abi, flags: u64) -> Result<(), Gone> {
        self.flags.push((task.tid().0, flags));
        if self.gone { Err(Gone) } else { Ok(()) }
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

    fn family(&mut self, tid: Tid) -> Option<(Pid, Pid)> {
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
        if matches!(input, Input::Stop(..)) {
            self.running.insert(tid, false);
            self.held_back += 1;
        }
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
        EventKind::MustStay(signal) => format!("must stay: {signal}"),
    }
}

#[test]
fn the_first_event_says_how_tracing_works() {
    let mut run = Run::new(Stops::Event, true);
    run.machine.start = Some(Box::new(start(Stops::Event)));
    run.feed(1, GONE);
    assert_eq!(run.lines(), ["start", "1 Exited(0)"]);
    // A program that never came to run has no trace at all.
    let mut run = Run::new(Stops::Event, true);
    run.machine.start = Some(Box::new(start(Stops::Event)));
    run.machine.tasks.get_mut(&Tid(1)).unwrap().launching = true;
    run.feed(1, GONE);
    assert!(run.lines().is_empty());
}

/// Every order of a scenario's reports that the kernel may choose.
fn for_every_order(stops: Stops, follow: bool, threads: &[Thread], check: &dyn Fn(&Run)) -> usize {
    fn descend(
        stops: Stops,
        follow: bool,
        threads: &[Thread],
        prefix: &mut Vec<usize>,
        check: &dyn Fn(&Run),
    ) -> usize {
        // Runs are replayed from the start: cheaper to write than to clone.
        let mut run = Run::new(stops, follow);
        for t in threads {
            if t.tid != 1 {
                run.probe.registers.insert(t.tid, t.born_by);
            }
        }
        let mut made: BTreeMap<i32, usize> = BTreeMap::new();
        for index in prefix.iter() {
            let t = &threads[*index];
            let count = made.entry(t.tid).or_default();
            run.feed(t.tid, t.reports[*count]);
            *count += 1;
        }
        let ready: Vec<usize> = threads
            .iter()
            .enumerate()
            .filter(|(_, t)| {
                let count = made.get(&t.tid).copied().unwrap_or(0);
                let next = t.reports.get(count);
                // The end can come even to a thread that is held (SIGKILL).
                let free = run.running.get(&t.tid).copied().unwrap_or(true)
                    || matches!(next, Some(Ended(_)));
                next.is_some() && free && made.get(&t.after.0).copied().unwrap_or(0) >= t.after.1
            })
            .map(|(index, _)| index)
            .collect();
        let total: usize = threads.iter().map(|t| t.reports.len()).sum();
        if prefix.len() == total {
            run.overdue(3000);
            check(&run);
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
            orders += descend(stops, follow, threads, prefix, check);
            prefix.pop();
        }
        orders
    }
    descend(stops, follow, threads, &mut Vec::new(), check)
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

#[test]
fn a_child_may_stop_and_end_before_its_parent_reports_it() {
    for stops in ALL {
        for (call, kind) in [(FORK, "Process"), (VFORK, "Vfork"), (THREAD, "Thread")] {
            let born = before_birth(stops);
            let mut parent = creation(stops, call, 2);
            parent.push(GONE);
            let threads = [
                thread(1, (1, 0), FORK, &parent),
                thread(2, (1, born), call, &[Trap, KILLED]),
            ];
            let orders = for_every_order(stops, true, &threads, &|run| {
                let made = format!("1 made {kind} 2");
                let ended = "2 Killed { signal: Signal(9), core_dumped: false }";
                let lines = run.lines();
                let goes_on = "1 goes on after 2";
                let mut expected = vec![&made[..], ended, "1 Exited(0)"];
                // A parent that is killed meanwhile doesn't go on.
                if call == VFORK && lines.iter().any(|line| line == goes_on) {
                    assert!(position(&lines, goes_on) < position(&lines, ended));
                    expected.push(goes_on);
                }
                assert_set(run, &expected);
                assert!(
                    position(&lines, &made) < position(&lines, ended),
                    "{lines:?}"
                );
                assert!(run.machine.is_empty());
            });
            assert!(orders > 3, "{orders} orders");
        }
    }
}

#[test]
fn two_generations_in_any_order_have_the_right_parents() {
    for stops in ALL {
        let born = before_birth(stops);
        let mut first = creation(stops, FORK, 2);
        first.push(GONE);
        let mut second = vec![Trap];
        second.extend(creation(stops, THREAD, 3));
        second.push(GONE);
        let threads = [
            thread(1, (1, 0), FORK, &first),
            thread(2, (1, born), FORK, &second),
            thread(3, (2, 1 + born), THREAD, &[Trap, GONE]),
        ];
        for_every_order(stops, true, &threads, &|run| {
            assert_set(
                run,
                &[
                    "1 made Process 2",
                    "2 made Thread 3",
                    "1 Exited(0)",
                    "2 Exited(0)",
                    "3 Exited(0)",
                ],
            );
            let thread = run.events.iter().find(|e| e.tid == Tid(3)).unwrap();
            assert_eq!(
                thread.tgid,
                Pid(2),
                "a thread belongs to its parent's group"
            );
            let lines = run.lines();
            assert!(position(&lines, "1 made Process 2") < position(&lines, "2 made Thread 3"));
        });
    }
}

#[test]
fn the_stops_of_each_mode_are_as_few_as_promised() {
    for (stops, resumes) in [
        (
            Stops::Event,
            vec![(1, Resume::Cont(None)), (2, Resume::Cont(None))],
        ),
        (
            Stops::Seccomp,
            vec![
                (1, Resume::Syscall(None)),
                (1, Resume::Cont(None)),
                (2, Resume::Cont(None)),
            ],
        ),
        (
            Stops::Syscall,
            vec![
                (1, Resume::Syscall(None)),
                (1, Resume::Syscall(None)),
                (1, Resume::Syscall(None)),
                (2, Resume::Syscall(None)),
            ],
        ),
    ] {
        let mut run = Run::new(stops, true);
        for report in creation(stops, FORK, 2) {
            run.feed(1, report);
        }
        run.feed(2, Trap);
        assert_eq!(run.resumed, resumes);
    }
}

#[test]
fn a_failed_call_is_told_once_with_its_error() {
    for (stops, entry) in [
        (Stops::Seccomp, Seccomp(FORK)),
        (Stops::Syscall, Entry(FORK)),
    ] {
        let mut run = Run::new(stops, true);
        run.feed(1, entry);
        run.feed(1, Exit(-11));
        assert_eq!(run.lines(), ["1 failed 11"]);
        // Interrupted, then restarted by the kernel: one creation.
        run.feed(1, entry);
        run.feed(1, Exit(-513));
        run.feed(1, Delivery(17));
        run.feed(1, entry);
        run.feed(1, Created(2, FORK));
        run.feed(2, Trap);
        assert_eq!(
            run.lines(),
            ["1 failed 11", "1 failed 513", "1 made Process 2"]
        );
        assert_eq!(run.held_back, 0);
    }
}

/// `clone` with CLONE_UNTRACED, and a little more.
fn untraced(more: u64) -> Syscall {
    syscall(56, [0x80_0011 | more, 0, 0, 0, 0, 0])
}

#[test]
fn a_child_hidden_from_tracers_is_told_from_the_return_value() {
    let mut run = Run::new(Stops::Syscall, true);
    run.feed(1, Entry(untraced(0)));
    run.feed(1, Exit(77));
    assert_eq!(run.lines(), ["1 made Process 77"]);
    let EventKind::Create(create) = &run.events[0].kind else {
        panic!()
    };
    assert_eq!(create.child().unwrap().followed, Followed::Untraced);
    assert!(run.probe.flags.is_empty(), "no register is touched");
}

#[test]
fn an_answer_without_a_child_is_none() {
    for answer in [57, 0] {
        let mut run = Run::new(Stops::Syscall, true);
        run.feed(1, Entry(FORK));
        run.feed(1, Exit(answer));
        assert_eq!(run.lines(), ["1 skipped"]);
    }
}

#[test]
fn a_child_that_would_keep_the_filter_without_a_tracer_is_not_hidden() {
    let call = untraced(0);
    for child_first in [true, false] {
        let mut run = Run::new(Stops::Seccomp, true);
        run.feed(1, Seccomp(call));
        assert_eq!(run.probe.flags, [(1, 0x11)]);
        if child_first {
            run.feed(2, Trap);
        }
        run.feed(1, Created(2, call));
        if !child_first {
            run.feed(2, Trap);
        }
        let mut flags = run.probe.flags.clone();
        flags.sort_unstable();
        assert_eq!(flags, [(1, 0x11), (1, 0x80_0011), (2, 0x80_0011)]);
        assert_eq!(run.lines(), ["1 made Process 2"]);
        assert_eq!(run.held_back, 0);
    }
    // A call that fails gets its register back as well.
    let mut run = Run::new(Stops::Seccomp, true);
    run.feed(1, Seccomp(call));
    run.feed(1, Exit(-11));
    assert_eq!(run.probe.flags, [(1, 0x11), (1, 0x80_0011)]);
}

#[test]
fn a_hidden_child_that_clone_ptrace_hands_over_runs() {
    let call = untraced(0x2000);
    for child_first in [true, false] {
        let mut run = Run::new(Stops::Syscall, true);
        run.feed(1, Entry(call));
        if child_first {
            run.feed(2, Trap);
        }
        run.feed(1, Exit(2));
        if !child_first {
            run.feed(2, Trap);
        }
        assert_eq!(run.lines(), ["1 made Process 2"]);
        assert_eq!(run.held_back, 0);
    }
    // Without any stop of the parent only patience helps.
    let mut run = Run::new(Stops::Event, true);
    run.probe.registers.insert(2, call);
    run.probe.families.insert(2, (2, 1));
    run.feed(2, Trap);
    run.overdue(3000);
    assert!(run.lines().is_empty(), "1 may be on its way to its event");
    run.probe.asleep.push(1);
    run.overdue(3000);
    assert_eq!(run.lines(), ["1 made Process 2"]);
    assert_eq!(run.held_back, 0);
}

#[test]
fn below_the_depth_asked_for_nothing_is_told_and_nothing_is_left_stopped() {
    for stops in ALL {
        let mut run = Run::new(stops, true);
        run.machine.settings.max_depth = Some(1);
        for report in creation(stops, FORK, 2) {
            run.feed(1, report);
        }
        run.feed(2, Trap);
        for report in creation(stops, FORK, 3) {
            run.feed(2, report);
        }
        run.feed(3, Trap);
        assert_eq!(run.lines(), ["1 made Process 2", "2 made Process 3"]);
        let detached = run.resumed.contains(&(3, Resume::Detach(None)));
        assert_eq!(detached, stops != Stops::Seccomp);
        if stops == Stops::Seccomp {
            // Traced on, in silence, and its children with it.
            run.feed(3, Seccomp(FORK));
            run.feed(3, Created(4, FORK));
            run.feed(4, Trap);
            run.feed(4, GONE);
            run.feed(3, GONE);
            assert_eq!(run.lines().len(), 2);
        }
        assert_eq!(run.held_back, 0);
    }
}

#[test]
fn letting_go_at_exec_is_told_once() {
    for stops in ALL {
        let mut run = Run::new(stops, true);
        run.machine.settings.detach_on = DetachOn::Exec;
        for report in creation(stops, FORK, 2) {
            run.feed(1, report);
        }
        run.feed(2, Trap);
        match stops {
            Stops::Seccomp => run.feed(2, Seccomp(EXEC)),
            Stops::Syscall => run.feed(2, Entry(EXEC)),
            Stops::Event => {}
        }
        run.feed(2, Exec(2));
        assert_eq!(
            run.lines(),
            ["1 made Process 2", "2 exec Some(true)", "2 lost"]
        );
        assert_eq!(run.held_back, 0);
    }
}

#[test]
fn a_tracee_that_traces_is_told_of_once() {
    let attach = syscall(101, [0x4206, 7, 0, 0, 0, 0]);
    let peek = syscall(101, [2, 7, 0, 0, 0, 0]);
    let mut run = Run::new(Stops::Seccomp, true);
    for call in [peek, attach, attach] {
        run.feed(1, Seccomp(call));
    }
    assert_eq!(run.lines(), ["1 traces"]);
    assert_eq!(run.resumed, [(1, Resume::Cont(None)); 3]);
}

#[test]
fn exec_from_another_thread_takes_the_leaders_tid() {
    for stops in ALL {
        let mut run = Run::new(stops, true);
        for report in creation(stops, THREAD, 2) {
            run.feed(1, report);
        }
        run.feed(2, Trap);
        // The leader sits in a call of its own when it vanishes.
        match stops {
            Stops::Seccomp => run.feed(1, Seccomp(FORK)),
            Stops::Syscall => run.feed(1, Entry(FORK)),
            Stops::Event => {}
        }
        match stops {
            Stops::Seccomp => run.feed(2, Seccomp(EXEC)),
            Stops::Syscall => run.feed(2, Entry(EXEC)),
            Stops::Event => {}
        }
        // The event comes under the leader's tid.
        run.running.insert(1, true);
        run.feed(1, Exec(2));
        if stops == Stops::Syscall {
            run.feed(1, Exit(0));
        }
        for report in creation(stops, FORK, 3) {
            run.feed(1, report);
        }
        run.feed(3, Trap);
        run.feed(3, GONE);
        run.feed(1, GONE);
        let lines = run.lines();
        assert_eq!(
            lines[lines.len() - 5..],
            [
                "1 superseded by 2",
                "2 exec Some(true)",
                "1 made Process 3",
                "3 Exited(0)",
                "1 Exited(0)",
            ],
            "{stops:?}"
        );
        assert_eq!(lines[0], "1 made Thread 2");
        assert!(run.machine.is_empty());
    }
}

#[test]
fn exec_under_the_tid_of_a_leader_that_was_never_seen() {
    for stops in [Stops::Event, Stops::Syscall] {
        let mut run = Run::new(stops, true);
        // 1 is a thread of 9, whose leader had ended before.
        run.running.insert(9, true);
        run.feed(9, Exec(1));
        for report in creation(stops, FORK, 3) {
            run.feed(9, report);
        }
        assert_eq!(run.lines()[1], "9 made Process 3", "{stops:?}");
        assert_eq!(run.held_back, 0);
    }
}

#[test]
fn without_follow_a_child_is_let_go_in_any_order() {
    for stops in [Stops::Event, Stops::Syscall] {
        let born = before_birth(stops);
        let mut parent = creation(stops, FORK, 2);
        parent.push(GONE);
        let threads = [
            thread(1, (1, 0), FORK, &parent),
            thread(2, (1, born), FORK, &[Trap]),
        ];
        for_every_order(stops, false, &threads, &|run| {
            assert_set(run, &["1 made Process 2", "1 Exited(0)"]);
            assert!(run.resumed.contains(&(2, Resume::Detach(None))));
            assert!(run.machine.is_empty());
        });
    }
}

#[test]
fn group_stops_last_and_signals_pass() {
    let mut run = Run::new(Stops::Seccomp, true);
    run.feed(1, Delivery(64));
    run.feed(1, Delivery(19));
    run.feed(1, Group(19));
    run.feed(1, Trap);
    assert_eq!(
        run.resumed,
        [
            (1, Resume::Cont(Some(Signal(64)))),
            (1, Resume::Cont(Some(Signal(19)))),
            (1, Resume::Listen),
            (1, Resume::Cont(None)),
        ]
    );
}

#[test]
fn a_child_born_into_a_stopped_group_stays_stopped() {
    let mut run = Run::new(Stops::Event, true);
    run.feed(2, Group(19));
    assert!(run.machine.is_waiting());
    run.feed(1, Created(2, FORK));
    assert_eq!(run.resumed, [(2, Resume::Listen), (1, Resume::Cont(None))]);
}

#[test]
fn a_parent_killed_before_its_event_still_has_its_child() {
    for stops in ALL {
        let mut run = Run::new(stops, true);
        run.probe.registers.insert(2, FORK);
        run.probe.families.insert(2, (2, 1));
        if stops != Stops::Event {
            run.feed(1, creation(stops, FORK, 2)[0]);
        }
        run.feed(2, Trap);
        // By then init has taken it over.
        run.probe.families.insert(2, (2, 999));
        run.feed(1, KILLED);
        assert_eq!(run.lines()[0], "1 made Process 2", "{stops:?}");
        assert_eq!(
            run.lines().len(),
            2,
            "its creation comes before its parent's end"
        );
        assert_eq!(run.held_back, 0, "the child runs");
        run.feed(2, GONE);
        assert!(run.machine.is_empty());
    }
}

#[test]
fn a_child_seen_soon_after_its_creators_end_is_told_before_it() {
    for stops in ALL {
        let mut run = Run::new(stops, true);
        run.probe.registers.insert(2, FORK);
        run.probe.families.insert(2, (2, 999));
        if stops != Stops::Event {
            run.feed(1, creation(stops, FORK, 2)[0]);
        }
        run.feed(1, KILLED);
        run.feed(2, Trap);
        assert_eq!(run.lines()[0], "1 made Process 2", "{stops:?}");
        assert!(run.lines()[1].starts_with("1 Killed"));
        assert_eq!(run.lines().len(), 2);
        assert_eq!(run.held_back, 0);
    }
}

#[test]
fn a_child_seen_long_after_its_creators_end_is_nobodys_but_runs() {
    for stops in ALL {
        let mut run = Run::new(stops, true);
        // Somebody else, or there would be no hurry to tell the end.
        run.machine.launch(Tid(9));
        run.probe.asleep.push(9);
        run.probe.registers.insert(2, FORK);
        run.probe.families.insert(2, (2, 999));
        if stops != Stops::Event {
            run.feed(1, creation(stops, FORK, 2)[0]);
        }
        run.feed(1, KILLED);
        run.overdue(60);
        let before = run.lines().len();
        assert!(run.lines()[before - 1].starts_with("1 Killed"));
        run.feed(2, Trap);
        run.overdue(20);
        assert_eq!(run.held_back, 1, "too early to tell");
        run.overdue(120);
        assert_eq!(run.lines()[before..], ["2 attached"], "{stops:?}");
        assert_eq!(run.held_back, 0);
    }
}

#[test]
fn the_last_one_is_not_done_with_while_a_child_of_it_may_come() {
    for stops in ALL {
        let mut run = Run::new(stops, true);
        run.probe.registers.insert(2, FORK);
        if stops != Stops::Event {
            run.feed(1, creation(stops, FORK, 2)[0]);
        }
        run.feed(1, KILLED);
        assert!(!run.machine.is_empty(), "{stops:?}: a child may come");
        run.overdue(1000);
        run.feed(2, Trap);
        assert_eq!(run.lines()[0], "1 made Process 2", "{stops:?}");
        run.feed(2, GONE);
        assert!(run.machine.is_empty(), "{stops:?}");
        // And without a child it is over once nobody is left to wait for.
        let mut run = Run::new(stops, true);
        run.feed(1, KILLED);
        run.conclude();
        assert_eq!(run.lines().len(), 1, "{stops:?}");
        assert!(run.machine.is_empty(), "{stops:?}");
    }
}

#[test]
fn one_of_two_that_could_be_the_creator_is_killed() {
    // Both 1 and 3 are in fork; the child is that of 3, which is killed.
    for stops in [Stops::Seccomp, Stops::Syscall] {
        let mut run = Run::new(stops, true);
        for report in creation(stops, FORK, 3) {
            run.feed(1, report);
        }
        run.feed(3, Trap);
        run.feed(1, creation(stops, FORK, 2)[0]);
        run.feed(3, creation(stops, FORK, 2)[0]);
        run.probe.registers.insert(2, FORK);
        run.probe.families.insert(2, (2, 999));
        run.feed(2, Trap);
        run.feed(3, KILLED);
        run.overdue(60);
        assert_eq!(run.held_back, 1, "not certain while 1 may name it");
        // It reports something else: so it wasn't 1.
        run.feed(1, Exit(-11));
        run.overdue(60);
        let lines = run.lines();
        assert!(
            position(&lines, "3 made Process 2") < lines.len() - 1,
            "{stops:?}"
        );
        assert!(lines.last().unwrap().starts_with("3 Killed"));
        assert_eq!(run.held_back, 0);
    }
    // In event mode the family tells: the busy process 1 is not in question.
    let mut run = Run::new(Stops::Event, true);
    run.feed(1, Created(3, FORK));
    run.feed(3, Trap);
    run.probe.registers.insert(2, FORK);
    run.probe.families.insert(2, (2, 3));
    run.feed(2, Trap);
    run.feed(1, Delivery(17));
    run.feed(3, KILLED);
    assert_eq!(run.lines()[1], "3 made Process 2");
    assert_eq!(run.held_back, 0);
}

#[test]
fn a_busy_tree_does_not_keep_a_child_waiting() {
    let mut run = Run::new(Stops::Event, true);
    run.probe.registers.insert(2, FORK);
    run.probe.families.insert(2, (2, 1));
    run.feed(2, Trap);
    run.overdue(60);
    assert_eq!(run.held_back, 1, "1 may be about to report");
    // What 1 reports isn't the creation: it is not the creator.
    run.feed(1, Delivery(14));
    run.overdue(60);
    assert_eq!(run.lines(), ["2 attached"]);
    assert_eq!(run.held_back, 0);
}

#[test]
fn a_leader_superseded_in_a_creating_call_leaves_its_child() {
    for stops in [Stops::Seccomp, Stops::Syscall] {
        let mut run = Run::new(stops, true);
        for report in creation(stops, THREAD, 2) {
            run.feed(1, report);
        }
        run.feed(2, Trap);
        run.probe.registers.insert(3, FORK);
        run.probe.families.insert(3, (3, 1));
        run.feed(1, creation(stops, FORK, 3)[0]);
        run.feed(3, Trap);
        run.running.insert(1, true);
        run.feed(1, Exec(2));
        assert!(
            run.lines().contains(&"1 made Process 3".to_owned()),
            "{stops:?}"
        );
        assert!(
            position(&run.lines(), "1 made Process 3")
                < position(&run.lines(), "1 superseded by 2")
        );
        assert_eq!(run.held_back, 0);
    }
}

#[test]
fn draining_lets_held_children_go_too() {
    let mut run = Run::new(Stops::Event, true);
    run.feed(2, Trap);
    let mut output = Output::default();
    run.machine.drain(&mut output);
    run.take(output);
    assert_eq!(run.resumed, [(2, Resume::Detach(None))]);
    run.feed(3, Trap);
    assert_eq!(run.held_back, 0);
}

#[test]
fn a_child_and_its_creator_both_killed_are_told_of() {
    for stops in ALL {
        let mut run = Run::new(stops, true);
        if stops != Stops::Event {
            run.feed(1, creation(stops, FORK, 2)[0]);
        }
        run.feed(2, KILLED);
        run.feed(1, KILLED);
        run.conclude();
        let lines = run.lines();
        assert!(
            position(&lines, "2 attached") + 1 < lines.len(),
            "{stops:?}: {lines:?}"
        );
        assert!(lines.last().unwrap().starts_with("2 Killed"));
        assert!(run.machine.is_empty() && !run.machine.is_waiting());
    }
}

#[test]
fn the_end_of_a_stranger_is_nothing_new() {
    // A sibling that is hidden from tracers becomes a child of forktrace's.
    let mut run = Run::new(Stops::Syscall, true);
    run.feed(1, Entry(untraced(0x8000)));
    run.feed(1, Exit(7));
    run.feed(7, GONE);
    assert!(!run.machine.is_waiting());
    assert_eq!(run.lines(), ["1 made Process 7"]);
}

#[test]
fn clone3_is_decoded_at_its_entry_not_when_it_is_over() {
    // Another thread may change the structure meanwhile.
    let call = syscall(435, [0x2000, 88, 0, 0, 0, 0]);
    let mut run = Run::new(Stops::Seccomp, true);
    let mut fields = [0u64; 11];
    fields[4] = 17;
    run.probe.structure = fields.iter().flat_map(|f| f.to_le_bytes()).collect();
    run.feed(1, Seccomp(call));
    run.probe.structure = vec![0xff; 88];
    run.feed(1, Created(2, call));
    run.feed(2, Trap);
    let EventKind::Create(create) = &run.events[0].kind else {
        panic!()
    };
    assert_eq!(create.request.flags().0, 0);
    assert_eq!(create.request.exit_signal(), Some(Signal(17)));
}

#[test]
fn an_exec_tells_whom_it_releases_from_vfork() {
    for stops in ALL {
        let mut run = Run::new(stops, true);
        for report in creation(stops, VFORK, 2)
            .into_iter()
            .take(before_birth(stops) + 1)
        {
            run.feed(1, report);
        }
        run.feed(2, Trap);
        match stops {
            Stops::Seccomp => run.feed(2, Seccomp(EXEC)),
            Stops::Syscall => run.feed(2, Entry(EXEC)),
            Stops::Event => {}
        }
        run.feed(2, Exec(2));
        assert_eq!(run.lines()[1..], ["1 goes on after 2", "2 exec Some(true)"]);
        let EventKind::Exec(exec) = &run.events[2].kind else {
            panic!("{:?}", run.lines())
        };
        assert_eq!(exec.releases, Some(Tid(1)));
    }
}

#[test]
fn numbers_of_inner_pid_namespaces_are_told_apart() {
    let call = syscall(56, [0x2000_0011, 0, 0, 0, 0, 0]);
    let mut run = Run::new(Stops::Seccomp, true);
    run.probe.ns_tids.insert(2, vec![2, 1]);
    run.probe.ns_tids.insert(3, vec![3, 7]);
    for report in creation(Stops::Seccomp, call, 2) {
        run.feed(1, report);
    }
    run.feed(2, Trap);
    for report in creation(Stops::Seccomp, FORK, 3) {
        run.feed(2, report);
    }
    let child = |event: &Event| match &event.kind {
        EventKind::Create(create) => *create.child().unwrap(),
        other => panic!("{other:?}"),
    };
    let (first, second) = (child(&run.events[0]), child(&run.events[1]));
    assert_eq!((first.returned, first.own), (2, 1));
    assert_eq!((second.returned, second.own), (7, 7));
}

#[test]
fn a_tid_that_died_unnamed_may_be_born_again() {
    let mut run = Run::new(Stops::Event, true);
    run.feed(2, KILLED);
    run.probe.families.insert(2, (2, 1));
    run.feed(1, Created(2, FORK));
    run.feed(2, Trap);
    assert_eq!(run.lines(), ["1 made Process 2"]);
    assert_eq!(run.held_back, 0, "the second bearer of the tid runs");
}

#[test]
fn a_parent_killed_in_its_event_stop_leaves_a_child_that_runs() {
    for stops in ALL {
        let mut run = Run::new(stops, true);
        run.probe.registers.insert(2, FORK);
        run.probe.families.insert(2, (2, 1));
        if stops != Stops::Event {
            run.feed(1, creation(stops, FORK, 2)[0]);
        }
        run.probe.gone = true;
        run.feed(1, Created(2, FORK));
        run.probe.gone = false;
        run.probe.families.insert(2, (2, 999));
        run.feed(2, Trap);
        run.feed(1, KILLED);
        run.overdue(60);
        assert_eq!(run.held_back, 0, "{stops:?}");
        let told = |line: &String| line == "1 made Process 2" || line == "2 attached";
        assert_eq!(run.lines().iter().filter(|line| told(line)).count(), 1);
    }
}

#[test]
fn a_parent_killed_after_naming_its_child_is_its_parent() {
    for child_first in [true, false] {
        let mut run = Run::new(Stops::Event, true);
        run.probe.registers.insert(2, FORK);
        run.probe.families.insert(2, (2, 999));
        run.probe.no_registers = Some(1);
        if child_first {
            run.feed(2, Trap);
        }
        run.feed(1, Created(2, FORK));
        if !child_first {
            run.feed(2, Trap);
        }
        assert_eq!(run.lines(), ["1 made Process 2"]);
        assert_eq!(run.held_back, 0);
    }
}

#[test]
fn draining_lets_go_of_all_but_those_with_a_filter() {
    for stops in ALL {
        let mut run = Run::new(stops, true);
        let mut output = Output::default();
        run.machine.drain(&mut output);
        run.take(output);
        for report in creation(stops, FORK, 2) {
            if run.machine.tasks.contains_key(&Tid(1)) {
                run.feed(1, report);
            }
        }
        let detached = run
            .resumed
            .iter()
            .any(|(_, how)| matches!(how, Resume::Detach(_)));
        assert_eq!(detached, stops != Stops::Seccomp);
        assert_eq!(run.held_back, 0);
    }
}

fn any_report() -> impl Strategy<Value = Report> {
    let call = prop_oneof![Just(FORK), Just(VFORK), Just(THREAD), Just(EXEC)];
    prop_oneof![
        call.clone().prop_map(Seccomp),
        call.clone().prop_map(Entry),
        (-600i64..10).prop_map(Exit),
        (1i32..6, call).prop_map(|(child, call)| Created(child, call)),
        (1i32..6).prop_map(Exec),
        Just(Trap),
        Just(Group(19)),
        (1i32..65).prop_map(Delivery),
        Just(GONE),
        Just(KILLED),
    ]
}

proptest! {
    /// Whatever is reported: no panic, every stop of a known thread is
    /// answered with one decision, and no live thread is created twice.
    #[test]
    fn any_reports_are_survived(
        stops in prop_oneof![Just(Stops::Event), Just(Stops::Seccomp), Just(Stops::Syscall)],
        follow: bool,
        reports in proptest::collection::vec((1i32..6, any_report()), 0..60),
    ) {
        let mut run = Run::new(stops, follow);
        for (tid, report) in reports {
            // A thread that is stopped can only end.
            if run.running.get(&tid) == Some(&false) && !matches!(report, Ended(_)) {
                continue;
            }
            if matches!(report, Ended(_)) && run.running.get(&tid) == Some(&false) {
                run.running.insert(tid, true);
                run.held_back -= 1;
            }
            // Nobody creates itself, or a thread that lives.
            if matches!(report, Created(child, _)
                if child == tid || run.machine.tasks.contains_key(&Tid(child)))
            {
                continue;
            }
            run.probe.registers.insert(tid, FORK);
            run.feed(tid, report);
            let stopped = |h: &&Held| matches!(h.state, HeldState::Stopped(..));
            let held = run.machine.held.values().filter(stopped).count();
            prop_assert_eq!(run.held_back, held, "stops without a decision");
        }
        run.probe.asleep.extend(1..6);
        for task in run.machine.tasks.values_mut() {
            task.doing = Doing::Nothing;
            task.last_report = u64::MAX;
        }
        // What is decided in the first round may keep back an end.
        run.overdue(10_000);
        run.overdue(20_000);
        prop_assert!(!run.machine.is_waiting(), "nor anything kept back");
        prop_assert_eq!(run.held_back, 0, "in the end nobody is kept waiting");
    }
}

/// Without stops at unshare a child's own number is known at its first stop
/// only: until then its creation, and what comes after it, is not told.
#[test]
fn a_creation_waits_for_the_number_that_the_child_has_in_its_namespace() {
    for (last, own) in [(Trap, 1), (Group(19), 1), (KILLED, 2)] {
        let mut run = Run::new(Stops::Event, true);
        run.probe.ns_tids.insert(2, vec![2, 1]);
        let mut output = Output::default();
        let mut feed = |tid: i32, report: Report, output: &mut Output| {
            run.probe.report = Some(report);
            let stopped = Stopped::new(Tid(tid));
            let input = match report {
                Created(..) => Input::Stop(stopped, Cause::Created),
                Trap => Input::Stop(stopped, Cause::Trap),
                Group(signal) => Input::Stop(stopped, Cause::Group(Signal(signal))),
                Ended(end) => Input::End(Tid(tid), end.into()),
                other => panic!("{other:?}"),
            };
            run.machine
                .step(Duration::ZERO, input, &mut run.probe, output);
        };
        feed(1, Created(2, FORK), &mut output);
        assert!(output.pop().is_none());
        // The parent is not held up, nor is its next child, a thread.
        assert_eq!(output.resume.len(), 1);
        feed(1, Created(3, THREAD), &mut output);
        assert!(output.pop().is_none());
        feed(2, last, &mut output);
        let told: Vec<Event> = std::iter::from_fn(|| output.pop()).collect();
        let children: Vec<(i32, i32)> = told
            .iter()
            .filter_map(|event| match &event.kind {
                EventKind::Create(create) => create.child().map(|c| (c.returned, c.own)),
                _ => None,
            })
            .collect();
        assert_eq!(children, [(2, own), (3, 3)], "{last:?}");
    }
}

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

/// A filter of the program's own that says RET_TRACE: without a tracer the call
/// fails, so it does with one.
#[test]
fn what_the_programs_own_filter_refuses_stays_refused() {
    let mut run = Run::new(Stops::Seccomp, true);
    let getppid = syscall(110, [0; 6]);
    run.feed(1, Foreign(getppid));
    assert_eq!(run.probe.refused, [1]);
    assert_eq!(run.resumed, [(1, Resume::Cont(None))]);
    run.feed(1, Foreign(FORK));
    assert_eq!(run.probe.refused, [1, 1]);
    assert_eq!(run.resumed[1], (1, Resume::Syscall(None)));
    run.feed(1, Exit(-38));
    assert_eq!(run.lines(), ["1 failed 38"]);
}

/// A thread's exec frees its tid before the exec is reported; the kernel may
/// give it to a new child at once.
#[test]
fn a_tid_freed_by_exec_is_born_again_before_the_exec_is_reported() {
    for stops in ALL {
        let born = creation(stops, THREAD, 2);
        let again = creation(stops, FORK, 2);
        for child_first in [false, true] {
            // 1 makes a thread 2, which execs; then 3 makes a process 2.
            let mut run = Run::new(stops, true);
            for report in &born {
                run.feed(1, *report);
            }
            run.feed(2, Trap);
            for report in creation(stops, FORK, 3) {
                run.feed(1, report);
            }
            run.feed(3, Trap);
            run.probe.families.insert(2, (2, 3));
            run.probe.registers.insert(2, FORK);
            let before = before_birth(stops);
            for report in &again[..before] {
                run.feed(3, *report);
            }
            if child_first {
                run.feed(2, Trap);
                assert_eq!(run.held_back, 1, "held until it is named");
            }
            for report in &again[before..] {
                run.feed(3, *report);
            }
            if !child_first {
                run.feed(2, Trap);
            }
            // Now the exec of the former 2, under its leader's tid.
            run.feed(1, Exec(2));
            run.feed(2, Ended(End::Exited(7)));
            run.feed(1, GONE);
            run.feed(3, GONE);
            let lines = run.lines();
            assert_eq!(
                lines,
                [
                    "1 made Thread 2",
                    "1 made Process 3",
                    "3 made Process 2",
                    "1 superseded by 2",
                    "2 exec Some(true)",
                    "2 Exited(7)",
                    "1 Exited(0)",
                    "3 Exited(0)",
                ],
                "{stops:?} {child_first}"
            );
            let exec = run
                .events
                .iter()
                .find(|event| matches!(event.kind, EventKind::Exec(_)));
            assert_eq!(exec.unwrap().tgid, Pid(1));
            assert_eq!(run.events[5].tgid, Pid(2));
            assert!(run.machine.is_empty());
            assert_eq!(run.held_back, 0);
        }
    }
}
