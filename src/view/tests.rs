//! Whatever comes, every view survives it.

use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::config::{Detail, Fold, Glyphs, Shown, Times, When, WholeLook};
use crate::filter::Happening;
use crate::ids::{Pid, Tid};
use crate::log::arbitrary;
use crate::tree::Threads;

/// Any events, many of them of a few threads.
pub(crate) fn any_events() -> impl Strategy<Value = Vec<Event>> {
    let event = (arbitrary::event(), any::<bool>()).prop_map(|(mut event, few)| {
        if few {
            event.tid = Tid(event.tid.0.rem_euclid(5));
            event.tgid = Pid(event.tgid.0.rem_euclid(5));
        }
        event
    });
    vec(event, 0..40)
}

fn look(threads: Threads, detail: Detail) -> Look {
    Look {
        string_limit: 8,
        detail,
        color: When::Always,
        times: Times::default(),
        names: Shown::Yes,
        whole: WholeLook {
            glyphs: Glyphs::Unicode,
            threads,
            fold: match threads {
                Threads::Kept => Fold::No,
                Threads::Counted => Fold::Yes,
            },
            top: None,
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_events_go_through_every_view(events in any_events(), pid in 0..5, whole: bool) {
        let (threads, finish) = match whole {
            true => (Threads::Kept, true),
            false => (Threads::Counted, false),
        };
        let filters = [
            Criteria::default(),
            Criteria { pids: vec![pid], ..Criteria::default() },
            Criteria { depth: Some(1), only: vec![Happening::Creations], ..Criteria::default() },
        ];
        for kind in ViewKind::ALL {
            for filter in &filters {
                let to = Destination::File(PathBuf::from("/dev/null"));
                let view = View { kind: *kind, to };
                let detail = if whole { Detail::Verbose } else { Detail::Normal };
                let mut sink = open(&view, look(threads, detail), filter, Pace::Collected).unwrap();
                for event in &events {
                    sink.event(event).unwrap();
                }
                sink.quiet().unwrap();
                match finish {
                    true => sink.finish().unwrap(),
                    false => sink.break_off().unwrap(),
                }
            }
        }
    }
}
