//! The lanes view: a picture of the processes, one column each, with time going
//! down. A row stands where something happens: births, execs, ends, who reaps whom,
//! signals. Rows come as the events come, and what is kept is what is alive.
//!
//! | file | holds |
//! | --- | --- |
//! | `columns` | which process is in which column |
//! | `state` | events in, rows out |
//! | `lives`, `talks` | what becomes of each: births and ends; waits and signals |
//! | `row` | a row of the picture: cells, glyphs, text |
//! | `words` | what a row says |

mod columns;
mod lives;
mod row;
mod state;
mod talks;
#[cfg(test)]
mod tests;
mod words;

use std::io;

use super::Sink;
use super::output::Output;
use super::style::Palette;
use crate::config::{Detail, Glyphs};
use crate::event::Event;
use crate::filter::Filter;
use row::Page;
use state::Lanes;

/// How wide a picture is where nothing says so: pipes, files.
const WIDTH: usize = 80;

/// The lanes view.
#[derive(Debug)]
pub struct LanesView {
    output: Output,
    lanes: Lanes,
    page: Page,
    lines: String,
}

impl LanesView {
    /// A view that writes to `output`, as wide as COLUMNS says, or the terminal, of
    /// the processes that a filter chooses.
    pub fn new(
        output: Output,
        palette: Palette,
        glyphs: Glyphs,
        detail: Detail,
        filter: Option<Filter>,
    ) -> LanesView {
        let columns = std::env::var("COLUMNS").ok();
        let width = columns
            .and_then(|columns| columns.parse().ok())
            .filter(|width| *width > 0)
            .or_else(|| output.columns())
            .unwrap_or(WIDTH);
        let page = Page {
            width,
            glyphs,
            palette,
        };
        LanesView {
            output,
            lanes: Lanes::new(page.lanes(), detail, filter),
            page,
            lines: String::with_capacity(1024),
        }
    }

    fn write(&mut self, rows: &[row::Row]) -> io::Result<()> {
        self.lines.clear();
        for row in rows {
            self.page.draw(&mut self.lines, row);
        }
        match self.lines.is_empty() {
            true => Ok(()),
            false => self.output.write_lines(&self.lines),
        }
    }
}

impl Sink for LanesView {
    fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        let rows = self.lanes.event(event);
        self.write(&rows)
    }

    fn quiet(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        let rows = self.lanes.finish();
        self.write(&rows)?;
        self.output.flush()
    }
}
