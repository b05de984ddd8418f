//! The witness: a process that can tell which signals came to the whole group.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::{Duration, Instant};

use super::signals::sender_of;
use super::{Arrival, close_all_from, kill, reap};
use crate::ids::{Signal, Tid};

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
