//! Filters over streams of events that are made here.

use std::time::Duration;

use super::*;
use crate::abi::{Abi, Syscall};
use crate::clone::decode;
use crate::event::{Attached, Child, Ended, Follow, Followed, Lost, Start, Stops, Target};
use crate::exec::{Env, ExecCall, Strings, Text};
use crate::ids::{Comm, Errno, Signal, Tid};
use crate::memory::Regions;

const FORK: u64 = 0x11;
const THREAD: u64 = 0x10900;
const VFORK: u64 = 0x4111;

fn event(tid: i32, tgid: i32, comm: &str, kind: EventKind) -> Event {
    Event {
        at: Duration::ZERO,
        tid: Tid(tid),
        tgid: Pid(tgid),
        comm: Comm::new(comm.as_bytes()),
        kind,
    }
}

fn start() -> Event {
    event(
        0,
        0,
        "",
        EventKind::Start(Box::new(Start {
            version: String::new(),
            wall: Duration::ZERO,
            monotonic: Duration::ZERO,
            target: Target::Processes(Vec::new()),
            abi: Abi::NATIVE,
            stops: Stops::Syscall,
            follow: Follow::All,
            waits: Wanted::No,
            orphans: Wanted::No,
        })),
    )
}

fn call(nr: u64, flags: u64, outcome: Outcome) -> EventKind {
    let syscall = Syscall {
        abi: Abi::X86_64,
        nr,
        args: [flags, 0, 0, 0, 0, 0],
    };
    let request = decode(syscall, &mut Regions::default(), 32).expect("a creating call");
    EventKind::Create(Box::new(Create {
        request,
        outcome,
        latency: None,
        why: Vec::new(),
        retry: None,
    }))
}

fn clone(flags: u64, outcome: Outcome) -> EventKind {
    call(56, flags, outcome)
}

fn child(tid: i32) -> Outcome {
    Outcome::Created(Child {
        tid: Some(Tid(tid)),
        returned: tid,
        own: tid,
        followed: Followed::Yes,
        parent_tid: None,
        pidfd: None,
    })
}

fn exec(result: Option<Result<(), Errno>>, continues_as: Option<i32>) -> EventKind {
    EventKind::Exec(Box::new(Exec {
        call: ExecCall {
            syscall: None,
            call: Call::Execve,
            path: Text::Null,
            argv: Strings::Address(0),
            env: Env {
                addr: None,
                vars: None,
                unterminated: false,
                text: None,
            },
        },
        result,
        continues_as: continues_as.map(Tid),
        releases: None,
        latency: None,
        why: Vec::new(),
    }))
}

fn exit(status: i32) -> EventKind {
    EventKind::End(End::Exited(status).into())
}

fn killed() -> EventKind {
    EventKind::End(Ended::from(End::Killed {
        signal: Signal(9),
        core_dumped: false,
    }))
}

fn attached(parent: i32) -> EventKind {
    EventKind::Attached(Box::new(Attached {
        parent: Pid(parent),
        own: 0,
        orphan: false,
    }))
}

/// make (10) with a thread (11); it makes gcc (20), which makes cc1 (21) in
/// vfork; a fork and an exec fail.
fn build() -> Vec<Event> {
    vec![
        start(),
        event(10, 10, "make", exec(Some(Ok(())), None)),
        event(10, 10, "make", clone(THREAD, child(11))),
        event(10, 10, "make", clone(FORK, Outcome::Failed(Errno::EAGAIN))),
        event(11, 10, "make", clone(FORK, Outcome::Failed(Errno(513)))),
        event(11, 10, "make", clone(FORK, child(20))),
        event(20, 20, "gcc", exec(Some(Ok(())), None)),
        event(20, 20, "gcc", clone(VFORK, child(21))),
        event(21, 21, "gcc", exec(Some(Err(Errno::ENOENT)), None)),
        event(20, 20, "gcc", EventKind::VforkDone { child: Tid(21) }),
        event(21, 21, "cc1", exec(Some(Ok(())), None)),
        event(21, 21, "cc1", killed()),
        event(20, 20, "gcc", exit(1)),
        event(11, 10, "make", exit(0)),
        event(10, 10, "make", exit(0)),
    ]
}

/// The places in the stream of what is kept, but for the start.
fn kept(criteria: Criteria, events: &[Event]) -> Vec<usize> {
    let mut filter = Filter::new(criteria);
    let all = events.iter().enumerate();
    let kept: Vec<usize> = all
        .filter(|(_, event)| filter.keeps(event))
        .map(|(index, _)| index)
        .collect();
    assert_eq!(kept.first(), Some(&0), "the start is always kept");
    kept[1..].to_vec()
}

fn only(only: &[Happening]) -> Criteria {
    Criteria {
        only: only.to_vec(),
        ..Criteria::default()
    }
}

fn name(text: &str) -> Pattern {
    Pattern::new(text.as_bytes()).expect("a pattern")
}

#[test]
fn nothing_asked_for_keeps_all() {
    let events = build();
    let all: Vec<usize> = (1..events.len()).collect();
    assert_eq!(kept(Criteria::default(), &events), all);
    assert!(!Criteria::default().any());
}

#[test]
fn kinds_of_events() {
    use Happening::*;
    let events = build();
    for (asked, expected) in [
        (&[Creations][..], &[2, 3, 4, 5, 7][..]),
        (&[Threads], &[2]),
        (&[Processes], &[3, 4, 5, 7]),
        (&[Vforks], &[7, 9]),
        (&[Execs], &[1, 6, 8, 10]),
        (&[Exits], &[11, 12, 13, 14]),
        (&[Kills], &[11]),
        (&[Attaches], &[]),
        (&[Threads, Kills], &[2, 11]),
    ] {
        assert_eq!(kept(only(asked), &events), expected, "{asked:?}");
    }
}

#[test]
fn how_it_went() {
    let events = build();
    let went = |went| Criteria {
        went: Some(went),
        ..Criteria::default()
    };
    assert_eq!(kept(went(Went::Failed), &events), [3, 8, 11, 12]);
    assert_eq!(kept(went(Went::Ok), &events), [1, 2, 5, 6, 7, 10, 13, 14]);
    let refused = [
        start(),
        event(1, 1, "", clone(FORK, Outcome::Skipped(0))),
        event(1, 1, "", clone(FORK, Outcome::Unknown)),
        event(1, 1, "", exec(None, None)),
    ];
    assert_eq!(kept(went(Went::Failed), &refused), [1]);
    assert!(kept(went(Went::Ok), &refused).is_empty());
}

#[test]
fn calls_and_flags() {
    let events = [
        start(),
        event(1, 1, "", call(57, 0, child(2))),
        event(1, 1, "", call(58, 0, child(3))),
        event(1, 1, "", clone(0x1000_0000 | FORK, child(4))),
        event(1, 1, "", exec(Some(Ok(())), None)),
        event(1, 1, "", exit(0)),
    ];
    let calls = |calls: &[Call]| Criteria {
        calls: calls.to_vec(),
        ..Criteria::default()
    };
    assert_eq!(kept(calls(&[Call::Fork]), &events), [1]);
    assert_eq!(kept(calls(&[Call::Clone, Call::Vfork]), &events), [2, 3]);
    assert_eq!(kept(calls(&[Call::Execve]), &events), [4]);
    let flags = |flags: &[CloneFlags]| Criteria {
        flags: flags.to_vec(),
        ..Criteria::default()
    };
    assert_eq!(kept(flags(&[CloneFlags::NEWUSER]), &events), [3]);
    // What vfork implies.
    assert_eq!(
        kept(flags(&[CloneFlags::VM | CloneFlags::VFORK]), &events),
        [2]
    );
    assert_eq!(
        kept(flags(&[CloneFlags::NEWUSER, CloneFlags::VM]), &events),
        [2, 3]
    );
    assert!(kept(flags(&[CloneFlags::NEWUSER | CloneFlags::VM]), &events).is_empty());
    // The exit signal is no flag.
    assert!(kept(flags(&[CloneFlags(0x11)]), &events).is_empty());
}

#[test]
fn names_and_pids() {
    let events = build();
    let names = |text: &[&str]| Criteria {
        names: text.iter().map(|text| name(text)).collect(),
        ..Criteria::default()
    };
    assert_eq!(kept(names(&["gcc"]), &events), [6, 7, 8, 9, 12]);
    assert_eq!(kept(names(&["c*1"]), &events), [10, 11]);
    assert_eq!(
        kept(names(&["cc1", "gcc"]), &events),
        [6, 7, 8, 9, 10, 11, 12]
    );
    assert_eq!(names(&["x"]).names(), Wanted::Yes);
    assert_eq!(Criteria::default().names(), Wanted::No);
    let pids = |pids: &[i32]| Criteria {
        pids: pids.to_vec(),
        ..Criteria::default()
    };
    // With the creation, and all threads.
    assert_eq!(kept(pids(&[20]), &events), [5, 6, 7, 9, 12]);
    assert_eq!(kept(pids(&[10]), &events), [1, 2, 3, 4, 5, 13, 14]);
    // A thread alone.
    assert_eq!(kept(pids(&[11]), &events), [2, 4, 5, 13]);
    assert!(kept(pids(&[99]), &events).is_empty());
}

#[test]
fn options_narrow_together() {
    let criteria = Criteria {
        went: Some(Went::Failed),
        names: vec![name("gcc")],
        ..only(&[Happening::Execs])
    };
    assert_eq!(kept(criteria, &build()), [8]);
}

#[test]
fn generations() {
    let events = build();
    let depth = |depth| Criteria {
        depth: Some(depth),
        ..Criteria::default()
    };
    // As --max-depth: what the first process does, its creations with it.
    assert_eq!(kept(depth(0), &events), [1, 2, 3, 4, 5, 13, 14]);
    assert_eq!(
        kept(depth(1), &events),
        [1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 14]
    );
    assert_eq!(kept(depth(2), &events).len(), events.len() - 1);
}

fn below(ancestors: &[Ancestor]) -> Criteria {
    Criteria {
        below: ancestors.to_vec(),
        ..Criteria::default()
    }
}

#[test]
fn descendants() {
    let events = build();
    // Made by a thread of 10; the creation belongs to the child, too.
    let expected = [5, 6, 7, 8, 9, 10, 11, 12];
    assert_eq!(kept(below(&[Ancestor::Pid(Pid(10))]), &events), expected);
    assert_eq!(kept(below(&[Ancestor::Pid(Pid(11))]), &events), expected);
    assert_eq!(
        kept(below(&[Ancestor::Name(name("make"))]), &events),
        expected
    );
    let gcc = Ancestor::Name(name("gcc"));
    assert_eq!(
        kept(below(std::slice::from_ref(&gcc)), &events),
        [7, 8, 10, 11]
    );
    assert_eq!(below(&[gcc]).names(), Wanted::Yes);
    assert!(kept(below(&[Ancestor::Pid(Pid(21))]), &events).is_empty());
}

#[test]
fn a_pid_used_again_is_somebody_else() {
    let events = [
        start(),
        event(1, 1, "", clone(FORK, child(2))),
        event(2, 2, "", clone(FORK, child(3))),
        event(3, 3, "", exit(0)),
        event(1, 1, "", clone(FORK, child(3))),
        event(3, 3, "", clone(FORK, child(4))),
        event(4, 4, "", exit(0)),
        event(2, 2, "", exit(0)),
        event(3, 3, "", exit(0)),
    ];
    // The second 3 is not below 2, nor so deep.
    assert_eq!(kept(below(&[Ancestor::Pid(Pid(2))]), &events), [2, 3]);
    let depth = Criteria {
        depth: Some(1),
        ..Criteria::default()
    };
    assert_eq!(kept(depth, &events), [1, 2, 4, 5, 7, 8]);
}

#[test]
fn exec_by_a_thread_takes_its_leaders_place() {
    let events = [
        start(),
        event(1, 1, "", clone(FORK, child(2))),
        event(2, 2, "", clone(THREAD, child(3))),
        event(2, 2, "", EventKind::Superseded { by: Tid(3) }),
        event(3, 2, "", exec(Some(Ok(())), Some(2))),
        event(2, 2, "", clone(FORK, child(3))),
        event(3, 3, "", exit(0)),
        event(2, 2, "", exit(0)),
        event(1, 1, "", exit(0)),
    ];
    let ancestor = below(&[Ancestor::Pid(Pid(1))]);
    assert_eq!(kept(ancestor.clone(), &events), [1, 2, 3, 4, 5, 6, 7]);
    let mut filter = Filter::new(ancestor);
    for event in &events {
        filter.keeps(event);
    }
    assert_eq!(filter.family.len(), 0, "the dead are forgotten");
    // A leader that nobody knew.
    let unknown = [
        start(),
        event(3, 2, "", exec(Some(Ok(())), Some(2))),
        event(2, 2, "", clone(FORK, child(4))),
        event(2, 2, "", exit(0)),
        event(4, 4, "", exit(0)),
    ];
    assert_eq!(kept(below(&[Ancestor::Pid(Pid(2))]), &unknown), [2, 4]);
}

#[test]
fn what_ran_already_descends_from_what_is_known() {
    let events = [
        start(),
        event(10, 10, "sh", attached(1)),
        event(11, 10, "sh", attached(1)),
        event(20, 20, "sh", attached(10)),
        event(21, 20, "sh", clone(FORK, child(30))),
        event(30, 30, "sh", EventKind::Lost(Lost::Detached)),
        event(11, 10, "sh", EventKind::Lost(Lost::Detached)),
    ];
    assert_eq!(kept(below(&[Ancestor::Pid(Pid(10))]), &events), [3, 4, 5]);
    assert_eq!(
        kept(below(&[Ancestor::Name(name("sh"))]), &events),
        [3, 4, 5]
    );
    // All of it is below a parent that is not traced.
    assert_eq!(
        kept(below(&[Ancestor::Pid(Pid(1))]), &events),
        [1, 2, 3, 4, 5, 6]
    );
    let depth = Criteria {
        depth: Some(0),
        ..Criteria::default()
    };
    assert_eq!(kept(depth, &events), [1, 2, 6]);
    assert_eq!(kept(only(&[Happening::Attaches]), &events), [1, 2, 3, 5, 6]);
}

#[test]
fn children_that_are_not_followed_leave_nothing_behind() {
    let unseen = Outcome::Created(Child {
        tid: Some(Tid(2)),
        returned: 2,
        own: 2,
        followed: Followed::Untraced,
        parent_tid: None,
        pidfd: None,
    });
    let events = [
        start(),
        event(1, 1, "", clone(FORK, unseen)),
        event(1, 1, "", exit(0)),
    ];
    let mut filter = Filter::new(below(&[Ancestor::Pid(Pid(1))]));
    let kept = events.iter().filter(|event| filter.keeps(event)).count();
    assert_eq!((kept, filter.family.len()), (2, 0));
}

#[test]
fn notes_on_the_trace_are_always_shown() {
    let events = [
        start(),
        event(1, 1, "", EventKind::Tracing),
        event(0, 0, "", EventKind::MustStay(Signal(15))),
    ];
    assert_eq!(kept(only(&[Happening::Threads]), &events), [1, 2]);
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    fn any_event() -> impl Strategy<Value = Event> {
        (0..12, 1..6, 1..6, 1..6).prop_map(|(what, tid, tgid, other)| {
            let kind = match what {
                0 => clone(FORK, child(other)),
                1 => clone(THREAD, child(other)),
                2 => clone(VFORK, child(other)),
                3 => clone(FORK, Outcome::Failed(Errno::EAGAIN)),
                4 => exec(Some(Ok(())), None),
                5 => exec(Some(Ok(())), Some(other)),
                6 => exit(0),
                7 => killed(),
                8 => attached(other),
                9 => EventKind::Lost(Lost::Detached),
                10 => EventKind::Superseded { by: Tid(other) },
                _ => EventKind::VforkDone { child: Tid(other) },
            };
            event(tid, tgid, ["make", "gcc"][tgid as usize % 2], kind)
        })
    }

    fn parts() -> Vec<Criteria> {
        vec![
            only(&[Happening::Processes, Happening::Exits]),
            Criteria {
                went: Some(Went::Ok),
                ..Criteria::default()
            },
            Criteria {
                names: vec![name("g*")],
                ..Criteria::default()
            },
            Criteria {
                pids: vec![3],
                ..Criteria::default()
            },
        ]
    }

    proptest! {
        /// Whatever comes: no panic, at most one member a tid, and options
        /// together keep what each of them keeps.
        #[test]
        fn options_together_keep_what_each_keeps(events in prop::collection::vec(any_event(), 0..60)) {
            let parts = parts();
            let together = Criteria {
                only: parts[0].only.clone(),
                went: parts[1].went,
                names: parts[2].names.clone(),
                pids: parts[3].pids.clone(),
                ..Criteria::default()
            };
            let mut all = Filter::new(together);
            let mut each: Vec<Filter> = parts.into_iter().map(Filter::new).collect();
            let mut kin = Filter::new(Criteria {
                depth: Some(1),
                ..below(&[Ancestor::Pid(Pid(2)), Ancestor::Name(name("make"))])
            });
            for event in &events {
                let kept = each.iter_mut().all(|filter| filter.keeps(event));
                prop_assert_eq!(all.keeps(event), kept);
                kin.keeps(event);
                prop_assert!(kin.family.len() <= 6);
            }
        }
    }
}
