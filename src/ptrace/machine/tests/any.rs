//! Reports in any order, possible or not.

use proptest::prelude::*;

use super::*;

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
