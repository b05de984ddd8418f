//! What people see. A view gets events and writes them somewhere; it never
//! traces.

pub mod escape;
pub mod filtered;
pub mod json;
pub mod lanes;
pub mod output;
pub mod sinks;
pub mod status;
pub mod style;
pub mod summary;
pub mod summary_json;
pub mod syntax;
#[cfg(test)]
pub(crate) mod tests;
pub mod text;
pub mod times;
pub mod tree;
pub mod units;
pub mod waits;
mod whole;

use std::io;

use anyhow::{Context, anyhow};

use crate::config::{Destination, Look, View, ViewKind};
use crate::event::Event;
use crate::filter::{Criteria, Filter};
use crate::tree::Threads;
use filtered::Filtered;
use json::JsonView;
use lanes::LanesView;
use output::Output;
use summary::SummaryForm;
use summary_json::SummaryJsonForm;
use text::{Format, TextView};
use tree::TreeForm;
use whole::WholeView;

/// What a trace by `--stops=event` leaves out.
const UNSEEN_BY_EVENTS: &str = "# --stops=event: calls that fail, and children hidden by \
                                CLONE_UNTRACED, are not seen";

/// When lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// At once, where somebody may wait for them; where nobody reads, when the
    /// caller has it done ([`Sinks::push`](sinks::Sinks::push)).
    Prompt,
    /// When nothing comes for a moment, or there are many; however long it takes.
    Collected,
    /// The same, but where nobody reads, when the caller has it done.
    Followed,
}

/// Opens a view, behind the filter; but a log holds all, and lanes are those of the
/// processes that it chooses, with all that these do.
///
/// # Errors
/// Where its destination can't be opened for writing.
pub fn open(
    view: &View,
    look: Look,
    filter: &Criteria,
    pace: Pace,
) -> anyhow::Result<Box<dyn Sink>> {
    let mut output = match &view.to {
        Destination::Stderr => Output::stderr().context("cannot write to standard error")?,
        Destination::Stdout => Output::stdout().context("cannot write to standard output")?,
        Destination::File(path) => Output::file(path).map_err(|error| {
            anyhow!(
                "cannot write to {}: {}",
                path.display(),
                sinks::plain(&error)
            )
        })?,
    };
    match pace {
        Pace::Prompt => output.keep_rest(),
        Pace::Collected => output.collect(),
        Pace::Followed => {
            output.collect();
            output.keep_all();
        }
    }
    let format = Format {
        detail: look.detail,
        palette: style::palette(look.color, output.is_terminal()),
        times: look.times,
        names: look.names,
    };
    let by_process = filter.by_process();
    let filter = filter.any().then(|| Filter::new(filter.clone()));
    let (palette, whole) = (format.palette, look.whole);
    Ok(match view.kind {
        ViewKind::Text => {
            let text = Box::new(TextView::new(output, format, look.string_limit));
            match filter {
                Some(filter) => Box::new(Filtered::new(filter, text)),
                None => text,
            }
        }
        ViewKind::Json => Box::new(JsonView::new(output)),
        ViewKind::Lanes => {
            let filter = filter.filter(|_| by_process);
            let (glyphs, detail) = (whole.glyphs, look.detail);
            Box::new(LanesView::new(output, palette, glyphs, detail, filter))
        }
        ViewKind::Tree => {
            let form = TreeForm {
                palette,
                look: whole,
            };
            Box::new(WholeView::new(output, whole.threads, filter, form))
        }
        ViewKind::Summary => {
            let form = SummaryForm {
                palette,
                look: whole,
            };
            Box::new(WholeView::new(output, Threads::Counted, filter, form))
        }
        ViewKind::SummaryJson => {
            let form = SummaryJsonForm { look: whole };
            Box::new(WholeView::new(output, Threads::Counted, filter, form))
        }
    })
}

/// A view: takes events one by one.
pub trait Sink {
    /// Shows one event.
    ///
    /// # Errors
    /// Where it can't be written; nothing more will be then.
    fn event(&mut self, event: &Event) -> io::Result<()>;

    /// Where it writes.
    fn output(&mut self) -> &mut Output;

    /// Nothing happened for a moment: writes what was collected.
    ///
    /// # Errors
    /// Where it can't be written.
    fn quiet(&mut self) -> io::Result<()>;

    /// That was the last event: writes what is left to write.
    ///
    /// # Errors
    /// Where it can't be written.
    fn finish(&mut self) -> io::Result<()>;

    /// Tracing broke off: writes what is left to write, of a trace that is not
    /// whole.
    ///
    /// # Errors
    /// Where it can't be written.
    fn break_off(&mut self) -> io::Result<()> {
        self.finish()
    }
}
