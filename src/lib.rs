//! forktrace: what a program creates, how, and what it shares.
//!
//! This is the map of the code. A *source* turns what the kernel does into
//! [`Event`](event::Event)s; everything after it sees only events.
//!
//! ```text
//! ptrace stops ─► Input ─► Machine (pure) ─► Event ─┬─► filter ─► views: text
//! recorded log ────────────────────────────► Event ─┼─► views: json, lanes
//!                                                   └─► Tree, and what a filter
//!                                                       picks of it ─► tree, summary
//! ```
//!
//! The way is one-directional: the tracer never prints, a view never traces.
//!
//! | room | holds |
//! | --- | --- |
//! | [`ids`] | `Pid`, `Tid`, `Signal`, `Errno`: no bare integer crosses a border |
//! | [`abi`] | data: (architecture, number) to call; the argument order of clone |
//! | [`digits`] | numbers as text, fast |
//! | [`memory`] | what a decoder may ask of a tracee's memory |
//! | [`clone`] | flags, requests, kinds; decoding and words for creating calls; pure |
//! | [`exec`] | the same for exec; pure |
//! | [`waits`] | the same for the calls that wait and that send signals; pure |
//! | [`diagnosis`] | why a call failed: from evidence to causes; pure |
//! | [`event`] | the vocabulary between producers and consumers |
//! | [`source`] | the trait that every producer implements, and its contract |
//! | [`filter`] | which events are shown; it sees all, to know who made whom; pure |
//! | [`ptrace`] | the tracer: `machine` decides, purely; `sys` is the only `unsafe` |
//! | [`log`] | the format of recordings; its reader is a source, its writer the json view |
//! | [`replay`] | looking at a recording |
//! | [`tree`] | a fold over events: each process once, small; pure |
//! | [`summary`] | a finished tree, counted; pure |
//! | [`view`] | one file per format, and what formats share |
//! | [`explain`] | flags, numbers, pasted calls and logs explained, offline; pure but for `stream` |
//! | [`config`], [`cli`] | what a run needs; how it is typed; a file in `cli` for each subcommand |
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
//! - Waits and signals are looked at only where they are asked for: programs do
//!   many of them. What the tracer keeps for them (numbers in inner pid namespaces,
//!   and, also for logs and trees, who is whose child) is in `ptrace::machine::kin`,
//!   and empty otherwise.
//! - `unsafe` has a folder, `ptrace::sys`, where one file was planned: launching, the
//!   tracer's own signals and its helper processes are borders of their own.
//! - The tree keeps no words of its own: a view decides how a process looks,
//!   and what looks the same.
//! - The status line is no view: it must be gone before a view writes, and it
//!   fails alone.

pub mod abi;
pub mod cli;
pub mod clone;
pub mod config;
pub mod diagnosis;
pub mod digits;
pub mod event;
pub mod exec;
pub mod explain;
pub mod filter;
pub mod ids;
pub mod log;
pub mod memory;
pub mod ptrace;
pub mod replay;
pub mod source;
pub mod summary;
pub mod tree;
pub mod view;
pub mod waits;

use std::time::Duration;

use config::{Config, Destination, What};
use event::{End, EventKind, Stops, Wanted};
use ids::Signal;
use ptrace::signals::WhileBlocked;
use ptrace::spawn::LaunchError;
use ptrace::{How, Tracer};
use source::{Next, Source};
use view::sinks::{Sinks, Trace};
use view::status::Status;

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

/// Runs forktrace: traces the command and writes the trace. `say` is told, a
/// line each, what the user should know while it runs.
///
/// # Errors
/// Where the program can't be started or tracing fails.
pub fn run(config: &Config, say: &mut dyn FnMut(&str)) -> Result<Finished, LaunchError> {
    let mut views = Vec::new();
    for view in &config.views {
        let sink = view::open(view, config.look, &config.filter, view::Pace::Prompt);
        views.push((view.to.clone(), sink.map_err(LaunchError::Refused)?));
    }
    let status = Status::open(config);
    let how = How {
        stops: config.stops.resolve(&config.what, config.follow),
        follow: config.follow,
        max_depth: config.max_depth,
        detach_on: config.detach_on,
        string_limit: config.string_limit,
        names: config.names(),
        environment: config.environment,
        usage: config.usage(),
        waits: config.waits(),
        orphans: config.orphans(),
        ticks: match status {
            Some(_) => Wanted::Yes,
            None => Wanted::No,
        },
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
    let mut sinks = Sinks::new(
        views,
        "; the trace ends here, the program runs on",
        closed,
        say,
    );
    // Dropped before the views, which then have the terminal as it was.
    let mut status = status;
    let mut shown = true;
    let mut room = 0;
    loop {
        if shown && !sinks.any() {
            shown = false;
            tracer.drain();
        }
        let next = tracer.next();
        for notice in tracer.take_notices() {
            say(&notice);
        }
        match next {
            Ok(Next::Event(event)) => {
                if let EventKind::MustStay(signal) = event.kind {
                    say(&format!(
                        "{signal}: the threads still traced can't run without forktrace \
                         (--stops=seccomp); once more ends them"
                    ));
                }
                sinks.event(&event, say);
                catch_up(&mut sinks, &mut tracer, &mut room, say);
                if let Some(status) = &mut status {
                    status.event(&event);
                }
            }
            Ok(Next::Quiet) => {
                sinks.quiet(say);
                catch_up(&mut sinks, &mut tracer, &mut room, say);
                if let Some(status) = &mut status {
                    status.tick();
                }
            }
            Ok(Next::End) => break,
            Err(error) => {
                drop(status);
                sinks.break_off(say);
                catch_up(&mut sinks, &mut tracer, &mut 0, say);
                return Err(LaunchError::Refused(error));
            }
        }
    }
    drop(status);
    sinks.finish(say);
    catch_up(&mut sinks, &mut tracer, &mut 0, say);
    Ok(Finished {
        program: tracer.program_end()?,
        left_by: tracer.left_by(),
        trace: sinks.trace(),
    })
}

/// How long a reader is waited for before signals are looked after.
const READER_WAIT: Duration = Duration::from_millis(200);
/// How many bytes more than a reader takes are kept once the program was
/// signalled: it has to run to act on it.
const ROOM: usize = 1 << 20;

/// Waits until all but `room` bytes are written. A reader that doesn't read must
/// not keep signals from whom they are meant for: forktrace leaves when told to,
/// and a program that is told to end can do so.
fn catch_up(sinks: &mut Sinks, tracer: &mut Tracer, room: &mut usize, say: &mut dyn FnMut(&str)) {
    loop {
        match sinks.behind() {
            0 => return *room = 0,
            behind if behind <= *room => return,
            behind => match tracer.while_blocked() {
                WhileBlocked::Nothing => sinks.push(READER_WAIT, say),
                WhileBlocked::Program => *room = behind + ROOM,
                WhileBlocked::Leave => sinks.abandon(say),
            },
        }
    }
}

/// Whether a destination is a standard stream that was closed at the start:
/// there the runtime has put /dev/null.
fn closed(destination: &Destination) -> bool {
    match destination {
        Destination::Stderr => ptrace::sys::closed_at_start(2),
        Destination::Stdout => ptrace::sys::closed_at_start(1),
        Destination::File(_) => false,
    }
}
