//! Creators and children that are killed, at any point.

use super::*;

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

/// SIGKILL of a creator after any of its reports, or in any of its stops; of its child
/// too, or not: the child is told of once, and is nobody else's.
#[test]
fn a_creator_killed_at_any_point() {
    for stops in ALL {
        for call in [FORK, VFORK, THREAD] {
            let whole = creation(stops, call, 2);
            let born = before_birth(stops);
            for cut in born..=whole.len() {
                for deaf in [false, true] {
                    for end in [GONE, KILLED] {
                        let mut reports = whole[..cut].to_vec();
                        reports.push(KILLED);
                        let mut creator = thread(1, (1, 0), FORK, &reports);
                        creator.deaf_at = (deaf && cut > born).then(|| cut - 1);
                        let threads = [creator, thread(2, (1, born), call, &[Trap, end])];
                        let group = if call == THREAD { 1 } else { 2 };
                        let prepare = |run: &mut Run| {
                            run.probe.families.insert(2, (group, 999));
                        };
                        for_every_order_after(stops, true, &threads, &prepare, &|run| {
                            assert_sound(run);
                            let lines = run.lines();
                            let made: Vec<&String> = lines
                                .iter()
                                .filter(|l| l.contains(" made ") || l.contains(" attached"))
                                .collect();
                            assert_eq!(made.len(), 1, "{stops:?} {call:?} {cut}: {lines:?}");
                            let mine = made[0].starts_with("1 made ") && made[0].ends_with(" 2");
                            assert!(mine || made[0] == "2 attached", "{lines:?}");
                            let ends = |tid: &str| {
                                let end = |l: &&String| {
                                    l.starts_with(&format!("{tid} Killed"))
                                        || l.starts_with(&format!("{tid} Exited"))
                                };
                                lines.iter().filter(end).count()
                            };
                            assert_eq!((ends("1"), ends("2")), (1, 1), "{lines:?}");
                            assert!(run.machine.is_empty(), "{lines:?}");
                        });
                    }
                }
            }
        }
    }
}

/// Two ends are kept back when all are let go, and the tid of the one is a held
/// child's by now: its former bearer's end is told before it is born.
#[test]
fn a_tid_in_use_again_while_its_former_end_is_kept_back() {
    let mut run = Run::new(Stops::Event, true);
    let call = Seccomp(FORK);
    for (tid, report) in [
        (2, call),
        (1, Created(3, FORK)),
        (1, call),
        (3, call),
        (3, Created(2, FORK)),
        (5, Exec(1)),
        (2, KILLED),
        (3, KILLED),
        (3, call),
        (5, Exec(4)),
    ] {
        run.probe.registers.insert(tid, FORK);
        run.feed(tid, report);
    }
    let mut output = Output::default();
    run.machine
        .let_go(Duration::ZERO, &mut run.probe, &mut output);
    run.take(output);
    assert_single_births(&run.events);
    assert_eq!(run.held_back, 0);
}
