//! Documents as they are written.

use super::document::hex_unless_text;
use super::*;
use crate::config::{Fold, Glyphs};
use crate::event::Event;
use crate::event::testing::Story;
use crate::tree::Threads;
use crate::tree::tests::any_story;
use serde_json::{Value, json};

const LOOK: WholeLook = WholeLook {
    glyphs: Glyphs::Unicode,
    threads: Threads::Counted,
    fold: Fold::Yes,
    top: None,
};

fn document(events: &[Event], look: WholeLook) -> Value {
    let mut tree = Tree::new(Threads::Counted);
    for event in events {
        tree.add(event);
    }
    serde_json::from_str(&text(&tree, Extent::Whole, look).unwrap()).unwrap()
}

#[test]
fn one_document_with_units_in_its_names() {
    let mut story = Story::new();
    story
        .exec(10, "/bin/sh -c x")
        .fork(10, 11)
        .exec(11, "a\u{e9}")
        .thread(11, 12);
    story
        .exit(12, 0)
        .exit(11, 3)
        .fork_fails(10, 11)
        .vfork(10, 13);
    story.exec_fails(13, "/no", 2);
    let mut found = document(&story.events, LOOK);
    assert_eq!(found["command"], json!(["make"]));
    assert_eq!(found["elapsed_ns"], json!(8_000_000));
    assert_eq!(
        found["by_executed_program"][0],
        json!({"program": "aé", "count": 1, "lived_known": 1,
               "lived_total_ns": 3_000_000, "lived_median_ns": 3_000_000})
    );
    assert_eq!(
        found["failures"],
        json!([{"call": "fork", "reason": "EAGAIN", "errno_nr": 11, "count": 1}])
    );
    assert_eq!(
        found["exec_failures"],
        json!([{"reason": "ENOENT", "errno_nr": 2, "count": 1}])
    );
    assert_eq!(
        found["longest_lived"],
        json!([{"pid": 11, "parent_pid": 10, "depth": 1, "program": "aé",
                "born_ns": 1_000_000, "lived_ns": 4_000_000,
                "exit_status": 3, "signal": null}])
    );
    let numbers = [
        "processes_created",
        "threads_created",
        "creations_failed",
        "execs",
    ];
    assert_eq!(
        numbers.map(|field| found[field].take()),
        [2, 1, 1, 2].map(|n| json!(n))
    );
    assert_eq!(found["alive_at_end"].as_array().unwrap().len(), 2);
    assert_eq!(
        found["creation_rate"]
            .as_array()
            .unwrap()
            .iter()
            .sum::<Number>(),
        Number(3)
    );
}

/// Adds up numbers of a document.
#[derive(Debug, PartialEq)]
struct Number(u64);

impl<'a> std::iter::Sum<&'a Value> for Number {
    fn sum<I: Iterator<Item = &'a Value>>(values: I) -> Number {
        Number(values.map(|value| value.as_u64().unwrap()).sum())
    }
}

#[test]
fn a_trace_that_breaks_off_is_not_complete() {
    let mut tree = Tree::new(Threads::Counted);
    let mut story = Story::new();
    story.exec(10, "a");
    story.events.iter().for_each(|event| tree.add(event));
    for (extent, complete) in [(Extent::Whole, true), (Extent::BrokenOff, false)] {
        let text = text(&tree, extent, LOOK).unwrap();
        let found: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(found["complete"], json!(complete));
    }
}

#[test]
fn who_reaped_is_known_where_waits_are_told() {
    let mut story = Story::with_waits();
    story.exec(10, "a").fork(10, 11).fork(10, 12).fork(12, 13);
    story
        .exit(11, 0)
        .exit(12, 0)
        .adopted(13, 1)
        .reaps(10, 11, 0);
    let found = document(&story.exit(10, 0).events, LOOK);
    assert_eq!(found["outlived_parent"], json!(1));
    assert_eq!(found["adopted_by"], json!([{"pid": 1, "count": 1}]));
    assert_eq!(found["unreaped"], json!(1));
    assert_eq!(found["unreaped_processes"][0]["pid"], json!(12));
    let mut story = Story::new();
    let found = document(&story.exec(10, "a").events, LOOK);
    assert_eq!(
        [&found["adopted_by"], &found["unreaped"]],
        [&json!(null); 2]
    );
    assert_eq!(found.get("unreaped_processes"), None);
}

#[test]
fn bytes_that_are_no_text_are_kept_in_hex() {
    assert_eq!(hex_unless_text(b"a\xff"), Some("61ff".to_owned()));
    assert_eq!(hex_unless_text("é".as_bytes()), None);
}

#[test]
fn tables_are_whole_unless_top_is_given() {
    let mut story = Story::new();
    story.exec(10, "x");
    for pid in 11..41 {
        story.fork(10, pid).exec(pid, &format!("p{pid}"));
    }
    let rows = |top| {
        let look = WholeLook { top, ..LOOK };
        let found = document(&story.events, look);
        found["by_executed_program"].as_array().unwrap().len()
    };
    assert_eq!((rows(None), rows(Some(3))), (31, 3));
}

proptest::proptest! {
    #[test]
    fn any_trace_has_a_document(events in any_story()) {
        let found = document(&events, LOOK);
        let sum = |rows: &Value| -> u64 {
            let rows = rows.as_array().unwrap().iter();
            rows.map(|row| row["count"].as_u64().unwrap()).sum()
        };
        let of = |field: &str| found[field].as_u64().unwrap();
        let created = of("processes_created") + of("threads_created");
        proptest::prop_assert_eq!(sum(&found["by_kind"]), created);
        proptest::prop_assert_eq!(sum(&found["by_call"]), created);
        proptest::prop_assert_eq!(
            sum(&found["by_executed_program"]) + of("execs_left_out"),
            of("execs")
        );
        proptest::prop_assert_eq!(sum(&found["failures"]), of("creations_failed"));
    }
}
