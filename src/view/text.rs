//! The text view: one event, one line, in strace's syntax, then its meaning.

use std::fmt::Write;
use std::io;
use std::time::Duration;

use super::escape::{self, quote};
use super::output::Output;
use super::style::{Palette, Part};
use super::times::{self, Clock};
use super::{Sink, syntax};
use crate::clone::meaning::Untraced;
use crate::clone::{explain, meaning};
use crate::config::{Detail, Shown, Times};
use crate::digits;
use crate::event::{
    Attached, Create, End, Event, EventKind, Exec, Followed, Lost, Outcome, Start, Stops, Wanted,
};
use crate::exec;
use crate::ids::{Comm, Errno, Pid};

/// The text view.
#[derive(Debug)]
pub struct TextView {
    output: Output,
    format: Format,
    string_limit: usize,
    clock: Clock,
    /// Whether the trace tells waits.
    waits: Wanted,
    lines: String,
}

/// How lines look.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// How much they say.
    pub detail: Detail,
    /// Their colours.
    pub palette: Palette,
    /// Their times.
    pub times: Times,
    /// Whether tids have names.
    pub names: Shown,
}

impl TextView {
    /// A view that writes to `output`, of each string and list so much.
    pub fn new(output: Output, format: Format, string_limit: usize) -> TextView {
        TextView {
            output,
            format,
            string_limit,
            clock: Clock::new(format.times),
            waits: Wanted::No,
            lines: String::with_capacity(1024),
        }
    }
}

impl Sink for TextView {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.lines.clear();
        match &event.kind {
            EventKind::Start(start) => self.waits = start.waits,
            // Known to a log and a tree that is drawn beside; a line that a line more
            // is asked for.
            EventKind::Orphaned { .. } if self.waits == Wanted::No => return Ok(()),
            _ => {}
        }
        let event = event.cut(self.string_limit);
        self.format.event(&mut self.clock, &mut self.lines, &event);
        if self.lines.is_empty() {
            return Ok(());
        }
        self.output.write_lines(&self.lines)
    }

    fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    fn quiet(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Where the meaning begins.
const MEANING: &str = "  # ";

impl Format {
    /// Appends the lines of an event, each with its newline.
    pub fn event(self, clock: &mut Clock, out: &mut String, event: &Event) {
        match &event.kind {
            EventKind::Start(start) => {
                clock.start(start.wall);
                self.start(out, start);
            }
            EventKind::Tracing => {
                let _ = writeln!(
                    out,
                    "# {} calls ptrace: what forktrace traces can't be traced by another (EPERM)",
                    event.tid
                );
            }
            // For whoever sent the signal, not for the trace.
            EventKind::MustStay(_) => {}
            // The child's exec says it, too.
            EventKind::VforkDone { .. } => {}
            _ => {
                self.head(clock, out, event);
                self.happening(out, event);
                out.push('\n');
                self.details(out, event);
            }
        }
    }

    /// What a line starts with: which thread, and when.
    fn head(self, clock: &mut Clock, out: &mut String, event: &Event) {
        self.palette.paint(out, Part::Tid, |out| {
            digits::decimal(out, event.tid.0);
            self.name(out, event.comm);
        });
        out.push(' ');
        clock.stamp(out, event.at);
    }

    fn name(self, out: &mut String, comm: Comm) {
        if self.names == Shown::Yes {
            escape::name(out, comm);
        }
    }

    /// What happened, without the newline.
    fn happening(self, out: &mut String, event: &Event) {
        match &event.kind {
            EventKind::Create(create) => self.create(out, event, create),
            EventKind::Exec(exec) => self.exec(out, event, exec),
            EventKind::End(ended) => self.end(out, ended.end),
            EventKind::Wait(wait) => self.wait(out, wait),
            EventKind::Kill(kill) => self.kill(out, event, kill),
            EventKind::Orphaned { by } => self.orphaned(out, *by),
            EventKind::Superseded { by } => {
                self.palette.paint(out, Part::Exit, |out| {
                    let _ = write!(out, "+++ superseded by execve in pid {by} +++");
                });
            }
            EventKind::Lost(lost) => {
                let words = match lost {
                    Lost::Detached => "+++ detached +++",
                    Lost::Silenced => "+++ no longer shown +++",
                };
                self.palette
                    .paint(out, Part::Exit, |out| out.push_str(words));
                if *lost == Lost::Silenced {
                    self.meaning(out, || {
                        "it runs on, traced in silence: its filter needs forktrace to stay"
                            .to_owned()
                    });
                }
            }
            EventKind::Attached(attached) => self.attached(out, event, attached),
            // Without a line, or notes.
            EventKind::Start(_)
            | EventKind::Tracing
            | EventKind::MustStay(_)
            | EventKind::VforkDone { .. } => {}
        }
    }

    /// The lines below an event's own.
    fn details(self, out: &mut String, event: &Event) {
        if let (EventKind::Create(create), Detail::Verbose) = (&event.kind, self.detail) {
            for item in explain::request(&create.request) {
                self.palette.paint(out, Part::Meaning, |out| {
                    let _ = write!(out, "    {}: {} [{}]", item.what, item.text, item.page);
                });
                out.push('\n');
            }
        }
    }

    fn start(self, out: &mut String, start: &Start) {
        if start.stops == Stops::Event {
            self.palette.paint(out, Part::Meaning, |out| {
                out.push_str(super::UNSEEN_BY_EVENTS);
            });
            out.push('\n');
        }
    }

    fn attached(self, out: &mut String, event: &Event, attached: &Attached) {
        let (tid, tgid) = (event.tid, event.tgid);
        self.palette.paint(out, Part::Exit, |out| {
            out.push_str("+++ attached");
            // What is gone already can't be asked for its name and its parent.
            let mut separator = ": ";
            let mut next = |out: &mut String| {
                out.push_str(std::mem::replace(&mut separator, ", "));
            };
            if !event.comm.as_bytes().is_empty() {
                next(out);
                quote(out, event.comm.as_bytes());
            }
            if Pid::from(tid) != tgid {
                next(out);
                let _ = write!(out, "thread of {tgid}");
            } else if attached.parent.0 != 0 {
                next(out);
                let _ = write!(out, "parent {}", attached.parent);
            }
            if attached.own != tid.0 {
                next(out);
                let _ = write!(out, "{} in its pid namespace", attached.own);
            }
            out.push_str(" +++");
        });
        if attached.orphan {
            self.meaning(out, || {
                "its creator was killed before the creation could be reported".to_owned()
            });
        }
    }

    fn create(self, out: &mut String, event: &Event, create: &Create) {
        self.palette.paint(out, Part::Create, |out| {
            out.push_str(syntax::name(&create.request))
        });
        syntax::request(out, &create.request, &create.outcome);
        out.push_str(" = ");
        match &create.outcome {
            Outcome::Created(child) => {
                // A child begins with the name of its creator.
                syntax::named_child(out, child, |out| self.name(out, event.comm));
                self.in_call(out, create.latency);
                let untraced = match child.followed {
                    Followed::Untraced => Untraced::Hides,
                    Followed::Stranded => Untraced::Stranded,
                    Followed::Yes | Followed::NotAsked => Untraced::TakenOut,
                };
                self.meaning(out, || {
                    let mut words =
                        meaning::created(&create.request, event.tgid, child.pidfd, untraced);
                    if let Some(retry) = create.retry {
                        let _ = write!(words, "; {}", retry.words());
                    }
                    words
                });
            }
            Outcome::Failed(errno) => {
                self.error(out, *errno);
                self.in_call(out, create.latency);
                self.meaning(out, || {
                    meaning::failed_by(&create.request, *errno, &create.why)
                });
            }
            Outcome::Skipped(value) => {
                out.push('?');
                self.in_call(out, create.latency);
                self.meaning(out, || {
                    format!(
                        "nothing created: a seccomp filter answered {value} in the kernel's place"
                    )
                });
            }
            Outcome::Unknown => {
                out.push('?');
                self.meaning(out, || "the caller was killed in the call".to_owned());
            }
        }
    }

    fn exec(self, out: &mut String, event: &Event, exec: &Exec) {
        self.palette
            .paint(out, Part::Exec, |out| out.push_str(exec.call.call.name()));
        syntax::exec(out, &exec.call);
        out.push_str(" = ");
        match exec.result {
            Some(Ok(())) => {
                out.push('0');
                self.in_call(out, exec.latency);
                self.meaning(out, || exec::meaning::done(event.tid, event.tgid, exec));
            }
            Some(Err(errno)) => {
                self.error(out, errno);
                self.in_call(out, exec.latency);
                self.meaning(out, || exec::meaning::failed_by(errno, &exec.why));
            }
            None => {
                out.push('?');
                self.meaning(out, || "the caller was killed in the call".to_owned());
            }
        }
    }

    fn end(self, out: &mut String, end: End) {
        match end {
            End::Exited(code) => self.palette.paint(out, Part::Exit, |out| {
                out.push_str("+++ exited with ");
                digits::decimal(out, code);
                out.push_str(" +++");
            }),
            End::Killed {
                signal,
                core_dumped,
            } => self.palette.paint(out, Part::Killed, |out| {
                let core = if core_dumped { " (core dumped)" } else { "" };
                let _ = write!(out, "+++ killed by {signal}{core} +++");
            }),
        }
    }

    pub(super) fn in_call(self, out: &mut String, latency: Option<Duration>) {
        if let (Shown::Yes, Some(latency)) = (self.times.in_call, latency) {
            times::in_call(out, latency);
        }
    }

    pub(super) fn error(self, out: &mut String, errno: Errno) {
        self.palette
            .paint(out, Part::Error, |out| syntax::error(out, errno));
    }

    pub(super) fn meaning(self, out: &mut String, words: impl FnOnce() -> String) {
        if self.detail != Detail::Quiet {
            out.push_str(&MEANING[..2]);
            self.palette.paint(out, Part::Meaning, |out| {
                out.push_str(&MEANING[2..]);
                out.push_str(&words());
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::abi::{Abi, Call, Syscall};
    use crate::clone::decode;
    use crate::config::{WallTime, When};
    use crate::event::{Child, Follow, Target};
    use crate::exec::{Env, ExecCall, ListEnd, Strings, Text};
    use crate::ids::{Comm, Signal, Tid};
    use crate::memory::Regions;
    use crate::view::style::palette;

    fn event(tid: i32, kind: EventKind) -> Event {
        Event {
            at: Duration::ZERO,
            tid: Tid(tid),
            tgid: Pid(4280),
            comm: Comm::new(b"a\"b"),
            kind,
        }
    }

    fn create(args: [u64; 6], outcome: Outcome) -> EventKind {
        let syscall = Syscall {
            abi: Abi::X86_64,
            nr: 56,
            args,
        };
        let request = decode(syscall, &mut Regions::default(), 32).unwrap();
        EventKind::Create(Box::new(Create {
            request,
            outcome,
            latency: None,
            why: Vec::new(),
            retry: None,
        }))
    }

    fn child(tid: i32, returned: i32, own: i32) -> Outcome {
        Outcome::Created(Child {
            tid: Some(Tid(tid)),
            returned,
            own,
            followed: Followed::Yes,
            parent_tid: Some(returned),
            pidfd: None,
        })
    }

    /// One of each.
    fn events() -> Vec<Event> {
        let fork = [0x0120_0011, 0, 0, 0x7000, 0, 0];
        let text = |s: &[u8]| Text::Bytes {
            bytes: s.to_vec(),
            truncated: false,
        };
        let exec = Exec {
            call: ExecCall {
                syscall: None,
                call: Call::Execve,
                path: text(b"/bin/e"),
                argv: Strings::List {
                    items: vec![text(b"e\x1b[31m"), Text::Unreadable(0x66)],
                    end: ListEnd::More,
                },
                env: Env {
                    addr: None,
                    vars: Some(1),
                    unterminated: false,
                    text: None,
                },
            },
            result: Some(Ok(())),
            continues_as: Some(Tid(4280)),
            releases: None,
            latency: None,
            why: Vec::new(),
        };
        let killed = End::Killed {
            signal: Signal(11),
            core_dumped: true,
        };
        vec![
            event(
                0,
                EventKind::Start(Box::new(Start {
                    version: "0.1.0".to_owned(),
                    wall: Duration::ZERO,
                    monotonic: Duration::ZERO,
                    target: Target::Command(vec![b"a".to_vec()]),
                    abi: Abi::NATIVE,
                    stops: Stops::Event,
                    follow: Follow::All,
                    waits: Wanted::No,
                    orphans: Wanted::No,
                })),
            ),
            event(4280, create(fork, child(4281, 4281, 4281))),
            event(4280, create([0x20, 0, 0, 0, 0, 0], child(4282, 4282, 1))),
            event(4280, create(fork, Outcome::Failed(Errno::EAGAIN))),
            event(4280, create(fork, Outcome::Failed(Errno(513)))),
            event(4280, create(fork, Outcome::Unknown)),
            event(4280, EventKind::Superseded { by: Tid(4290) }),
            event(4290, EventKind::Exec(Box::new(exec.clone()))),
            event(
                4290,
                EventKind::Exec(Box::new(Exec {
                    call: exec::unseen(),
                    ..exec
                })),
            ),
            event(
                4291,
                EventKind::Attached(Box::new(Attached {
                    parent: Pid(1),
                    own: 7,
                    orphan: false,
                })),
            ),
            event(4291, EventKind::Lost(Lost::Silenced)),
            event(4292, EventKind::Tracing),
            event(4281, EventKind::End(End::Exited(3).into())),
            event(4280, EventKind::End(killed.into())),
        ]
    }

    /// Of one that is gone already there is nothing to ask.
    #[test]
    fn what_is_unknown_is_left_out() {
        let attached = |tid: i32, parent: i32, comm: &[u8]| Event {
            comm: Comm::new(comm),
            ..event(
                tid,
                EventKind::Attached(Box::new(Attached {
                    parent: Pid(parent),
                    own: tid,
                    orphan: false,
                })),
            )
        };
        let format = Format {
            detail: Detail::Quiet,
            palette: palette(When::Never, false),
            times: Times::default(),
            names: Shown::No,
        };
        let events = [
            attached(4280, 0, b""),
            attached(4280, 0, b"a"),
            attached(4280, 7, b""),
            attached(4281, 0, b""),
        ];
        assert_eq!(
            lines(format, &events),
            "\
4280 +++ attached +++
4280 +++ attached: \"a\" +++
4280 +++ attached: parent 7 +++
4281 +++ attached: thread of 4280 +++
"
        );
    }

    fn shown(detail: Detail, when: When) -> String {
        lines(
            Format {
                detail,
                palette: palette(when, false),
                times: Times::default(),
                names: Shown::No,
            },
            &events(),
        )
    }

    fn lines(format: Format, events: &[Event]) -> String {
        let mut clock = Clock::new(format.times);
        let mut out = String::new();
        for event in events {
            format.event(&mut clock, &mut out, event);
        }
        out
    }

    #[test]
    fn one_line_each_in_straces_syntax() {
        assert_eq!(
            shown(Detail::Quiet, When::Never),
            "\
# --stops=event: calls that fail, and children hidden by CLONE_UNTRACED, are not seen
4280 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7000) = 4281
4280 clone(child_stack=NULL, flags=SIGRT_0) = 4282 (1 in its pid namespace)
4280 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7000) = -1 EAGAIN (Resource temporarily unavailable)
4280 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7000) = ? ERESTARTNOINTR (To be restarted)
4280 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7000) = ?
4280 +++ superseded by execve in pid 4290 +++
4290 execve(\"/bin/e\", [\"e\\33[31m\", 0x66, ...], /* 1 var */) = 0
4290 execve(???) = 0
4291 +++ attached: \"a\\\"b\", thread of 4280, 7 in its pid namespace +++
4291 +++ no longer shown +++
# 4292 calls ptrace: what forktrace traces can't be traced by another (EPERM)
4281 +++ exited with 3 +++
4280 +++ killed by SIGSEGV (core dumped) +++
"
        );
    }

    #[test]
    fn the_meaning_follows_two_spaces_and_the_rest_is_the_same() {
        let quiet = shown(Detail::Quiet, When::Never);
        let normal = shown(Detail::Normal, When::Never);
        let stripped: String = normal
            .lines()
            .map(|line| {
                let end = line.find("  # ").unwrap_or(line.len());
                format!("{}\n", &line[..end])
            })
            .collect();
        assert_eq!(stripped, quiet);
        assert!(normal.contains("= 4281  # process: memory copied on write"));
        assert!(normal.contains("thread 4290 goes on as 4280"));
    }

    #[test]
    fn verbose_adds_indented_lines_only() {
        let verbose = shown(Detail::Verbose, When::Never);
        let others: String = verbose
            .lines()
            .filter(|line| !line.starts_with("    "))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(others, shown(Detail::Normal, When::Never));
        assert!(verbose.contains("    CLONE_CHILD_SETTID: "));
    }

    #[test]
    fn coloured_text_is_the_same_text() {
        let mut plain = String::new();
        let mut rest = shown(Detail::Verbose, When::Always);
        assert!(rest.contains('\x1b'));
        while let Some(start) = rest.find('\x1b') {
            plain.push_str(&rest[..start]);
            let end = start + rest[start..].find('m').unwrap() + 1;
            rest.drain(..end);
        }
        plain.push_str(&rest);
        assert_eq!(plain, shown(Detail::Verbose, When::Never));
    }

    #[test]
    fn times_stand_where_strace_puts_them() {
        let mut events = events();
        for (index, event) in events.iter_mut().enumerate() {
            event.at = Duration::from_micros(index as u64 * 1500);
            match &mut event.kind {
                EventKind::Start(start) => start.wall = Duration::from_secs(1_795_594_391),
                EventKind::Create(create) if create.outcome != Outcome::Unknown => {
                    create.latency = Some(Duration::from_nanos(123_456));
                }
                EventKind::Exec(exec) => exec.latency = Some(Duration::from_secs(2)),
                _ => {}
            }
        }
        let format = Format {
            detail: Detail::Normal,
            palette: Palette::PLAIN,
            times: Times {
                wall: WallTime::Unix,
                relative: Shown::Yes,
                in_call: Shown::Yes,
            },
            names: Shown::Yes,
        };
        // The meaning has its own tests.
        let short: String = lines(format, &events)
            .lines()
            .map(|line| match line.split_once("  # ") {
                Some((line, meaning)) => format!("{line}  # {}...\n", &meaning[..7]),
                None => format!("{line}\n"),
            })
            .collect();
        assert_eq!(
            short,
            "\
# --stops=event: calls that fail, and children hidden by CLONE_UNTRACED, are not seen
4280<a\\\"b> 1795594391.001500 (+     0.000000) clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7000) = 4281<a\\\"b> <0.000123>  # process...
4280<a\\\"b> 1795594391.003000 (+     0.001500) clone(child_stack=NULL, flags=SIGRT_0) = 4282<a\\\"b> (1 in its pid namespace) <0.000123>  # process...
4280<a\\\"b> 1795594391.004500 (+     0.001500) clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7000) = -1 EAGAIN (Resource temporarily unavailable) <0.000123>  # no proc...
4280<a\\\"b> 1795594391.006000 (+     0.001500) clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7000) = ? ERESTARTNOINTR (To be restarted) <0.000123>  # nothing...
4280<a\\\"b> 1795594391.007500 (+     0.001500) clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7000) = ?  # the cal...
4280<a\\\"b> 1795594391.009000 (+     0.001500) +++ superseded by execve in pid 4290 +++
4290<a\\\"b> 1795594391.010500 (+     0.001500) execve(\"/bin/e\", [\"e\\33[31m\", 0x66, ...], /* 1 var */) = 0 <2.000000>  # process...
4290<a\\\"b> 1795594391.012000 (+     0.001500) execve(???) = 0 <2.000000>  # process...
4291<a\\\"b> 1795594391.013500 (+     0.001500) +++ attached: \"a\\\"b\", thread of 4280, 7 in its pid namespace +++
4291<a\\\"b> 1795594391.015000 (+     0.001500) +++ no longer shown +++  # it runs...
# 4292 calls ptrace: what forktrace traces can't be traced by another (EPERM)
4281<a\\\"b> 1795594391.018000 (+     0.003000) +++ exited with 3 +++
4280<a\\\"b> 1795594391.019500 (+     0.001500) +++ killed by SIGSEGV (core dumped) +++
"
        );
    }
}
