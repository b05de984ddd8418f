//! The text view: one event, one line, in strace's syntax, then its meaning.

use std::fmt::Write;
use std::io;

use super::escape::quote;
use super::output::Output;
use super::style::{Palette, Part};
use super::{Sink, syntax};
use crate::clone::{explain, meaning};
use crate::event::{
    Attached, Create, End, Event, EventKind, Exec, Followed, Lost, Outcome, Start, Stops,
};
use crate::ids::{Errno, Pid, Tid};

/// How much to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// The calls alone.
    Quiet,
    /// The calls and their meaning.
    Normal,
    /// Also a line for each flag and argument.
    Verbose,
}

/// The text view.
#[derive(Debug)]
pub struct TextView {
    output: Output,
    format: Format,
    lines: String,
}

/// How lines look.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// How much they say.
    pub detail: Detail,
    /// Their colours.
    pub palette: Palette,
}

impl TextView {
    /// A view that writes to `output`.
    pub fn new(output: Output, format: Format) -> TextView {
        TextView {
            output,
            format,
            lines: String::with_capacity(1024),
        }
    }
}

impl Sink for TextView {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.lines.clear();
        self.format.event(&mut self.lines, event);
        if self.lines.is_empty() {
            return Ok(());
        }
        self.output.write_lines(&self.lines)
    }
}

/// Where the meaning begins.
const MEANING: &str = "  # ";

impl Format {
    /// Appends the lines of an event, each with its newline.
    pub fn event(self, out: &mut String, event: &Event) {
        match &event.kind {
            EventKind::Start(start) => self.start(out, *start),
            EventKind::Create(create) => self.create(out, event.tid, event.tgid, create),
            EventKind::Exec(exec) => self.exec(out, event.tid, event.tgid, exec),
            EventKind::End(end) => self.end(out, event.tid, *end),
            EventKind::Superseded { by } => {
                self.tid(out, event.tid);
                self.palette.paint(out, Part::Exit, |out| {
                    let _ = write!(out, "+++ superseded by execve in pid {by} +++");
                });
                out.push('\n');
            }
            EventKind::Lost(lost) => {
                self.tid(out, event.tid);
                self.palette.paint(out, Part::Exit, |out| {
                    out.push_str("+++ detached +++");
                });
                if *lost == Lost::Silenced {
                    self.meaning(out, || {
                        "nothing more is shown of it; its filter needs forktrace to stay".to_owned()
                    });
                }
                out.push('\n');
            }
            EventKind::Attached(attached) => self.attached(out, event.tid, event.tgid, attached),
            // For whoever sent the signal, not for the trace.
            EventKind::MustStay(_) => {}
            EventKind::Tracing => {
                let _ = writeln!(
                    out,
                    "# {} calls ptrace: what forktrace traces can't be traced by another (EPERM)",
                    event.tid
                );
            }
        }
    }

    fn start(self, out: &mut String, start: Start) {
        if start.stops == Stops::Event {
            self.palette.paint(out, Part::Meaning, |out| {
                out.push_str(
                    "# --stops=event: calls that fail, and children hidden by CLONE_UNTRACED, \
                     are not seen",
                );
            });
            out.push('\n');
        }
    }

    fn attached(self, out: &mut String, tid: Tid, tgid: Pid, attached: &Attached) {
        self.tid(out, tid);
        self.palette.paint(out, Part::Exit, |out| {
            out.push_str("+++ attached: ");
            quote(out, &attached.comm);
            let _ = match Pid::from(tid) == tgid {
                true => write!(out, ", parent {}", attached.parent),
                false => write!(out, ", thread of {tgid}"),
            };
            if attached.own != tid.0 {
                let _ = write!(out, ", {} in its pid namespace", attached.own);
            }
            out.push_str(" +++");
        });
        if attached.orphan {
            self.meaning(out, || {
                "its creator was killed before the creation could be reported".to_owned()
            });
        }
        out.push('\n');
    }

    fn tid(self, out: &mut String, tid: Tid) {
        self.palette.paint(out, Part::Tid, |out| {
            let _ = write!(out, "{tid}");
        });
        out.push(' ');
    }

    fn create(self, out: &mut String, tid: Tid, tgid: Pid, create: &Create) {
        self.tid(out, tid);
        self.palette.paint(out, Part::Create, |out| {
            out.push_str(syntax::name(&create.request))
        });
        syntax::request(out, &create.request, &create.outcome);
        out.push_str(" = ");
        match &create.outcome {
            Outcome::Created(child) => {
                syntax::child(out, child);
                let hidden = child.followed == Followed::Untraced;
                self.meaning(out, || {
                    meaning::created(&create.request, tgid, child.pidfd, hidden)
                });
            }
            Outcome::Failed(errno) => {
                self.error(out, *errno);
                self.meaning(out, || meaning::failed(&create.request, *errno));
            }
            Outcome::Unknown => {
                out.push('?');
                self.meaning(out, || "the caller was killed in the call".to_owned());
            }
        }
        out.push('\n');
        if self.detail == Detail::Verbose {
            for item in explain::request(&create.request) {
                self.palette.paint(out, Part::Meaning, |out| {
                    let _ = write!(out, "    {}: {} [{}]", item.what, item.text, item.page);
                });
                out.push('\n');
            }
        }
    }

    fn exec(self, out: &mut String, tid: Tid, tgid: Pid, exec: &Exec) {
        self.tid(out, tid);
        self.palette
            .paint(out, Part::Exec, |out| out.push_str(exec.call.call.name()));
        syntax::exec(out, &exec.call);
        out.push_str(" = ");
        match exec.result {
            Some(Ok(())) => {
                out.push('0');
                self.meaning(out, || exec_meaning(tid, tgid, exec));
            }
            Some(Err(errno)) => {
                self.error(out, errno);
                self.meaning(out, || exec_failure(errno).to_owned());
            }
            None => {
                out.push('?');
                self.meaning(out, || "the caller was killed in the call".to_owned());
            }
        }
        out.push('\n');
    }

    fn end(self, out: &mut String, tid: Tid, end: End) {
        self.tid(out, tid);
        match end {
            End::Exited(code) => self.palette.paint(out, Part::Exit, |out| {
                let _ = write!(out, "+++ exited with {code} +++");
            }),
            End::Killed {
                signal,
                core_dumped,
            } => self.palette.paint(out, Part::Killed, |out| {
                let core = if core_dumped { " (core dumped)" } else { "" };
                let _ = write!(out, "+++ killed by {signal}{core} +++");
            }),
        }
        out.push('\n');
    }

    fn error(self, out: &mut String, errno: Errno) {
        self.palette
            .paint(out, Part::Error, |out| syntax::error(out, errno));
    }

    fn meaning(self, out: &mut String, words: impl FnOnce() -> String) {
        if self.detail != Detail::Quiet {
            out.push_str(&MEANING[..2]);
            self.palette.paint(out, Part::Meaning, |out| {
                out.push_str(&MEANING[2..]);
                out.push_str(&words());
            });
        }
    }
}

fn exec_meaning(tid: Tid, tgid: Pid, exec: &Exec) -> String {
    let mut words = format!(
        "process {tgid} becomes a new program: memory replaced, signal handlers reset, \
         close-on-exec files closed"
    );
    if let Some(parent) = exec.releases {
        let _ = write!(words, "; {parent}, suspended in vfork, goes on");
    }
    if let Some(leader) = exec.continues_as {
        let _ = write!(
            words,
            "; thread {tid} goes on as {leader}, all other threads are gone"
        );
    }
    words
}

fn exec_failure(errno: Errno) -> &'static str {
    match errno {
        Errno::ENOENT => "no such file, or its interpreter is missing; the old program goes on",
        Errno::EACCES => "not an executable file, or no permission; the old program goes on",
        Errno::ENOEXEC => "no format that the kernel can run; the old program goes on",
        Errno::E2BIG => "arguments and environment are too large; the old program goes on",
        _ => "the old program goes on",
    }
}
