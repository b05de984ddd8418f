//! Summaries as they look.

use proptest::prelude::*;

use super::*;
use crate::config::Fold;
use crate::event::testing::{SPAWN, Story, start};
use crate::event::{Event, EventKind, Lost, Stops};
use crate::filter::{Criteria, Filter, Happening, Kept};
use crate::tree::Threads;
use crate::tree::tests::any_story;
use crate::view::tests::any_events;
use crate::view::units::columns;
use crate::view::whole::Whole;

const LOOK: WholeLook = WholeLook {
    glyphs: Glyphs::Unicode,
    threads: Threads::Counted,
    fold: Fold::Yes,
    top: None,
};

fn written(events: &[Event], look: WholeLook, width: Option<usize>) -> String {
    written_of(events, look, width, None)
}

/// What a filter counts of it.
fn written_of(
    events: &[Event],
    look: WholeLook,
    width: Option<usize>,
    criteria: Option<Criteria>,
) -> String {
    let mut whole = Whole::new(Threads::Counted, criteria.map(Filter::new));
    for event in events {
        whole.event(event);
    }
    let tree = whole.take().unwrap();
    let style = Style {
        palette: Palette::PLAIN,
        look,
        width,
    };
    text(&tree, Extent::Whole, style)
}

/// A build with an orphan, a failure of each sort and one that never execs.
fn build() -> Story {
    let mut story = Story::new();
    story.exec(10, "/usr/bin/make -j2");
    for (pid, born) in [(11, 10), (12, 12), (13, 40)] {
        story.at(born).clone(10, pid, SPAWN).exec(pid, "gcc -c x.c");
        story
            .vfork(pid, pid + 10)
            .exec(pid + 10, "cc1 x.c")
            .thread(pid + 10, pid + 20);
        story
            .at(born + 20)
            .exit(pid + 20, 0)
            .exit_used(pid + 10, 0, 9)
            .exit(pid, 0);
    }
    story
        .fork(10, 14)
        .fork(14, 15)
        .exit(14, 0)
        .fork_fails(10, 11)
        .fork_fails(10, 11);
    story.thread_fails(15, 1).exec_fails(15, "x", 2).exit(10, 0);
    story
}

#[test]
fn all_of_it() {
    let expected = "\
trace     make
lasted    70.0 ms
created   8 processes, 3 threads; 3 creating calls failed
executed  7 execs
at once   at most 3 processes (at 12.0 ms); 4 threads, first ones included (at 14.0 ms)
depth     2 generations below the first: 21 cc1 x.c
rate           ▄██▄           ▄▄▄        ▄▄
          2.00 ms a column, at most 2 creations in one
unreaped  1 alive at the end; 1 process outlived its parent; who waited for whom is not traced

  count  lived in all   median  kind
      6        123 ms  19.0 ms  vfork child, memory borrowed
      3       48.0 ms  16.1 ms  thread
      2       2.00 ms  2.00 ms  process, memory copied on write

  count  call
      8  clone
      3  vfork

  processes  threads  lived in all   median  created by
          5        0       68.0 ms  22.0 ms  make
          0        3                         cc1
          3        0       57.0 ms  19.0 ms  gcc

  execs  ran in all   median  executed program
      3     54.0 ms  18.0 ms  cc1
      3     63.0 ms  21.0 ms  gcc
      1     70.0 ms  70.0 ms  make

  count  lived in all   median  never exec'd, ran on as
      2       2.00 ms  2.00 ms  make

  count  creating calls that failed
      2  fork: EAGAIN (Resource temporarily unavailable)
      1  clone: EPERM (Operation not permitted)

  count  execs that failed
      1  ENOENT (No such file or directory)

    lived  longest-lived
  70.0 ms  10 /usr/bin/make -j2
  22.0 ms  11 gcc -c x.c
  22.0 ms  12 gcc -c x.c
  22.0 ms  13 gcc -c x.c
  19.0 ms  21 cc1 x.c
  19.0 ms  22 cc1 x.c
  19.0 ms  23 cc1 x.c
  2.00 ms  14 (make)

    since  alive at the end of the trace
  64.0 ms  15 (make)
";
    let shown = written(&build().events, LOOK, None);
    assert_eq!(shown, expected, "\n{shown}");
}

#[test]
fn tables_have_so_many_rows_and_terminals_so_many_columns() {
    let look = WholeLook {
        top: Some(2),
        glyphs: Glyphs::Ascii,
        ..LOOK
    };
    let shown = written(&build().events, look, Some(60));
    assert!(shown.is_ascii(), "{shown}");
    assert!(shown.lines().all(|line| columns(line) <= 60), "{shown}");
    assert!(shown.contains("  70.0 ms  10 /usr/bin/make -j2\n  22.0 ms  11 gcc -c x.c\n\n"));
    assert!(shown.contains("and 1 more (--top)"), "{shown}");
    // What does not fit in a line stands in several.
    assert!(shown.contains("\nat once   at most 3 processes (at 12.0 ms)\n          4 threads"));
    // Kinds and calls are few: all of them stay.
    assert!(shown.contains("  process, memory"), "{shown}");
}

#[test]
fn a_trace_that_breaks_off_says_so() {
    let mut tree = Tree::new(Threads::Counted);
    build().events.iter().for_each(|event| tree.add(event));
    let style = Style {
        palette: Palette::PLAIN,
        look: LOOK,
        width: None,
    };
    let whole = text(&tree, Extent::Whole, style);
    let broken = text(&tree, Extent::BrokenOff, style);
    assert_eq!(broken, format!("# the recording breaks off\n{whole}"));
}

#[test]
fn who_was_never_waited_for_is_counted_where_waits_are_told() {
    let mut story = Story::with_waits();
    story.exec(10, "a").fork(10, 11).fork(10, 12).fork(12, 13);
    story
        .exit(11, 0)
        .exit(12, 0)
        .adopted(13, 1)
        .reaps(10, 11, 0);
    let shown = written(&story.exit(10, 0).events, LOOK, None);
    let line = "\nunreaped  1 alive at the end; 1 process outlived its parent; \
                nobody waited for 1 that ended\n";
    assert!(shown.contains(line), "{shown}");
    assert!(
        shown.ends_with("\n    ended  never waited for\n  5.00 ms  12 (a)\n"),
        "{shown}"
    );
    assert!(!shown.contains("is not traced"), "{shown}");
}

#[test]
fn a_trace_of_next_to_nothing() {
    let mut story = Story::empty();
    story
        .push(0, "", EventKind::Start(Box::new(start(Stops::Event))))
        .attach(10, 10, "srv", 1)
        .attach(11, 11, "srv", 1)
        .at(90_000)
        .lost(11, Lost::Detached);
    let shown = written(&story.events, LOOK, None);
    let expected = "\
trace     make
lasted    90.0 s
created   0 processes, 0 threads; calls that failed are not seen (--stops=event)
executed  0 execs
at once   at most 2 processes (at 2.00 ms); 2 threads, first ones included (at 2.00 ms)
depth     0 generations below the first
unreaped  2 alive at the end; 0 processes outlived their parents; who waited for whom is not traced

    since  alive at the end of the trace
  1.00 ms  10 (srv)
  2.00 ms  11 (srv) (detached)
";
    assert_eq!(shown, expected, "\n{shown}");
}

#[test]
fn a_filter_counts_its_own_only() {
    let vforks = Criteria {
        only: vec![Happening::Creations],
        calls: vec![crate::abi::Call::Vfork],
        ..Criteria::default()
    };
    let shown = written_of(&build().events, LOOK, None, Some(vforks));
    let expected = "\
trace     make
filtered  3 of 11 creations; 0 of 3 that failed
lasted    70.0 ms
created   3 processes, 0 threads; 0 creating calls failed
executed  0 execs
at once   at most 3 processes (at 12.0 ms); 4 threads, first ones included (at 14.0 ms); of the whole trace, unfiltered
depth     2 generations below the first: 21 cc1 x.c
rate            ██             █
          2.00 ms a column, at most 1 creation in one
unreaped  0 alive at the end; 0 processes outlived their parents; who waited for whom is not traced

  count  lived in all   median  kind
      3       57.0 ms  19.0 ms  vfork child, memory borrowed

  count  call
      3  vfork

  processes  threads  lived in all   median  created by
          3        0       57.0 ms  19.0 ms  gcc

    lived  longest-lived
  19.0 ms  21 cc1 x.c
  19.0 ms  22 cc1 x.c
  19.0 ms  23 cc1 x.c
";
    assert_eq!(shown, expected, "\n{shown}");
}

proptest! {
    #[test]
    fn any_events_are_summed_up(events in any_events(), width in 1..100_usize) {
        written(&events, LOOK, Some(width));
    }

    /// What is counted is what the filter keeps.
    #[test]
    fn a_filter_counts_what_it_keeps(events in any_story(), pid in 1..12, which in 0..4) {
        let criteria = match which {
            0 => Criteria { pids: vec![pid], ..Criteria::default() },
            1 => Criteria { depth: Some(pid as u32 / 4), ..Criteria::default() },
            2 => Criteria { only: vec![Happening::Threads], ..Criteria::default() },
            _ => Criteria { depth: Some(u32::MAX), ..Criteria::default() },
        };
        let mut filter = Filter::new(criteria.clone());
        let mut whole = Whole::new(Threads::Counted, Some(Filter::new(criteria)));
        let mut unfiltered = Tree::new(Threads::Counted);
        let (mut created, mut failed, mut execs) = (0, 0, 0);
        for event in &events {
            whole.event(event);
            unfiltered.add(event);
            let kept = filter.keep(event);
            match &event.kind {
                EventKind::Create(create) if create.child().is_some() => {
                    created += u64::from(kept == Kept::Whole);
                }
                EventKind::Create(_) => failed += u64::from(kept != Kept::Not),
                EventKind::Exec(exec) => {
                    execs += u64::from(kept != Kept::Not && exec.result == Some(Ok(())));
                }
                _ => {}
            }
        }
        let tree = whole.take().unwrap();
        let tally = tree.tally();
        prop_assert_eq!(
            (tally.creations(), tally.failures(), tally.execs),
            (created, failed, execs)
        );
        let seen = Seen {
            creations: unfiltered.tally().creations(),
            failures: unfiltered.tally().failures(),
        };
        prop_assert_eq!(tree.seen().unwrap_or_default(), if events.is_empty() { Seen::default() } else { seen });
        let summary = Summary::new(&tree, 10);
        let rows = |rows: &[ProgramRow]| rows.iter().map(|row| row.count).sum::<u64>();
        prop_assert_eq!(rows(&summary.creators), summary.processes);
        prop_assert_eq!(rows(&summary.executed) + summary.execs_left_out(), execs);
        prop_assert!(rows(&summary.never_execd) <= summary.processes);
    }
}

proptest! {
    #[test]
    fn any_trace_has_a_summary(events in any_story(), width in proptest::option::of(1..200usize)) {
        for glyphs in [Glyphs::Unicode, Glyphs::Ascii] {
            let shown = written(&events, WholeLook { glyphs, ..LOOK }, width);
            prop_assert!(shown.starts_with("trace"));
            let over = |line: &str| width.is_some_and(|width| columns(line) > width.max(14));
            prop_assert!(!shown.lines().any(over), "{shown}");
        }
    }
}
