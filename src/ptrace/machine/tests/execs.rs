//! exec: by whichever thread, whatever the leader is doing.

use super::*;

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

/// What a leader may be doing when another thread's exec does away with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leader {
    /// Nothing that is traced; or it has exited, which is not reported while
    /// another thread is left.
    Idle,
    /// A call that is traced, and will never return.
    InFork,
}

/// Thread 2 execs while the leader, 1, is somewhere and 3 is killed by the exec.
#[test]
fn exec_from_a_thread_in_any_order() {
    for stops in ALL {
        for leader in [Leader::Idle, Leader::InFork] {
            let born = before_birth(stops);
            let mut first = creation(stops, THREAD, 2);
            let created = first.len();
            first.extend(creation(stops, THREAD, 3));
            let both = first.len();
            if leader == Leader::InFork && stops != Stops::Event {
                first.push(creation(stops, FORK, 4)[0]);
            }
            let taken_over = first.len();
            // From here on it is the thread that called exec.
            first.push(Exec(2));
            if stops == Stops::Syscall {
                first.push(Exit(0));
            }
            let second_life = first.len();
            first.extend(creation(stops, FORK, 4));
            first.push(GONE);
            let mut executor = vec![Trap];
            executor.extend(exec_entry(stops));
            let last = executor.len();
            let threads = [
                // An exec waits until the other threads are gone.
                thread(1, (1, 0), FORK, &first)
                    .gate(taken_over, (2, last))
                    .gate(taken_over, (3, 2)),
                thread(2, (1, born), THREAD, &executor).gate(1, (1, both)),
                thread(3, (1, created + born), THREAD, &[Trap, KILLED]),
                thread(4, (1, second_life + born), FORK, &[Trap, GONE]),
            ];
            let orders = for_every_order(stops, true, &threads, &|run| {
                assert_sound(run);
                let lines = run.lines();
                let vanished = position(&lines, "1 superseded by 2");
                assert_eq!(lines[vanished + 1], "2 exec Some(true)", "{lines:?}");
                for (before, after) in [
                    ("1 made Thread 2", "1 superseded by 2"),
                    (
                        "1 made Thread 3",
                        "3 Killed { signal: Signal(9), core_dumped: false }",
                    ),
                    ("2 exec Some(true)", "1 made Process 4"),
                    ("1 made Process 4", "4 Exited(0)"),
                ] {
                    assert!(
                        position(&lines, before) < position(&lines, after),
                        "{lines:?}"
                    );
                }
                let in_fork = leader == Leader::InFork && stops != Stops::Event;
                assert_eq!(
                    count(run, &["1 unknown"]),
                    usize::from(in_fork),
                    "{lines:?}"
                );
                assert_eq!(lines.len(), 8 + usize::from(in_fork), "{lines:?}");
                assert!(run.machine.is_empty());
            });
            assert!(orders > 10, "{stops:?} {leader:?}: {orders} orders");
        }
    }
}

/// The leader had created a child, and the exec came before it could say so.
#[test]
fn exec_from_a_thread_while_the_leaders_child_is_born() {
    for stops in ALL {
        let born = before_birth(stops);
        let mut first = creation(stops, THREAD, 2);
        let made = first.len();
        first.extend(creation(stops, FORK, 3).into_iter().take(born));
        let taken_over = first.len();
        first.extend([Exec(2), GONE]);
        let mut executor = vec![Trap];
        executor.extend(exec_entry(stops));
        let last = executor.len();
        let threads = [
            thread(1, (1, 0), FORK, &first).gate(taken_over, (2, last)),
            thread(2, (1, born), THREAD, &executor).gate(1, (1, made)),
            thread(3, (1, taken_over), FORK, &[Trap, GONE]),
        ];
        let prepare = |run: &mut Run| {
            run.probe.families.insert(2, (1, 999));
            run.probe.families.insert(3, (3, 1));
        };
        for_every_order_after(stops, true, &threads, &prepare, &|run| {
            assert_sound(run);
            let told = count(run, &["1 made Process 3", "3 attached"]);
            // Nobody else's, and told once; 2 can't be taken for its creator.
            assert_eq!(told, 1, "{stops:?}: {:?}", run.lines());
            assert!(run.machine.is_empty(), "{:?}", run.lines());
        });
    }
}

/// Killed in the stop of its exec: whoever is left of its process is the caller.
#[test]
fn a_thread_killed_in_the_stop_of_its_exec() {
    for stops in ALL {
        let born = before_birth(stops);
        let mut first = creation(stops, THREAD, 2);
        let taken_over = first.len();
        first.extend([Exec(2), KILLED]);
        let mut executor = vec![Trap];
        executor.extend(exec_entry(stops));
        let last = executor.len();
        let mut leader = thread(1, (1, 0), FORK, &first).gate(taken_over, (2, last));
        leader.deaf_at = Some(taken_over);
        let threads = [
            leader,
            thread(2, (1, born), THREAD, &executor).gate(1, (1, taken_over)),
        ];
        for_every_order(stops, true, &threads, &|run| {
            assert_sound(run);
            assert_set(
                run,
                &[
                    "1 made Thread 2",
                    "1 superseded by 2",
                    "2 exec Some(true)",
                    "1 Killed { signal: Signal(9), core_dumped: false }",
                ],
            );
            assert!(run.machine.is_empty());
        });
    }
}

/// 1 waits for 2, which waits for 3: freed by the exec of one and the end of the other.
#[test]
fn nested_vfork_in_any_order() {
    for stops in ALL {
        let born = before_birth(stops);
        let mut first = creation(stops, VFORK, 2);
        first.push(GONE);
        let mut second = vec![Trap];
        second.extend(creation(stops, VFORK, 3));
        let freed = second.len() - usize::from(stops == Stops::Syscall);
        second.extend(exec_entry(stops));
        second.push(Exec(2));
        let done = second.len();
        second.push(GONE);
        // A suspended parent reports nothing but the event before.
        let suspended = born + 1;
        let threads = [
            thread(1, (1, 0), FORK, &first).gate(suspended, (2, done)),
            thread(2, (1, born), VFORK, &second).gate(freed, (3, 2)),
            thread(3, (2, 1 + born), VFORK, &[Trap, GONE]),
        ];
        let orders = for_every_order(stops, true, &threads, &|run| {
            assert_sound(run);
            assert_set(
                run,
                &[
                    "1 made Vfork 2",
                    "2 made Vfork 3",
                    "2 goes on after 3",
                    "3 Exited(0)",
                    "1 goes on after 2",
                    "2 exec Some(true)",
                    "2 Exited(0)",
                    "1 Exited(0)",
                ],
            );
            let releases = |event: &Event| match &event.kind {
                EventKind::Exec(exec) => exec.releases,
                _ => None,
            };
            assert_eq!(run.events.iter().find_map(releases), Some(Tid(1)));
            assert!(run.machine.is_empty());
        });
        assert!(orders > 1, "{stops:?}");
    }
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
