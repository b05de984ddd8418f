//! Trees of made-up traces.

use proptest::prelude::*;

use std::time::Duration;

use super::deeds::MOMENTS;
use super::node::{Deed, Fate, Node, NodeId, Origin};
use super::outline::{Item, Outline};
use super::strings::CommandId;
use super::{Threads, Tree};
use crate::clone::{CloneFlags, Kind};
use crate::event::testing::{SPAWN, Story};
use crate::event::{Event, EventKind, Lost};
use crate::ids::{Pid, Signal, Tid};

fn tree(story: &Story) -> Tree {
    tree_with(story, Threads::Counted)
}

fn tree_with(story: &Story, threads: Threads) -> Tree {
    let mut tree = Tree::new(threads);
    for event in &story.events {
        tree.add(event);
    }
    tree
}

/// The node of that pid, the last one.
fn find(tree: &Tree, pid: i32) -> NodeId {
    let of_pid = |(_, node): &(NodeId, &Node)| node.pid() == Pid(pid);
    tree.nodes().filter(of_pid).last().expect("a node").0
}

fn shown(tree: &Tree, command: CommandId) -> String {
    let command = tree.texts().get(command);
    let words = command.argv.iter();
    let words: Vec<_> = words
        .map(|word| String::from_utf8_lossy(word.bytes.unwrap_or(b"?")))
        .collect();
    words.join(" ")
}

/// What a process did, in order.
fn deeds(tree: &Tree, pid: i32) -> Vec<String> {
    let outline = Outline::new(tree);
    outline
        .items(tree, find(tree, pid))
        .map(|item| match item {
            Item::Child(id) => format!("child {}", tree.node(id).pid()),
            Item::Moment(moment) => match moment.what {
                Deed::Exec(command) => format!("exec {}", shown(tree, command)),
                Deed::ExecFailed(command, errno) => {
                    format!("{} for {}", errno.name().unwrap(), shown(tree, command))
                }
                Deed::CreateFailed(_, failure) => format!("{failure:?} x{}", moment.count),
            },
        })
        .collect()
}

#[test]
fn a_shell_that_forks_and_then_becomes_another() {
    let mut story = Story::new();
    story
        .exec(10, "sh -c x")
        .fork(10, 11)
        .exec(11, "a")
        .fork(10, 12);
    story
        .exit(11, 0)
        .exec(10, "cat -n")
        .vfork(10, 13)
        .exit(13, 0);
    story.vfork_done(10, 13).exit(12, 1).exit(10, 0);
    let tree = tree(&story);
    assert_eq!(
        deeds(&tree, 10),
        [
            "exec sh -c x",
            "child 11",
            "child 12",
            "exec cat -n",
            "child 13"
        ]
    );
    let root = find(&tree, 10);
    assert_eq!(tree.origin(root), Origin::Launched);
    assert_eq!(tree.node(root).execs(), 2);
    assert_eq!(
        shown(&tree, tree.node(find(&tree, 12)).current()),
        "sh -c x"
    );
    assert_eq!(shown(&tree, tree.node(find(&tree, 13)).first()), "cat -n");
    assert_eq!(tree.node(find(&tree, 12)).fate(), Fate::Exited(1));
    assert_eq!(
        tree.node(find(&tree, 11)).lived(),
        Some(Duration::from_millis(3))
    );
}

#[test]
fn who_created_and_whose_child_it_is() {
    let mut story = Story::new();
    story.exec(10, "a").fork(10, 11).thread(11, 12).fork(12, 13);
    story.clone(12, 14, CloneFlags::PARENT.0);
    story.clone(14, 15, CloneFlags::PARENT.0);
    story
        .clone(10, 16, CloneFlags::PARENT.0)
        .exit(10, 0)
        .exit(14, 0);
    let tree = tree(&story);
    let [a, b, sibling] = [10, 11, 14].map(|pid| find(&tree, pid));
    assert_eq!(tree.node(find(&tree, 13)).creator(), Some(Tid(12)));
    assert_eq!(tree.node(sibling).parent(), Some(b));
    assert_eq!(tree.real_parent(sibling), Some(a));
    assert_eq!(tree.real_parent(find(&tree, 15)), Some(a));
    assert_eq!(tree.node(find(&tree, 15)).parent(), Some(sibling));
    assert_eq!(tree.real_parent(find(&tree, 16)), None);
    assert_eq!(tree.node(b).threads(), 1);
    assert!(tree.is_below(sibling, a) && tree.is_below(a, a) && !tree.is_below(a, b));
    assert!(!tree.is_below(find(&tree, 16), b));
    assert_eq!(tree.node(find(&tree, 15)).depth(), 3);
    assert_eq!(tree.process_of(Tid(12)), Some(b));
    // 11 outlived 10, and 15 too, whose creator isn't its parent; 13's lives.
    for (pid, outlived) in [(11, true), (14, true), (15, true), (13, false), (10, false)] {
        assert_eq!(tree.outlived_parent(find(&tree, pid)), outlived, "{pid}");
    }
}

/// Where adoptions are told the order in which ends are seen says nothing: those that
/// are killed together end in any.
#[test]
fn who_outlived_its_parent_is_told_rather_than_timed() {
    let mut story = Story::with_waits();
    story.exec(10, "a").fork(10, 11).fork(10, 12).fork(10, 13);
    story.kill(11, 9).kill(10, 9).adopted(13, 1).kill(12, 9);
    story.kill(13, 9);
    let told = tree(&story);
    let outlived = |tree: &Tree| [11, 12, 13].map(|pid| tree.outlived_parent(find(tree, pid)));
    assert_eq!(outlived(&told), [false, false, true]);
    // A log may not tell: then the times are all there is.
    story.events.remove(0);
    story
        .events
        .retain(|event| !matches!(event.kind, EventKind::Orphaned { .. }));
    assert_eq!(outlived(&tree(&story)), [false, true, true]);
}

#[test]
fn who_is_never_waited_for() {
    const WNOWAIT: u64 = 0x0100_0000;
    let unreaped = |story: &Story| -> Vec<i32> {
        let tree = tree(story);
        let those = tree.nodes().filter(|(id, _)| tree.unreaped(*id));
        those.map(|(_, node)| node.pid().0).collect()
    };
    let mut story = Story::with_waits();
    story.exec(10, "a").fork(10, 11).fork(10, 12).fork(10, 13);
    for child in [11, 12, 13] {
        story.exit(child, 0);
    }
    story.reaps(10, 11, 0).reaps(10, 12, WNOWAIT);
    assert_eq!(unreaped(&story), [12, 13]);
    // One whose pid is given away was reaped, whoever saw it.
    story.fork(10, 13).fork(10, 14).fork(14, 15).exit(15, 0);
    assert_eq!(unreaped(&story), [12, 15]);
    // A parent that is killed can't wait any more; one that exits could have.
    let mut killed = Story::with_waits();
    killed.events = story.events.clone();
    killed.kill(14, 9);
    assert_eq!(unreaped(&killed), [12, 14]);
    // The first one is forktrace's to wait for, and an orphan somebody's else.
    story.exit(14, 0).exit(10, 0).adopted(13, 1).exit(13, 0);
    assert_eq!(unreaped(&story), [12, 14, 15]);
    let mut untold = Story::new();
    untold.exec(10, "a").fork(10, 11).exit(11, 0).exit(10, 0);
    assert_eq!(unreaped(&untold), [0; 0]);
}

#[test]
fn pids_are_used_again() {
    let mut story = Story::new();
    story
        .exec(10, "a")
        .fork(10, 11)
        .exit(11, 1)
        .fork(10, 11)
        .exit(11, 2);
    // And once more, its end unseen.
    story.fork(10, 11).fork(11, 12).fork(10, 11).fork(11, 13);
    let tree = tree(&story);
    let eleven = |(_, node): &(NodeId, &Node)| node.pid() == Pid(11);
    let fates: Vec<Fate> = tree.nodes().filter(eleven).map(|(_, n)| n.fate()).collect();
    assert_eq!(
        fates,
        [Fate::Exited(1), Fate::Exited(2), Fate::Unseen, Fate::Alive]
    );
    let parents = [12, 13].map(|pid| tree.node(find(&tree, pid)).parent());
    assert!(parents[0] < parents[1]);
    assert_eq!(tree.tally().processes.now, 4);
}

#[test]
fn failures_stand_where_they_happened() {
    let mut story = Story::new();
    story
        .exec(10, "a")
        .fork_fails(10, 11)
        .fork_fails(10, 11)
        .thread_fails(10, 11);
    story
        .fork(10, 11)
        .fork_fails(10, 12)
        .killed_in_fork(11)
        .fork_fails(10, 513);
    let tree = tree(&story);
    assert_eq!(
        deeds(&tree, 10),
        [
            "exec a",
            "Errno(Errno(11)) x2",
            "Errno(Errno(11)) x1",
            "child 11",
            "Errno(Errno(12)) x1"
        ]
    );
    assert_eq!(deeds(&tree, 11), ["CallerKilled x1"]);
    assert_eq!(tree.tally().failures(), 5);
    assert_eq!(tree.tally().creations(), 1);
}

/// What failed before a child or an exec is not what failed after it.
#[test]
fn the_same_failure_around_something_else_stands_twice() {
    let mut story = Story::new();
    story.exec(10, "a").fork_fails(10, 11).fork_fails(10, 11);
    story.fork(10, 11).fork_fails(10, 11).exec(10, "b");
    story.fork_fails(10, 11).exec_fails(10, "c", 2);
    story.fork_fails(10, 11).thread(10, 12).fork_fails(12, 11);
    let again = "Errno(Errno(11)) x1";
    let all = |threads| {
        let tree = tree_with(&story, threads);
        let process = |deed: &String| deed != "child 12";
        deeds(&tree, 10)
            .into_iter()
            .filter(process)
            .collect::<Vec<_>>()
    };
    let expected = [
        "exec a",
        "Errno(Errno(11)) x2",
        "child 11",
        again,
        "exec b",
        again,
        "ENOENT for c",
    ];
    // A thread stands between only where it is shown.
    assert_eq!(all(Threads::Counted)[..7], expected);
    assert_eq!(all(Threads::Counted)[7..], ["Errno(Errno(11)) x2"]);
    assert_eq!(all(Threads::Kept)[..7], expected);
    assert_eq!(all(Threads::Kept)[7..], [again, again]);
}

#[test]
fn what_was_tried_along_path_gives_way() {
    let mut story = Story::new();
    story.exec(10, "sh").fork(10, 11);
    story
        .exec_fails(11, "/usr/local/bin/x", 2)
        .exec_fails(11, "/bin/x", 2);
    story
        .exec(11, "/usr/bin/x")
        .exec_fails(11, "/no/y", 2)
        .exec_fails(11, "/z/y", 13);
    let tree = tree(&story);
    assert_eq!(deeds(&tree, 11), ["exec /usr/bin/x", "EACCES for /z/y"]);
    assert_eq!(tree.node(find(&tree, 11)).execs(), 1);
    assert_eq!(tree.tally().exec_failures().map(|(_, n)| n).sum::<u64>(), 4);
}

#[test]
fn an_exec_by_another_thread_is_the_process_going_on() {
    for threads in [Threads::Counted, Threads::Kept] {
        let mut story = Story::new();
        story
            .exec(10, "a")
            .thread(10, 11)
            .thread(10, 12)
            .exit(12, 0);
        story.exec_by_thread(11, 10, "b").fork(10, 11).exit(10, 3);
        let tree = tree_with(&story, threads);
        let of_pid = |(_, node): &(NodeId, &Node)| node.pid() == Pid(10);
        assert_eq!(tree.nodes().filter(of_pid).count(), 1);
        let node = tree.node(find(&tree, 10));
        assert_eq!(
            (node.fate(), node.threads(), node.execs()),
            (Fate::Exited(3), 2, 2)
        );
        let last = tree.moments().last().unwrap();
        assert_eq!((last.by, last.node()), (Tid(11), find(&tree, 10)));
        // 11 is another one by now.
        assert_eq!(tree.process_of(Tid(11)), Some(find(&tree, 11)));
        assert_eq!(tree.tally().processes.now, 1);
        assert_eq!(tree.tally().threads.now, 1);
        let kept = tree.nodes().filter(|(_, node)| node.is_thread()).count();
        assert_eq!(kept, if threads == Threads::Kept { 2 } else { 0 });
    }
}

#[test]
fn who_waits_in_vfork() {
    let mut story = Story::new();
    story.exec(10, "a").vfork(10, 11).clone(11, 12, SPAWN);
    let before = tree(&story);
    let waits = |tree: &Tree| [11, 12].map(|pid| tree.node(find(tree, pid)).awaited());
    assert_eq!(waits(&before), [true, true]);
    story.vfork_done(11, 12).exec(12, "b").exit(11, 0);
    assert_eq!(waits(&tree(&story)), [false, false]);
}

#[test]
fn what_was_there_before_and_what_is_left() {
    let mut story = Story::empty();
    story
        .attach(21, 20, "srv", 0)
        .attach(20, 20, "srv", 7)
        .attach(30, 30, "kid", 20);
    story
        .orphan(40, "lost", 1)
        .fork(30, 31)
        .fork_unfollowed(30, 32);
    story.lost(20, Lost::Detached).lost(31, Lost::Silenced);
    let tree = tree(&story);
    let origin = |pid| tree.origin(find(&tree, pid));
    assert_eq!(
        [20, 30, 40].map(origin),
        [Origin::Attached, Origin::Attached, Origin::Orphan]
    );
    assert_eq!(tree.node(find(&tree, 30)).parent(), Some(find(&tree, 20)));
    assert_eq!(tree.parent_outside(find(&tree, 20)), Some(Pid(7)));
    assert_eq!(tree.parent_outside(find(&tree, 40)), Some(Pid(1)));
    assert_eq!(tree.parent_outside(find(&tree, 30)), None);
    let fate = |pid| tree.node(find(&tree, pid)).fate();
    assert_eq!(
        [20, 31, 32, 30].map(fate),
        [
            Fate::Detached,
            Fate::Silenced,
            Fate::NotFollowed,
            Fate::Alive
        ]
    );
    assert_eq!(tree.node(find(&tree, 20)).threads(), 1);
    assert_eq!(tree.node(find(&tree, 30)).lived(), None);
}

/// Tids begin anew somewhere: then threads have smaller ones than their leader.
#[test]
fn a_thread_that_is_told_first_gives_its_process_no_name() {
    let name = |tree: &Tree, pid| {
        let node = tree.node(find(tree, pid));
        let path = |command| tree.texts().get(command).path.bytes.map(<[u8]>::to_vec);
        [path(node.first()), path(node.current())]
    };
    let mut story = Story::empty();
    story.attach(7, 7, "parent", 1).attach(21, 90, "worker", 7);
    let before = tree(&story);
    // Its leader may be a zombie: then the threads are all that is known.
    let [process, parent] = [90, 7].map(|pid| find(&before, pid));
    assert_eq!(before.origin(process), Origin::Attached);
    assert_eq!(before.node(process).parent(), Some(parent));
    assert_eq!(name(&before, 90), [0, 1].map(|_| Some(b"worker".to_vec())));
    let story = story.attach(90, 90, "srv", 7).attach(22, 90, "worker", 7);
    let after = tree(story);
    assert_eq!(name(&after, 90), [0, 1].map(|_| Some(b"srv".to_vec())));
    assert_eq!(
        (after.len(), after.node(find(&after, 90)).threads()),
        (2, 2)
    );
    assert_eq!(after.node(find(&after, 90)).parent(), Some(find(&after, 7)));
    // An exec tells more than a name.
    let mut story = Story::empty();
    story.attach(21, 90, "worker", 7).exec(90, "b");
    let tree = tree(story.attach(90, 90, "srv", 7));
    assert_eq!(name(&tree, 90)[1], Some(b"b".to_vec()));
    assert_eq!(tree.parent_outside(find(&tree, 90)), Some(Pid(7)));
}

/// Of what was there already nobody knows how long it lives.
#[test]
fn lifetimes_are_those_whose_beginning_was_seen() {
    for threads in [Threads::Counted, Threads::Kept] {
        let mut story = Story::empty();
        story.attach(20, 20, "srv", 7).attach(21, 20, "srv", 7);
        story.attach(22, 20, "srv", 7).thread(21, 23);
        // Nor of what a log leaves out.
        story.fork(30, 31);
        for tid in [21, 22, 23, 20, 31, 30] {
            story.exit(tid, 0);
        }
        let tree = tree_with(&story, threads);
        assert_eq!(tree.tally().thread_lives.count(), 1);
        let known = |(_, node): &(NodeId, &Node)| node.lived().is_some();
        let known: Vec<i32> = tree
            .nodes()
            .filter(known)
            .map(|(_, node)| node.pid().0)
            .collect();
        match threads {
            Threads::Counted => assert_eq!(known, [31]),
            Threads::Kept => assert_eq!(known, [23, 31]),
        }
    }
}

/// A leader that ended before the thread that takes its place is there once.
#[test]
fn an_exec_without_a_leader_adds_no_process() {
    let mut story = Story::new();
    story.exec(10, "a").thread(10, 11).exit(10, 0);
    story.exec_by_thread(11, 10, "b").exit(10, 1);
    let tree = tree(&story);
    assert_eq!(tree.len(), 1);
    assert_eq!(tree.node(find(&tree, 10)).fate(), Fate::Exited(1));
}

#[test]
fn levels_and_their_peaks() {
    let mut story = Story::new();
    story
        .exec(10, "a")
        .fork(10, 11)
        .fork(10, 12)
        .thread(12, 13)
        .exit(13, 0);
    story.exit(12, 0).at(9).kill(11, 9).fork(10, 14);
    let tree = tree(&story);
    let tally = tree.tally();
    assert_eq!((tally.processes.now, tally.processes.peak), (2, 3));
    assert_eq!(tally.processes.peak_at, Duration::from_millis(2));
    assert_eq!((tally.threads.now, tally.threads.peak), (2, 4));
    assert_eq!(tally.thread_lives.total(), Duration::from_millis(1));
    assert_eq!(
        tree.node(find(&tree, 11)).fate(),
        Fate::Killed {
            signal: Signal(9),
            core_dumped: false
        }
    );
}

/// What is traced on in silence lives on, also where it is not shown any more.
#[test]
fn what_is_no_longer_shown_counts_among_those_at_once() {
    for (lost, peak) in [(Lost::Silenced, 3), (Lost::Detached, 2)] {
        let mut story = Story::new();
        story.exec(10, "a").fork(10, 11).lost(11, lost).fork(10, 12);
        let tree = tree(&story);
        assert_eq!(tree.tally().processes.peak, peak, "{lost:?}");
        assert_eq!(tree.tally().threads.peak, peak, "{lost:?}");
    }
}

#[test]
fn moments_of_one_process_are_bounded() {
    let mut story = Story::new();
    story.exec(10, "a");
    for number in 0..1000 {
        story
            .exec(10, &format!("p{number}"))
            .fork_fails(10, 11 + number % 2);
    }
    let tree = tree(&story);
    assert_eq!(tree.node(find(&tree, 10)).execs(), 1001);
    assert!(tree.moments().len() <= MOMENTS as usize);
    assert!(deeds(&tree, 10).contains(&"exec p999".to_owned()));
    let failed: u32 = tree
        .moments()
        .iter()
        .filter(|moment| matches!(moment.what, Deed::CreateFailed(..)))
        .map(|moment| moment.count)
        .sum();
    assert_eq!(failed, 1000);
}

/// A leader may end before its threads: these go on, and so does what is kept of them.
#[test]
fn moments_are_bounded_without_a_leader() {
    let mut story = Story::new();
    story.exec(10, "a").thread(10, 11).exit(10, 0);
    for number in 0..1000 {
        story
            .exec_fails(11, &format!("p{number}"), 2)
            .fork_fails(11, 11 + number % 2);
    }
    let grown = tree(&story);
    assert!(grown.moments().len() <= MOMENTS as usize + 1);
    // Also where one after the other takes the leader's place.
    for number in 0..1000 {
        story
            .exec_by_thread(11, 10, "b")
            .fork_fails(10, 11 + number % 2);
        story.thread(10, 11).exit(10, 0);
    }
    assert!(tree(&story).moments().len() <= MOMENTS as usize + 1);
}

/// One step of a trace that no source would tell.
#[derive(Debug, Clone)]
enum Step {
    Fork(i32, i32),
    Vfork(i32, i32),
    Thread(i32, i32),
    Fail(i32),
    Exec(i32),
    ExecFails(i32),
    ExecByThread(i32, i32),
    VforkDone(i32, i32),
    Exit(i32),
    Attach(i32, i32, i32),
    Orphan(i32, i32),
    Lost(i32),
    Unfollowed(i32, i32),
}

fn step() -> impl Strategy<Value = Step> {
    let tid = || 1..8i32;
    prop_oneof![
        (tid(), tid()).prop_map(|(a, b)| Step::Fork(a, b)),
        (tid(), tid()).prop_map(|(a, b)| Step::Vfork(a, b)),
        (tid(), tid()).prop_map(|(a, b)| Step::Thread(a, b)),
        tid().prop_map(Step::Fail),
        tid().prop_map(Step::Exec),
        tid().prop_map(Step::ExecFails),
        (tid(), tid()).prop_map(|(a, b)| Step::ExecByThread(a, b)),
        (tid(), tid()).prop_map(|(a, b)| Step::VforkDone(a, b)),
        tid().prop_map(Step::Exit),
        (tid(), tid(), tid()).prop_map(|(a, b, c)| Step::Attach(a, b, c)),
        (tid(), tid()).prop_map(|(a, b)| Step::Orphan(a, b)),
        tid().prop_map(Step::Lost),
        (tid(), tid()).prop_map(|(a, b)| Step::Unfollowed(a, b)),
    ]
}

/// Any sequence of events, possible or not.
pub(crate) fn any_story() -> impl Strategy<Value = Vec<Event>> {
    (any::<bool>(), proptest::collection::vec(step(), 0..60)).prop_map(|(started, steps)| {
        let mut story = if started {
            Story::new()
        } else {
            Story::empty()
        };
        for step in steps {
            match step {
                Step::Fork(a, b) => story.fork(a, b),
                Step::Vfork(a, b) => story.vfork(a, b),
                Step::Thread(a, b) => story.thread(a, b),
                Step::Fail(a) => story.fork_fails(a, 11),
                Step::Exec(a) => story.exec(a, "x y"),
                Step::ExecFails(a) => story.exec_fails(a, "n", 2),
                Step::ExecByThread(a, b) => story.exec_by_thread(a, b, "z"),
                Step::VforkDone(a, b) => story.vfork_done(a, b),
                Step::Exit(a) => story.exit_used(a, 0, 1),
                Step::Attach(a, b, c) => story.attach(a, b, "n", c),
                Step::Orphan(a, b) => story.orphan(a, "o", b),
                Step::Lost(a) => story.lost(a, Lost::Detached),
                Step::Unfollowed(a, b) => story.fork_unfollowed(a, b),
            };
        }
        story.events
    })
}

proptest! {
    /// Whatever comes, it is survived, and each creation is in the tree once.
    #[test]
    fn every_creation_is_there_once(events in any_story(), kept: bool) {
        let threads = if kept { Threads::Kept } else { Threads::Counted };
        let mut tree = Tree::new(threads);
        let mut told: Vec<(i32, i32)> = Vec::new();
        let mut told_threads = 0;
        for event in &events {
            tree.add(event);
            if let EventKind::Create(create) = &event.kind
                && let Some(child) = create.child()
            {
                if create.request.kind() == Kind::Thread {
                    told_threads += 1;
                }
                if create.request.kind() != Kind::Thread || kept {
                    told.push((event.tid.0, child.tid.unwrap().0));
                }
            }
        }
        let mut kept: Vec<(i32, i32)> = tree
            .nodes()
            .filter_map(|(_, node)| Some((node.creator()?.0, node.pid().0)))
            .collect();
        kept.sort_unstable();
        told.sort_unstable();
        prop_assert_eq!(kept, told);
        prop_assert_eq!(tree.tally().of_kind(Kind::Thread), told_threads);
        // The outline has each node once, below its parent.
        let outline = Outline::new(&tree);
        let mut seen: Vec<NodeId> = outline.roots().to_vec();
        let mut moments = 0;
        for (id, node) in tree.nodes() {
            prop_assert!(node.parent().is_none_or(|parent| parent < id));
            for item in outline.items(&tree, id) {
                match item {
                    Item::Child(child) => {
                        prop_assert_eq!(tree.node(child).parent(), Some(id));
                        seen.push(child);
                    }
                    Item::Moment(moment) => {
                        prop_assert_eq!(moment.node(), id);
                        moments += 1;
                    }
                }
            }
            let _ = (tree.outlived_parent(id), tree.real_parent(id), tree.origin(id));
        }
        seen.sort_unstable();
        prop_assert_eq!(seen, tree.nodes().map(|(id, _)| id).collect::<Vec<_>>());
        prop_assert_eq!(moments, tree.moments().len());
        let alive = tree.nodes().filter(|(_, node)| node.fate() == Fate::Alive && !node.is_thread());
        prop_assert_eq!(alive.count() as u64, tree.tally().processes.now);
    }
}
