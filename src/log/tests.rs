//! The log as such: nothing is lost on the way to a line and back.

use proptest::prelude::*;

use super::arbitrary::event;
use super::{Parsed, Writer, parse};
use crate::event::Event;

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
        for derived in [
            "kind", "flags", "flags_raw", "shared", "copied", "exit_signal", "exit_signal_nr",
            "stack", "stack_size", "child_tid_addr", "parent_tid_addr", "pidfd_addr", "tls",
            "cgroup_fd", "errno", "signal",
        ] {
            fields.insert(derived.to_owned(), serde_json::json!([{"not": "looked at"}, 1e9]));
        }
        fields.insert("0_new".to_owned(), serde_json::json!({"a": [null, "\u{0}"]}));
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
