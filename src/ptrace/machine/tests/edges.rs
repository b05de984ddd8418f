//! What a review found: names, ends and namespaces at the edge.
use super::*;
use crate::event::Follow;

#[test]
fn letting_go_tells_ends_that_were_kept_back() {
    let mut run = Run::new(Stops::Event, true);
    run.machine.launch(Tid(9));
    run.feed(1, KILLED);
    let mut output = Output::default();
    run.machine
        .let_go(Duration::ZERO, &mut run.probe, &mut output);
    run.take(output);
    assert!(
        run.lines().iter().any(|l| l.starts_with("1 Killed")),
        "{:?}",
        run.lines()
    );
}

#[test]
fn a_child_that_is_dead_when_it_is_named_is_told() {
    let mut run = Run::new(Stops::Event, true);
    run.probe.no_registers = Some(1);
    run.feed(2, KILLED);
    run.feed(1, Created(2, FORK));
    run.feed(1, KILLED);
    run.overdue(10_000);
    run.conclude();
    assert!(
        run.lines().iter().any(|l| l.starts_with("2 Killed")),
        "{:?}",
        run.lines()
    );
}

#[test]
fn a_name_given_in_vain_is_not_the_next_ones() {
    let mut run = Run::new(Stops::Event, true);
    run.machine.launch(Tid(9));
    run.machine.tasks.get_mut(&Tid(9)).unwrap().launching = false;
    run.probe.no_registers = Some(1);
    run.feed(1, Created(2, FORK));
    run.feed(2, KILLED);
    run.feed(1, KILLED);
    run.overdue(10_000);
    run.probe.no_registers = None;
    // Now 9 makes a 2.
    run.probe.registers.insert(2, FORK);
    run.probe.families.insert(2, (2, 9));
    run.feed(2, Trap);
    run.feed(9, Created(2, FORK));
    let made: Vec<_> = run
        .lines()
        .into_iter()
        .filter(|l| l.contains("made"))
        .collect();
    assert_eq!(made, ["9 made Process 2"], "{:?}", run.lines());
}

#[test]
fn a_thread_found_has_its_number_in_its_namespace() {
    let mut run = Run::new(Stops::Event, true);
    run.probe.ns_tids.insert(2, vec![2, 77]);
    run.feed(1, Delivery(3));
    run.probe.registers.insert(2, FORK);
    run.probe.families.insert(2, (2, 999));
    run.feed(2, Trap);
    run.feed(1, Delivery(3));
    run.overdue(100);
    let EventKind::Attached(a) = &run.events.last().unwrap().kind else {
        panic!("{:?}", run.lines())
    };
    assert_eq!(a.own, 77);
}

#[test]
fn a_process_found_without_follow_is_let_go() {
    let mut run = Run::new(Stops::Event, false);
    assert_eq!(run.machine.settings.follow, Follow::None);
    run.probe.registers.insert(2, FORK);
    run.probe.families.insert(2, (2, 1));
    run.feed(2, Trap);
    run.feed(1, KILLED);
    run.overdue(100);
    run.overdue(3000);
    assert!(
        matches!(run.resumed.last(), Some((2, Resume::Detach(_)))),
        "{:?} {:?}",
        run.resumed,
        run.lines()
    );
}

#[test]
fn a_superseded_leader_waits_for_no_vfork_child() {
    let mut run = Run::new(Stops::Event, true);
    run.feed(1, Created(2, THREAD));
    run.feed(2, Trap);
    run.feed(1, Created(3, VFORK));
    run.feed(3, Trap);
    run.running.insert(1, true);
    run.feed(1, Exec(2));
    run.feed(3, GONE);
    assert!(
        !run.lines().contains(&"1 goes on after 3".to_owned()),
        "{:?}",
        run.lines()
    );
}

#[test]
fn a_silenced_thread_keeps_its_hidden_child() {
    let mut run = Run::new(Stops::Seccomp, true);
    let mut output = Output::default();
    run.machine.silence_all(Duration::ZERO, &mut output);
    run.take(output);
    let call = syscall(56, [0x0080_0011, 0, 0, 0, 0, 0]);
    run.feed(1, Seccomp(call));
    assert_eq!(run.probe.first_arguments, [(1, 0x11)]);
}

#[test]
fn a_thread_killed_between_its_exec_and_the_report_ends() {
    // 1's thread 2 execs, its tid is given to a child of 3, and all of 1 is killed
    // before the exec is reported.
    let mut run = Run::new(Stops::Event, true);
    run.feed(1, Created(2, THREAD));
    run.feed(2, Trap);
    run.feed(1, Created(3, FORK));
    run.feed(3, Trap);
    run.probe.families.insert(2, (2, 3));
    run.probe.registers.insert(2, FORK);
    run.feed(3, Created(2, FORK));
    run.feed(2, Trap);
    run.feed(1, KILLED);
    run.feed(2, GONE);
    run.feed(3, GONE);
    run.overdue(10_000);
    run.conclude();
    let ends = run
        .lines()
        .iter()
        .filter(|l| {
            l.starts_with("2 ")
                && (l.contains("Exited") || l.contains("Killed") || l.contains("superseded"))
        })
        .count();
    assert_eq!(ends, 2, "{:?}", run.lines());
}

#[test]
fn a_process_found_without_follow_is_let_go_while_its_parent_lives() {
    let mut run = Run::new(Stops::Event, false);
    run.probe.registers.insert(2, FORK);
    run.probe.families.insert(2, (2, 1));
    run.feed(2, Trap);
    run.feed(1, Delivery(3));
    run.overdue(100);
    assert!(
        matches!(run.resumed.last(), Some((2, Resume::Detach(_)))),
        "{:?} {:?}",
        run.resumed,
        run.lines()
    );
}
