//! From events to lines.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use super::line::{
    AttachLine, EndLine, ExitLine, Line, MustStayLine, OrphanedLine, PlainLine, StartLine,
    SupersededLine, VforkDoneLine,
};
use super::types::{HexBytes, HexWords, Word, Words};
use super::words::Of;
use super::{FORMAT, VERSION};
use crate::event::{
    End, Ended, Event, EventKind, Lost, Start, Target, Usage, Wanted, nanoseconds as ns,
};
use crate::exec::Text;

/// Writes the lines of a log.
#[derive(Debug, Default)]
pub struct Writer {
    events: u64,
    last: Duration,
}

impl Writer {
    /// Appends the line of an event to `out`, with its newline.
    ///
    /// # Errors
    /// None that come from the event.
    pub fn event(&mut self, out: &mut Vec<u8>, event: &Event) -> io::Result<()> {
        self.events += 1;
        self.last = event.at;
        line(out, &Line::from(event))
    }

    /// Appends the last line, by which a whole log is told from one cut off.
    ///
    /// # Errors
    /// None.
    pub fn end(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let end = EndLine {
            time_ns: ns(self.last),
            events: self.events,
        };
        line(out, &Line::End(end))
    }
}

fn line(out: &mut Vec<u8>, line: &Line<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.push(b'\n');
    Ok(())
}

fn word(bytes: &[u8]) -> Word<'_> {
    Word(Cow::Borrowed(bytes))
}

/// A line's value with what all lines have.
macro_rules! line {
    ($type:ident of $event:ident { $($fields:tt)* }) => {
        $type {
            time_ns: ns($event.at),
            tid: $event.tid.0,
            tgid: $event.tgid.0,
            comm: word($event.comm.as_bytes()),
            comm_hex: HexBytes::unless_text($event.comm.as_bytes()),
            $($fields)*
        }
    };
}

mod creation;
mod exec;
mod waits;

impl<'a> From<&'a Event> for Line<'a> {
    fn from(event: &'a Event) -> Line<'a> {
        match &event.kind {
            EventKind::Start(start) => Line::Start(start_line(event, start)),
            EventKind::Create(create) => creation::line(event, create),
            EventKind::Exec(exec) => exec::line(event, exec),
            EventKind::VforkDone { child } => Line::VforkDone(line!(VforkDoneLine of event {
                child_tid: child.0,
            })),
            EventKind::End(ended) => Line::Exit(exit_line(event, ended)),
            EventKind::Superseded { by } => Line::Superseded(line!(SupersededLine of event {
                by_tid: by.0,
            })),
            EventKind::Attached(attached) => Line::Attach(line!(AttachLine of event {
                parent_tgid: attached.parent.0,
                own_tid: attached.own,
                orphan: attached.orphan,
            })),
            EventKind::Wait(wait) => Line::Wait(waits::wait(event, wait)),
            EventKind::Kill(kill) => Line::Kill(waits::kill(event, kill)),
            EventKind::Orphaned { by } => Line::Orphaned(line!(OrphanedLine of event {
                parent_tgid: by.0,
            })),
            EventKind::Lost(Lost::Detached) => Line::Detach(line!(PlainLine of event {})),
            EventKind::Lost(Lost::Silenced) => Line::Lost(line!(PlainLine of event {})),
            EventKind::Tracing => Line::Tracing(line!(PlainLine of event {})),
            EventKind::MustStay(signal) => Line::MustStay(line!(MustStayLine of event {
                signal: signal.to_string(),
                signal_nr: signal.0,
            })),
        }
    }
}

fn start_line<'a>(event: &'a Event, start: &'a Start) -> StartLine<'a> {
    let command = match &start.target {
        Target::Command(words) => Some(words),
        Target::Processes(_) => None,
    };
    let texts = command.map(|words| {
        words
            .iter()
            .map(|word| Text::Bytes {
                bytes: word.clone(),
                truncated: false,
            })
            .collect::<Vec<_>>()
    });
    let not_text =
        command.is_some_and(|words| words.iter().any(|word| std::str::from_utf8(word).is_err()));
    line!(StartLine of event {
        format: word(FORMAT.as_bytes()),
        format_version: word(VERSION.as_bytes()),
        forktrace_version: word(start.version.as_bytes()),
        wall_ns: ns(start.wall),
        monotonic_ns: ns(start.monotonic),
        command_hex: texts.clone().filter(|_| not_text).map(|texts| HexWords(texts.into())),
        command: texts.map(|texts| Words(texts.into())),
        pids: match &start.target {
            Target::Command(_) => None,
            Target::Processes(pids) => Some(pids.iter().map(|pid| pid.0).collect()),
        },
        abi: Of::Known(start.abi),
        stops: Of::Known(start.stops),
        follow: Of::Known(start.follow),
        waits: start.waits == Wanted::Yes,
        orphans: start.orphans == Wanted::Yes,
    })
}

fn exit_line<'a>(event: &'a Event, ended: &Ended) -> ExitLine<'a> {
    let (status, signal, core_dumped) = match ended.end {
        End::Exited(status) => (Some(status), None, false),
        End::Killed {
            signal,
            core_dumped,
        } => (None, Some(signal), core_dumped),
    };
    let used = |part: fn(&Usage) -> u64| ended.usage.as_ref().map(part);
    line!(ExitLine of event {
        exit_status: status,
        signal: signal.map(|signal| signal.to_string()),
        signal_nr: signal.map(|signal| signal.0),
        core_dumped,
        user_ns: used(|usage| ns(usage.user)),
        system_ns: used(|usage| ns(usage.system)),
        max_rss_kib: used(|usage| usage.max_rss_kib),
    })
}
