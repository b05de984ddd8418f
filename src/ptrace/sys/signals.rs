//! forktrace's own signals: what comes to it may be meant for the program. And the timer
//! that ends a wait.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use super::jobs::{JOB_STOPS, on_continue};
use crate::ids::{Signal, Tid};

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
pub(super) fn sender_of(info: &libc::siginfo_t) -> Option<i32> {
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
    pub(super) mask: libc::sigset_t,
    pub(super) actions: Vec<(c_int, libc::sigaction)>,
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
