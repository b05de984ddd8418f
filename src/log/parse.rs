//! From lines to events: from the raw fields alone. What a line says that
//! follows from them is not looked at.

use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;

use super::line::{
    AttachLine, CauseLine, CreateFailedLine, CreateLine, EndLine, ExecFailedLine, ExecLine,
    ExitLine, Failure, Gaps, MustStayLine, OrphanedLine, PlainLine, Segment, StartLine,
    SupersededLine, VforkDoneLine,
};
use super::types::{Hex, HexBytes, HexWords, Word, Words};
use super::{FORMAT, MAJOR};
use crate::abi::{Call, Syscall};
use crate::clone::args::{SIZE_MAX, SIZE_VER0};
use crate::clone::{
    Body, Clone3, CloneArgs, CloneFlags, LegacyClone, Request, SetTid, Spec, Tail, Tls, UserDesc,
};
use crate::diagnosis::{Cause, Causes};
use crate::event::{
    Attached, Child, Create, End, Ended, Event, EventKind, Exec, Lost, Outcome, Start, Target,
    Usage, Wanted,
};
use crate::exec::{Env, ExecCall, ListEnd, Strings, Text};
use crate::ids::{Comm, Errno, Pid, Signal, Tid};

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

mod waits;

/// Reads one line, without its newline.
///
/// # Errors
/// What is wrong with it, in a few words.
pub fn parse(line: &[u8]) -> Result<Parsed, Fault> {
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
        b"create" => creation(json(text)?)?,
        b"exit" => exit(json(text)?)?,
        b"exec" => exec(json(text)?)?,
        b"vfork_done" => {
            let line: VforkDoneLine<'_> = json(text)?;
            let child = Tid(line.child_tid);
            event!(line, EventKind::VforkDone { child })
        }
        b"create_failed" => failed_creation(json(text)?)?,
        b"exec_failed" => failed_exec(json(text)?)?,
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
        b"end" => return json(text).map(Parsed::End),
        _ => return json::<IgnoredAny>(text).map(|_| Parsed::Unknown),
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
    match parse(line)? {
        Parsed::Event(
            event @ Event {
                kind: EventKind::Start(_),
                ..
            },
        ) => Ok(event),
        _ => Err("a log whose first line is not its header".to_owned()),
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

fn start(line: StartLine<'_>) -> Result<Event, Fault> {
    let target = match (line.command, line.pids) {
        (Some(command), _) => {
            let items = exact(command, line.command_hex)?;
            let words = items.into_iter().map(|item| match item {
                Text::Bytes { bytes, .. } => Ok(bytes),
                Text::Null | Text::Unreadable(_) => Err("null in command".to_owned()),
            });
            Target::Command(words.collect::<Result<_, _>>()?)
        }
        (None, Some(pids)) => Target::Processes(pids.into_iter().map(Pid).collect()),
        (None, None) => return Err("neither command nor pids".to_owned()),
    };
    let start = Start {
        version: String::from_utf8_lossy(&line.forktrace_version.0).into_owned(),
        wall: Duration::from_nanos(line.wall_ns),
        monotonic: Duration::from_nanos(line.monotonic_ns),
        target,
        abi: line.abi,
        stops: line.stops,
        follow: line.follow,
        waits: match line.waits {
            true => Wanted::Yes,
            false => Wanted::No,
        },
    };
    Ok(event!(line, EventKind::Start(Box::new(start))))
}

/// What was asked for, of a line of a creating call.
macro_rules! request {
    ($line:ident) => {
        request(
            Syscall {
                abi: $line.abi,
                nr: $line.nr,
                args: $line.args.map(|Hex(value)| value),
            },
            $line.clone_args.map(|words| words.map(|Hex(value)| value)),
            $line.set_tid.map(|pids| pids.into_owned()),
            match ($line.clone_args_tail_unreadable, $line.clone_args_tail_hex) {
                (true, _) => TailSeen::Unreadable,
                (false, Some(HexBytes(head))) => TailSeen::NonZero(head.into_owned()),
                (false, None) => TailSeen::Zero,
            },
            $line.tls_segment,
        )
    };
}

/// A tail, but for its length, which the call tells.
enum TailSeen {
    Zero,
    NonZero(Vec<u8>),
    Unreadable,
}

fn request(
    syscall: Syscall,
    words: Option<[u64; 11]>,
    set_tid: Option<Vec<i32>>,
    tail: TailSeen,
    segment: Option<Segment>,
) -> Result<Request, Fault> {
    let tls = |register| match segment {
        None => Tls::Address(register),
        Some(desc) => Tls::Segment(UserDesc {
            entry_number: desc.entry_number,
            base_addr: desc.base_addr,
            limit: desc.limit,
            bits: desc.bits,
        }),
    };
    let spec = match syscall.call() {
        Some(Call::Fork) => Spec::Fork,
        Some(Call::Vfork) => Spec::Vfork,
        Some(Call::Clone) => {
            let order = syscall.abi.clone_order();
            Spec::Clone(LegacyClone {
                flags: syscall.args[order.flags],
                stack: syscall.args[order.stack],
                parent_tid: syscall.args[order.parent_tid],
                child_tid: syscall.args[order.child_tid],
                tls: tls(syscall.args[order.tls]),
            })
        }
        Some(Call::Clone3) => {
            let [addr, size, ..] = syscall.args;
            let last = usize::try_from(size).map_or(SIZE_MAX, |size| size.min(SIZE_MAX));
            let last = last.saturating_sub(1);
            let body = match words {
                _ if size < SIZE_VER0 as u64 => Body::TooSmall,
                None => Body::Unreadable,
                Some(words) => Body::Read {
                    args: clone_args(words),
                    tls: tls(words[7]),
                    set_tid: set_tid.map_or(SetTid::Address, SetTid::Pids),
                    tail: match tail {
                        TailSeen::Zero => Tail::Zero,
                        TailSeen::NonZero(head) => Tail::NonZero { head, last },
                        TailSeen::Unreadable => Tail::Unreadable { last },
                    },
                },
            };
            Spec::Clone3(Clone3 { addr, size, body })
        }
        _ => {
            return Err(format!(
                "number {} of {} is no call that creates",
                syscall.nr,
                syscall.abi.name()
            ));
        }
    };
    Ok(Request { syscall, spec })
}

fn clone_args(words: [u64; 11]) -> CloneArgs {
    let [
        flags,
        pidfd,
        child_tid,
        parent_tid,
        exit_signal,
        stack,
        stack_size,
        tls,
        rest @ ..,
    ] = words;
    let [set_tid, set_tid_size, cgroup] = rest;
    CloneArgs {
        flags: CloneFlags(flags),
        pidfd,
        child_tid,
        parent_tid,
        exit_signal,
        stack,
        stack_size,
        tls,
        set_tid,
        set_tid_size,
        cgroup,
    }
}

fn creation(line: CreateLine<'_>) -> Result<Event, Fault> {
    let child = Child {
        tid: line.child_tid.map(Tid),
        returned: line.returned,
        own: line.child_own_tid,
        followed: line.followed,
        parent_tid: line.stored_parent_tid,
        pidfd: line.stored_pidfd,
    };
    let create = Create {
        request: request!(line)?,
        outcome: Outcome::Created(child),
        latency: line.latency_ns.map(Duration::from_nanos),
        why: Causes::new(),
        retry: line.retry,
    };
    Ok(event!(line, EventKind::Create(Box::new(create))))
}

fn failed_creation(line: CreateFailedLine<'_>) -> Result<Event, Fault> {
    let outcome = match (line.outcome, line.errno_nr, line.skipped_value) {
        (Failure::Error, Some(errno), _) => Outcome::Failed(Errno(errno)),
        (Failure::Error, None, _) => return Err("no errno_nr".to_owned()),
        (Failure::Killed, _, _) => Outcome::Unknown,
        (Failure::Skipped, _, Some(value)) => Outcome::Skipped(value),
        (Failure::Skipped, _, None) => return Err("no skipped_value".to_owned()),
    };
    let create = Create {
        request: request!(line)?,
        outcome,
        latency: line.latency_ns.map(Duration::from_nanos),
        why: causes(line.why),
        retry: None,
    };
    Ok(event!(line, EventKind::Create(Box::new(create))))
}

fn causes(why: Vec<CauseLine<'_>>) -> Causes {
    why.into_iter()
        .map(|cause| Cause {
            certainty: cause.certainty,
            reason: cause.reason.into_owned(),
        })
        .collect()
}

/// What was asked for, of a line of an exec call.
macro_rules! call {
    ($line:ident) => {{
        let syscall = match ($line.abi, $line.nr, $line.args) {
            (Some(abi), Some(nr), Some(args)) => Some(Syscall {
                abi,
                nr,
                args: args.map(|Hex(value)| value),
            }),
            (None, None, None) => None,
            _ => return Err("abi, nr and args only in part".to_owned()),
        };
        let call = match &syscall {
            Some(syscall) => syscall.call(),
            None => Some($line.syscall),
        };
        ExecCall {
            syscall,
            call: call
                .filter(|call| matches!(call, Call::Execve | Call::Execveat))
                .ok_or("not an exec call")?,
            path: match ($line.path_hex, $line.path, $line.path_unreadable) {
                (Some(HexBytes(bytes)), _, _) | (None, Some(Word(bytes)), _) => Text::Bytes {
                    bytes: bytes.into_owned(),
                    truncated: $line.path_truncated,
                },
                (None, None, Some(Hex(addr))) => Text::Unreadable(addr),
                (None, None, None) => Text::Null,
            },
            argv: strings($line.argv, $line.argv_hex, $line.argv_gaps)?.ok_or("no argv")?,
            env: Env {
                addr: $line.env_addr.map(|Hex(addr)| addr),
                vars: $line.env_vars.map(|vars| vars as usize),
                unterminated: $line.env_unterminated,
                text: strings($line.env, $line.env_hex, $line.env_gaps)?,
            },
        }
    }};
}

fn exec(line: ExecLine<'_>) -> Result<Event, Fault> {
    let exec = Exec {
        call: call!(line),
        result: Some(Ok(())),
        continues_as: line.continues_as_tid.map(Tid),
        releases: line.releases_tid.map(Tid),
        latency: line.latency_ns.map(Duration::from_nanos),
        why: Causes::new(),
    };
    Ok(event!(line, EventKind::Exec(Box::new(exec))))
}

fn failed_exec(line: ExecFailedLine<'_>) -> Result<Event, Fault> {
    let result = match (line.outcome, line.errno_nr) {
        (Failure::Error, Some(errno)) => Some(Err(Errno(errno))),
        (Failure::Error, None) => return Err("no errno_nr".to_owned()),
        (Failure::Killed | Failure::Skipped, _) => None,
    };
    let exec = Exec {
        call: call!(line),
        result,
        continues_as: None,
        releases: None,
        latency: line.latency_ns.map(Duration::from_nanos),
        why: causes(line.why),
    };
    Ok(event!(line, EventKind::Exec(Box::new(exec))))
}

/// A list with the exact bytes of what is no text in it.
fn exact(list: Words<'_>, hex: Option<HexWords<'_>>) -> Result<Vec<Text>, Fault> {
    let mut items = list.0.into_owned();
    if let Some(HexWords(exact)) = hex {
        if exact.len() != items.len() {
            return Err("a list and its bytes are of different lengths".to_owned());
        }
        for (item, exact) in items.iter_mut().zip(exact.into_owned()) {
            if exact != Text::Null {
                *item = exact;
            }
        }
    }
    Ok(items)
}

/// An array of strings; `None` where the line has none.
fn strings(
    list: Option<Words<'_>>,
    hex: Option<HexWords<'_>>,
    gaps: Option<Gaps>,
) -> Result<Option<Strings>, Fault> {
    let gaps = gaps.unwrap_or_default();
    let Some(list) = list else {
        return Ok(gaps.addr.map(|Hex(addr)| Strings::Address(addr)));
    };
    let mut items = exact(list, hex)?;
    let out_of_range = || "an index outside of its list".to_owned();
    for index in gaps.truncated {
        match items.get_mut(index) {
            Some(Text::Bytes { truncated, .. }) => *truncated = true,
            _ => return Err(out_of_range()),
        }
    }
    for (index, Hex(addr)) in gaps.unreadable.into_iter().zip(gaps.unreadable_addr) {
        *items.get_mut(index).ok_or_else(out_of_range)? = Text::Unreadable(addr);
    }
    let end = match (gaps.ended_at, gaps.more) {
        (Some(Hex(addr)), _) => ListEnd::Unreadable(addr),
        (None, true) => ListEnd::More,
        (None, false) => ListEnd::Complete,
    };
    Ok(Some(Strings::List { items, end }))
}

fn exit(line: ExitLine<'_>) -> Result<Event, Fault> {
    let end = match (line.exit_status, line.signal_nr) {
        (Some(status), _) => End::Exited(status),
        (None, Some(signal)) => End::Killed {
            signal: Signal(signal),
            core_dumped: line.core_dumped,
        },
        (None, None) => return Err("neither exit_status nor signal_nr".to_owned()),
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
