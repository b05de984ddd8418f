//! The summary as one JSON document, for programs. Units stand in the names;
//! times are in nanoseconds. Text of the program is any bytes: what is UTF-8
//! stands as it is, else with U+FFFD for each stray sequence and its exact bytes
//! in hex beside it (`program_hex`, `command_hex`).

mod document;
#[cfg(test)]
mod tests;

use std::io;

use super::output::Output;
use super::whole::{Extent, Form};
use crate::config::{TOP, WholeLook};
use crate::summary::Summary;
use crate::tree::Tree;
use document::Document;

/// Writes the document.
#[derive(Debug)]
pub(super) struct SummaryJsonForm {
    pub(super) look: WholeLook,
}

impl Form for SummaryJsonForm {
    fn write(&self, tree: &Tree, extent: Extent, output: &mut Output) -> io::Result<()> {
        if tree.is_empty() {
            return Ok(());
        }
        let text = text(tree, extent, self.look).map_err(io::Error::other)?;
        output.write_lines(&text)
    }
}

/// The document of a tree.
fn text(tree: &Tree, extent: Extent, look: WholeLook) -> serde_json::Result<String> {
    let summary = Summary::new(tree, look.top.unwrap_or(TOP));
    let document = Document::new(&summary, extent, look.top.unwrap_or(usize::MAX));
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}
