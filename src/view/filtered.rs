//! A view that is shown only what a filter keeps.

use std::io;

use super::Sink;
use super::output::Output;
use crate::event::Event;
use crate::filter::Filter;

/// A view behind a filter.
pub struct Filtered {
    filter: Filter,
    sink: Box<dyn Sink>,
}

impl Filtered {
    /// Puts a filter before a view.
    pub fn new(filter: Filter, sink: Box<dyn Sink>) -> Filtered {
        Filtered { filter, sink }
    }
}

impl Sink for Filtered {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        match self.filter.keeps(event) {
            true => self.sink.event(event),
            false => Ok(()),
        }
    }

    fn output(&mut self) -> &mut Output {
        self.sink.output()
    }

    fn quiet(&mut self) -> io::Result<()> {
        self.sink.quiet()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.sink.finish()
    }

    fn break_off(&mut self) -> io::Result<()> {
        self.sink.break_off()
    }
}
