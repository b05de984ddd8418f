//! What the machine may ask about a stopped tracee. A trait, so that the
//! machine can be tested with stops and answers that a test makes up.

use super::task::Stopped;
use crate::abi::{Abi, Syscall};
use crate::clone::Request;
use crate::diagnosis::evidence::{Evidence, ExecEvidence};
use crate::exec::ExecCall;
use crate::ids::{Comm, Errno, Pid, Tid};
use crate::memory::Memory;

/// The tracee is gone (ESRCH): killed while it was stopped. Its end will be
/// reported in its own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// Where a tracee stands with regard to a system call
/// (`PTRACE_GET_SYSCALL_INFO`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// At its entry, or at a seccomp stop: the call. `None` if it came through
    /// an ABI that is not known.
    Entry(Option<Syscall>),
    /// At a seccomp stop that a filter of the program's own asked for: a call
    /// that fails with ENOSYS where no tracer is.
    Refused(Option<Syscall>),
    /// At its exit: the return value.
    Exit(i64),
    /// Neither.
    None,
}

/// Questions about a stopped tracee, answered on demand: an answer that
/// nobody needs costs nothing.
pub trait Probe {
    /// `PTRACE_GETEVENTMSG`.
    ///
    /// # Errors
    /// [`Gone`] if the tracee was killed meanwhile.
    fn event_message(&mut self, task: &Stopped) -> Result<u64, Gone>;

    /// `PTRACE_GET_SYSCALL_INFO` at a syscall or seccomp stop.
    ///
    /// # Errors
    /// [`Gone`] if the tracee was killed meanwhile.
    fn phase(&mut self, task: &Stopped) -> Result<Phase, Gone>;

    /// The creating call that the tracee is in (or, at its first stop, that
    /// made it), from its registers.
    ///
    /// # Errors
    /// [`Gone`] if the tracee was killed meanwhile.
    fn creating_call(&mut self, task: &Stopped) -> Result<Syscall, Gone>;

    /// After an exec: the stack pointer and the ABI of the new program.
    ///
    /// # Errors
    /// [`Gone`] if the tracee was killed meanwhile.
    fn new_image(&mut self, task: &Stopped) -> Result<(u64, Abi), Gone>;

    /// Changes the first argument register of the call that the tracee enters
    /// or is in (or, at its first stop, that made it).
    ///
    /// # Errors
    /// [`Gone`] if the tracee was killed meanwhile.
    fn set_first_argument(&mut self, task: &Stopped, abi: Abi, value: u64) -> Result<(), Gone>;

    /// Writes bytes below the tracee's stack pointer, and below what its code
    /// may use there without moving it; x86_64 only. Returns where, and what
    /// stood there; `None`, and nothing is written, if that can't be done.
    fn lend_below_stack(&mut self, task: &Stopped, bytes: &[u8]) -> Option<(u64, Vec<u8>)>;

    /// Writes to the tracee's memory. Whether all of it could be written.
    fn write_memory(&mut self, task: &Stopped, addr: u64, bytes: &[u8]) -> bool;

    /// At a seccomp stop: makes the call fail with ENOSYS, as it does without a
    /// tracer.
    ///
    /// # Errors
    /// [`Gone`] if the tracee was killed meanwhile.
    fn refuse(&mut self, task: &Stopped) -> Result<(), Gone>;

    /// The tracee's memory.
    fn memory(&mut self, task: &Stopped) -> impl Memory;

    /// The thread's tid in each pid namespace from the tracer's down to its
    /// own (`NSpid` in `/proc/TID/status`); `None` if it is gone.
    fn ns_tids(&mut self, tid: Tid) -> Option<Vec<i32>>;

    /// At a thread's first stop (PTRACE_EVENT_STOP): its tid in its own pid
    /// namespace, which the kernel puts into the stop's siginfo
    /// (`ptrace_do_notify`, kernel/signal.c). Cheaper than
    /// [`ns_tids`](Probe::ns_tids) by far.
    ///
    /// # Errors
    /// [`Gone`] if the tracee was killed meanwhile.
    fn own_tid(&mut self, task: &Stopped) -> Result<Tid, Gone>;

    /// The process behind a pidfd of a thread (`Pid` in `/proc/TID/fdinfo/FD`);
    /// `None` if there is none, or it is not in the tracer's pid namespace.
    fn behind_pidfd(&mut self, tid: Tid, fd: i32) -> Option<Pid>;

    /// Whether the thread sleeps until something happens (state S in
    /// `/proc/TID/status`), as it never does inside a creating call.
    fn sleeps(&mut self, tid: Tid) -> bool;

    /// The thread's name (`/proc/TID/comm`); empty if it is gone.
    fn comm(&mut self, tid: Tid) -> Comm;

    /// The thread's group and that group's parent (`Tgid` and `PPid` in
    /// `/proc/TID/status`); `None` if it is gone.
    fn family(&mut self, tid: Tid) -> Option<(Pid, Pid)>;

    /// What has a bearing on why a creating call just failed; as much as can be
    /// read.
    fn creation_evidence(&mut self, task: &Stopped, request: &Request, errno: Errno) -> Evidence;

    /// The same of an exec call.
    fn exec_evidence(&mut self, task: &Stopped, call: &ExecCall, errno: Errno) -> ExecEvidence;
}
