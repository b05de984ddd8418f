//! From events to lines.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use super::line::{
    AttachLine, CauseLine, CreateFailedLine, CreateLine, EndLine, ExecFailedLine, ExecLine,
    ExitLine, Failure, Gaps, Line, MustStayLine, OrphanedLine, PlainLine, Segment, StartLine,
    SupersededLine, VforkDoneLine,
};
use super::types::{Hex, HexBytes, HexWords, Names, Word, Words};
use super::{FORMAT, VERSION};
use crate::clone::{Body, Clone3, CloneArgs, CloneFlags, Request, SetTid, Spec, Stack, Tail, Tls};
use crate::diagnosis::Cause;
use crate::event::{
    Create, End, Ended, Event, EventKind, Exec, Lost, Outcome, Start, Target, Usage, Wanted,
};
use crate::exec::{ListEnd, Strings, Text};
use crate::ids::Errno;

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

/// Nanoseconds; the range of a line is 584 years.
fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
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

mod waits;

impl<'a> From<&'a Event> for Line<'a> {
    fn from(event: &'a Event) -> Line<'a> {
        match &event.kind {
            EventKind::Start(start) => Line::Start(start_line(event, start)),
            EventKind::Create(create) => create_line(event, create),
            EventKind::Exec(exec) => exec_line(event, exec),
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
        abi: start.abi,
        stops: start.stops,
        follow: start.follow,
        waits: start.waits == Wanted::Yes,
    })
}

/// A line of a creating call, with what was asked for.
macro_rules! creating {
    ($type:ident of $event:ident, $create:ident { $($fields:tt)* }) => {{
        let request = &$create.request;
        let [flags, shared, copied] = match Names::of(request) {
            Some(names) => names.map(Some),
            None => [None; 3],
        };
        let decoded = request.is_decoded();
        let (stack, stack_size) = match request.stack() {
            Stack::Callers => (None, None),
            Stack::Pointer(pointer) => (Some(Hex(pointer)), None),
            Stack::Area(lowest, size) => (Some(Hex(lowest)), Some(size)),
        };
        let signal = request.exit_signal();
        let raw = Raw::of(request);
        line!($type of $event {
            syscall: request.syscall.call(),
            kind: decoded.then(|| request.kind()),
            $($fields)*
            flags,
            flags_raw: decoded.then(|| Hex(request.flags().0)),
            shared,
            copied,
            exit_signal: signal.map(|signal| signal.to_string()),
            exit_signal_nr: signal.map(|signal| signal.0),
            stack,
            stack_size,
            child_tid_addr: request
                .flags()
                .any(CloneFlags::CHILD_SETTID | CloneFlags::CHILD_CLEARTID)
                .then(|| Hex(request.child_tid())),
            parent_tid_addr: request.parent_tid().map(Hex),
            pidfd_addr: request.pidfd().map(Hex),
            tls: request.tls().map(|tls| match tls {
                Tls::Address(addr) => Hex(addr),
                Tls::Segment(segment) => Hex(segment.base_addr.into()),
            }),
            cgroup_fd: request
                .clone_args()
                .filter(|args| args.flags.has(CloneFlags::INTO_CGROUP))
                .map(|args| args.cgroup),
            abi: request.syscall.abi,
            nr: request.syscall.nr,
            args: request.syscall.args.map(Hex),
            clone_args: raw.args,
            set_tid: raw.set_tid,
            clone_args_tail_hex: raw.tail,
            clone_args_tail_unreadable: raw.tail_unreadable,
            tls_segment: raw.segment,
            latency_ns: $create.latency.map(ns),
        })
    }};
}

fn create_line<'a>(event: &'a Event, create: &'a Create) -> Line<'a> {
    let (outcome, error, value) = match &create.outcome {
        Outcome::Created(child) => {
            return Line::Create(creating!(CreateLine of event, create {
                child_tid: child.tid.map(|tid| tid.0),
                child_own_tid: child.own,
                returned: child.returned,
                followed: child.followed,
                stored_parent_tid: child.parent_tid,
                stored_pidfd: child.pidfd,
                retry: create.retry,
            }));
        }
        Outcome::Failed(errno) => (Failure::Error, Some(*errno), None),
        Outcome::Unknown => (Failure::Killed, None, None),
        Outcome::Skipped(value) => (Failure::Skipped, None, Some(*value)),
    };
    Line::CreateFailed(creating!(CreateFailedLine of event, create {
        outcome,
        errno: error.and_then(errno_name),
        errno_nr: error.map(|errno| errno.0),
        skipped_value: value,
        why: causes(&create.why),
    }))
}

fn causes(why: &[Cause]) -> Vec<CauseLine<'_>> {
    why.iter()
        .map(|cause| CauseLine {
            certainty: cause.certainty,
            text: cause.reason.to_string(),
            reason: Cow::Borrowed(&cause.reason),
        })
        .collect()
}

/// An error's name; the restart codes have theirs.
fn errno_name(errno: Errno) -> Option<String> {
    match errno.restart() {
        Some((name, _)) => Some(name.to_owned()),
        None => errno.name(),
    }
}

/// What a request holds besides the registers.
#[derive(Default)]
struct Raw<'a> {
    args: Option<[Hex; 11]>,
    set_tid: Option<Cow<'a, [i32]>>,
    tail: Option<HexBytes<'a>>,
    tail_unreadable: bool,
    segment: Option<Segment>,
}

impl<'a> Raw<'a> {
    fn of(request: &'a Request) -> Raw<'a> {
        match &request.spec {
            Spec::Fork | Spec::Vfork => Raw::default(),
            Spec::Clone(clone) => Raw {
                segment: segment(clone.tls),
                ..Raw::default()
            },
            Spec::Clone3(Clone3 {
                body:
                    Body::Read {
                        args,
                        tls,
                        set_tid,
                        tail,
                    },
                ..
            }) => Raw {
                args: Some(words(args)),
                set_tid: match set_tid {
                    SetTid::Address => None,
                    SetTid::Pids(pids) => Some(Cow::Borrowed(pids)),
                },
                tail: match tail {
                    Tail::NonZero { head, .. } => Some(HexBytes(Cow::Borrowed(head))),
                    Tail::Zero | Tail::Unreadable { .. } => None,
                },
                tail_unreadable: matches!(tail, Tail::Unreadable { .. }),
                segment: segment(*tls),
            },
            Spec::Clone3(_) => Raw::default(),
        }
    }
}

fn words(args: &CloneArgs) -> [Hex; 11] {
    [
        args.flags.0,
        args.pidfd,
        args.child_tid,
        args.parent_tid,
        args.exit_signal,
        args.stack,
        args.stack_size,
        args.tls,
        args.set_tid,
        args.set_tid_size,
        args.cgroup,
    ]
    .map(Hex)
}

fn segment(tls: Tls) -> Option<Segment> {
    match tls {
        Tls::Address(_) => None,
        Tls::Segment(desc) => Some(Segment {
            entry_number: desc.entry_number,
            base_addr: desc.base_addr,
            limit: desc.limit,
            bits: desc.bits,
        }),
    }
}

/// A line of an exec call, with what was asked for.
macro_rules! executing {
    ($type:ident of $event:ident, $exec:ident { $($fields:tt)* }) => {{
        let call = &$exec.call;
        let path = match &call.path {
            Text::Bytes { bytes, .. } => Some(bytes.as_slice()),
            Text::Null | Text::Unreadable(_) => None,
        };
        let (argv, argv_hex, argv_gaps) = list(Some(&call.argv));
        let (env, env_hex, env_gaps) = list(call.env.text.as_ref());
        line!($type of $event {
            syscall: call.call,
            $($fields)*
            path: path.map(word),
            path_hex: path.and_then(HexBytes::unless_text),
            path_truncated: matches!(call.path, Text::Bytes { truncated: true, .. }),
            path_unreadable: match call.path {
                Text::Unreadable(addr) => Some(Hex(addr)),
                Text::Bytes { .. } | Text::Null => None,
            },
            argv,
            argv_hex,
            argv_gaps,
            env,
            env_hex,
            env_gaps,
            env_vars: call.env.vars.map(|vars| vars as u64),
            env_addr: call.env.addr.map(Hex),
            env_unterminated: call.env.unterminated,
            abi: call.syscall.map(|syscall| syscall.abi),
            nr: call.syscall.map(|syscall| syscall.nr),
            args: call.syscall.map(|syscall| syscall.args.map(Hex)),
            latency_ns: $exec.latency.map(ns),
        })
    }};
}

fn exec_line<'a>(event: &'a Event, exec: &'a Exec) -> Line<'a> {
    let (outcome, error) = match exec.result {
        Some(Ok(())) => {
            return Line::Exec(executing!(ExecLine of event, exec {
                continues_as_tid: exec.continues_as.map(|tid| tid.0),
                releases_tid: exec.releases.map(|tid| tid.0),
            }));
        }
        Some(Err(errno)) => (Failure::Error, Some(errno)),
        None => (Failure::Killed, None),
    };
    Line::ExecFailed(executing!(ExecFailedLine of event, exec {
        outcome,
        errno: error.and_then(errno_name),
        errno_nr: error.map(|errno| errno.0),
        why: causes(&exec.why),
    }))
}

/// Strings, those of them that are no text, and what is missing.
fn list(strings: Option<&Strings>) -> (Option<Words<'_>>, Option<HexWords<'_>>, Option<Gaps>) {
    match strings {
        None => (None, None, None),
        Some(Strings::Address(addr)) => {
            let gaps = Gaps {
                addr: Some(Hex(*addr)),
                ..Gaps::default()
            };
            (None, None, Some(gaps))
        }
        Some(Strings::List { items, end }) => {
            let gaps = gaps(items, *end);
            (
                Some(Words(Cow::Borrowed(items))),
                HexWords::unless_text(items),
                (gaps != Gaps::default()).then_some(gaps),
            )
        }
    }
}

fn gaps(items: &[Text], end: ListEnd) -> Gaps {
    let mut gaps = Gaps {
        more: end == ListEnd::More,
        ended_at: match end {
            ListEnd::Unreadable(addr) => Some(Hex(addr)),
            ListEnd::Complete | ListEnd::More => None,
        },
        ..Gaps::default()
    };
    for (index, item) in items.iter().enumerate() {
        match item {
            Text::Bytes {
                truncated: true, ..
            } => gaps.truncated.push(index),
            Text::Unreadable(addr) => {
                gaps.unreadable.push(index);
                gaps.unreadable_addr.push(Hex(*addr));
            }
            Text::Bytes { .. } | Text::Null => {}
        }
    }
    gaps
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
