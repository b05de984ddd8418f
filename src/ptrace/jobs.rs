//! Job control. A shell waits for forktrace where it would wait for the program:
//! it sees forktrace stop and continue, nothing else. So forktrace stops when
//! the program does, by the same signal, and goes on with it.
//!
//! A stopped tracer is of no use to what still runs: that waits at its next
//! event. Therefore forktrace stops along only
//! - if its process group was told to stop, as by Ctrl-Z;
//! - if the program has the terminal: somebody sits there and waits for a prompt;
//! - or if nothing else that is traced runs.
//!
//! Two races are left to the kernel, which knows the order. SIGCONT may come
//! before forktrace has stopped: a stop of the job is pending by then, which
//! SIGCONT takes back ([`sys::StopSelf`]). And SIGCONT may come to a stopped
//! tracee alone, while forktrace is stopped: a process that isn't, the *watch*,
//! continues forktrace ([`sys::Watch`]).

use std::fs::File;
use std::time::{Duration, Instant};

use nix::unistd::{Pid as Group, getpgid, getpgrp, tcgetpgrp, tcsetpgrp};
use rustc_hash::FxHashSet;

use super::machine::DetachOn;
use super::sys::{self, Resting, StopSelf, StoppedHow, Stopping, Watch};
use super::task::Cause;
use super::wait::Status;
use super::{Program, Tracer, live};
use crate::ids::{Pid, Signal, Tid};

/// Who is stopped.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    /// Tracees in their group stop, until they report anything else.
    stopped: FxHashSet<Tid>,
    /// The last stop of the program, while it lasts for all that is known.
    program: Option<ProgramStop>,
}

/// A stop of the program.
#[derive(Debug, Clone, Copy)]
struct ProgramStop {
    /// The thread that reported it.
    tid: Tid,
    signal: Signal,
    how: StoppedHow,
}

/// How long SIGCONT may take from one process of a group to the next.
const CONTINUE_AFTER: Duration = Duration::from_millis(10);

impl Tracer {
    /// The program, where a shell takes forktrace for it.
    fn job(&self) -> Option<&Program> {
        self.program()
            .filter(|program| program.foreground && program.end.is_none())
    }

    /// Whether a stop of the program has to be waited for as that of any child:
    /// it was let go of.
    pub(super) fn stopping(&self) -> Stopping {
        let lets_go = self.draining || self.how.detach_on != DetachOn::Never;
        let untraced = |program: &Program| !self.machine.knows(program.launched.waiting.tid);
        match lets_go && self.job().is_some_and(untraced) {
            true => Stopping::Children,
            false => Stopping::Tracees,
        }
    }

    /// Whether this is the stop of a child that isn't traced. If it is the
    /// program that is noted.
    pub(super) fn untraced_stop(&mut self, tid: Tid, status: Status) -> bool {
        let Status::Stopped(Cause::Signal(signal)) = status else {
            return false;
        };
        if self.stopping() == Stopping::Tracees || self.machine.knows(tid) || self.live.is_ours(tid)
        {
            return false;
        }
        if self.root() == Some(tid) {
            self.program_stopped(tid, signal, StoppedHow::Untraced);
        }
        true
    }

    /// Notes who is stopped and who isn't any more.
    pub(super) fn note_stop(&mut self, tid: Tid, status: Status) {
        let tgid = self.machine.group_of(tid);
        if let (Status::Stopped(Cause::Group(signal)), Some(tgid)) = (status, tgid) {
            self.jobs.stopped.insert(tid);
            if self.root().map(Pid::from) == Some(tgid) {
                self.program_stopped(tid, signal, StoppedHow::Traced);
            }
            return;
        }
        if !self.jobs.stopped.is_empty() {
            self.jobs.stopped.remove(&tid);
        }
        if self.jobs.program.is_some_and(|stop| stop.tid == tid) {
            self.jobs.program = None;
        }
    }

    fn program_stopped(&mut self, tid: Tid, signal: Signal, how: StoppedHow) {
        self.jobs.program = Some(ProgramStop { tid, signal, how });
        // What came before was for an earlier stop.
        sys::was_continued();
    }

    /// If the program is stopped, and forktrace is to stop with it, it does so
    /// here, until somebody continues either.
    pub(super) fn stop_with_program(&mut self) -> anyhow::Result<()> {
        let (Some(stop), Some(program)) = (self.jobs.program, self.job()) else {
            return Ok(());
        };
        let root = program.launched.waiting.tid;
        let witness = program.witness.as_ref().map(|witness| witness.tid());
        // Until then it isn't certain that it stays stopped.
        self.resume_all()?;
        if !self.stops_along(root, stop) {
            return Ok(());
        }
        let Some(watched) = self.resting(stop) else {
            if stop.how == StoppedHow::Untraced {
                // Nothing reports that it runs.
                self.jobs.program = None;
            }
            return Ok(());
        };
        let told = sys::is_job_stopping();
        let watch = Watch::over(&watched);
        // Even where nobody watches a terminal wants its shell back.
        if watch.is_none() && !told {
            return Ok(());
        }
        let terminal = Terminal::of(root);
        let stop_self = StopSelf::prepare(stop.signal);
        if self.live.has_proc() && Resting::look(stop.tid, stop.how).is_none() {
            return Ok(());
        }
        // The whole job is stopped, then.
        if let Some(tid) = witness {
            sys::kill(tid, Signal(libc::SIGSTOP));
        }
        stop_self.stop();
        drop(watch);
        if let Some(tid) = witness {
            sys::kill(tid, Signal(libc::SIGCONT));
        }
        if let Some(terminal) = terminal {
            terminal.hand_on();
        }
        self.pass_continue_on();
        Ok(())
    }

    /// Whether forktrace is to stop with the program.
    fn stops_along(&self, root: Tid, stop: ProgramStop) -> bool {
        let rests = |tid: &Tid| {
            self.jobs.stopped.contains(tid)
                || *tid == stop.tid
                || (self.live.has_proc() && live::is_zombie(*tid))
        };
        sys::is_job_stopping()
            || (self.ready.is_empty() && self.machine.known().all(|tid| rests(&tid)))
            || Terminal::of(root).is_some_and(|terminal| terminal.is_ours())
    }

    /// All that rests, to be watched; nothing where /proc tells nothing, `None`
    /// if the program runs again.
    fn resting(&self, stop: ProgramStop) -> Option<Vec<Resting>> {
        if !self.live.has_proc() {
            return Some(Vec::new());
        }
        let program = Resting::look(stop.tid, stop.how)?;
        let others = self
            .machine
            .known()
            .filter(|tid| *tid != stop.tid && self.jobs.stopped.contains(tid))
            .filter_map(|tid| Resting::look(tid, StoppedHow::Traced));
        Some([program].into_iter().chain(others).collect())
    }

    /// Who continues forktrace means the program, where that was not continued
    /// with it: because it is alone in its process group, as a shell is.
    pub(super) fn pass_continue_on(&mut self) {
        if !sys::was_continued() {
            return;
        }
        let (Some(stop), Some(program)) = (self.jobs.program, self.job()) else {
            return;
        };
        let root = program.launched.waiting.tid;
        let end = Instant::now() + CONTINUE_AFTER;
        while Resting::look(stop.tid, stop.how).is_some() {
            if Instant::now() < end {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            match own_group(root) {
                // As its shell would.
                Some(_) => sys::kill(Tid(-root.0), Signal(libc::SIGCONT)),
                None => sys::kill(root, Signal(libc::SIGCONT)),
            }
            break;
        }
    }
}

/// The process group of the program, if it leads one of its own.
fn own_group(root: Tid) -> Option<Group> {
    let pid = Group::from_raw(root.0);
    getpgid(Some(pid)).ok().filter(|group| *group == pid)
}

/// The controlling terminal, and the program's part in it.
struct Terminal {
    file: File,
    /// The program's process group, where it isn't forktrace's.
    group: Option<Group>,
    /// Who has the terminal.
    holder: Group,
}

impl Terminal {
    fn of(root: Tid) -> Option<Terminal> {
        let file = File::options()
            .read(true)
            .write(true)
            .open("/dev/tty")
            .ok()?;
        let holder = tcgetpgrp(&file).ok()?;
        Some(Terminal {
            group: own_group(root),
            file,
            holder,
        })
    }

    /// Whether forktrace or the program has it.
    fn is_ours(&self) -> bool {
        self.holder == getpgrp() || Some(self.holder) == self.group
    }

    /// After a stop a shell that continues its job in the foreground gives
    /// forktrace the terminal. A program that had it as a process group of its
    /// own gets it from there.
    fn hand_on(&self) {
        if let Some(group) = self.group
            && self.holder == group
            && tcgetpgrp(&self.file) == Ok(getpgrp())
        {
            // If it can't be given it is not there any more.
            let _ = tcsetpgrp(&self.file, group);
        }
    }
}
