//! Job control: how forktrace itself is stopped, with what it traces, and who continues
//! it then.

use std::ffi::{CString, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::signals::sender_of;
use super::{close_all_from, kill, reap};
use crate::ids::{Signal, Tid};

/// The stops that a terminal, or a program that suspends its job, sends to a
/// whole process group. forktrace keeps them blocked. One that came is pending,
/// then, and says that the job was told to stop; the kernel takes it back when
/// SIGCONT comes.
pub(super) const JOB_STOPS: [c_int; 3] = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

/// Whether SIGCONT came, but for one of the watch.
static CONTINUED: AtomicBool = AtomicBool::new(false);
/// The process that watches over stopped tracees; 0: none.
static WATCH: AtomicI32 = AtomicI32::new(0);

pub(super) extern "C" fn on_continue(
    _signal: c_int,
    info: *mut libc::siginfo_t,
    _context: *mut c_void,
) {
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
