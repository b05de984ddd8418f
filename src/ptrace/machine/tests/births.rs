//! Births, in every order of the parent's reports and the child's.

use super::*;
use crate::diagnosis::Retry;

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
    run.probe.ended.clear();
    run.probe.families.insert(2, (2, 1));
    run.feed(1, Created(2, FORK));
    run.feed(2, Trap);
    assert_eq!(run.lines(), ["1 made Process 2"]);
    assert_eq!(run.held_back, 0, "the second bearer of the tid runs");
}

/// A sibling is the creation of who called, though its parent is another.
#[test]
fn clone_parent_in_any_order() {
    let sibling = syscall(56, [0x8011, 0, 0, 0, 0, 0]);
    for stops in ALL {
        let born = before_birth(stops);
        let mut first = creation(stops, FORK, 2);
        first.push(GONE);
        let mut second = vec![Trap];
        second.extend(creation(stops, sibling, 3));
        second.push(GONE);
        let threads = [
            thread(1, (1, 0), FORK, &first),
            thread(2, (1, born), FORK, &second),
            thread(3, (2, 1 + born), sibling, &[Trap, GONE]),
        ];
        let prepare = |run: &mut Run| {
            run.probe.families.insert(2, (2, 1));
            run.probe.families.insert(3, (3, 1));
        };
        for_every_order_after(stops, true, &threads, &prepare, &|run| {
            assert_sound(run);
            assert_set(
                run,
                &[
                    "1 made Process 2",
                    "2 made Process 3",
                    "1 Exited(0)",
                    "2 Exited(0)",
                    "3 Exited(0)",
                ],
            );
            assert!(run.machine.is_empty());
        });
    }
}

/// A tid that is reaped may be given to the next child.
#[test]
fn a_pid_used_again_in_any_order() {
    for stops in ALL {
        let born = before_birth(stops);
        let mut first = creation(stops, FORK, 2);
        let again = first.len();
        first.extend(creation(stops, FORK, 2));
        first.push(GONE);
        for end in [GONE, KILLED] {
            let threads = [
                thread(1, (1, 0), FORK, &first).gate(again, (2, 2)),
                thread(2, (1, born), FORK, &[Trap, end, Trap, GONE]).gate(2, (1, again + born)),
            ];
            let prepare = |run: &mut Run| {
                run.probe.families.insert(2, (2, 1));
            };
            for_every_order_after(stops, true, &threads, &prepare, &|run| {
                assert_sound(run);
                let lines = run.lines();
                assert_eq!(count(run, &["1 made Process 2"]), 2, "{lines:?}");
                let ends = lines
                    .iter()
                    .filter(|line| line.starts_with("2 Exited") || line.starts_with("2 Killed"));
                assert_eq!(ends.count(), 2, "{stops:?}: {lines:?}");
                assert!(run.machine.is_empty());
            });
        }
    }
}

/// The end of a leader is reported only when its last thread has ended.
#[test]
fn a_leader_that_exits_first_in_any_order() {
    for stops in ALL {
        let born = before_birth(stops);
        let mut first = creation(stops, THREAD, 2);
        let gone = first.len();
        first.push(GONE);
        let mut second = vec![Trap];
        second.extend(creation(stops, THREAD, 3));
        second.extend(creation(stops, FORK, 4));
        second.push(GONE);
        let forks = 1 + creation(stops, THREAD, 3).len();
        let threads = [
            thread(1, (1, 0), FORK, &first)
                .gate(gone, (2, second.len()))
                .gate(gone, (3, 2)),
            thread(2, (1, born), THREAD, &second),
            thread(3, (2, 1 + born), THREAD, &[Trap, GONE]),
            thread(4, (2, forks + born), FORK, &[Trap, GONE]),
        ];
        for_every_order(stops, true, &threads, &|run| {
            assert_sound(run);
            assert_set(
                run,
                &[
                    "1 made Thread 2",
                    "2 made Thread 3",
                    "2 made Process 4",
                    "1 Exited(0)",
                    "2 Exited(0)",
                    "3 Exited(0)",
                    "4 Exited(0)",
                ],
            );
            assert!(run.machine.is_empty());
        });
    }
}

/// A fork that a signal made start again is one creation, whoever reports first.
#[test]
fn a_restarted_fork_in_any_order() {
    const ERESTARTNOINTR: i64 = -513;
    for stops in ALL {
        let mut first = Vec::new();
        for _ in 0..2 {
            match stops {
                Stops::Event => {}
                Stops::Seccomp => first.extend([Seccomp(FORK), Exit(ERESTARTNOINTR)]),
                Stops::Syscall => first.extend([Entry(FORK), Exit(ERESTARTNOINTR)]),
            }
            first.push(Delivery(14));
        }
        let exists = first.len() + before_birth(stops);
        first.extend(creation(stops, FORK, 2));
        first.push(GONE);
        let threads = [
            thread(1, (1, 0), FORK, &first),
            thread(2, (1, exists), FORK, &[Trap, GONE]),
        ];
        for_every_order(stops, true, &threads, &|run| {
            assert_sound(run);
            assert_eq!(count(run, &["1 made Process 2"]), 1);
            let restarts = if stops == Stops::Event { 0 } else { 2 };
            assert_eq!(count(run, &["1 failed 513"]), restarts);
            assert_eq!(run.lines().len(), 3 + restarts, "{:?}", run.lines());
            assert!(run.machine.is_empty());
            let expected = (stops != Stops::Event).then_some(Retry::Restart);
            assert_eq!(retries(run), [expected]);
        });
    }
}

/// What the creations that succeeded make good.
fn retries(run: &Run) -> Vec<Option<Retry>> {
    let made = run.events.iter().filter_map(|event| match &event.kind {
        EventKind::Create(create) => create.child().map(|_| create.retry),
        _ => None,
    });
    made.collect()
}

/// Only a failure is looked into, and only the next creation makes it good.
#[test]
fn a_clone_makes_good_a_clone3_that_was_refused() {
    const CLONE3: Syscall = syscall(435, [0x2000, 88, 0, 0, 0, 0]);
    const ENOSYS: i64 = -38;
    for stops in [Stops::Seccomp, Stops::Syscall] {
        let entry = |call| match stops {
            Stops::Syscall => Entry(call),
            Stops::Seccomp | Stops::Event => Seccomp(call),
        };
        let mut run = Run::new(stops, true);
        // The flags of THREAD.
        let flags = 0x0001_0f00u64.to_le_bytes();
        run.probe.structure = [&flags[..], &[0; 80]].concat();
        run.feed(1, entry(CLONE3));
        assert_eq!(run.probe.asked, 0);
        run.feed(1, Exit(ENOSYS));
        assert_eq!(run.probe.asked, 1);
        for child in [2, 3] {
            for report in creation(stops, THREAD, child) {
                run.feed(1, report);
            }
        }
        assert_eq!(run.probe.asked, 1);
        assert_eq!(retries(&run), [Some(Retry::Clone3), None], "{stops:?}");
        // An exec that failed is looked into, one that didn't is not.
        run.feed(1, entry(EXEC));
        run.feed(1, Exit(-2));
        assert_eq!(run.probe.asked, 2);
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
