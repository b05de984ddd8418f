//! Several views of one trace. Each may fail alone, and that harms neither the
//! others nor what is traced.

use std::io;
use std::time::Duration;

use super::{Sink, output};
use crate::config::Destination;
use crate::event::Event;
use crate::ids::Errno;

/// What became of the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trace {
    /// Written whole.
    Complete,
    /// A reader of it went away; said by the exit status only.
    ReaderGone,
    /// It could not be written; said on standard error at the time.
    Unwritable,
}

/// The views that can still be written.
pub struct Sinks {
    open: Vec<(Destination, Box<dyn Sink>)>,
    /// What is said besides of one that can't be written.
    consequence: &'static str,
    trace: Trace,
}

impl Sinks {
    /// All of them, opened; those that are `closed` are lost at once. What
    /// that means for the rest is the `consequence`.
    pub fn new(
        views: Vec<(Destination, Box<dyn Sink>)>,
        consequence: &'static str,
        closed: fn(&Destination) -> bool,
        say: &mut dyn FnMut(&str),
    ) -> Sinks {
        let mut sinks = Sinks {
            open: views,
            consequence,
            trace: Trace::Complete,
        };
        sinks.each(say, |to, _| match closed(to) {
            true => Err(io::Error::from_raw_os_error(Errno::EBADF.0)),
            false => Ok(()),
        });
        sinks
    }

    /// Whether anybody still looks.
    pub fn any(&self) -> bool {
        !self.open.is_empty()
    }

    /// What became of the trace so far: the worst that befell a view.
    pub fn trace(&self) -> Trace {
        self.trace
    }

    /// Shows an event to all.
    pub fn event(&mut self, event: &Event, say: &mut dyn FnMut(&str)) {
        self.each(say, |_, sink| sink.event(event));
    }

    /// Has all write what they collected.
    pub fn quiet(&mut self, say: &mut dyn FnMut(&str)) {
        self.each(say, |_, sink| sink.quiet());
    }

    /// Has all write what is left to write.
    pub fn finish(&mut self, say: &mut dyn FnMut(&str)) {
        self.each(say, |_, sink| sink.finish());
    }

    /// Has all write what is left to write of a trace that is not whole.
    pub fn break_off(&mut self, say: &mut dyn FnMut(&str)) {
        self.each(say, |_, sink| sink.break_off());
    }

    /// How many bytes are left to write to the slowest reader.
    pub fn behind(&mut self) -> usize {
        let behind = self.open.iter_mut().map(|(_, sink)| sink.output().behind());
        behind.max().unwrap_or(0)
    }

    /// Has all write what their readers take, who are given so long.
    pub fn push(&mut self, wait: Duration, say: &mut dyn FnMut(&str)) {
        self.each(say, |_, sink| sink.output().push(wait));
    }

    /// Gives up the views whose readers don't read. Of that nobody is told where
    /// standard error is such a one.
    pub fn abandon(&mut self, say: &mut dyn FnMut(&str)) {
        let mut say_at_once = |line: &str| {
            if output::stderr_takes_more() {
                say(line);
            }
        };
        self.each(&mut say_at_once, |_, sink| {
            let output = sink.output();
            if output.behind() == 0 {
                return Ok(());
            }
            output.abandon();
            Err(io::Error::other("nobody reads it"))
        });
    }

    fn each(
        &mut self,
        say: &mut dyn FnMut(&str),
        mut act: impl FnMut(&Destination, &mut dyn Sink) -> io::Result<()>,
    ) {
        let (trace, consequence) = (&mut self.trace, self.consequence);
        self.open
            .retain_mut(|(to, sink)| match act(to, sink.as_mut()) {
                Ok(()) => true,
                Err(error) => {
                    *trace = (*trace).max(lost(to, &error, consequence, say));
                    false
                }
            });
    }
}

/// A view can't be written any more.
fn lost(
    to: &Destination,
    error: &io::Error,
    consequence: &str,
    say: &mut dyn FnMut(&str),
) -> Trace {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Trace::ReaderGone;
    }
    say(&format!(
        "cannot write to {to}: {}{consequence}",
        plain(error)
    ));
    Trace::Unwritable
}

/// An error's text without the number that Rust adds.
pub fn plain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno(number).text(),
        None => error.to_string(),
    }
}
