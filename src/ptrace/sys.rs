//! The border to the kernel: every system call that tracing needs, and the
//! only `unsafe` of the project. Long, because `unsafe` is to stay in one file.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
#[cfg(debug_assertions)]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::task::{Resume, Stopped};
use crate::event::{Usage, Wanted};
use crate::ids::{Errno, Pid, Signal, Tid};

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

/// A fault that a test asked for, in debug builds only:
/// `FORKTRACE_FAULT=CALL:WHICH:HOW`.
///
/// CALL is a ptrace request's number, `wait` (waitpid), `readv`
/// (process_vm_readv), `writev` (process_vm_writev), `proc` (a look into /proc), or `panic`, which panics at a
/// wait. WHICH is `N`, the Nth of them, or `N+`, all from the Nth on. HOW is the
/// number of an error, or `kill`: the call is made, but its target is killed
/// before it, as may happen at any time.
#[cfg(debug_assertions)]
struct Fault {
    call: String,
    nth: usize,
    lasts: bool,
    /// `None`: kill.
    errno: Option<Errno>,
}

#[cfg(debug_assertions)]
impl Fault {
    fn parse(plan: &str) -> Option<Fault> {
        let [call, which, how] = plan.split(':').collect::<Vec<_>>()[..] else {
            return None;
        };
        Some(Fault {
            call: call.to_owned(),
            nth: which.trim_end_matches('+').parse().ok()?,
            lasts: which.ends_with('+'),
            errno: match how {
                "kill" => None,
                number => Some(Errno(number.parse().ok()?)),
            },
        })
    }
}

/// Whether a call is to fail in place of being made.
#[cfg(debug_assertions)]
fn fault(call: &str, tid: Option<Tid>) -> Option<Errno> {
    static PLAN: OnceLock<Option<Fault>> = OnceLock::new();
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let plan = PLAN.get_or_init(|| Fault::parse(&std::env::var("FORKTRACE_FAULT").ok()?));
    let plan = plan.as_ref().filter(|plan| plan.call == call)?;
    let number = MADE.fetch_add(1, Ordering::Relaxed) + 1;
    if number != plan.nth && !(plan.lasts && number > plan.nth) {
        return None;
    }
    if let (None, Some(tid)) = (plan.errno, tid) {
        kill(tid, Signal(libc::SIGKILL));
    }
    plan.errno
}

/// No faults in a release build.
#[cfg(not(debug_assertions))]
fn fault(_call: &str, _tid: Option<Tid>) -> Option<Errno> {
    None
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

/// The size of a page of memory on x86.
const PAGE: u64 = 4096;
/// The most pieces that one process_vm_readv takes (`IOV_MAX`).
const PIECES_MAX: usize = 1024;

/// Copies several places of a tracee's memory with one process_vm_readv(2),
/// in pieces that don't cross pages, so that what lies before an unmapped page
/// is still read. Returns how many bytes came, in order.
pub fn read_memory(tid: Tid, places: &mut [(u64, &mut [u8])]) -> usize {
    let mut local = Vec::with_capacity(places.len());
    let mut remote = Vec::with_capacity(places.len() + 1);
    let mut wanted = 0;
    for (addr, buf) in places.iter_mut() {
        let mut at = *addr;
        let mut left = buf.len();
        while left > 0 {
            let piece = left.min((PAGE - at % PAGE) as usize);
            remote.push(libc::iovec {
                iov_base: at as *mut c_void,
                iov_len: piece,
            });
            left -= piece;
            at = at.wrapping_add(piece as u64);
        }
        wanted += buf.len();
        local.push(libc::iovec {
            iov_base: buf.as_mut_ptr().cast(),
            iov_len: buf.len(),
        });
    }
    let (locals, remotes) = (local.len().min(PIECES_MAX), remote.len().min(PIECES_MAX));
    if wanted == 0 {
        return 0;
    }
    let read = || {
        // SAFETY: `local` describes live, writable buffers that nobody else
        // uses during the call; `remote` is only looked up in the tracee.
        let got = unsafe {
            libc::process_vm_readv(
                tid.0,
                local.as_ptr(),
                locals as libc::c_ulong,
                remote.as_ptr(),
                remotes as libc::c_ulong,
                0,
            )
        };
        check(got as libc::c_long)
    };
    match fault("readv", Some(tid)).map_or_else(read, Err) {
        Ok(got) => got as usize,
        // Nobody, or nothing, is there.
        Err(Errno(libc::ESRCH | libc::EFAULT)) => 0,
        Err(_) => peek_memory(tid, places),
    }
}

/// Copies to a tracee's memory with process_vm_writev(2), or, where a sandbox
/// forbids that, word by word. Returns how many bytes were written.
pub fn write_memory(tid: Tid, addr: u64, bytes: &[u8]) -> usize {
    let local = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let remote = libc::iovec {
        iov_base: addr as *mut c_void,
        iov_len: bytes.len(),
    };
    let write = || {
        // SAFETY: `local` describes a live buffer, which is only read; `remote`
        // is only looked up in the tracee.
        let put =
            unsafe { libc::process_vm_writev(tid.0, &raw const local, 1, &raw const remote, 1, 0) };
        check(put as libc::c_long)
    };
    match fault("writev", Some(tid)).map_or_else(write, Err) {
        Ok(put) => put as usize,
        // Nobody, or nothing, is there.
        Err(Errno(libc::ESRCH | libc::EFAULT)) => 0,
        Err(_) => poke_memory(tid, addr, bytes),
    }
}

/// The slow way to write; whole words only.
fn poke_memory(tid: Tid, addr: u64, bytes: &[u8]) -> usize {
    let words = bytes.as_chunks::<8>().0;
    let poke = |(index, word): (usize, &[u8; 8])| {
        let at = addr as usize + index * 8;
        ptrace(libc::PTRACE_POKEDATA, tid, at, usize::from_ne_bytes(*word)).is_ok()
    };
    words
        .iter()
        .enumerate()
        .take_while(|word| poke(*word))
        .count()
        * 8
}

/// The slow way, word by word, for where a sandbox forbids process_vm_readv.
fn peek_memory(tid: Tid, places: &mut [(u64, &mut [u8])]) -> usize {
    let mut total = 0;
    for (addr, buf) in places {
        let mut done = 0;
        while done < buf.len() {
            // Aligned: a word that crosses into an unmapped page can't be read.
            let at = addr.wrapping_add(done as u64);
            let skip = (at % 8) as usize;
            let mut word: u64 = 0;
            if peek(tid, at - skip as u64, &mut word).is_err() {
                return total;
            }
            let length = (8 - skip).min(buf.len() - done);
            buf[done..done + length].copy_from_slice(&word.to_ne_bytes()[skip..skip + length]);
            done += length;
            total += length;
        }
    }
    total
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

/// One word of a tracee's memory, by the raw system call: the C library's
/// function returns the word in place of an error.
fn peek(tid: Tid, addr: u64, word: &mut u64) -> Result<(), Errno> {
    if let Some(errno) = fault("2", Some(tid)) {
        return Err(errno);
    }
    // SAFETY: the kernel stores one word at its data pointer, that of `word`.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ptrace,
            libc::PTRACE_PEEKDATA,
            tid.0,
            addr,
            std::ptr::from_mut(word),
        )
    };
    check(result).map(drop)
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

// ---- forktrace's own signals ------------------------------------------------

/// The disposition of SIGPIPE before Rust's runtime ignored it.
static SIGPIPE_AT_START: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);
/// A bit for each of the standard streams that was closed at the start; Rust's
/// runtime opens /dev/null in its place.
static CLOSED_AT_START: AtomicI32 = AtomicI32::new(0);

/// Whether a standard stream was closed when forktrace started.
pub fn closed_at_start(fd: i32) -> bool {
    CLOSED_AT_START.load(Ordering::Relaxed) & 1 << fd != 0
}

/// Runs before Rust's runtime: what it changes, a traced program must find
/// unchanged.
extern "C" fn record_start() {
    // SAFETY: plain system calls with live buffers, before any thread exists.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGPIPE, ptr::null(), &raw mut old) == 0 {
            SIGPIPE_AT_START.store(old.sa_sigaction, Ordering::Relaxed);
        }
        for fd in 0..3 {
            if libc::fcntl(fd, libc::F_GETFD) == -1 {
                CLOSED_AT_START.fetch_or(1 << fd, Ordering::Relaxed);
            }
        }
    }
}

#[used]
// SAFETY: the C library calls each entry once, with arguments that
// `record_start` doesn't look at.
#[unsafe(link_section = ".init_array")]
static RECORD_START: extern "C" fn() = record_start;

/// Signals that somebody may send to forktrace and mean the program: all that
/// would end it, and SIGWINCH, by which some are told to end. Not SIGKILL, nor
/// those of faults, which are forktrace's own; nor SIGPIPE and SIGXFSZ, which
/// are ignored because writing fails as well.
const PASSED_ON: [c_int; 14] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGTERM,
    libc::SIGSTKFLT,
    libc::SIGXCPU,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGWINCH,
    libc::SIGIO,
    libc::SIGPWR,
];

/// The same with the real-time signals, but for the timer's.
fn passed_on() -> impl Iterator<Item = c_int> {
    let real_time = libc::SIGRTMIN()..=libc::SIGRTMAX();
    let others = real_time.filter(|signal| *signal != wake_signal());
    PASSED_ON.into_iter().chain(others)
}

/// A signal that was sent to forktrace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Which.
    pub signal: Signal,
    /// The process that sent it; `None` if the kernel did, as for a terminal.
    pub sender: Option<i32>,
}

/// The process that sent a signal; `None` if the kernel did. 0 where the kernel
/// had no room to note it (RLIMIT_SIGPENDING).
fn sender_of(info: &libc::siginfo_t) -> Option<i32> {
    // SAFETY: with a code that isn't the kernel's, the sender is there.
    (info.si_code <= 0).then(|| unsafe { info.si_pid() })
}

/// Arrivals that were not looked at yet, a word for each signal, so that none can
/// crowd out another: the first one's sender, whether that was the kernel, and
/// how many there were. 0: none.
static ARRIVALS: [AtomicU64; SIGNALS] = [const { AtomicU64::new(0) }; SIGNALS];
/// Whether there are any.
static ARRIVED: AtomicBool = AtomicBool::new(false);
/// One more than the last signal.
const SIGNALS: usize = 65;
/// In a word of [`ARRIVALS`]: the kernel sent it.
const BY_KERNEL: u64 = 1 << 32;
/// In a word of [`ARRIVALS`]: one more arrival.
const ONE_MORE: u64 = 1 << 40;

extern "C" fn on_signal(signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: errno is restored, and only async-signal-safe functions are
    // called; the kernel passes a valid `info` to a SA_SIGINFO handler.
    unsafe {
        if signal == wake_signal() && (*info).si_code == libc::SI_TIMER {
            // All that it is for is to interrupt.
            return;
        }
        let errno = *libc::__errno_location();
        let sender = sender_of(&*info);
        if signal == libc::SIGXCPU && sender.is_none() {
            // It is forktrace that has used up its time, not the program.
            return;
        }
        let first = ONE_MORE
            + match sender {
                Some(sender) => u64::from(sender as u32),
                None => BY_KERNEL,
            };
        if let Some(word) = ARRIVALS.get(signal as usize) {
            // No other handler runs at the same time: all come to one thread,
            // and at most interrupt each other.
            let more = |before| {
                Some(if before == 0 {
                    first
                } else {
                    before + ONE_MORE
                })
            };
            let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
            ARRIVED.store(true, Ordering::Relaxed);
        }
        // In case it came just before waitpid blocked.
        wake_every_ms(Some(WAKE_MS));
        *libc::__errno_location() = errno;
    }
}

/// Whether signals were sent to forktrace that were not looked at yet.
pub fn any_arrived() -> bool {
    ARRIVED.load(Ordering::Relaxed)
}

/// The signals that were sent to forktrace since this was last asked. Of a
/// standard signal one, however many there were (signal(7)).
pub fn arrivals() -> Vec<Arrival> {
    // Nearly always none: one load.
    if !ARRIVED.load(Ordering::Relaxed) {
        return Vec::new();
    }
    // First, and in this order: what comes from now on sets it again.
    ARRIVED.swap(false, Ordering::SeqCst);
    let mut all = Vec::new();
    for (number, word) in ARRIVALS.iter().enumerate() {
        let word = word.swap(0, Ordering::SeqCst);
        let signal = Signal(number as i32);
        let count = match signal.is_standard() {
            true => (word / ONE_MORE).min(1),
            false => word / ONE_MORE,
        };
        let sender = (word & BY_KERNEL == 0).then_some(word as u32 as i32);
        for _ in 0..count {
            all.push(Arrival { signal, sender });
        }
    }
    all
}

/// Whether such a signal was sent to forktrace and not looked at yet.
pub fn has_arrived(wanted: impl Fn(Signal) -> bool) -> bool {
    ARRIVALS
        .iter()
        .enumerate()
        .any(|(number, word)| word.load(Ordering::Relaxed) != 0 && wanted(Signal(number as i32)))
}

/// How often [`wait`] is interrupted while something has to be looked after.
pub const WAKE_MS: i64 = 10;
/// How often it is interrupted else.
pub const CHECK_MS: i64 = 1000;

/// The timer behind [`wake_every_ms`]: its id and one; 0: not made yet.
static WAKE_TIMER: AtomicUsize = AtomicUsize::new(0);
/// Its period now, in milliseconds; 0: it doesn't run.
static WAKING: AtomicI64 = AtomicI64::new(0);

/// Whether there is such a timer; not where no signal may be queued
/// (RLIMIT_SIGPENDING).
pub fn can_wake() -> bool {
    WAKE_TIMER.load(Ordering::Relaxed) != 0
}

/// The signal of that timer: a real-time one, so that SIGALRM stays what it
/// is to others. Sent by anybody else it is passed on as all are.
fn wake_signal() -> c_int {
    libc::SIGRTMAX() - 1
}

/// Makes [`wait`] return with EINTR again and again until told otherwise
/// (`None`): a single time might come before it blocks.
pub fn wake_every_ms(period: Option<i64>) {
    let ms = period.unwrap_or(0);
    let mut before = WAKING.swap(ms, Ordering::Relaxed);
    // A handler may come between and set another period: until they agree.
    while before != ms {
        set_timer(ms);
        before = WAKING.swap(ms, Ordering::Relaxed);
    }
}

fn set_timer(ms: i64) {
    let Some(timer) = WAKE_TIMER.load(Ordering::Relaxed).checked_sub(1) else {
        return;
    };
    let time = libc::timespec {
        tv_sec: ms / 1000,
        tv_nsec: ms % 1000 * 1_000_000,
    };
    let times = libc::itimerspec {
        it_interval: time,
        it_value: time,
    };
    // SAFETY: `times` is live; the old value isn't asked for. The timer was
    // made by `make_wake_timer`.
    unsafe { libc::timer_settime(timer as libc::timer_t, 0, &raw const times, ptr::null_mut()) };
}

/// Makes the timer; without one nothing is overdue, but all else works.
fn make_wake_timer() {
    // SAFETY: zeroed structures of integers and pointers, live during the call.
    unsafe {
        let mut event: libc::sigevent = std::mem::zeroed();
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = wake_signal();
        let mut timer: libc::timer_t = std::mem::zeroed();
        if libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) == 0 {
            WAKE_TIMER.store(timer as usize + 1, Ordering::Relaxed);
        }
    }
}

/// What forktrace found at its start and a traced program has to find too.
pub struct Inherited {
    mask: libc::sigset_t,
    actions: Vec<(c_int, libc::sigaction)>,
}

/// Takes over the signals: those in `PASSED_ON` get a handler (unless they
/// are ignored, as under nohup), a terminal no longer stops forktrace, nor does
/// a file that grew too large end it (RLIMIT_FSIZE), and children can be waited
/// for even if SIGCHLD was ignored. They stay blocked until [`admit_signals`],
/// the terminal's stops for good.
pub fn take_signals() -> Inherited {
    // SAFETY: all structures are live and initialised; the handlers are
    // async-signal-safe.
    unsafe {
        let mut block: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut block);
        for signal in passed_on().chain(JOB_STOPS) {
            libc::sigaddset(&raw mut block, signal);
        }
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_BLOCK, &raw const block, &raw mut mask);

        let mut actions = Vec::new();
        let mut set = |signal: c_int, handler: usize, flags: c_int, keep_ignored: bool| {
            let mut old: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, ptr::null(), &raw mut old);
            actions.push((signal, old));
            if keep_ignored && old.sa_sigaction == libc::SIG_IGN {
                return;
            }
            let mut new: libc::sigaction = std::mem::zeroed();
            new.sa_sigaction = handler;
            new.sa_flags = flags;
            libc::sigemptyset(&raw mut new.sa_mask);
            libc::sigaction(signal, &raw const new, ptr::null_mut());
        };
        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_signal;
        for signal in passed_on() {
            set(signal, handler as usize, libc::SA_SIGINFO, true);
        }
        set(wake_signal(), handler as usize, libc::SA_SIGINFO, false);
        set(libc::SIGXFSZ, libc::SIG_IGN, 0, false);
        // Nor is a signal wanted at each stop of a tracee.
        set(libc::SIGCHLD, libc::SIG_DFL, libc::SA_NOCLDSTOP, false);
        // Blocked for good, and let in only when the program stops.
        for signal in JOB_STOPS {
            set(signal, libc::SIG_DFL, 0, false);
        }
        let continued: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_continue;
        set(libc::SIGCONT, continued as usize, libc::SA_SIGINFO, false);

        let mut pipe: libc::sigaction = std::mem::zeroed();
        pipe.sa_sigaction = SIGPIPE_AT_START.load(Ordering::Relaxed);
        libc::sigemptyset(&raw mut pipe.sa_mask);
        actions.push((libc::SIGPIPE, pipe));
        Inherited { mask, actions }
    }
}

/// forktrace's own tid.
pub fn own_tid() -> Tid {
    // SAFETY: only numbers.
    Tid(unsafe { libc::getpid() })
}

/// From here on signals may arrive: the mask is again that of the start, but
/// for the timer's signal and the terminal's stops. To be called in the process that traces.
pub fn admit_signals(inherited: &Inherited) {
    make_wake_timer();
    let mut mask = inherited.mask;
    // SAFETY: the mask is live.
    unsafe {
        libc::sigdelset(&raw mut mask, wake_signal());
        for signal in JOB_STOPS {
            libc::sigaddset(&raw mut mask, signal);
        }
        libc::sigprocmask(libc::SIG_SETMASK, &raw const mask, ptr::null_mut());
    }
}

/// Ends forktrace by a signal, as the program ended, but without a core.
/// Returns only if the signal doesn't kill.
pub fn die_by(signal: Signal) {
    // SAFETY: plain system calls on live structures.
    unsafe {
        let limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        libc::setrlimit(libc::RLIMIT_CORE, &raw const limit);
        // A core pattern that is a pipe takes no notice of the limit.
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        libc::signal(signal.0, libc::SIG_DFL);
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal.0);
        libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, ptr::null_mut());
        libc::kill(libc::getpid(), signal.0);
    }
}

// ---- job control ------------------------------------------------------------

/// The stops that a terminal, or a program that suspends its job, sends to a
/// whole process group. forktrace keeps them blocked. One that came is pending,
/// then, and says that the job was told to stop; the kernel takes it back when
/// SIGCONT comes.
const JOB_STOPS: [c_int; 3] = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

/// Whether SIGCONT came, but for one of the watch.
static CONTINUED: AtomicBool = AtomicBool::new(false);
/// The process that watches over stopped tracees; 0: none.
static WATCH: AtomicI32 = AtomicI32::new(0);

extern "C" fn on_continue(_signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel passes a valid `info` to a SA_SIGINFO handler.
    let sender = sender_of(unsafe { &*info });
    if sender != Some(WATCH.load(Ordering::Relaxed)) {
        CONTINUED.store(true, Ordering::Relaxed);
    }
}

/// Whether SIGCONT came from outside since this was last asked.
pub fn was_continued() -> bool {
    CONTINUED.load(Ordering::Relaxed) && CONTINUED.swap(false, Ordering::Relaxed)
}

/// Whether forktrace's process group was told to stop, and not continued since.
pub fn is_job_stopping() -> bool {
    JOB_STOPS.into_iter().any(is_pending)
}

fn is_pending(signal: c_int) -> bool {
    // SAFETY: a live set.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigpending(&raw mut set) == 0 && libc::sigismember(&raw const set, signal) == 1
    }
}

/// A stop of forktrace itself, by a signal, that is prepared: a stop of the job
/// is pending, which a SIGCONT that comes now takes back.
#[derive(Debug)]
pub struct StopSelf {
    signal: c_int,
    mark: c_int,
}

impl StopSelf {
    /// Prepares a stop by this signal, one of the four that stop.
    pub fn prepare(Signal(signal): Signal) -> StopSelf {
        let mark = match JOB_STOPS.contains(&signal) {
            true => signal,
            false => libc::SIGTSTP,
        };
        if !is_pending(mark) {
            // SAFETY: a system call on numbers; the signal is blocked.
            unsafe { libc::raise(mark) };
        }
        StopSelf { signal, mark }
    }

    /// Stops until SIGCONT, unless that came since the preparation. The kernel
    /// stops nobody by a stop of the terminal who has no shell to continue him
    /// (an orphaned process group).
    pub fn stop(self) {
        // SAFETY: live sets; raise(3) is a system call on numbers.
        unsafe {
            if self.signal == self.mark {
                let mut set: libc::sigset_t = std::mem::zeroed();
                libc::sigemptyset(&raw mut set);
                libc::sigaddset(&raw mut set, self.mark);
                libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, ptr::null_mut());
                // Here it stops.
                libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut());
            } else if is_pending(self.mark) {
                libc::raise(self.signal);
            }
        }
    }
}

impl Drop for StopSelf {
    /// What told the job to stop has been answered.
    fn drop(&mut self) {
        // SAFETY: live structures; with no time to wait it returns at once.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in JOB_STOPS {
                libc::sigaddset(&raw mut set, signal);
            }
            let at_once: libc::timespec = std::mem::zeroed();
            while libc::sigtimedwait(&raw const set, ptr::null_mut(), &raw const at_once) != -1 {}
        }
    }
}

/// How a thread is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoppedHow {
    /// As a tracee, in its group stop.
    Traced,
    /// Without a tracer.
    Untraced,
}

/// A thread that is stopped and stays so until SIGCONT.
#[derive(Debug)]
pub struct Resting {
    status: CString,
    how: StoppedHow,
    /// How often it gave up its CPU: once more when it was continued and is a
    /// tracee that reports it. Its state is the same before and after.
    switches: u64,
}

/// Enough for /proc/TID/status, but for processes in very many groups.
const STATUS_MAX: usize = 16 * 1024;

impl Resting {
    /// Looks at a thread; `None` if it isn't stopped (any more), or can't be
    /// looked at.
    pub fn look(tid: Tid, how: StoppedHow) -> Option<Resting> {
        let mut resting = Resting {
            status: CString::new(format!("/proc/{tid}/status")).ok()?,
            how,
            switches: 0,
        };
        resting.switches = resting.now()?;
        // Continued, a tracee reports at once, and it had not when it was looked
        // at. A child that nobody traces reports a stop that is another one.
        (!has_report(tid)).then_some(resting)
    }

    /// The count of switches, if it is in the state that it should be in. Calls
    /// only what is async-signal-safe.
    fn now(&self) -> Option<u64> {
        let mut buffer = [0u8; STATUS_MAX];
        let mut length = 0;
        // SAFETY: a path and a buffer that are live, and of the size given.
        unsafe {
            let fd = libc::open(self.status.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
            if fd == -1 {
                return None;
            }
            while let left @ 1.. = buffer.len() - length {
                let got = libc::read(fd, buffer[length..].as_mut_ptr().cast(), left);
                let Ok(got @ 1..) = usize::try_from(got) else {
                    break;
                };
                length += got;
            }
            libc::close(fd);
        }
        let status = &buffer[..length];
        let state = match self.how {
            StoppedHow::Traced => b't',
            StoppedHow::Untraced => b'T',
        };
        (after(status, b"\nState:\t")?.first() == Some(&state)).then_some(())?;
        let switches = after(status, b"\nvoluntary_ctxt_switches:\t")?;
        let digits = switches.iter().take_while(|c| c.is_ascii_digit());
        Some(digits.fold(0, |n, c| n * 10 + u64::from(c - b'0')))
    }

    fn is_over(&self) -> bool {
        match self.how {
            StoppedHow::Traced => self.now() != Some(self.switches),
            StoppedHow::Untraced => self.now().is_none(),
        }
    }
}

/// What follows a text.
fn after<'a>(whole: &'a [u8], text: &[u8]) -> Option<&'a [u8]> {
    let at = whole.windows(text.len()).position(|part| part == text)?;
    whole.get(at + text.len()..)
}

/// Whether a thread has something to report that wasn't fetched.
fn has_report(tid: Tid) -> bool {
    // SAFETY: all zeros are a valid siginfo_t, which is live.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WSTOPPED | libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
        let id = tid.0 as libc::id_t;
        libc::waitid(libc::P_PID, id, &raw mut info, options) == 0 && info.si_pid() != 0
    }
}

/// A child of forktrace that continues it when one of several stopped threads
/// was continued, or is gone: forktrace itself is stopped and can't.
#[derive(Debug)]
pub struct Watch(Tid);

/// How often it looks at them: one look for so many threads in this time.
const LOOK_MS: i64 = 20;
const LOOK_AT: usize = 50;

impl Watch {
    /// Begins to watch; `None` if there is nothing to watch, and where no
    /// process is to be had.
    pub fn over(threads: &[Resting]) -> Option<Watch> {
        if threads.is_empty() {
            return None;
        }
        // SAFETY: live sets; the child makes async-signal-safe calls only.
        unsafe {
            let parent = libc::getpid();
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut mask: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const all, &raw mut mask);
            let pid = libc::fork();
            match pid {
                0 => watch(parent, threads),
                -1 => {}
                pid => {
                    // Not of the job: that is stopped.
                    libc::setpgid(pid, pid);
                    WATCH.store(pid, Ordering::Relaxed);
                }
            }
            libc::sigprocmask(libc::SIG_SETMASK, &raw const mask, ptr::null_mut());
            (pid != -1).then_some(Watch(Tid(pid)))
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        kill(self.0, Signal(libc::SIGKILL));
        reap(self.0);
        WATCH.store(0, Ordering::Relaxed);
    }
}

/// The life of the watch, which its parent ends.
///
/// # Safety
/// To be called in a freshly forked child.
unsafe fn watch(parent: libc::pid_t, threads: &[Resting]) -> ! {
    // SAFETY: plain system calls with live buffers; nothing is allocated.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, c"stop-watch".as_ptr(), 0, 0, 0);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        libc::setpgid(0, 0);
        close_all_from(0);
        let pause = libc::timespec {
            tv_sec: 0,
            tv_nsec: 1_000_000 * LOOK_MS,
        };
        while libc::getppid() == parent {
            let mut over = false;
            for some in threads.chunks(LOOK_AT) {
                libc::nanosleep(&raw const pause, ptr::null_mut());
                over = over || some.iter().any(Resting::is_over);
            }
            if over {
                libc::kill(parent, libc::SIGCONT);
            }
        }
        libc::_exit(0)
    }
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

// ---- the witness ------------------------------------------------------------

/// A child of forktrace in its process group, which blocks all signals and tells
/// on request which came to it: they came to the whole group.
#[derive(Debug)]
pub struct Witness {
    tid: Tid,
    line: OwnedFd,
    /// The number of the last question.
    asked: u32,
}

/// How long an answer is waited for.
const ANSWER_WITHIN: Duration = Duration::from_millis(200);
/// In an answer, the kernel as a sender; no process has this number.
const KERNEL: i32 = -1;
/// What the witness can tell at once.
const TOLD_MAX: usize = 64;
/// The length of an answer: the number of the question, then signals and senders.
const ANSWER_MAX: usize = 4 + TOLD_MAX * 8;

/// Makes a witness. It ends with forktrace.
///
/// # Errors
/// Where no process or socket is to be had.
pub fn witness() -> io::Result<Witness> {
    let mut fds = [0; 2];
    // SAFETY: a live array of two; the descriptors are new and owned here. The
    // child makes async-signal-safe calls only.
    unsafe {
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        if libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) == -1 {
            return Err(io::Error::last_os_error());
        }
        let [line, far] = fds.map(|fd| OwnedFd::from_raw_fd(fd));
        // From the first moment on: what comes before is not to be taken.
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, &raw mut mask);
        // A fork without an exit signal: `wait` doesn't see such a child, so that
        // with the last tracee there is nobody left.
        let pid = libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0) as c_int;
        if pid == 0 {
            testify(far.as_raw_fd(), &all);
        }
        let error = io::Error::last_os_error();
        libc::sigprocmask(libc::SIG_SETMASK, &raw const mask, ptr::null_mut());
        match pid {
            -1 => Err(error),
            pid => Ok(Witness {
                tid: Tid(pid),
                line,
                asked: 0,
            }),
        }
    }
}

/// The life of the witness: it answers until forktrace is gone.
///
/// # Safety
/// To be called in a freshly forked child.
unsafe fn testify(line: RawFd, all: &libc::sigset_t) -> ! {
    // SAFETY: plain system calls with live buffers; nothing is allocated.
    unsafe {
        // Its own name: who signals all that are called forktrace doesn't mean it.
        libc::prctl(libc::PR_SET_NAME, c"signal-witness".as_ptr(), 0, 0, 0);
        // Nothing that forktrace was given stays open by it.
        libc::dup2(line, 0);
        close_all_from(1);
        let at_once: libc::timespec = std::mem::zeroed();
        let mut request = [0u8; 4];
        while libc::read(0, request.as_mut_ptr().cast(), 4) == 4 {
            let mut told = [0u8; ANSWER_MAX];
            told[..4].copy_from_slice(&request);
            let mut count = 0;
            while count < TOLD_MAX {
                let mut info: libc::siginfo_t = std::mem::zeroed();
                let signal = libc::sigtimedwait(all, &raw mut info, &raw const at_once);
                if signal == -1 {
                    break;
                }
                let sender = sender_of(&info).unwrap_or(KERNEL);
                let place = &mut told[4 + count * 8..][..8];
                place[..4].copy_from_slice(&signal.to_ne_bytes());
                place[4..].copy_from_slice(&sender.to_ne_bytes());
                count += 1;
            }
            if libc::send(0, told.as_ptr().cast(), 4 + count * 8, libc::MSG_NOSIGNAL) == -1 {
                break;
            }
        }
        libc::_exit(0)
    }
}

impl Witness {
    /// Its tid: an untraced child of forktrace.
    pub fn tid(&self) -> Tid {
        self.tid
    }

    /// The signals that came to the process group since this was last asked;
    /// `None` if it doesn't answer.
    pub fn ask(&mut self) -> Option<Vec<Arrival>> {
        let line = self.line.as_raw_fd();
        self.asked = self.asked.wrapping_add(1);
        let question = self.asked.to_ne_bytes();
        let deadline = Instant::now() + ANSWER_WITHIN;
        let mut told = [0u8; ANSWER_MAX];
        // SAFETY: a live buffer of the size given.
        let sent = unsafe { libc::send(line, question.as_ptr().cast(), 4, libc::MSG_NOSIGNAL) };
        if sent != 4 {
            return None;
        }
        let got = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // SAFETY: live buffers of the sizes given.
            let got = unsafe {
                let mut wait = libc::pollfd {
                    fd: line,
                    events: libc::POLLIN,
                    revents: 0,
                };
                libc::poll(&raw mut wait, 1, left.as_millis() as c_int);
                libc::recv(
                    line,
                    told.as_mut_ptr().cast(),
                    told.len(),
                    libc::MSG_DONTWAIT,
                )
            };
            match got {
                // An answer to an earlier question came too late.
                4.. if told[..4] == question => break got as usize,
                0 => return None,
                _ if left.is_zero() => {
                    // Somebody has stopped it, and only it: it is wanted.
                    kill(self.tid, Signal(libc::SIGCONT));
                    return None;
                }
                _ => {}
            }
        };
        let number = |bytes: &[u8]| i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let arrivals = told[4..got].chunks_exact(8).map(|place| Arrival {
            signal: Signal(number(&place[..4])),
            sender: Some(number(&place[4..])).filter(|sender| *sender != KERNEL),
        });
        Some(arrivals.collect())
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        // Nobody else reaps it: its tid is its own until here.
        kill(self.tid, Signal(libc::SIGKILL));
        reap(self.tid);
    }
}

// ---- launching --------------------------------------------------------------

/// All that a child needs on its way to exec, made before the fork: there
/// nothing may be allocated.
pub struct Plan<'a> {
    /// The program's file.
    pub path: CString,
    /// Its arguments.
    pub argv: Vec<CString>,
    /// The seccomp filter to install, if any.
    pub filter: Option<Vec<libc::sock_filter>>,
    /// What to restore.
    pub inherited: &'a Inherited,
    /// Whom to run it as.
    pub user: Option<RunAs>,
    /// Whether the calling process is to become the program, and the tracer
    /// goes on in a grandchild.
    pub detached: bool,
}

/// A user to run the program as.
#[derive(Debug, Clone)]
pub struct RunAs {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// A child that waits for leave to exec.
pub struct Waiting {
    /// Its tid.
    pub tid: Tid,
    /// The errno of the filter's refusal, 0 for none.
    pub filter_errno: Errno,
    go: OwnedFd,
    report: OwnedFd,
}

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// Forks a child that installs its filter, says so, and waits. All pipes are
/// closed at exec: the program finds none of them.
///
/// # Errors
/// Where no pipe or process is to be had.
pub fn fork_waiting(plan: &Plan<'_>) -> io::Result<Waiting> {
    let (report_read, report_write) = pipe()?;
    let (go_read, go_write) = pipe()?;
    let argv = pointers(&plan.argv);
    let shell = c"/bin/sh";
    let mut shell_argv = vec![shell.as_ptr(), plan.path.as_ptr()];
    shell_argv.extend_from_slice(argv.get(1..).unwrap_or(&[ptr::null()]));
    // SAFETY: only numbers.
    let original = unsafe { libc::getpid() };
    // SAFETY: only async-signal-safe calls are made on the way to exec; the
    // tracer of a detached run is meant to be called with one thread.
    let pid = unsafe { libc::fork() };
    if pid == -1 {
        return Err(io::Error::last_os_error());
    }
    let becomes_program = if plan.detached {
        if pid == 0 {
            detach();
        } else {
            // SAFETY: no status is asked for.
            unsafe { libc::waitpid(pid, ptr::null_mut(), 0) };
        }
        pid != 0
    } else {
        pid == 0
    };
    if becomes_program {
        // The write end must not stay open here, or the death of the tracer
        // would go unnoticed.
        drop(go_write);
        // SAFETY: the pointer arrays are null-terminated and live; `child`
        // never returns.
        unsafe {
            child(
                plan,
                &argv,
                &shell_argv,
                report_write.as_raw_fd(),
                go_read.as_raw_fd(),
            )
        }
    }
    drop(report_write);
    let mut waiting = Waiting {
        tid: Tid(if plan.detached { original } else { pid }),
        filter_errno: Errno(0),
        go: go_write,
        report: report_read,
    };
    waiting.filter_errno = waiting.report().unwrap_or(Errno(libc::ESRCH));
    Ok(waiting)
}

/// Called in a child of the process that becomes the program: goes on in a
/// grandchild of that, in a process group of its own, so that neither its
/// parent's wait nor the terminal's signals find it.
fn detach() {
    // SAFETY: one thread, and system calls on numbers.
    unsafe {
        match libc::fork() {
            0 => {
                libc::setpgid(0, 0);
            }
            -1 => libc::_exit(1),
            _ => libc::_exit(0),
        }
    }
}

impl Waiting {
    /// Tells the child who is going to trace it: where Yama allows tracing of
    /// descendants only, one that is no ancestor needs leave.
    pub fn introduce(&self) {
        // SAFETY: only numbers.
        self.tell(unsafe { libc::getpid() });
    }

    /// Lets the child exec. The pipe to read a failure from stays.
    pub fn go(&self) {
        self.tell(0);
    }

    fn tell(&self, word: i32) {
        let bytes = word.to_ne_bytes();
        // SAFETY: a live buffer to an open pipe; so few bytes go at once.
        unsafe { libc::write(self.go.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    }

    /// The next error number that the child reports; `None` once it has
    /// exec'd or died.
    pub fn report(&self) -> Option<Errno> {
        let mut bytes = [0u8; 4];
        loop {
            // SAFETY: four bytes into a live buffer from an open pipe.
            let got = unsafe { libc::read(self.report.as_raw_fd(), bytes.as_mut_ptr().cast(), 4) };
            match got {
                4 => return Some(Errno(i32::from_ne_bytes(bytes))),
                -1 if last_errno() == Errno(libc::EINTR) => {}
                _ => return None,
            }
        }
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: a live array of two; the descriptors are new and owned here.
    unsafe {
        if libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) == -1 {
            return Err(io::Error::last_os_error());
        }
        Ok((OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])))
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|s| CStr::as_ptr(s))
        .chain([ptr::null()])
        .collect()
}

/// The child's way to exec: async-signal-safe calls only.
///
/// # Safety
/// To be called in a freshly forked child, with null-terminated arrays.
unsafe fn child(
    plan: &Plan<'_>,
    argv: &[*const c_char],
    shell_argv: &[*const c_char],
    report: RawFd,
    go: RawFd,
) -> ! {
    // SAFETY: see above; all pointers are live until exec or exit.
    unsafe {
        for (signal, action) in &plan.inherited.actions {
            libc::sigaction(*signal, action, ptr::null_mut());
        }
        let tell = |errno: Errno| {
            let bytes = errno.0.to_ne_bytes();
            libc::write(report, bytes.as_ptr().cast(), bytes.len());
        };
        tell(match &plan.filter {
            Some(filter) => install_filter(filter).err().unwrap_or(Errno(0)),
            None => Errno(0),
        });
        loop {
            let mut word = [0u8; 4];
            match libc::read(go, word.as_mut_ptr().cast(), word.len()) {
                4 if word == [0; 4] => break,
                4 => {
                    let tracer = i32::from_ne_bytes(word) as libc::c_ulong;
                    libc::prctl(libc::PR_SET_PTRACER, tracer, 0, 0, 0);
                    tell(Errno(0));
                }
                -1 if last_errno() == Errno(libc::EINTR) => {}
                _ => libc::_exit(1),
            }
        }
        if let Some(user) = &plan.user
            && (libc::setgroups(user.groups.len(), user.groups.as_ptr()) == -1
                || libc::setresgid(user.gid, user.gid, user.gid) == -1
                || libc::setresuid(user.uid, user.uid, user.uid) == -1)
        {
            tell(last_errno());
            libc::_exit(126);
        }
        for fd in 0..3 {
            if closed_at_start(fd) {
                libc::close(fd);
            }
        }
        libc::sigprocmask(
            libc::SIG_SETMASK,
            &raw const plan.inherited.mask,
            ptr::null_mut(),
        );
        libc::execve(plan.path.as_ptr(), argv.as_ptr(), environ);
        let mut errno = last_errno();
        if errno == Errno::ENOEXEC {
            // A script without #!, as execvp(3) treats it.
            libc::execve(shell_argv[0], shell_argv.as_ptr(), environ);
            errno = last_errno();
        }
        tell(errno);
        libc::_exit(if errno == Errno::ENOENT { 127 } else { 126 })
    }
}

/// Installs a filter, if need be by giving up privileges that exec might gain
/// (no_new_privs), which one without CAP_SYS_ADMIN has to.
fn install_filter(filter: &[libc::sock_filter]) -> Result<(), Errno> {
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    let install = || {
        // SAFETY: `program` describes the live array `filter`, which the
        // kernel copies.
        let result = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                0,
                &raw const program,
            )
        };
        check(result).map(drop)
    };
    match install() {
        Err(Errno::EACCES) => {
            // SAFETY: a system call on numbers.
            check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.into())?;
            install()
        }
        other => other,
    }
}
