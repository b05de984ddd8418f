//! CLONE_UNTRACED and CLONE_PTRACE: hidden, handed over, or with the bit taken out.

use super::*;

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
    assert!(
        run.probe.first_arguments.is_empty(),
        "no register is touched"
    );
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
        assert_eq!(run.probe.first_arguments, [(1, 0x11)]);
        if child_first {
            run.feed(2, Trap);
        }
        run.feed(1, Created(2, call));
        if !child_first {
            run.feed(2, Trap);
        }
        let mut flags = run.probe.first_arguments.clone();
        flags.sort_unstable();
        assert_eq!(flags, [(1, 0x11), (1, 0x80_0011), (2, 0x80_0011)]);
        assert_eq!(run.lines(), ["1 made Process 2"]);
        assert_eq!(run.held_back, 0);
    }
    // A call that fails gets its register back as well.
    let mut run = Run::new(Stops::Seccomp, true);
    run.feed(1, Seccomp(call));
    run.feed(1, Exit(-11));
    assert_eq!(run.probe.first_arguments, [(1, 0x11), (1, 0x80_0011)]);
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
fn the_end_of_a_stranger_is_nothing_new() {
    // A sibling that is hidden from tracers becomes a child of forktrace's.
    let mut run = Run::new(Stops::Syscall, true);
    run.feed(1, Entry(untraced(0x8000)));
    run.feed(1, Exit(7));
    run.feed(7, GONE);
    assert!(!run.machine.is_waiting());
    assert_eq!(run.lines(), ["1 made Process 7"]);
}
