//! The JSON view: the log, a line an event. What it writes can be read again
//! and looked at in any other view.

use std::io;

use super::Sink;
use super::output::Output;
use crate::event::Event;
use crate::log::Writer;

/// The JSON view.
#[derive(Debug)]
pub struct JsonView {
    output: Output,
    writer: Writer,
    line: Vec<u8>,
}

impl JsonView {
    /// A view that writes to `output`.
    pub fn new(output: Output) -> JsonView {
        JsonView {
            output,
            writer: Writer::default(),
            line: Vec::with_capacity(2048),
        }
    }
}

impl Sink for JsonView {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.line.clear();
        self.writer.event(&mut self.line, event)?;
        self.output.write_lines(&self.line)
    }

    fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    fn quiet(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.line.clear();
        self.writer.end(&mut self.line)?;
        self.output.write_lines(&self.line)?;
        self.output.flush()
    }

    /// Without the last line, by which readers know a whole log.
    fn break_off(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
