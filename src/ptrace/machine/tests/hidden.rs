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

/// `clone3` whose structure asks for CLONE_UNTRACED, and the structure.
fn untraced3(more: u64) -> (Syscall, Vec<u8>) {
    let mut fields = [0u64; 11];
    fields[0] = 0x80_0000 | more;
    fields[4] = 17;
    let bytes = fields.iter().flat_map(|f| f.to_le_bytes()).collect();
    (syscall(435, [0x2000, 88, 0, 0, 0, 0]), bytes)
}

const BEFORE: [u8; 88] = [0x5a; 88];

/// The bit is out for the call only; then register and memory are as before, in both.
#[test]
fn clone3_is_given_a_copy_without_the_bit() {
    const VM: u64 = 0x100;
    for more in [0, VM] {
        let (call, structure) = untraced3(more);
        let threads = [
            thread(1, (1, 0), FORK, &[Seccomp(call), Created(2, call), GONE]),
            // Its registers are its creator's at the call.
            thread(
                2,
                (1, 1),
                syscall(435, [BELOW_STACK, 88, 0, 0, 0, 0]),
                &[Trap, GONE],
            ),
        ];
        let prepare = |run: &mut Run| {
            run.probe.structure = structure.clone();
            run.probe.below_stack = Some(BEFORE.to_vec());
        };
        let orders = for_every_order_after(Stops::Seccomp, true, &threads, &prepare, &|run| {
            assert_sound(run);
            let mut copy = structure.clone();
            copy[2] = 0;
            assert_eq!(run.probe.lent, copy, "all but the bit");
            let mut firsts = run.probe.first_arguments.clone();
            firsts.sort_unstable();
            // Killed before it ran, it got nothing.
            let ran = run.resumed.iter().any(|(tid, _)| *tid == 2);
            let expected = [(1, 0x2000), (1, BELOW_STACK), (2, 0x2000)];
            assert_eq!(firsts, expected[..2 + usize::from(ran)]);
            let mut written = run.probe.written.clone();
            written.sort_unstable();
            let mut expected = vec![(1, BELOW_STACK, BEFORE.to_vec())];
            // Where the memory is one, it was put back already.
            if more != VM && ran {
                expected.push((2, BELOW_STACK, BEFORE.to_vec()));
            }
            assert_eq!(written, expected);
            let EventKind::Create(create) = &run.events[0].kind else {
                panic!("{:?}", run.lines())
            };
            assert!(
                create.request.flags().has(CloneFlags::UNTRACED),
                "as asked for"
            );
            assert_eq!(create.child().unwrap().followed, Followed::Yes);
            assert_eq!(run.lines().len(), 3);
        });
        assert!(orders > 3);
    }
}

#[test]
fn a_clone3_that_fails_gets_its_register_and_memory_back() {
    let (call, structure) = untraced3(0);
    let mut run = Run::new(Stops::Seccomp, true);
    run.probe.structure = structure;
    run.probe.below_stack = Some(BEFORE.to_vec());
    run.feed(1, Seccomp(call));
    run.feed(1, Exit(-513));
    assert_eq!(run.probe.first_arguments, [(1, BELOW_STACK), (1, 0x2000)]);
    assert_eq!(run.probe.written, [(1, BELOW_STACK, BEFORE.to_vec())]);
    // And again when it is started again.
    run.feed(1, Seccomp(call));
    assert_eq!(run.probe.first_arguments.len(), 3);
    assert_eq!(run.held_back, 0);
}

/// Without a place for the copy nothing is touched, and what comes of it is told.
#[test]
fn clone3_without_a_place_for_the_copy_is_left_as_it_is() {
    let (call, structure) = untraced3(0);
    let i386 = Syscall {
        abi: Abi::I386,
        ..call
    };
    for (call, below) in [(call, None), (i386, Some(BEFORE.to_vec()))] {
        let mut run = Run::new(Stops::Seccomp, true);
        run.probe.structure = structure.clone();
        run.probe.below_stack = below;
        run.feed(1, Seccomp(call));
        run.feed(1, Exit(7));
        assert!(run.probe.first_arguments.is_empty() && run.probe.written.is_empty());
        let EventKind::Create(create) = &run.events[0].kind else {
            panic!("{:?}", run.lines())
        };
        assert_eq!(create.child().unwrap().followed, Followed::Stranded);
    }
}

/// The creator is killed before it names its child: that gets its own back too, and the
/// line says what was asked for.
#[test]
fn a_child_whose_creator_was_killed_gets_its_register_back() {
    let (call3, structure) = untraced3(0);
    for (call, childs) in [
        (untraced(0), syscall(56, [0x11, 0, 0, 0, 0, 0])),
        (call3, syscall(435, [BELOW_STACK, 88, 0, 0, 0, 0])),
    ] {
        let threads = [
            thread(1, (1, 0), FORK, &[Seccomp(call), KILLED]),
            thread(2, (1, 1), childs, &[Trap, GONE]),
        ];
        let prepare = |run: &mut Run| {
            run.probe.structure = structure.clone();
            run.probe.below_stack = Some(BEFORE.to_vec());
            run.probe.families.insert(2, (2, 999));
        };
        for_every_order_after(Stops::Seccomp, true, &threads, &prepare, &|run| {
            assert_sound(run);
            let told = count(run, &["1 made Process 2", "2 attached"]);
            assert_eq!(told, 1, "{:?}", run.lines());
            // It ran, so its creator is known.
            if run.resumed.iter().any(|(tid, _)| *tid == 2) {
                let put_back = (2, call.args[0]);
                assert!(run.probe.first_arguments.contains(&put_back));
                let EventKind::Create(create) = &run.events[0].kind else {
                    panic!("{:?}", run.lines())
                };
                assert!(create.request.flags().has(CloneFlags::UNTRACED));
            }
        });
    }
}

/// Handed to the caller's tracer, hidden from it or not: one creation in any order.
#[test]
fn clone_ptrace_in_any_order() {
    const PTRACE: u64 = 0x2000;
    let plain = syscall(56, [0x11 | PTRACE, 0, 0, 0, 0, 0]);
    for stops in ALL {
        let born = before_birth(stops);
        let mut first = creation(stops, plain, 2);
        first.push(GONE);
        let threads = [
            thread(1, (1, 0), FORK, &first),
            thread(2, (1, born), plain, &[Trap, GONE]),
        ];
        for_every_order(stops, true, &threads, &|run| {
            assert_sound(run);
            assert_set(run, &["1 made Process 2", "1 Exited(0)", "2 Exited(0)"]);
        });
    }
    let hidden = untraced(PTRACE);
    let threads = [
        thread(1, (1, 0), FORK, &[Entry(hidden), Exit(2), GONE]),
        thread(2, (1, 1), hidden, &[Trap, GONE]),
    ];
    for_every_order(Stops::Syscall, true, &threads, &|run| {
        assert_sound(run);
        assert_set(run, &["1 made Process 2", "1 Exited(0)", "2 Exited(0)"]);
    });
}

/// A filter of the program's own that says RET_TRACE: without a tracer the call
/// fails, so it does with one.
#[test]
fn what_the_programs_own_filter_refuses_stays_refused() {
    let mut run = Run::new(Stops::Seccomp, true);
    let getppid = syscall(110, [0; 6]);
    run.feed(1, Foreign(getppid));
    assert_eq!(run.probe.refused, [1]);
    assert_eq!(run.resumed, [(1, Resume::Cont(None))]);
    run.feed(1, Foreign(FORK));
    assert_eq!(run.probe.refused, [1, 1]);
    assert_eq!(run.resumed[1], (1, Resume::Syscall(None)));
    run.feed(1, Exit(-38));
    assert_eq!(run.lines(), ["1 failed 38"]);
}
