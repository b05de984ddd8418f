//! forktrace: what a program creates, how, and what it shares.
//!
//! This is the map of the code. A *source* turns what the kernel does into
//! [`Event`](event::Event)s; everything after it sees only events.
//!
//! ```text
//! ptrace stops ─► Input ─► Machine (pure) ─► Event ─► views: text
//! ```
//!
//! The way is one-directional: the tracer never prints, a view never traces.
//!
//! | room | holds |
//! | --- | --- |
//! | [`ids`] | `Pid`, `Tid`, `Signal`, `Errno`: no bare integer crosses a border |
//! | [`abi`] | data: (architecture, number) to call; the argument order of clone |
//! | [`memory`] | what a decoder may ask of a tracee's memory |
//! | [`clone`] | flags, requests, kinds; decoding and words for creating calls; pure |
//! | [`exec`] | the same for exec; pure |
//! | [`event`] | the vocabulary between producers and consumers |
//! | [`source`] | the trait that every producer implements, and its contract |
//! | [`ptrace`] | the tracer: `machine` decides, purely; `sys` is the only `unsafe` |
//! | [`view`] | one file per format, and what formats share |
//! | [`config`], [`cli`] | what a run needs; how it is typed |
//!
//! Where it differs from the first plan, and why:
//!
//! - The machine takes a report *and a probe*: what has to be read of a tracee
//!   depends on what the machine knows of it, and reading everything at each
//!   stop would cost system calls that nobody needs. The probe is a trait, so
//!   the machine stays as testable as if it were fed values.
//! - The seccomp filter stops unshare, setns and ptrace as well (see
//!   [`ptrace::filter`]).
//! - Who made a child whose creator was killed is worked out in
//!   `ptrace::machine::orphans`, from who can still report it; never guessed.
//! - The log, the tree and views other than text don't exist yet.

pub mod abi;
pub mod cli;
pub mod clone;
pub mod config;
pub mod event;
pub mod exec;
pub mod ids;
pub mod memory;
pub mod ptrace;
pub mod source;
pub mod view;

use std::io;

use anyhow::{Context, anyhow};

use config::{Config, Destination, What};
use event::{End, EventKind, Stops};
use ids::Signal;
use ptrace::spawn::LaunchError;
use ptrace::{How, Tracer};
use source::Source;
use view::Sink;
use view::output::Output;
use view::style;
use view::text::{Format, TextView};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// How the program ended; `None` if forktrace launched none, or left
    /// before its end.
    pub program: Option<End>,
    /// The signal that made forktrace leave.
    pub left_by: Option<Signal>,
    /// Whether all of the trace was written.
    pub trace: Trace,
}

/// What became of the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// Written whole.
    Complete,
    /// Its reader went away; said by the exit status only.
    ReaderGone,
    /// It could not be written; said on standard error at the time.
    Unwritable,
}

/// Runs forktrace: traces the command and writes the trace. `say` is told, a
/// line each, what the user should know while it runs.
///
/// # Errors
/// Where the program can't be started or tracing fails.
pub fn run(config: &Config, say: &mut dyn FnMut(&str)) -> Result<Finished, LaunchError> {
    let output = open(&config.output).map_err(LaunchError::Refused)?;
    let format = Format {
        detail: config.detail,
        palette: style::palette(config.color, output.is_terminal()),
    };
    let mut view = TextView::new(output, format);
    let how = How {
        stops: config.stops.resolve(&config.what, config.follow),
        follow: config.follow,
        max_depth: config.max_depth,
        detach_on: config.detach_on,
        string_limit: config.string_limit,
    };
    let mut tracer = match &config.what {
        What::Launch(launch) => Tracer::launch(launch, how)?,
        What::Attach(targets) => Tracer::attach(targets.clone(), how)?,
    };
    if tracer.stops() == Stops::Seccomp && ptrace::live::filtered_already() {
        say(
            "a seccomp filter is in force here already (a container's?): calls that it refuses \
             are not seen; --stops=syscall sees them",
        );
    }
    for notice in tracer.take_notices() {
        say(&notice);
    }
    let mut trace = Trace::Complete;
    if closed(&config.output) {
        // The runtime has put /dev/null there.
        trace = lost(
            &io::Error::from_raw_os_error(ids::Errno::EBADF.0),
            config,
            say,
        );
        tracer.drain();
    }
    loop {
        let event = tracer.next().map_err(LaunchError::Refused)?;
        for notice in tracer.take_notices() {
            say(&notice);
        }
        let Some(event) = event else { break };
        if let EventKind::MustStay(signal) = event.kind {
            say(&format!(
                "{signal}: the threads still traced can't run without forktrace \
                 (--stops=seccomp); once more ends them"
            ));
        }
        if trace != Trace::Complete {
            continue;
        }
        if let Err(error) = view.event(&event) {
            trace = lost(&error, config, say);
            tracer.drain();
        }
    }
    Ok(Finished {
        program: tracer.program_end()?,
        left_by: tracer.left_by(),
        trace,
    })
}

fn open(destination: &Destination) -> anyhow::Result<Output> {
    match destination {
        Destination::Stderr => Output::stderr().context("cannot write to standard error"),
        Destination::Stdout => Output::stdout().context("cannot write to standard output"),
        Destination::File(path) => Output::file(path)
            .map_err(|error| anyhow!("cannot write to {}: {}", path.display(), plain(&error))),
    }
}

/// Whether the trace goes to a standard stream that was closed at the start.
fn closed(destination: &Destination) -> bool {
    match destination {
        Destination::Stderr => ptrace::sys::closed_at_start(2),
        Destination::Stdout => ptrace::sys::closed_at_start(1),
        Destination::File(_) => false,
    }
}

/// The trace can't be written any more. The program runs on all the same.
fn lost(error: &io::Error, config: &Config, say: &mut dyn FnMut(&str)) -> Trace {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Trace::ReaderGone;
    }
    let place = match &config.output {
        Destination::Stderr => "standard error".to_owned(),
        Destination::Stdout => "standard output".to_owned(),
        Destination::File(path) => path.display().to_string(),
    };
    say(&format!(
        "cannot write to {place}: {}; the trace ends here, the program runs on",
        plain(error)
    ));
    Trace::Unwritable
}

/// An error's text without the number that Rust adds.
fn plain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => ids::Errno(number).text(),
        None => error.to_string(),
    }
}
