//! The machine told to look at waits and signals.

use super::*;

/// `wait4(-1, 0x2000, 0, NULL)`: the status word stands where structures do.
const WAIT: Syscall = syscall(61, [u64::MAX, 0x2000, 0, 0, 0, 0]);

const fn kill(pid: u64) -> Syscall {
    syscall(62, [pid, 15, 0, 0, 0, 0])
}

fn run(stops: Stops) -> Run {
    let mut run = Run::new(stops, true);
    run.machine.settings.waits = Wanted::Yes;
    run.machine.settings.orphans = Wanted::Yes;
    run.probe.structure = vec![0, 3, 0, 0];
    run
}

/// A call with its entry, as the mode shows it.
fn enter(stops: Stops, call: Syscall) -> Report {
    match stops {
        Stops::Seccomp => Seccomp(call),
        _ => Entry(call),
    }
}

const SEEING: [Stops; 2] = [Stops::Seccomp, Stops::Syscall];

#[test]
fn a_wait_is_told_when_it_returns() {
    for stops in SEEING {
        let mut run = run(stops);
        for report in creation(stops, FORK, 2) {
            run.feed(1, report);
        }
        run.feed(2, Trap);
        run.resumed.clear();
        run.feed(1, enter(stops, WAIT));
        // Its exit has to be seen, whatever else stops it before.
        run.feed(1, Trap);
        assert_eq!(run.resumed, [(1, Resume::Syscall(None)); 2]);
        run.feed(2, Ended(End::Exited(3)));
        run.feed(1, Exit(2));
        let after = match stops {
            Stops::Seccomp => Resume::Cont(None),
            _ => Resume::Syscall(None),
        };
        assert_eq!(run.resumed[2], (1, after));
        assert_eq!(
            run.lines()[1..],
            ["2 Exited(3)", "1 waited Some(Ok(2)) Some(2)"],
            "{stops:?}"
        );
        let EventKind::Wait(wait) = &run.events[2].kind else {
            panic!("no wait");
        };
        assert_eq!(wait.stored.status, Some(3 << 8));
        assert_eq!(run.held_back, 0);
    }
}

#[test]
fn nobody_asked() {
    for stops in SEEING {
        let mut run = run(stops);
        run.machine.settings.waits = Wanted::No;
        for call in [WAIT, kill(1)] {
            run.feed(1, enter(stops, call));
            run.feed(1, Exit(0));
        }
        assert!(run.lines().is_empty(), "{:?}", run.lines());
    }
}

#[test]
fn a_caller_that_is_killed_in_the_call_has_no_answer() {
    for (call, line) in [
        (WAIT, "1 waited None None"),
        (kill(1), "1 signalled Some(1) None"),
    ] {
        let mut run = run(Stops::Seccomp);
        run.feed(1, Seccomp(call));
        run.feed(1, KILLED);
        let end = format!("1 {:?}", killed());
        assert_eq!(run.lines(), [line.to_owned(), end]);
    }
}

fn killed() -> End {
    End::Killed {
        signal: Signal(9),
        core_dumped: false,
    }
}

#[test]
fn a_wait_that_a_signal_interrupts_is_told_each_time() {
    let mut run = run(Stops::Seccomp);
    run.feed(1, Seccomp(WAIT));
    run.feed(1, Exit(-512));
    run.feed(1, Delivery(10));
    run.feed(1, Seccomp(WAIT));
    run.feed(1, Exit(-10));
    assert_eq!(
        run.lines(),
        [
            "1 waited Some(Err(Errno(512))) None",
            "1 waited Some(Err(Errno(10))) None"
        ]
    );
    assert_eq!(run.resumed[2], (1, Resume::Cont(Some(Signal(10)))));
}

#[test]
fn an_orphan_is_told_after_its_parents_end_with_whoever_adopts_it() {
    for stops in SEEING {
        let mut run = run(stops);
        for report in creation(stops, FORK, 2) {
            run.feed(1, report);
        }
        run.feed(2, Trap);
        for child in [3, 4, 5] {
            for report in creation(stops, FORK, child) {
                run.feed(2, report);
            }
            run.feed(child, Trap);
        }
        // 3 has ended before, of 5 nothing can be learnt any more.
        run.feed(3, GONE);
        run.probe.families.insert(4, (4, 1));
        let told = run.events.len();
        run.feed(2, GONE);
        assert_eq!(
            run.lines()[told..],
            ["2 Exited(0)", "4 orphaned, 1 adopts"],
            "{stops:?}"
        );
        run.probe.families.insert(4, (4, 77));
        run.feed(1, GONE);
        assert_eq!(
            run.lines()[told + 2..],
            ["1 Exited(0)", "4 orphaned, 77 adopts"]
        );
    }
}

#[test]
fn a_threads_end_leaves_no_orphans() {
    let mut run = run(Stops::Seccomp);
    for report in creation(Stops::Seccomp, THREAD, 2) {
        run.feed(1, report);
    }
    run.feed(2, Trap);
    for report in creation(Stops::Seccomp, FORK, 3) {
        run.feed(2, report);
    }
    run.feed(3, Trap);
    run.probe.families.insert(3, (3, 1));
    run.feed(2, GONE);
    assert!(!run.lines().iter().any(|line| line.contains("orphaned")));
    run.probe.families.insert(3, (3, 88));
    run.feed(1, GONE);
    assert_eq!(run.lines().last().unwrap(), "3 orphaned, 88 adopts");
}

/// 1 makes 2, the init of a pid namespace, which makes 3 there; to the two those
/// are 1 and 2. Then 2 makes 4, the init of a namespace below.
#[test]
fn numbers_of_inner_namespaces_become_the_tracers() {
    let stops = Stops::Seccomp;
    let newpid = syscall(56, [0x2000_0011, 0, 0, 0, 0, 0]);
    let mut run = run(stops);
    run.probe.ns_tids.extend([
        (2, vec![2, 1]),
        (3, vec![3, 2]),
        (4, vec![4, 3, 1]),
        (5, vec![5, 4, 2]),
    ]);
    let mut make = |parent: i32, call: Syscall, child: i32| {
        for report in creation(stops, call, child) {
            run.feed(parent, report);
        }
        run.feed(child, Trap);
    };
    make(1, newpid, 2);
    make(2, FORK, 3);
    make(2, newpid, 4);
    make(4, FORK, 5);
    let mut signal = |from: i32, number: u64| {
        run.feed(from, Seccomp(kill(number)));
        run.feed(from, Exit(0));
        match &run.events.last().unwrap().kind {
            EventKind::Kill(kill) => kill.target.map(|tid| tid.0),
            other => panic!("no signal but {other:?}"),
        }
    };
    // From outside all numbers are the tracer's.
    assert_eq!(signal(1, 2), Some(2));
    assert_eq!(signal(1, 3), Some(3));
    assert_eq!(signal(2, 2), Some(3));
    assert_eq!(signal(3, 1), Some(2));
    assert_eq!(signal(3, 3), Some(4));
    assert_eq!(signal(2, 4), Some(5));
    assert_eq!(signal(5, 1), Some(4));
    assert_eq!(signal(4, 2), Some(5));
    // Nothing there has that number.
    assert_eq!(signal(5, 3), None);
    // An orphan's end is told to its namespace's init under the same number.
    run.feed(3, GONE);
    run.feed(2, Seccomp(WAIT));
    run.feed(2, Exit(2));
    assert_eq!(run.lines().last().unwrap(), "2 waited Some(Ok(2)) Some(3)");
    // With an init its namespace is gone.
    run.feed(5, GONE);
    run.feed(4, GONE);
    let left: Vec<_> = run.machine.kin.numbers().collect();
    assert!(left.iter().all(|(space, _)| *space == Tid(2)), "{left:?}");
}

#[test]
fn targets_of_each_call() {
    let tgkill = syscall(234, [1, 7, 10, 0, 0, 0]);
    let pidfd = |fd| syscall(424, [fd, 10, 0, 0, 0, 0]);
    let group = syscall(62, [u64::MAX - 8, 10, 0, 0, 0, 0]);
    for (call, target) in [
        (kill(9), Some(9)),
        (tgkill, Some(7)),
        (pidfd(3), Some(2)),
        (pidfd(4), None),
        (group, None),
        (kill(0), None),
    ] {
        let mut run = run(Stops::Seccomp);
        run.feed(1, Seccomp(call));
        run.feed(1, Exit(0));
        assert_eq!(
            run.lines(),
            [format!("1 signalled {target:?} Some(Ok(0))")],
            "{call:?}"
        );
    }
}
