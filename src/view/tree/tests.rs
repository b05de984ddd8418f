//! Trees as they look.

use proptest::prelude::*;

use super::draw::{Style, draw};
use crate::clone::CloneFlags;
use crate::config::{Fold, Glyphs, When, WholeLook};
use crate::event::testing::{SPAWN, Story, start};
use crate::event::{Event, EventKind, Lost, Stops};
use crate::filter::{Criteria, Filter, Happening, Went};
use crate::summary::Summary;
use crate::tree::tests::any_story;
use crate::tree::{Threads, Tree};
use crate::view::style::{Palette, palette};
use crate::view::tests::any_events;
use crate::view::units::columns;
use crate::view::whole::{Extent, Whole};

const LOOK: WholeLook = WholeLook {
    glyphs: Glyphs::Unicode,
    threads: Threads::Counted,
    fold: Fold::Yes,
    top: None,
};

const STYLE: Style = Style {
    palette: Palette::PLAIN,
    look: LOOK,
    width: None,
};

fn drawn(events: &[Event], style: Style) -> String {
    drawn_of(events, style, None)
}

/// What a filter shows of it.
fn drawn_of(events: &[Event], style: Style, criteria: Option<Criteria>) -> String {
    let mut whole = Whole::new(style.look.threads, criteria.map(Filter::new));
    for event in events {
        whole.event(event);
    }
    let tree = whole.take().unwrap();
    let mut out = String::new();
    let written = draw(&tree, Extent::Whole, style, |lines| {
        out.push_str(lines);
        Ok(())
    });
    written.unwrap();
    out
}

#[track_caller]
fn assert_drawn(story: &Story, look: WholeLook, expected: &str) {
    let shown = drawn(&story.events, Style { look, ..STYLE });
    assert_eq!(shown, expected, "\n{shown}");
}

/// make runs two compilers through a shell; one fails.
fn build() -> Story {
    let mut story = Story::new();
    story.exec(10, "make -j2");
    for (shell, file) in [(11, "a.c"), (12, "b.c")] {
        story
            .clone(10, shell, SPAWN)
            .exec(shell, &format!("sh -c gcc_-c_{file}"));
        story
            .vfork(shell, shell + 10)
            .exec(shell + 10, &format!("gcc -c {file}"));
    }
    story.exit_used(21, 0, 30).exit_used(11, 0, 31);
    story.kill(22, 11).exit(12, 2).exit_used(10, 2, 40);
    story
}

#[test]
fn a_build() {
    let mut story = build();
    assert_drawn(
        &story,
        LOOK,
        "\
10 make -j2  # exited with 2, 13.0 ms, cpu 40.0 ms with children
├─ 11 sh -c gcc_-c_a.c  # posix_spawn, 9.00 ms, cpu 31.0 ms with children
│  └─ 21 gcc -c a.c  # vfork, 6.00 ms, cpu 30.0 ms
└─ 12 sh -c gcc_-c_b.c  # exited with 2, posix_spawn, 7.00 ms
   └─ 22 gcc -c b.c  # killed by SIGSEGV (core dumped), vfork, 4.00 ms
",
    );
    // The end is not there yet.
    story.events.truncate(story.events.len() - 3);
    let cut = drawn(&story.events, STYLE);
    assert!(cut.contains("12 sh -c gcc_-c_b.c  # alive at the end of the trace, posix_spawn\n"));
}

#[test]
fn in_ascii() {
    let look = WholeLook {
        glyphs: Glyphs::Ascii,
        ..LOOK
    };
    assert_drawn(
        &build(),
        look,
        "\
10 make -j2  # exited with 2, 13.0 ms, cpu 40.0 ms with children
|- 11 sh -c gcc_-c_a.c  # posix_spawn, 9.00 ms, cpu 31.0 ms with children
|  `- 21 gcc -c a.c  # vfork, 6.00 ms, cpu 30.0 ms
`- 12 sh -c gcc_-c_b.c  # exited with 2, posix_spawn, 7.00 ms
   `- 22 gcc -c b.c  # killed by SIGSEGV (core dumped), vfork, 4.00 ms
",
    );
}

#[test]
fn one_pid_and_several_programs() {
    let mut story = Story::new();
    story
        .exec(10, "sh -c x")
        .fork(10, 11)
        .exec(11, "a")
        .fork(10, 12);
    story
        .exec(10, "cat -n")
        .fork(10, 13)
        .exit(11, 0)
        .exit(12, 0)
        .exit(13, 0)
        .exit(10, 0);
    assert_drawn(
        &story,
        LOOK,
        "\
10 sh -c x  # 9.00 ms
├─ 11 a  # fork, 5.00 ms
├─ 12 (sh)  # fork, 4.00 ms
├─ exec cat -n  # after 4.00 ms
└─ 13 (cat)  # fork, 3.00 ms
",
    );
}

/// Four compilers with all below them, and one that failed.
fn many() -> Story {
    let mut story = Story::new();
    story.exec(10, "make");
    for shell in 11..16 {
        let gcc = shell + 10;
        story.fork(10, shell).exec(shell, &format!("sh -c {shell}"));
        story
            .vfork(shell, gcc)
            .exec(gcc, &format!("gcc -O2 -c {shell}.c"))
            .thread(gcc, gcc + 10);
        story
            .exit(gcc + 10, 0)
            .exit_used(gcc, 0, u64::try_from(shell).unwrap());
        story.exit(shell, i32::from(shell == 13));
    }
    story.exit(10, 0);
    story
}

#[test]
fn whole_subtrees_that_look_the_same_are_one() {
    assert_drawn(
        &many(),
        LOOK,
        "\
10 make  # 41.0 ms
├─ sh -c … ×4  # fork, 7.00 ms
│  └─ gcc -O2 -c … ×4  # vfork, 4.00 ms, cpu 52.0 ms in all, 4 threads in all
└─ 13 sh -c 13  # exited with 1, fork, 7.00 ms
   └─ 23 gcc -O2 -c 13.c  # vfork, 4.00 ms, cpu 13.0 ms, 1 thread
",
    );
    let look = WholeLook {
        fold: Fold::No,
        ..LOOK
    };
    let unfolded = drawn(&many().events, Style { look, ..STYLE });
    assert_eq!(unfolded.lines().count(), 11);
    assert!(unfolded.contains("\n│  └─ 24 gcc -O2 -c 14.c  # vfork"));
}

#[test]
fn folded_lifetimes_are_a_range() {
    let mut story = Story::new();
    story.exec(10, "x");
    for (pid, life) in [(11, 5), (12, 1), (13, 9), (14, 200)] {
        let born = u64::try_from(pid).unwrap() * 1000;
        story
            .at(born)
            .fork(10, pid)
            .exec(pid, "/bin/y z")
            .at(born + life)
            .exit(pid, 0);
    }
    story.fork_fails(10, 11).fork_fails(10, 11).exit(10, 0);
    assert_drawn(
        &story,
        LOOK,
        "\
10 x  # 14.2 s
├─ /bin/y z ×4  # fork, 1.00 ms to 200 ms, median 5.00 ms
└─ fork failed ×2  # EAGAIN (Resource temporarily unavailable)
",
    );
}

#[test]
fn threads_are_a_number_until_asked_for() {
    let mut story = Story::new();
    story
        .exec(10, "srv")
        .thread(10, 11)
        .thread(10, 12)
        .thread(11, 13)
        .fork(12, 14);
    story
        .exit(11, 0)
        .exit(14, 1)
        .exec_by_thread(13, 10, "next")
        .exit(12, 0)
        .exit(10, 0);
    assert_drawn(
        &story,
        LOOK,
        "\
10 srv  # 10.0 ms, 3 threads
├─ 14 (srv)  # exited with 1, fork, 2.00 ms, by thread 12
└─ exec next  # after 8.00 ms, by thread 13
",
    );
    let look = WholeLook {
        threads: Threads::Kept,
        ..LOOK
    };
    assert_drawn(
        &story,
        look,
        "\
10 srv  # 10.0 ms, 3 threads
├─ thread 11  # 4.00 ms
├─ thread 12  # 7.00 ms
├─ thread 13  # became the first thread by exec, by thread 11
├─ 14 (srv)  # exited with 1, fork, 2.00 ms, by thread 12
└─ exec next  # after 8.00 ms, by thread 13
",
    );
}

#[test]
fn whose_child_it_is_where_that_is_not_as_it_looks() {
    let mut story = Story::new();
    story
        .exec(10, "a")
        .fork(10, 11)
        .clone(11, 12, CloneFlags::PARENT.0);
    story.clone(11, 13, CloneFlags::VM.0 | CloneFlags::FS.0);
    story
        .clone(11, 14, CloneFlags::NEWPID.0)
        .vfork(11, 15)
        .exit(11, 0);
    for (child, by) in [(13, 1), (14, 10), (15, 0)] {
        story.adopted(child, by);
    }
    story
        .exit(13, 0)
        .orphan(16, "o", 1)
        .attach(17, 17, "p", 10)
        .lost(17, Lost::Detached);
    assert_drawn(
        &story,
        LOOK,
        "\
10 a  # alive at the end of the trace
├─ 11 (a)  # fork, 5.00 ms
│  ├─ 12 (a)  # alive at the end of the trace, fork, sibling of its creator: parent 10
│  ├─ 13 (a)  # clone VM|FS, 7.00 ms, outlived its parent, adopted by init
│  ├─ 14 (a)  # alive at the end of the trace, clone NEWPID, outlived its parent, adopted by 10
│  └─ 15 (a)  # alive at the end of the trace, vfork, outlived its parent, adopted outside of the pid namespace, its creator still waits in vfork
└─ 17 (p)  # detached, attached
16 (o)  # alive at the end of the trace, its creator was killed before it could report it, parent 1
",
    );
}

#[test]
fn who_was_never_waited_for_is_told() {
    let mut story = Story::with_waits();
    story.exec(10, "a").fork(10, 11).fork(10, 12);
    story.exit(11, 0).exit(12, 1).reaps(10, 11, 0).exit(10, 0);
    assert_drawn(
        &story,
        LOOK,
        "\
10 a  # 6.00 ms
├─ 11 (a)  # fork, 2.00 ms
└─ 12 (a)  # exited with 1, fork, 2.00 ms, never waited for
",
    );
}

/// What is killed at once ends in any order, and looks the same all the same.
#[test]
fn a_group_that_is_killed_folds() {
    let mut story = Story::with_waits();
    story.exec(10, "a");
    for pid in 11..17 {
        story.fork(10, pid);
    }
    for pid in [12, 14, 10, 11, 13, 15, 16] {
        story.kill(pid, 9);
    }
    let shown = drawn(&story.events, STYLE);
    assert_eq!(shown.lines().count(), 2, "{shown}");
    assert!(
        shown.contains("└─ (a) ×6  # killed by SIGKILL, fork, "),
        "{shown}"
    );
    assert!(
        !shown.contains("outlived") && !shown.contains("waited"),
        "{shown}"
    );
}

#[test]
fn what_failed_stands_where_it_did() {
    let mut story = Story::new();
    story
        .exec(10, "a")
        .thread_fails(10, 11)
        .fork_fails(10, 38)
        .fork(10, 11);
    story
        .exec_fails(11, "/no/such thing", 2)
        .exit(11, 127)
        .killed_in_fork(10)
        .kill(10, 9);
    assert_drawn(
        &story,
        LOOK,
        "\
10 a  # killed by SIGKILL, 7.00 ms
├─ thread failed  # EAGAIN (Resource temporarily unavailable)
├─ fork failed  # ENOSYS (Function not implemented)
├─ 11 (a)  # exited with 127, fork, 2.00 ms
│  └─ exec failed /no/such thing  # ENOENT (No such file or directory)
└─ fork failed  # the caller was killed in the call
",
    );
}

/// What stands there is not all: that is to be read before the rest.
#[test]
fn a_trace_that_breaks_off_says_so() {
    let mut story = Story::empty();
    story
        .push(0, "", EventKind::Start(Box::new(start(Stops::Event))))
        .exec(10, "a");
    let shown = |story: &Story| {
        let mut tree = Tree::new(Threads::Counted);
        story.events.iter().for_each(|event| tree.add(event));
        let mut out = String::new();
        let written = draw(&tree, Extent::BrokenOff, STYLE, |lines| {
            out.push_str(lines);
            Ok(())
        });
        written.unwrap();
        out
    };
    let expected = "\
# the recording breaks off
# --stops=event: calls that fail, and children hidden by CLONE_UNTRACED, are not seen
10 a  # alive at the end of the trace
";
    assert_eq!(shown(&story), expected);
    assert_eq!(shown(&Story::new()), "");
}

#[test]
fn what_is_not_seen_is_said() {
    let mut story = Story::empty();
    story
        .push(0, "", EventKind::Start(Box::new(start(Stops::Event))))
        .exec(10, "a")
        .exit(10, 0);
    assert_drawn(
        &story,
        LOOK,
        "\
# --stops=event: calls that fail, and children hidden by CLONE_UNTRACED, are not seen
10 a  # 1.00 ms
",
    );
    assert_drawn(&Story::new(), LOOK, "");
}

#[test]
fn execs_that_are_left_out_are_counted() {
    let mut story = Story::new();
    for number in 0..100 {
        story.exec(10, &format!("p{number}"));
    }
    let shown = drawn(&story.exit(10, 0).events, STYLE);
    assert_eq!(shown.lines().count(), 64);
    assert!(shown.starts_with("10 p0  # 100 ms\n├─ exec p1  # after 1.00 ms\n"));
    assert!(shown.ends_with("└─ exec p99  # after 99.0 ms, after 36 execs that are left out\n"));
}

#[test]
fn depth_is_no_danger() {
    let mut story = Story::new();
    story.exec(1, "deep");
    for pid in 1..5_000 {
        story.fork(pid, pid + 1);
    }
    for pid in 1..=5_000 {
        story.exit(pid, 0);
    }
    let shown = drawn(&story.events, STYLE);
    assert_eq!(shown.lines().count(), 5_000);
    let last = shown.lines().last().unwrap();
    assert!(last.starts_with("+4958 "), "{last}");
    let style = Style {
        width: Some(80),
        ..STYLE
    };
    let narrow = drawn(&story.events, style);
    assert!(narrow.lines().all(|line| columns(line) <= 80));
    assert!(
        narrow
            .lines()
            .last()
            .unwrap()
            .contains("└─ 5000 (deep)  # fork")
    );
}

/// Nor is a chain as long as a log can tell, of children or of siblings.
#[test]
fn a_chain_without_end_is_drawn_and_summed_up() {
    const LENGTH: i32 = 200_000;
    for flags in [0, CloneFlags::PARENT.0] {
        let mut tree = Tree::new(Threads::Counted);
        let mut story = Story::new();
        story.exec(1, "deep");
        for pid in 1..LENGTH {
            // The first one is nobody's child.
            let flags = if pid == 1 { 0 } else { flags };
            story.clone(pid, pid + 1, flags).exit(pid, 0);
            // As they come, so that they needn't all be there.
            for event in story.events.drain(..) {
                tree.add(&event);
            }
        }
        let last = tree.ids().next_back().unwrap();
        let parent = tree.real_parent(last).unwrap();
        match flags {
            0 => assert_eq!(tree.node(last).parent(), Some(parent)),
            _ => assert_eq!(tree.node(parent).pid().0, 1),
        }
        for fold in [Fold::Yes, Fold::No] {
            let mut lines = 0;
            let style = Style {
                look: WholeLook { fold, ..LOOK },
                ..STYLE
            };
            let drawn = draw(&tree, Extent::Whole, style, |text| {
                lines += text.lines().count();
                Ok(())
            });
            drawn.unwrap();
            assert_eq!(lines, LENGTH as usize);
        }
        let summary = Summary::new(&tree, 10);
        assert_eq!(summary.depth(), LENGTH as u32 - 1);
        assert_eq!(summary.alive, [last]);
    }
}

#[test]
fn ten_thousand_siblings_are_a_line() {
    let mut story = Story::new();
    story.exec(1, "storm");
    for pid in 2..10_002 {
        story.fork(1, pid).exit(pid, 0);
    }
    story.exit(1, 0);
    let shown = drawn(&story.events, STYLE);
    assert_eq!(
        shown,
        "1 storm  # 20.0 s\n└─ (storm) ×10000  # fork, 1.00 ms\n"
    );
    let look = WholeLook {
        fold: Fold::No,
        ..LOOK
    };
    let unfolded = drawn(&story.events, Style { look, ..STYLE });
    assert_eq!(unfolded.lines().count(), 10_001);
}

#[test]
fn coloured_text_is_the_same_text() {
    let mut events = build().events;
    events.extend(many().events);
    let style = Style {
        palette: palette(When::Always, false),
        ..STYLE
    };
    let coloured = drawn(&events, style);
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\x1b') {
        plain.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    plain.push_str(rest);
    assert_eq!(plain, drawn(&events, STYLE));
    let red = |text: &str| coloured.lines().any(|line| line.contains(text));
    assert!(red("\x1b[31mexited with 2\x1b[39m") || red("\x1b[31mexited with 2"));
}

#[track_caller]
fn assert_picked(story: &Story, criteria: Criteria, threads: Threads, expected: &str) {
    let look = WholeLook { threads, ..LOOK };
    let shown = drawn_of(&story.events, Style { look, ..STYLE }, Some(criteria));
    assert_eq!(shown, expected, "\n{shown}");
}

#[test]
fn a_filter_shows_its_own_and_those_above_them() {
    let failed = Criteria {
        went: Some(Went::Failed),
        ..Criteria::default()
    };
    let story = build();
    assert_picked(
        &story,
        failed.clone(),
        Threads::Counted,
        "\
# filtered: 3 of 5 processes
10 make -j2  # exited with 2, 13.0 ms, cpu 40.0 ms with children
└─ 12 sh -c gcc_-c_b.c  # exited with 2, posix_spawn, 7.00 ms
   └─ 22 gcc -c b.c  # killed by SIGSEGV (core dumped), vfork, 4.00 ms
",
    );
    let killed = Criteria {
        only: vec![Happening::Kills],
        ..Criteria::default()
    };
    assert_picked(
        &story,
        killed,
        Threads::Counted,
        "\
# filtered: 1 of 5 processes, and 2 that they descend from, without facts
10 make -j2
└─ 12 sh -c gcc_-c_b.c
   └─ 22 gcc -c b.c  # killed by SIGSEGV (core dumped), vfork, 4.00 ms
",
    );
    let nothing = Criteria {
        pids: vec![4711],
        ..Criteria::default()
    };
    let none = "# filtered: 0 of 5 processes\n";
    assert_picked(&story, nothing, Threads::Counted, none);
    // Deeper ones are not shown, though their creation is in the text.
    let depth = Criteria {
        depth: Some(1),
        ..Criteria::default()
    };
    assert_picked(
        &story,
        depth,
        Threads::Counted,
        "\
# filtered: 3 of 5 processes
10 make -j2  # exited with 2, 13.0 ms, cpu 40.0 ms with children
├─ 11 sh -c gcc_-c_a.c  # posix_spawn, 9.00 ms, cpu 31.0 ms with children
└─ 12 sh -c gcc_-c_b.c  # exited with 2, posix_spawn, 7.00 ms
",
    );
}

/// Those above stand as what they were when they created, and what they did else
/// is left out; threads count for their process, or stand for themselves.
#[test]
fn what_is_above_has_its_execs_only() {
    let mut story = Story::new();
    story
        .exec(10, "env x")
        .exec_fails(10, "no", 2)
        .exec(10, "x");
    story.fork_fails(10, 11).thread(10, 11).fork(11, 20);
    story
        .fork_fails(20, 11)
        .fork(10, 21)
        .exit(20, 0)
        .exit(21, 0);
    let failures_of_20 = Criteria {
        pids: vec![20],
        went: Some(Went::Failed),
        ..Criteria::default()
    };
    assert_picked(
        &story,
        failures_of_20,
        Threads::Counted,
        "\
# filtered: 1 of 3 processes, and 1 that one of them descends from, without facts
10 env x
├─ exec x
└─ 20 (x)  # fork, 3.00 ms, by thread 11
   └─ fork failed  # EAGAIN (Resource temporarily unavailable)
",
    );
    let threads = Criteria {
        only: vec![Happening::Threads],
        ..Criteria::default()
    };
    assert_picked(
        &story,
        threads.clone(),
        Threads::Counted,
        "\
# filtered: 1 of 3 processes
10 env x  # alive at the end of the trace, 1 thread
├─ exec x  # after 2.00 ms
└─ fork failed  # EAGAIN (Resource temporarily unavailable)
",
    );
    assert_picked(
        &story,
        threads,
        Threads::Kept,
        "\
# filtered: 1 of 3 processes and 1 thread, and 1 that one of them descends from, without facts
10 env x
├─ exec x
└─ thread 11  # alive at the end of the trace
",
    );
}

#[test]
fn what_is_above_is_folded_too() {
    let mut story = Story::new();
    story.exec(1, "make");
    for pid in 2..12 {
        story.fork(1, pid).exec(pid, "sh").vfork(pid, pid + 100);
        story.exec(pid + 100, "gcc").kill(pid + 100, 9);
        // How it ended is not shown, and does not keep it apart.
        story.exit(pid, pid);
    }
    let killed = Criteria {
        only: vec![Happening::Kills],
        ..Criteria::default()
    };
    assert_picked(
        &story,
        killed,
        Threads::Counted,
        "\
# filtered: 10 of 21 processes, and 11 that they descend from, without facts
1 make
└─ sh ×10
   └─ gcc ×10  # killed by SIGKILL, vfork, 2.00 ms
",
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A filter that keeps all shows what none shows; any shows a part of it.
    #[test]
    fn a_filter_shows_a_part(events in any_story(), pid in 1..12, kept: bool) {
        prop_assume!(!events.is_empty());
        let threads = if kept { Threads::Kept } else { Threads::Counted };
        let style = Style { look: WholeLook { fold: Fold::No, threads, ..LOOK }, ..STYLE };
        let whole = drawn(&events, style);
        let all = Criteria { depth: Some(u32::MAX), ..Criteria::default() };
        let shown = drawn_of(&events, style, Some(all));
        let (note, rest) = shown.split_once('\n').unwrap();
        prop_assert!(note.starts_with("# filtered: "), "{}", note);
        let heads = |text: &str| -> Vec<String> {
            let heads = text.lines().map(|line| line.split("  # ").next().unwrap().to_owned());
            heads.collect()
        };
        // One that is known as a creator only has no facts, and a thread that is
        // known so, or by its exec, has no event of its own.
        if !kept {
            prop_assert_eq!(heads(rest), heads(&whole));
        }
        let some = Criteria { pids: vec![pid], ..Criteria::default() };
        let shown = drawn_of(&events, style, Some(some));
        prop_assert!(shown.lines().count() <= whole.lines().count() + 1);
    }

    /// In any width, with any depth of threads.
    #[test]
    fn any_events_are_drawn(events in any_events(), width in 1..100_usize, kept: bool) {
        let threads = if kept { Threads::Kept } else { Threads::Counted };
        let look = WholeLook { threads, ..LOOK };
        drawn(&events, Style { look, width: Some(width), ..STYLE });
    }

    /// Every process is shown once, whatever came; folding hides none.
    #[test]
    fn every_process_is_shown_once(events in any_story(), width in proptest::option::of(1..300usize)) {
        let fold_no = WholeLook { fold: Fold::No, ..LOOK };
        let mut tree = Tree::new(Threads::Counted);
        for event in &events {
            tree.add(event);
        }
        let unfolded = drawn(&events, Style { look: fold_no, ..STYLE });
        let is_event = |line: &&str| line.contains("failed") || line.contains("exec ");
        let processes = |text: &str| text.lines().filter(|line| !is_event(line)).count();
        prop_assert_eq!(processes(&unfolded), tree.len());
        let folded = drawn(&events, STYLE);
        let counted: usize = folded
            .lines()
            .filter(|line| !is_event(line))
            .map(|line| {
                let head = line.split("  # ").next().unwrap();
                let count = head.rsplit_once('×').map(|(_, count)| count.parse::<usize>());
                count.map_or(1, Result::unwrap)
            })
            .sum();
        prop_assert_eq!(counted, tree.len());
        for threads in [Threads::Kept, Threads::Counted] {
            let look = WholeLook { threads, ..LOOK };
            drawn(&events, Style { look, width, ..STYLE });
        }
    }
}
