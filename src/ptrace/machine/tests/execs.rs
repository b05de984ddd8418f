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
        let EventKind::Exec(exec) = &run.events[1].kind else {
            panic!("{:?}", run.lines())
        };
        assert_eq!(exec.releases, Some(Tid(1)));
    }
}
