//! The log as such: nothing is lost on the way to a line and back.

use proptest::prelude::*;

use super::arbitrary::event;
use super::{Parsed, Writer, parse};
use crate::event::{Event, EventKind};

fn written(event: &Event) -> String {
    let mut out = Vec::new();
    Writer::default().event(&mut out, event).unwrap();
    String::from_utf8(out).expect("JSON is UTF-8")
}

fn read(line: &str) -> Event {
    match parse(line.trim_end().as_bytes()) {
        Ok(Parsed::Event(event)) => event,
        other => panic!("{other:?}: {line}"),
    }
}

/// The fields that the schema calls derived.
fn read_only(part: &serde_json::Value) -> Vec<&str> {
    let fields = part["properties"].as_object().unwrap();
    let derived = fields.iter().filter(|(_, field)| field["readOnly"] == true);
    derived.map(|(name, _)| name.as_str()).collect()
}

/// Those of an event's lines.
fn derived<'a>(schema: &'a serde_json::Value, event: &str) -> Vec<&'a str> {
    let parts = schema["oneOf"].as_array().unwrap();
    let part = parts
        .iter()
        .find(|part| part["properties"]["event"]["const"] == event);
    let target = part.unwrap()["$ref"].as_str().unwrap();
    read_only(schema.pointer(target.trim_start_matches('#')).unwrap())
}

/// Puts something else in the place of fields, be they there or not.
fn spoil(fields: &mut serde_json::Map<String, serde_json::Value>, names: &[&str]) {
    for name in names {
        let other = serde_json::json!([{"not": "looked at"}, 1e9]);
        fields.insert((*name).to_owned(), other);
    }
}

/// The list is none of the test's own: this is how much there is of it.
#[test]
fn the_schema_tells_what_is_derived() {
    let schema = super::schema().to_value();
    for (event, expected) in [
        (
            "create_failed",
            &[
                "cgroup_fd",
                "child_tid_addr",
                "copied",
                "errno",
                "exit_signal",
                "exit_signal_nr",
                "flags",
                "flags_raw",
                "kind",
                "parent_tid_addr",
                "pidfd_addr",
                "shared",
                "stack",
                "stack_size",
                "syscall",
                "tls",
            ][..],
        ),
        ("exec", &[]),
        ("exit", &["signal"]),
        ("wait", &["change", "errno", "reaped", "syscall"]),
        ("kill", &["errno", "signal", "signal_nr", "syscall"]),
        ("must_stay", &["signal"]),
    ] {
        let mut found = derived(&schema, event);
        found.sort_unstable();
        assert_eq!(found, expected, "{event}");
    }
    assert_eq!(read_only(&schema["$defs"]["SigInfoLine"]), ["code"]);
}

proptest! {
    /// Any event comes back as it was, and so does its line.
    #[test]
    fn events_survive(event in event()) {
        let line = written(&event);
        prop_assert_eq!(line.matches('\n').count(), 1);
        let back = read(&line);
        prop_assert_eq!(&back, &event, "{}", line);
        prop_assert_eq!(written(&back), line);
    }

    /// A line in another order of fields, with more of them and the derived
    /// ones changed, is the same event.
    #[test]
    fn only_the_raw_fields_count(event in event()) {
        let line = written(&event);
        let mut fields: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&line).unwrap();
        let schema = super::schema().to_value();
        let derived = derived(&schema, fields["event"].as_str().unwrap());
        spoil(&mut fields, &derived);
        if let Some(serde_json::Value::Object(info)) = fields.get_mut("siginfo") {
            spoil(info, &read_only(&schema["$defs"]["SigInfoLine"]));
        }
        fields.insert("0_new".to_owned(), serde_json::json!({"a": [null, "\u{0}"]}));
        let line = serde_json::to_string(&fields).unwrap();
        prop_assert_eq!(read(&line), event, "{}", line);
    }

    /// Causes that a later version may find are left out, and the rest is as it was.
    #[test]
    fn causes_of_a_later_version_are_left_out(event in event(), at in any::<prop::sample::Index>()) {
        let mut fields: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&written(&event)).unwrap();
        let mut event = event;
        match &mut event.kind {
            EventKind::Create(create) if fields["event"] == "create" => {
                fields.insert("retry".to_owned(), "of_a_kind_yet_to_come".into());
                create.retry = None;
            }
            _ if fields["event"] == "create_failed" || fields["event"] == "exec_failed" => {
                let why = fields.entry("why").or_insert(serde_json::json!([]));
                let why = why.as_array_mut().unwrap();
                let later = [
                    serde_json::json!({"certainty": "certain", "reason": {"yet_to_come": [1]}, "text": ""}),
                    serde_json::json!({"certainty": "likely"}),
                    serde_json::json!("in a word"),
                ];
                for cause in later {
                    why.insert(at.index(why.len() + 1), cause);
                }
            }
            _ => {}
        }
        let line = serde_json::to_string(&fields).unwrap();
        prop_assert_eq!(read(&line), event, "{}", line);
    }

    /// Whatever stands on a line, it is an event or a fault: never a panic.
    #[test]
    fn no_line_panics(
        event in event(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut line = written(&event).into_bytes();
        let length = line.len();
        line[at.index(length)] = byte;
        let _ = parse(&line);
        let _ = super::header(&line);
        prop_assert!(parse(&line[..cut.index(length - 2)]).is_err());
    }
}
