//! The border to the kernel: every system call that tracing needs, and the only
//! `unsafe` of the project, all of it in this folder. Here are ptrace and waiting.

#![allow(unsafe_code)]

mod fault;
mod jobs;
mod launch;
mod memory;
mod signals;
mod witness;

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::task::{Resume, Stopped};
use crate::event::{Usage, Wanted};
use crate::ids::{Errno, Pid, Signal, Tid};
use fault::fault;

pub use jobs::{Resting, StopSelf, StoppedHow, Watch, is_job_stopping, was_continued};
pub use launch::{Plan, RunAs, Waiting, fork_waiting};
pub use memory::{read_memory, write_memory};
pub use signals::{
    Arrival, CHECK_MS, Inherited, WAKE_MS, admit_signals, any_arrived, arrivals, can_wake,
    closed_at_start, die_by, has_arrived, own_tid, take_signals, wake_every_ms,
};
pub use witness::{Witness, witness};

/// The error number of the last failed call.
fn last_errno() -> Errno {
    Errno(io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result == -1 {
        Err(last_errno())
    } else {
        Ok(result)
    }
}

/// ptrace(2) with integers for address and data. Never tried twice: what an
/// error means is for the caller to say.
fn ptrace(request: libc::c_uint, tid: Tid, addr: usize, data: usize) -> Result<(), Errno> {
    if cfg!(debug_assertions)
        && let Some(errno) = fault(&request.to_string(), Some(tid))
    {
        return Err(errno);
    }
    // SAFETY: only called with requests that take numbers, or for which the
    // callers below pass pointers to live buffers of the size given.
    let result = unsafe { libc::ptrace(request, tid.0, addr as *mut c_void, data as *mut c_void) };
    check(result).map(drop)
}

/// A seccomp filter of a stopped tracee, the newest with index 0
/// (`PTRACE_SECCOMP_GET_FILTER`).
///
/// # Errors
/// ENOENT if it has no such filter; EACCES without CAP_SYS_ADMIN, or where
/// forktrace has filters itself; EIO or EINVAL where the kernel can't tell.
pub fn seccomp_filter(tid: Tid, index: usize) -> Result<Vec<libc::sock_filter>, Errno> {
    const GET_FILTER: libc::c_uint = 0x420c;
    // SAFETY: with a null pointer the kernel only counts instructions.
    let count =
        check(unsafe { libc::ptrace(GET_FILTER, tid.0, index, std::ptr::null_mut::<c_void>()) })?;
    let nothing = libc::sock_filter {
        code: 0,
        jt: 0,
        jf: 0,
        k: 0,
    };
    let mut filter = vec![nothing; count as usize];
    // SAFETY: the buffer has as many instructions as the kernel just counted, and
    // a stopped tracee's filters don't change.
    check(unsafe { libc::ptrace(GET_FILTER, tid.0, index, filter.as_mut_ptr()) })?;
    Ok(filter)
}

/// What sched_getscheduler(2) says of a thread.
///
/// # Errors
/// ESRCH if it is gone.
pub fn scheduler(tid: Tid) -> Result<i32, Errno> {
    // SAFETY: takes and returns numbers.
    check(unsafe { libc::syscall(libc::SYS_sched_getscheduler, tid.0) }).map(|word| word as i32)
}

/// The namespace that a user or pid namespace is in (ioctl_ns(2)).
///
/// # Errors
/// EPERM if that is out of the caller's sight, or there is none.
pub fn parent_namespace(namespace: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    const GET_PARENT: libc::Ioctl = 0xb702;
    // SAFETY: this request takes no argument and returns a new descriptor.
    let fd = check(unsafe { libc::ioctl(namespace.as_raw_fd(), GET_PARENT) }.into())?;
    // SAFETY: it was just made and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as c_int) })
}

/// A file of /proc, whole.
///
/// # Errors
/// ENOENT or ESRCH if it is about a task that is gone.
pub fn read_proc(path: &str) -> io::Result<Vec<u8>> {
    match fault("proc", None) {
        Some(errno) => Err(io::Error::from_raw_os_error(errno.0)),
        None => std::fs::read(path),
    }
}

/// Starts to trace a thread without stopping it.
///
/// # Errors
/// EPERM where tracing is not permitted, ESRCH if it is gone.
pub fn seize(tid: Tid, options: c_int) -> Result<(), Errno> {
    ptrace(libc::PTRACE_SEIZE, tid, 0, options as usize)
}

/// Makes a seized tracee stop.
///
/// # Errors
/// ESRCH if it is gone; EIO if it is just going.
pub fn interrupt(tid: Tid) -> Result<(), Errno> {
    ptrace(libc::PTRACE_INTERRUPT, tid, 0, 0)
}

/// Lets a stopped tracee go on.
///
/// # Errors
/// ESRCH if the tracee was killed in its stop: it is dying, and nothing need be
/// done. Any other refusal leaves it stopped.
pub fn resume(task: Stopped, how: Resume) -> Result<(), Errno> {
    let number = |signal: Option<Signal>| signal.map_or(0, |s| s.0 as usize);
    let (request, data) = match how {
        Resume::Cont(signal) => (libc::PTRACE_CONT, number(signal)),
        Resume::Syscall(signal) => (libc::PTRACE_SYSCALL, number(signal)),
        Resume::Listen => (libc::PTRACE_LISTEN, 0),
        Resume::Detach(signal) => (libc::PTRACE_DETACH, number(signal)),
    };
    ptrace(request, task.tid(), 0, data)
}

/// `PTRACE_GETEVENTMSG`.
///
/// # Errors
/// ESRCH if the tracee was killed in its stop.
pub fn event_message(tid: Tid) -> Result<u64, Errno> {
    let mut message: libc::c_ulong = 0;
    ptrace(libc::PTRACE_GETEVENTMSG, tid, 0, &raw mut message as usize)?;
    Ok(message)
}

/// `struct ptrace_syscall_info` (linux/ptrace.h), its union as plain words.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct SyscallInfo {
    /// `PTRACE_SYSCALL_INFO_*`: what kind of stop this is.
    pub op: u8,
    pad: [u8; 3],
    /// The audit architecture.
    pub arch: u32,
    ip: u64,
    sp: u64,
    /// Entry and seccomp: number and arguments. Exit: value and error flag.
    pub words: [u64; 8],
}

/// `PTRACE_GET_SYSCALL_INFO` (Linux 5.3).
///
/// # Errors
/// ESRCH if the tracee was killed in its stop, EIO on an older kernel.
pub fn syscall_info(tid: Tid) -> Result<SyscallInfo, Errno> {
    let mut info = SyscallInfo::default();
    ptrace(
        libc::PTRACE_GET_SYSCALL_INFO,
        tid,
        size_of::<SyscallInfo>(),
        &raw mut info as usize,
    )?;
    Ok(info)
}

/// The number in the siginfo of a ptrace stop that is no signal
/// (`PTRACE_GETSIGINFO`): the stopped thread's own, in its own pid namespace.
///
/// # Errors
/// ESRCH if the tracee was killed in its stop.
pub fn stop_sender(tid: Tid) -> Result<i32, Errno> {
    // SAFETY: all zeros are a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    ptrace(libc::PTRACE_GETSIGINFO, tid, 0, &raw mut info as usize)?;
    // SAFETY: a ptrace stop's siginfo has a sender.
    Ok(unsafe { info.si_pid() })
}

/// Changes the general registers (`PTRACE_SETREGS`).
///
/// # Errors
/// ESRCH if the tracee was killed in its stop.
pub fn set_registers(tid: Tid, registers: &libc::user_regs_struct) -> Result<(), Errno> {
    ptrace(
        libc::PTRACE_SETREGS,
        tid,
        0,
        std::ptr::from_ref(registers) as usize,
    )
}

/// The general registers (`PTRACE_GETREGS`).
///
/// # Errors
/// ESRCH if the tracee was killed in its stop.
pub fn registers(tid: Tid) -> Result<libc::user_regs_struct, Errno> {
    // SAFETY: all fields are integers, for which zero is a value.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    ptrace(libc::PTRACE_GETREGS, tid, 0, &raw mut registers as usize)?;
    Ok(registers)
}

/// What a thread reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The thread.
    pub tid: Tid,
    /// Its status word.
    pub status: i32,
    /// What its process used so far, if that was asked for.
    pub usage: Option<Usage>,
}

/// What waiting for a report came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// A thread reports.
    Report(Report),
    /// No report for now; only if that was not to be waited for.
    Nothing,
    /// There is neither child nor tracee left.
    Nobody,
}

/// Whose stops are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopping {
    /// Those of tracees.
    Tracees,
    /// Also those of children that nobody traces: status words with a signal.
    Children,
}

/// Waits for any child or tracee; not if `at_once`. With `usage` the kernel adds
/// up what all threads of the reporting one's process used, at each report.
///
/// # Errors
/// EINTR when a signal handler ran.
pub fn wait(at_once: bool, stopping: Stopping, usage: Wanted) -> Result<Waited, Errno> {
    if cfg!(debug_assertions)
        && let Some(errno) = fault("wait", None)
    {
        return Err(errno);
    }
    assert!(fault("panic", None).is_none(), "a fault that was asked for");
    let mut status = 0;
    // Without __WALL: tracees are waited for whatever their exit signal, of other
    // children only those with SIGCHLD, so not the witness.
    let mut options = if at_once { libc::WNOHANG } else { 0 };
    if stopping == Stopping::Children {
        options |= libc::WUNTRACED;
    }
    // SAFETY: all fields are integers, for which zero is a value.
    let mut used: libc::rusage = unsafe { std::mem::zeroed() };
    let used_at = match usage {
        Wanted::Yes => &raw mut used,
        Wanted::No => ptr::null_mut(),
    };
    // SAFETY: `status` is a live int, `used_at` null or that of a live rusage.
    let tid = unsafe { libc::wait4(-1, &raw mut status, options, used_at) };
    match check(tid.into()) {
        Ok(0) => Ok(Waited::Nothing),
        Ok(tid) => Ok(Waited::Report(Report {
            tid: Tid(tid as i32),
            status,
            usage: (usage == Wanted::Yes).then(|| usage_of(&used)),
        })),
        Err(Errno(libc::ECHILD)) => Ok(Waited::Nobody),
        Err(errno) => Err(errno),
    }
}

fn usage_of(used: &libc::rusage) -> Usage {
    let time = |t: libc::timeval| {
        Duration::new(
            t.tv_sec.unsigned_abs(),
            t.tv_usec.unsigned_abs() as u32 * 1000,
        )
    };
    Usage {
        user: time(used.ru_utime),
        system: time(used.ru_stime),
        max_rss_kib: used.ru_maxrss.unsigned_abs(),
    }
}

/// The clocks of the wall and CLOCK_MONOTONIC, at the same moment.
pub fn clocks() -> (Duration, Duration) {
    let wall = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    // SAFETY: a timespec of zeros is one; it is live during the call.
    let monotonic = unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time);
        Duration::new(
            time.tv_sec.unsigned_abs(),
            time.tv_nsec.unsigned_abs() as u32,
        )
    };
    (wall, monotonic)
}

/// Waits for one child, here and now.
pub fn reap(tid: Tid) {
    // SAFETY: no status is asked for.
    while unsafe { libc::waitpid(tid.0, ptr::null_mut(), libc::__WALL) } == -1
        && last_errno() == Errno(libc::EINTR)
    {}
}

/// kill(2). Errors don't matter to its callers: the target may be gone.
pub fn kill(tid: Tid, signal: Signal) {
    // SAFETY: a system call on numbers.
    unsafe { libc::kill(tid.0, signal.0) };
}

/// forktrace's own parent, if that is one to be signalled: not init, nor one in
/// another pid namespace.
pub fn parent() -> Option<Pid> {
    // SAFETY: only numbers.
    Some(Pid(unsafe { libc::getppid() })).filter(|parent| parent.0 > 1)
}

/// Closes all descriptors from this one on.
///
/// # Safety
/// To be called in a freshly forked child that uses none of them.
unsafe fn close_all_from(first: RawFd) {
    // SAFETY: system calls on numbers.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) == -1 {
            for fd in first..1024 {
                libc::close(fd);
            }
        }
    }
}
