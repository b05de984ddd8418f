//! Views of a whole trace: they keep the tree of all events, are silent until the end,
//! and write then what a filter picks of it.

use std::fmt::Debug;
use std::io;

use super::Sink;
use super::output::Output;
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
    /// Until it is written.
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

/// What a view makes of a finished tree.
pub(super) trait Form: Debug {
    /// Writes it.
    ///
    /// # Errors
    /// Where it can't be written.
    fn write(&self, tree: &Tree, extent: Extent, output: &mut Output) -> io::Result<()>;
}

/// A view of a whole trace.
#[derive(Debug)]
pub(super) struct WholeView<F: Form> {
    output: Output,
    whole: Whole,
    form: F,
}

impl<F: Form> WholeView<F> {
    /// A view that writes to `output`, what the filter picks if there is one.
    pub(super) fn new(
        output: Output,
        threads: Threads,
        filter: Option<Filter>,
        form: F,
    ) -> WholeView<F> {
        WholeView {
            output,
            whole: Whole::new(threads, filter),
            form,
        }
    }

    /// Once only.
    fn write(&mut self, extent: Extent) -> io::Result<()> {
        let Some(tree) = self.whole.take() else {
            return Ok(());
        };
        self.form.write(&tree, extent, &mut self.output)?;
        self.output.flush()
    }
}

impl<F: Form> Sink for WholeView<F> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.whole.event(event);
        Ok(())
    }

    fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    fn quiet(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.write(Extent::Whole)
    }

    fn break_off(&mut self) -> io::Result<()> {
        self.write(Extent::BrokenOff)
    }
}

impl<F: Form> Drop for WholeView<F> {
    /// Whatever ended the trace, what was seen is shown.
    fn drop(&mut self) {
        let _ = self.write(Extent::BrokenOff);
    }
}
