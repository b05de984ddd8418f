//! What is left alone, let go of, stopped for good or passed through.

use super::*;

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
fn draining_drops_no_signal() {
    for stops in [Stops::Event, Stops::Syscall] {
        let mut run = Run::new(stops, true);
        let mut output = Output::default();
        run.machine.drain(&mut output);
        run.take(output);
        run.feed(1, Delivery(10));
        let signal = Some(Signal(10));
        assert_eq!(run.resumed, [(1, Resume::Detach(signal))], "{stops:?}");
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
