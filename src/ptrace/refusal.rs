//! What happens when the kernel refuses what a tracer must be able to do. Only
//! one refusal is part of tracing: ESRCH, of a tracee that was killed in its
//! stop and is dying. It is believed, until the tracee shows that it wasn't so.
//! Any other is the end of tracing: a sandbox forbids it, or the kernel is too
//! old, and a trace told on would have holes. Then all run on untraced, with the
//! signals that forktrace has in hand; those with a filter end with forktrace.

use anyhow::anyhow;

use super::sys::{self, Waited};
use super::task::{Cause, Resume, Stopped};
use super::wait::{self, Status};
use super::{Origin, Tracer};
use crate::event::Stops;
use crate::ids::{Errno, Tid};

impl Tracer {
    /// Carries out what the machine decided.
    pub(super) fn resume_all(&mut self) -> anyhow::Result<()> {
        if let Some(refusal) = self.live.refusal() {
            return Err(anyhow!(
                "cannot look at thread {} ({}): {}",
                refusal.tid,
                refusal.request,
                refusal.errno
            ));
        }
        let mut first = None;
        for (stopped, how) in self.output.resume.drain(..) {
            let tid = stopped.tid();
            if self.live.was_called_gone(tid) {
                // Dying; and if it isn't, it must not run as it is.
                self.unresumed.push((stopped, how));
                continue;
            }
            match sys::resume(stopped, how) {
                Ok(()) => {}
                Err(Errno::ESRCH) => self.live.is_gone(tid),
                Err(errno) => {
                    first.get_or_insert(anyhow!("cannot resume thread {tid}: {errno}"));
                }
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// A thread reported: what was known of it is out of date.
    pub(super) fn heard_of(&mut self, tid: Tid) {
        if self.live.is_back(tid) {
            self.unresumed.retain(|(stopped, _)| stopped.tid() != tid);
        }
    }

    /// Looks after threads that the kernel called gone, before waiting for
    /// anything else: one that stands in a stop which nobody is going to report
    /// would stand there for ever.
    pub(super) fn check_gone(&mut self) -> anyhow::Result<()> {
        if !self.live.any_gone() {
            return Ok(());
        }
        // First the states: a stop that is seen and can't be waited for has
        // been reported already. One that can is another: an exec gives a
        // leader's tid to another thread.
        let stopped = self.live.gone_but_stopped();
        let Some(tid) = stopped.first().copied() else {
            return Ok(());
        };
        match sys::wait(true, self.stopping(), self.how.usage) {
            Ok(Waited::Report(report)) => {
                self.ready.push_back(report);
                for tid in stopped {
                    self.live.is_gone(tid);
                }
                Ok(())
            }
            _ => Err(contradiction(tid)),
        }
    }

    /// Makes a thread that was just seized stop, so that it can be resumed to
    /// stop at its calls.
    pub(super) fn interrupt(&mut self, tid: Tid) -> anyhow::Result<()> {
        match sys::interrupt(tid) {
            Ok(()) => Ok(()),
            // Gone, or a zombie that was waited for.
            Err(Errno::ESRCH | Errno::EIO) if !self.live.is_ours(tid) => Ok(()),
            Err(errno) => Err(anyhow!("cannot stop thread {tid}: {errno}")),
        }
    }

    /// The end of tracing: whatever is stopped and can live without a tracer
    /// goes on, with the signal that it stopped for. The rest is the kernel's,
    /// when forktrace ends. Returns the error with what comes of the tracees.
    pub(super) fn give_up(&mut self, error: anyhow::Error) -> anyhow::Error {
        let (fate, dies) = match &self.origin {
            Origin::Attached { .. } => ("what was attached runs on", false),
            Origin::Launched(_) if self.how.stops == Stops::Seccomp => {
                ("what has its filter needs a tracer and is killed", true)
            }
            Origin::Launched(program) if program.kill_on_exit => ("the program is killed", true),
            Origin::Launched(program) if program.end.is_some() => {
                ("what the program left runs on", false)
            }
            Origin::Launched(_) => ("the program runs on", false),
        };
        self.output.settle();
        if !dies {
            self.machine.drain(&mut self.output);
            self.output.resume.append(&mut self.unresumed);
            for report in self.ready.drain(..) {
                if let Status::Stopped(cause) = wait::decode(report.status) {
                    let resume = Resume::Detach(cause.signal());
                    self.output.resume.push((Stopped::new(report.tid), resume));
                }
            }
            for (stopped, how) in self.output.resume.drain(..) {
                let signal = match how {
                    Resume::Cont(signal) | Resume::Syscall(signal) | Resume::Detach(signal) => {
                        signal
                    }
                    Resume::Listen => Cause::Trap.signal(),
                };
                // Refused again: its signal is lost, but it runs on.
                let _ = sys::resume(stopped, Resume::Detach(signal));
            }
        }
        anyhow!("{error:#}; tracing ends here, {fate}")
    }
}

/// The kernel said that a thread is gone, but it isn't.
fn contradiction(tid: Tid) -> anyhow::Error {
    anyhow!("cannot trace thread {tid}: ESRCH (No such process), but it is there")
}
