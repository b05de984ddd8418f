//! The tree that a view grows, of every event, and what a filter picks of it.

use crate::event::Event;
use crate::filter::Filter;
use crate::tree::{Threads, Tree};

/// Whether a trace is told to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// It is.
    Whole,
    /// It breaks off: tracing failed, or the recording was cut short.
    BrokenOff,
}

/// What stands above what is shown of a trace that breaks off.
pub(super) const BREAKS_OFF: &str = "# the recording breaks off";

/// A tree behind a filter, if there is one.
#[derive(Debug)]
pub(super) struct Whole {
    filter: Option<Filter>,
    /// Until it is taken.
    tree: Option<Tree>,
}

impl Whole {
    pub(super) fn new(threads: Threads, filter: Option<Filter>) -> Whole {
        Whole {
            filter,
            tree: Some(Tree::new(threads)),
        }
    }

    /// Takes in an event.
    pub(super) fn event(&mut self, event: &Event) {
        match (&mut self.tree, &mut self.filter) {
            (Some(tree), Some(filter)) => tree.add_filtered(event, filter.keep(event)),
            (Some(tree), None) => tree.add(event),
            (None, _) => {}
        }
    }

    /// The tree, the first time.
    pub(super) fn take(&mut self) -> Option<Tree> {
        self.tree.take()
    }
}
