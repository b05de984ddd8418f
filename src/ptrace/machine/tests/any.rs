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

/// How a run is brought to its end.
#[derive(Debug, Clone, Copy)]
enum Finish {
    Overdue,
    Drain,
    LetGo,
}

proptest! {
    /// Whatever is reported, and whatever of it isn't answered: no panic, every
    /// stop is answered with one decision, at the latest when time has passed or
    /// all are let go, and no live thread is created twice.
    #[test]
    fn any_reports_are_survived(
        stops in prop_oneof![Just(Stops::Event), Just(Stops::Seccomp), Just(Stops::Syscall)],
        follow: bool,
        finish in prop_oneof![Just(Finish::Overdue), Just(Finish::Drain), Just(Finish::LetGo)],
        reports in proptest::collection::vec(
            (1i32..6, any_report(), proptest::bool::weighted(0.1)), 0..60),
    ) {
        // A filter forbids letting go.
        let finish = if stops == Stops::Seccomp { Finish::Overdue } else { finish };
        let mut run = Run::new(stops, follow);
        for (tid, report, deaf) in reports {
            // A thread that is stopped can only end.
            if run.running.get(&tid) == Some(&false) && !matches!(report, Ended(_)) {
                continue;
            }
            // One that was let go reports no more.
            if run.resumed.iter().any(|(t, how)| *t == tid && matches!(how, Resume::Detach(_))) {
                continue;
            }
            // Nobody creates itself, or a thread that lives.
            if matches!(report, Created(child, _)
                if child == tid || run.machine.tasks.contains_key(&Tid(child)))
            {
                continue;
            }
            run.probe.registers.insert(tid, FORK);
            run.probe.gone = deaf;
            run.feed(tid, report);
            run.probe.gone = false;
            let stopped = |h: &&Held| matches!(h.state, HeldState::Stopped(..));
            let held = run.machine.held.values().filter(stopped).count();
            prop_assert_eq!(run.held_back, held, "stops without a decision");
        }
        let mut output = Output::default();
        match finish {
            Finish::Overdue => {}
            Finish::Drain => run.machine.drain(&mut output),
            Finish::LetGo => run.machine.let_go(Duration::ZERO, &mut run.probe, &mut output),
        }
        run.take(output);
        if !matches!(finish, Finish::Overdue) {
            prop_assert_eq!(run.held_back, 0, "let go of all");
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
        assert_single_births(&run.events);
    }
}
