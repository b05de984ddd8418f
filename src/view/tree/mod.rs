//! The tree view: silent until the end, then every process where it was created.

mod draw;
mod plan;
mod row;
mod shape;
#[cfg(test)]
mod tests;
pub(super) mod words;

use std::io;

use super::output::Output;
use super::style::Palette;
use super::whole::{Extent, Form};
use crate::config::WholeLook;
use crate::tree::Tree;
use draw::{Style, draw};

/// Draws the tree.
#[derive(Debug)]
pub(super) struct TreeForm {
    pub(super) palette: Palette,
    pub(super) look: WholeLook,
}

impl Form for TreeForm {
    fn write(&self, tree: &Tree, extent: Extent, output: &mut Output) -> io::Result<()> {
        let style = Style {
            palette: self.palette,
            look: self.look,
            width: output.columns(),
        };
        draw(tree, extent, style, |lines| output.write_lines(lines))
    }
}
