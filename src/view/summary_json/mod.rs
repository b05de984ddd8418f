//! The summary as one JSON document, for programs. Units stand in the names;
//! times are in nanoseconds. Text of the program is any bytes: what is UTF-8
//! stands as it is, else with U+FFFD for each stray sequence and its exact bytes
//! in hex beside it (`program_hex`, `command_hex`).

mod document;
#[cfg(test)]
mod tests;

use std::io;

use super::Sink;
use super::output::Output;
use super::whole::{Extent, Whole};
use crate::config::{TOP, WholeLook};
use crate::event::Event;
use crate::filter::Filter;
use crate::summary::Summary;
use crate::tree::{Threads, Tree};
use document::Document;

/// The view.
#[derive(Debug)]
pub struct SummaryJsonView {
    output: Output,
    look: WholeLook,
    /// Until it is written.
    tree: Whole,
}

impl SummaryJsonView {
    /// A view that writes to `output`, what the filter picks if there is one.
    pub fn new(output: Output, look: WholeLook, filter: Option<Filter>) -> SummaryJsonView {
        SummaryJsonView {
            output,
            look,
            tree: Whole::new(Threads::Counted, filter),
        }
    }

    fn write(&mut self, extent: Extent) -> io::Result<()> {
        let Some(tree) = self.tree.take().filter(|tree| !tree.is_empty()) else {
            return Ok(());
        };
        let text = text(&tree, extent, self.look).map_err(io::Error::other)?;
        self.output.write_lines(&text)?;
        self.output.flush()
    }
}

impl Sink for SummaryJsonView {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.tree.event(event);
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

impl Drop for SummaryJsonView {
    /// Whatever ended the trace, what was seen is counted.
    fn drop(&mut self) {
        let _ = self.write(Extent::BrokenOff);
    }
}

/// The document of a tree.
fn text(tree: &Tree, extent: Extent, look: WholeLook) -> serde_json::Result<String> {
    let summary = Summary::new(tree, look.top.unwrap_or(TOP));
    let document = Document::new(&summary, extent, look.top.unwrap_or(usize::MAX));
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}
