//! The tree view: silent until the end, then every process where it was created.

mod draw;
mod plan;
mod row;
mod shape;
#[cfg(test)]
mod tests;
pub(super) mod words;

use std::io;

use super::Sink;
use super::output::Output;
use super::style::Palette;
use super::whole::{Extent, Whole};
use crate::config::WholeLook;
use crate::event::Event;
use crate::filter::Filter;
use draw::{Style, draw};

/// The tree view.
#[derive(Debug)]
pub struct TreeView {
    output: Output,
    palette: Palette,
    look: WholeLook,
    /// Until it is drawn.
    tree: Whole,
}

impl TreeView {
    /// A view that writes to `output`, what the filter picks if there is one.
    pub fn new(
        output: Output,
        palette: Palette,
        look: WholeLook,
        filter: Option<Filter>,
    ) -> TreeView {
        TreeView {
            output,
            palette,
            look,
            tree: Whole::new(look.threads, filter),
        }
    }

    fn draw(&mut self, extent: Extent) -> io::Result<()> {
        let Some(tree) = self.tree.take() else {
            return Ok(());
        };
        let style = Style {
            palette: self.palette,
            look: self.look,
            width: self.output.columns(),
        };
        let output = &mut self.output;
        draw(&tree, extent, style, |lines| output.write_lines(lines))?;
        self.output.flush()
    }
}

impl Sink for TreeView {
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
        self.draw(Extent::Whole)
    }

    fn break_off(&mut self) -> io::Result<()> {
        self.draw(Extent::BrokenOff)
    }
}

impl Drop for TreeView {
    /// Whatever ended the trace, what was seen is shown.
    fn drop(&mut self) {
        let _ = self.draw(Extent::BrokenOff);
    }
}
