//! What a run needs to know, free of the command line's grammar.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::event::Stops;
use crate::view::style::When;
use crate::view::text::Detail;

/// One run of forktrace.
#[derive(Debug, Clone)]
pub struct Config {
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// Whether descendants are followed.
    pub follow: bool,
    /// Where tracees stop.
    pub stops: StopsChoice,
    /// Whether tracees die with the program and with forktrace.
    pub kill_on_exit: bool,
    /// The most bytes of a string that are shown.
    pub string_limit: usize,
    /// Where the trace goes.
    pub output: Destination,
    /// How much it says.
    pub detail: Detail,
    /// When it is coloured.
    pub color: When,
}

/// Where tracees stop, as asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopsChoice {
    /// The best for the run.
    Auto,
    /// Just these.
    Only(Stops),
}

impl StopsChoice {
    /// What to begin with.
    pub fn resolve(self, follow: bool) -> Stops {
        match self {
            StopsChoice::Only(stops) => stops,
            // A filter is inherited by children that nobody follows: their
            // calls would fail.
            StopsChoice::Auto if follow => Stops::Seccomp,
            StopsChoice::Auto => Stops::Syscall,
        }
    }
}

/// Where the trace goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// A file.
    File(PathBuf),
}
