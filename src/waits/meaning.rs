//! What waits and signals mean, in one line of plain words each.

use super::{Change, Target, WNOHANG, Whom};
use crate::event::{End, Kill, Wait};
use crate::ids::{Errno, Pid, Signal, Tid};

/// A process or thread: its number as forktrace sees it, and that in the caller's
/// pid namespace where it differs or is all that is known.
pub fn number(known: Option<Tid>, in_callers: i32, caller_is_inside: bool) -> String {
    match known {
        Some(tid) if tid.0 == in_callers => tid.to_string(),
        Some(tid) => format!("{tid} ({in_callers} in the caller's pid namespace)"),
        None if caller_is_inside => format!("{in_callers} (in the caller's pid namespace)"),
        None => in_callers.to_string(),
    }
}

/// How a process ended: "exited with 3", "was killed by SIGTERM".
pub fn ended(end: End) -> String {
    match end {
        End::Exited(status) => format!("exited with {status}"),
        End::Killed {
            signal,
            core_dumped,
        } => {
            let core = if core_dumped { ", core dumped" } else { "" };
            format!("was killed by {signal}{core}")
        }
    }
}

/// What a wait told, or why it told nothing.
pub fn wait(wait: &Wait) -> String {
    let Some(answer) = wait.answer else {
        return "the caller was killed in the call".to_owned();
    };
    if let Err(errno) = answer {
        return failed_wait(wait, errno);
    }
    let Some(told) = wait.told() else {
        return match wait.call.options() & WNOHANG {
            0 => "a child's change is taken note of; nobody asked which".to_owned(),
            _ => "nothing to report yet; WNOHANG doesn't wait".to_owned(),
        };
    };
    let child = number(wait.child, told.child.0, true);
    match told.change {
        Change::Ended(Some(end)) if told.kept => {
            let end = ended(end);
            format!("{child} {end}; it can be waited for again (WNOWAIT)")
        }
        Change::Ended(None) if told.kept => {
            format!("{child} has ended; it can be waited for again (WNOWAIT)")
        }
        Change::Ended(Some(end)) => format!("reaps {child}, which {}", ended(end)),
        Change::Ended(None) => format!("reaps {child}; how it ended was not asked"),
        Change::Stopped(signal) => format!("stop of {child} by {signal} reported"),
        Change::Trapped => format!("ptrace stop of {child} reported"),
        Change::Continued => format!("continuation of {child} reported"),
        Change::Unknown => {
            format!("{child} ended, stopped or went on: which of it was not asked")
        }
    }
}

const ECHILD: Errno = Errno(libc::ECHILD);
/// See [`Errno::restart`].
const ERESTARTSYS: Errno = Errno(512);

fn failed_wait(wait: &Wait, errno: Errno) -> String {
    let whom = wait.call.whom();
    match errno {
        ECHILD => match whom {
            Whom::Any | Whom::Unknown => "no child left to wait for".to_owned(),
            Whom::Process(pid) => {
                format!("{pid} is no child to wait for: never one, or reaped already")
            }
            Whom::OwnGroup | Whom::Group(_) => {
                "no child of that process group left to wait for".to_owned()
            }
            Whom::Pidfd(fd) => format!("the process behind pidfd {fd} is no child to wait for"),
        },
        ERESTARTSYS => {
            "a signal came first: waits again, unless its handler is without SA_RESTART".to_owned()
        }
        Errno::EINTR => "a signal came first".to_owned(),
        Errno::EAGAIN => "nothing to report yet; the pidfd is non-blocking".to_owned(),
        Errno::EBADF => "no such pidfd".to_owned(),
        Errno::EINVAL => "options, or an id, that the kernel refuses".to_owned(),
        Errno::EFAULT => "the answer could not be stored: a bad address".to_owned(),
        _ => "nothing is waited for".to_owned(),
    }
}

/// What a signal was sent to, or why none was; a thread of `caller` called.
pub fn kill(kill: &Kill, tid: Tid, caller: Pid) -> String {
    let signal = kill.call.signal();
    let whom = target(kill, tid, caller);
    match kill.answer {
        None => format!("the caller was killed in the call, {signal} to {whom}"),
        Some(Err(errno)) => failed_kill(kill, errno, signal, &whom),
        Some(Ok(0)) if signal == Signal(0) => {
            format!("finds that it may signal {whom}; signal 0 sends nothing")
        }
        Some(Ok(0)) => format!("{signal} to {whom}"),
        Some(Ok(value)) => {
            format!("nothing sent: a seccomp filter answered {value} in the kernel's place")
        }
    }
}

/// Whom a signal is for, in words.
fn target(kill: &Kill, tid: Tid, caller: Pid) -> String {
    let one = |number_there: i32| number(kill.target, number_there, true);
    match kill.call.target() {
        Target::Process(_) if kill.target == Some(Tid::from(caller)) => {
            "its own process".to_owned()
        }
        Target::Process(pid) => format!("process {}", one(pid.0)),
        Target::Thread(..) if kill.target == Some(tid) => "itself".to_owned(),
        Target::Thread(None, thread) => format!("thread {}", one(thread)),
        Target::Thread(Some(group), thread) => {
            format!("thread {} of process {group}", one(thread))
        }
        Target::Pidfd(fd) => match kill.target {
            Some(tid) => format!("process {tid}, by pidfd {fd}"),
            None => format!("the process behind pidfd {fd}"),
        },
        Target::OwnGroup => "its own process group".to_owned(),
        Target::Group(group) => format!("process group {group}"),
        Target::Everyone => "every process that it may signal".to_owned(),
    }
}

fn failed_kill(kill: &Kill, errno: Errno, signal: Signal, whom: &str) -> String {
    match errno {
        Errno::ESRCH => match kill.call.target() {
            Target::Process(_) | Target::Thread(..) => format!("there is no {whom}"),
            Target::Pidfd(_) => format!("gone: {whom}"),
            _ => "there is no process to signal".to_owned(),
        },
        Errno::EPERM => format!("not permitted to send it to {whom}"),
        Errno::EINVAL if signal != Signal(0) && !signal.exists() => "no such signal".to_owned(),
        Errno::EAGAIN => "too many signals are queued (ulimit -i)".to_owned(),
        Errno::EBADF => "no such pidfd".to_owned(),
        _ => "nothing is sent".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{Abi, Syscall};
    use crate::memory::Regions;
    use crate::waits::{KillCall, Stored, WNOWAIT, WaitCall};

    fn wait4(pid: i32, options: u64, answer: Result<i64, i32>, status: Option<i32>) -> Wait {
        let syscall = Syscall {
            abi: Abi::X86_64,
            nr: 61,
            args: [pid as u32 as u64, 0, options, 0, 0, 0],
        };
        let call = WaitCall::of(syscall).unwrap();
        Wait {
            answer: Some(answer.map_err(Errno)),
            stored: Stored {
                status,
                ..Stored::default()
            },
            child: answer.ok().map(|value| Tid(value as i32)),
            ..Wait::unanswered(call)
        }
    }

    #[test]
    fn waits_in_words() {
        let said = |pid, options, answer, status| wait(&wait4(pid, options, answer, status));
        assert_eq!(
            said(-1, 0, Ok(4281), Some(3 << 8)),
            "reaps 4281, which exited with 3"
        );
        assert_eq!(
            said(-1, 0, Ok(4281), Some(11 | 0x80)),
            "reaps 4281, which was killed by SIGSEGV, core dumped"
        );
        assert_eq!(
            said(-1, 2, Ok(4281), Some(0x137f)),
            "stop of 4281 by SIGSTOP reported"
        );
        assert_eq!(
            said(-1, WNOWAIT, Ok(4281), Some(0)),
            "4281 exited with 0; it can be waited for again (WNOWAIT)"
        );
        assert_eq!(
            said(-1, 0, Ok(4281), None),
            "reaps 4281; how it ended was not asked"
        );
        assert_eq!(
            said(-1, 1, Ok(0), None),
            "nothing to report yet; WNOHANG doesn't wait"
        );
        assert_eq!(said(-1, 0, Err(10), None), "no child left to wait for");
        assert!(said(7, 0, Err(10), None).starts_with("7 is no child"));
        assert!(said(7, 0, Err(512), None).starts_with("a signal came first"));
    }

    #[test]
    fn numbers_of_other_namespaces_are_told_as_such() {
        let mut one = wait4(-1, 0, Ok(2), Some(0));
        one.child = Some(Tid(4290));
        assert_eq!(
            wait(&one),
            "reaps 4290 (2 in the caller's pid namespace), which exited with 0"
        );
        one.child = None;
        assert_eq!(
            wait(&one),
            "reaps 2 (in the caller's pid namespace), which exited with 0"
        );
    }

    #[test]
    fn signals_in_words() {
        let said = |nr, args: [u64; 6], answer: Option<Result<i64, i32>>, target: Option<i32>| {
            let syscall = Syscall {
                abi: Abi::X86_64,
                nr,
                args,
            };
            let one = Kill {
                call: KillCall::decode(syscall, &mut Regions::default()).unwrap(),
                target: target.map(Tid),
                answer: answer.map(|answer| answer.map_err(Errno)),
                latency: None,
            };
            kill(&one, Tid(4280), Pid(4280))
        };
        let term = |pid: u64| [pid, 15, 0, 0, 0, 0];
        let done = Some(Ok(0));
        assert_eq!(
            said(62, term(4281), done, Some(4281)),
            "SIGTERM to process 4281"
        );
        assert_eq!(
            said(62, term(4280), done, Some(4280)),
            "SIGTERM to its own process"
        );
        assert_eq!(
            said(62, term(0), done, None),
            "SIGTERM to its own process group"
        );
        assert_eq!(
            said(62, term(2), done, Some(4290)),
            "SIGTERM to process 4290 (2 in the caller's pid namespace)"
        );
        assert_eq!(
            said(234, [4280, 4280, 6, 0, 0, 0], done, Some(4280)),
            "SIGABRT to itself"
        );
        assert_eq!(
            said(424, [3, 9, 0, 0, 0, 0], done, Some(4281)),
            "SIGKILL to process 4281, by pidfd 3"
        );
        assert_eq!(
            said(62, term(4281), Some(Err(3)), Some(4281)),
            "there is no process 4281"
        );
        assert_eq!(
            said(62, [4281, 99, 0, 0, 0, 0], Some(Err(22)), Some(4281)),
            "no such signal"
        );
        assert_eq!(
            said(62, [4280, 9, 0, 0, 0, 0], None, Some(4280)),
            "the caller was killed in the call, SIGKILL to its own process"
        );
    }
}
