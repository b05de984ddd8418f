//! From lines to events: from the raw fields alone. What a line says that
//! follows from them is not looked at.

use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;

use super::line::{
    AttachLine, EndLine, ExitLine, MustStayLine, OrphanedLine, PlainLine, StartLine,
    SupersededLine, VforkDoneLine,
};
use super::types::Word;
use super::words::Of;
use super::{FORMAT, MAJOR};
use crate::abi::{Call, Syscall};
use crate::event::{Attached, End, Ended, Event, EventKind, Lost, Start, Target, Usage, Wanted};
use crate::exec::Text;
use crate::ids::{Comm, Pid, Signal, Tid};

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// An event.
    Event(Event),
    /// An event that this forktrace does not know: of a later version.
    Unknown,
    /// The recording ended in good order.
    End(EndLine),
}

/// Why a line is none, in a few words.
type Fault = String;

/// Why a line gives no event.
#[derive(Debug)]
enum Trouble {
    /// It is wrong.
    Wrong(Fault),
    /// It has a word, or tells of a call, that came with a later version.
    Later(String),
}

impl From<Fault> for Trouble {
    fn from(what: Fault) -> Trouble {
        Trouble::Wrong(what)
    }
}

impl From<&str> for Trouble {
    fn from(what: &str) -> Trouble {
        Trouble::Wrong(what.to_owned())
    }
}

/// The word of a field.
fn known<T>(field: &str, word: Of<T>) -> Result<T, Trouble> {
    match word {
        Of::Known(word) => Ok(word),
        Of::Later(word) => Err(Trouble::Later(format!("{field} {word:?}"))),
    }
}

/// Which of the calls that a line may tell of its own one is. A number that means
/// none that forktrace knows may do so later.
fn call<T>(syscall: Syscall, of: impl FnOnce(Call) -> Option<T>, does: &str) -> Result<T, Trouble> {
    let Syscall { abi, nr, .. } = syscall;
    let number = || format!("number {nr} of {}", abi.name());
    match syscall.call() {
        None => Err(Trouble::Later(number())),
        Some(call) => of(call).ok_or_else(|| {
            let number = number();
            Trouble::Wrong(format!("{number} is no call that {does}"))
        }),
    }
}

/// An event of a line: what all lines have, and its kind.
macro_rules! event {
    ($line:ident, $kind:expr) => {
        Event {
            at: Duration::from_nanos($line.time_ns),
            tid: Tid($line.tid),
            tgid: Pid($line.tgid),
            comm: match &$line.comm_hex {
                Some(bytes) => Comm::new(&bytes.0),
                None => Comm::new(&$line.comm.0),
            },
            kind: $kind,
        }
    };
}

mod creation;
mod exec;
mod waits;

/// Reads one line, without its newline.
///
/// # Errors
/// What is wrong with it, in a few words.
pub fn parse(line: &[u8]) -> Result<Parsed, Fault> {
    match told(line) {
        Ok(parsed) => Ok(parsed),
        Err(Trouble::Later(_)) => Ok(Parsed::Unknown),
        Err(Trouble::Wrong(what)) => Err(what),
    }
}

fn told(line: &[u8]) -> Result<Parsed, Trouble> {
    let text = std::str::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
    let tag: Tag<'_>;
    let event = match leading_event(text) {
        Some(event) => event,
        // Another order of fields: somebody else wrote it.
        None => {
            tag = json(text)?;
            &tag.event.0
        }
    };
    let event = match event {
        b"create" => creation::made(json(text)?)?,
        b"exit" => exit(json(text)?)?,
        b"exec" => exec::done(json(text)?)?,
        b"vfork_done" => {
            let line: VforkDoneLine<'_> = json(text)?;
            let child = Tid(line.child_tid);
            event!(line, EventKind::VforkDone { child })
        }
        b"create_failed" => creation::failed(json(text)?)?,
        b"exec_failed" => exec::failed(json(text)?)?,
        b"start" => start(json(text)?)?,
        b"superseded" => {
            let line: SupersededLine<'_> = json(text)?;
            let by = Tid(line.by_tid);
            event!(line, EventKind::Superseded { by })
        }
        b"wait" => waits::wait(json(text)?)?,
        b"kill" => waits::kill(json(text)?)?,
        b"orphaned" => {
            let line: OrphanedLine<'_> = json(text)?;
            let by = Pid(line.parent_tgid);
            event!(line, EventKind::Orphaned { by })
        }
        b"attach" => {
            let line: AttachLine<'_> = json(text)?;
            let attached = Attached {
                parent: Pid(line.parent_tgid),
                own: line.own_tid,
                orphan: line.orphan,
            };
            event!(line, EventKind::Attached(Box::new(attached)))
        }
        b"detach" => plain(&json(text)?, EventKind::Lost(Lost::Detached)),
        b"lost" => plain(&json(text)?, EventKind::Lost(Lost::Silenced)),
        b"tracing" => plain(&json(text)?, EventKind::Tracing),
        b"must_stay" => {
            let line: MustStayLine<'_> = json(text)?;
            let signal = Signal(line.signal_nr);
            event!(line, EventKind::MustStay(signal))
        }
        b"end" => return Ok(Parsed::End(json(text)?)),
        _ => return Ok(json::<IgnoredAny>(text).map(|_| Parsed::Unknown)?),
    };
    Ok(Parsed::Event(event))
}

/// What tells one kind of line from another.
#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(borrow)]
    event: Word<'a>,
}

/// The event where it comes first, as forktrace writes it.
fn leading_event(text: &str) -> Option<&[u8]> {
    let (event, _) = text.strip_prefix("{\"event\":\"")?.split_once('"')?;
    Some(event.as_bytes())
}

fn json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|error| {
        let words = error.to_string();
        // Each line is a text of its own: only the column says something.
        let (words, column) = words
            .rsplit_once(" at line 1 column ")
            .unwrap_or((&words, "0"));
        match error.classify() {
            Category::Data => format!("{words}, column {column}"),
            Category::Syntax | Category::Eof | Category::Io => {
                format!("not JSON: {words}, column {column}")
            }
        }
    })
}

fn plain(line: &PlainLine<'_>, kind: EventKind) -> Event {
    event!(line, kind)
}

/// The first line of a log, or why it is none.
///
/// # Errors
/// What it is instead, in a few words.
pub fn header(line: &[u8]) -> Result<Event, Fault> {
    let no_log = |_| "not a log of forktrace's (recorded with --json)".to_owned();
    let text = std::str::from_utf8(line).map_err(|_| no_log(String::new()))?;
    let Version {
        format,
        format_version: Word(version),
    } = json(text).map_err(no_log)?;
    if *format.0 != *FORMAT.as_bytes() {
        return Err(no_log(String::new()));
    }
    let version = String::from_utf8_lossy(&version);
    match version.split('.').next().map(str::parse::<u32>) {
        Some(Ok(MAJOR)) => {}
        Some(Ok(major)) if major > MAJOR => {
            return Err(format!(
                "a log of format {version}, and this forktrace reads {MAJOR}.x: a newer one is \
                 needed"
            ));
        }
        Some(Ok(_)) => {
            return Err(format!(
                "a log of format {version}, and this forktrace reads {MAJOR}.x: an older one is \
                 needed"
            ));
        }
        _ => return Err(format!("a log of no known format: {version:?}")),
    }
    match told(line) {
        Ok(Parsed::Event(
            event @ Event {
                kind: EventKind::Start(_),
                ..
            },
        )) => Ok(event),
        Ok(_) => Err("a log whose first line is not its header".to_owned()),
        Err(Trouble::Later(what)) => Err(format!(
            "a log of format {version} with {what}, which this forktrace does not know: a newer \
             one is needed"
        )),
        Err(Trouble::Wrong(what)) => Err(what),
    }
}

/// What must be known of a log before any more of it is looked at.
#[derive(Deserialize)]
struct Version<'a> {
    #[serde(borrow)]
    format: Word<'a>,
    #[serde(borrow)]
    format_version: Word<'a>,
}

fn wanted(told: bool) -> Wanted {
    match told {
        true => Wanted::Yes,
        false => Wanted::No,
    }
}

fn start(line: StartLine<'_>) -> Result<Event, Trouble> {
    let target = match (line.command, line.pids) {
        (Some(command), _) => {
            let items = exec::exact(command, line.command_hex)?;
            let words = items.into_iter().map(|item| match item {
                Text::Bytes { bytes, .. } => Ok(bytes),
                Text::Null | Text::Unreadable(_) => Err("null in command".to_owned()),
            });
            Target::Command(words.collect::<Result<_, Fault>>()?)
        }
        (None, Some(pids)) => Target::Processes(pids.into_iter().map(Pid).collect()),
        (None, None) => return Err("neither command nor pids".into()),
    };
    let start = Start {
        version: String::from_utf8_lossy(&line.forktrace_version.0).into_owned(),
        wall: Duration::from_nanos(line.wall_ns),
        monotonic: Duration::from_nanos(line.monotonic_ns),
        target,
        abi: known("abi", line.abi)?,
        stops: known("stops", line.stops)?,
        follow: known("follow", line.follow)?,
        waits: wanted(line.waits),
        orphans: wanted(line.orphans),
    };
    Ok(event!(line, EventKind::Start(Box::new(start))))
}

fn exit(line: ExitLine<'_>) -> Result<Event, Trouble> {
    let end = match (line.exit_status, line.signal_nr) {
        (Some(status), _) => End::Exited(status),
        (None, Some(signal)) => End::Killed {
            signal: Signal(signal),
            core_dumped: line.core_dumped,
        },
        (None, None) => return Err("neither exit_status nor signal_nr".into()),
    };
    let usage = match (line.user_ns, line.system_ns, line.max_rss_kib) {
        (Some(user), Some(system), Some(max_rss_kib)) => Some(Usage {
            user: Duration::from_nanos(user),
            system: Duration::from_nanos(system),
            max_rss_kib,
        }),
        _ => None,
    };
    Ok(event!(line, EventKind::End(Ended { end, usage })))
}
