//! Waits and signals in the text view: the calls in the syntax of strace, to the
//! letter, and what they mean.

use std::fmt::Write;

use super::style::Part;
use super::syntax::{addr, hex};
use super::text::Format;
use crate::digits;
use crate::event::{Event, Kill, Wait};
use crate::ids::{Pid, Signal};
use crate::waits::siginfo::{Detail, More, SigInfo};
use crate::waits::{KillCall, Stored, Target, Times, WaitCall, meaning};

impl Format {
    /// A line for a wait.
    pub(super) fn wait(self, out: &mut String, wait: &Wait) {
        self.palette
            .paint(out, Part::Wait, |out| out.push_str(wait.call.name()));
        wait_call(out, wait);
        out.push_str(" = ");
        match wait.answer {
            None => out.push('?'),
            Some(Err(errno)) => self.error(out, errno),
            Some(Ok(value)) => match wait.told() {
                Some(told) if !wait.call.is_waitid() => {
                    out.push_str(&meaning::number(wait.child, told.child.0, true));
                }
                _ => digits::decimal(out, value),
            },
        }
        self.in_call(out, wait.latency);
        self.meaning(out, || meaning::wait(wait));
    }

    /// A line for a signal.
    pub(super) fn kill(self, out: &mut String, event: &Event, kill: &Kill) {
        self.palette
            .paint(out, Part::Kill, |out| out.push_str(kill.call.name()));
        kill_call(out, &kill.call);
        out.push_str(" = ");
        match kill.answer {
            None => out.push('?'),
            Some(Err(errno)) => self.error(out, errno),
            Some(Ok(value)) => digits::decimal(out, value),
        }
        self.in_call(out, kill.latency);
        self.meaning(out, || meaning::kill(kill, event.tid, event.tgid));
    }

    /// A line for an orphan.
    pub(super) fn orphaned(self, out: &mut String, by: Pid) {
        self.palette.paint(out, Part::Exit, |out| {
            let _ = write!(out, "+++ orphaned: parent {by} +++");
        });
        self.meaning(out, || match by.0 {
            0 => "its parent is gone; a process outside of the pid namespace reaps it".to_owned(),
            1 => "its parent is gone; init reaps it".to_owned(),
            _ => {
                format!("its parent is gone; {by} reaps it, init of a pid namespace or a subreaper")
            }
        });
    }
}

/// The arguments of a wait.
fn wait_call(out: &mut String, wait: &Wait) {
    let WaitCall { syscall } = wait.call;
    let [first, second, ..] = syscall.args;
    out.push('(');
    if wait.call.is_waitid() {
        match ["P_ALL", "P_PID", "P_PGID", "P_PIDFD"].get(first as u32 as usize) {
            Some(name) => out.push_str(name),
            None => {
                digits::hex(out, u64::from(first as u32));
                out.push_str(" /* P_??? */");
            }
        }
        out.push_str(", ");
        digits::decimal(out, second as i32);
    } else {
        digits::decimal(out, first as i32);
    }
    out.push_str(", ");
    let Stored {
        status,
        info,
        usage,
    } = wait.stored;
    match (status, &info) {
        (Some(status), _) => status_word(out, status),
        (_, Some(info)) => siginfo(out, info),
        _ => addr(out, wait.call.result_addr()),
    }
    out.push_str(", ");
    options(out, wait.call.options());
    if let Some(at) = wait.call.usage_addr() {
        out.push_str(", ");
        match usage {
            Some(times) => rusage(out, &times),
            None => addr(out, at),
        }
    }
    out.push(')');
}

/// A status word as the macros of wait(2) take it apart.
fn status_word(out: &mut String, status: i32) {
    let _ = write!(out, "[");
    let (low, high) = (status & 0x7f, status >> 8 & 0xff);
    // What the macros account for is taken away: the rest stands after it.
    let mut left = status;
    if status & 0xff == 0x7f {
        let signal = Signal(high & 0x7f);
        let call = if high & 0x80 != 0 { " | 0x80" } else { "" };
        let _ = write!(out, "{{WIFSTOPPED(s) && WSTOPSIG(s) == {signal}{call}}}");
        left &= !(high << 8 | 0x7f);
    } else if low != 0 && low != 0x7f {
        let core = if status & 0x80 != 0 {
            " && WCOREDUMP(s)"
        } else {
            ""
        };
        let signal = Signal(low);
        let _ = write!(out, "{{WIFSIGNALED(s) && WTERMSIG(s) == {signal}{core}}}");
        left &= !(low | 0x80);
    } else if low == 0 {
        let _ = write!(out, "{{WIFEXITED(s) && WEXITSTATUS(s) == {high}}}");
        left &= !(high << 8);
    } else if status == 0xffff {
        out.push_str("{WIFCONTINUED(s)}");
        left = 0;
    } else {
        hex(out, u64::from(status as u32));
        left = 0;
    }
    let event = left as u32 >> 16;
    if event != 0 {
        match ptrace_event(event) {
            Some(name) => {
                let _ = write!(out, " | {name} << 16");
            }
            None => {
                let _ = write!(out, " | {event:#x} /* PTRACE_EVENT_??? */ << 16");
            }
        }
        left &= 0xffff;
    }
    if left != 0 {
        let _ = write!(out, " | {left:#x}");
    }
    out.push(']');
}

/// ptrace's events (linux/ptrace.h).
fn ptrace_event(event: u32) -> Option<&'static str> {
    Some(match event {
        1 => "PTRACE_EVENT_FORK",
        2 => "PTRACE_EVENT_VFORK",
        3 => "PTRACE_EVENT_CLONE",
        4 => "PTRACE_EVENT_EXEC",
        5 => "PTRACE_EVENT_VFORK_DONE",
        6 => "PTRACE_EVENT_EXIT",
        7 => "PTRACE_EVENT_SECCOMP",
        128 => "PTRACE_EVENT_STOP",
        _ => return None,
    })
}

/// Options of wait (linux/wait.h), in strace's order.
fn options(out: &mut String, value: u64) {
    const NAMES: &[(u64, &str)] = &[
        (1, "WNOHANG"),
        (4, "WEXITED"),
        (2, "WSTOPPED"),
        (8, "WCONTINUED"),
        (0x0100_0000, "WNOWAIT"),
        (0x8000_0000, "__WCLONE"),
        (0x4000_0000, "__WALL"),
        (0x2000_0000, "__WNOTHREAD"),
    ];
    let mut left = value;
    let mut separator = "";
    for (flag, name) in NAMES {
        if left & flag != 0 {
            out.push_str(separator);
            out.push_str(name);
            separator = "|";
            left &= !flag;
        }
    }
    let _ = match (left, separator) {
        (0, "") => write!(out, "0"),
        (0, _) => Ok(()),
        (_, "") => write!(out, "{left:#x} /* W??? */"),
        _ => write!(out, "|{left:#x}"),
    };
}

fn rusage(out: &mut String, times: &Times) {
    let Times { user, system } = times;
    let _ = write!(
        out,
        "{{ru_utime={{tv_sec={}, tv_usec={}}}, ru_stime={{tv_sec={}, tv_usec={}}}, ...}}",
        user.0, user.1, system.0, system.1
    );
}

/// The arguments of a call that sends a signal.
fn kill_call(out: &mut String, call: &KillCall) {
    let args = call.syscall.args;
    out.push('(');
    digits::decimal(out, args[0] as i32);
    if let Target::Thread(Some(_), thread) = call.target() {
        let _ = write!(out, ", {thread}");
    }
    let _ = write!(out, ", {}", call.signal());
    if let Some(at) = call.info_addr() {
        out.push_str(", ");
        match &call.info {
            Some(info) => siginfo(out, info),
            None => addr(out, at),
        }
    }
    if let Target::Pidfd(_) = call.target() {
        out.push_str(", ");
        hex(out, u64::from(args[3] as u32));
    }
    out.push(')');
}

fn siginfo(out: &mut String, info: &SigInfo) {
    out.push('{');
    if info.signo.0 != 0 {
        let _ = write!(out, "si_signo={}, si_code=", info.signo);
        match info.code_name() {
            Some(name) => out.push_str(name),
            None => hex(out, u64::from(info.code as u32)),
        }
        if info.errno != 0 {
            let _ = match crate::ids::Errno(info.errno).name() {
                Some(name) => write!(out, ", si_errno={name}"),
                None => write!(out, ", si_errno={}", info.errno as u32),
            };
        }
        more(out, info);
    }
    out.push('}');
}

fn more(out: &mut String, info: &SigInfo) {
    let _ = match info.more {
        More::Nothing => Ok(()),
        More::Sent { sender, value } => {
            if let Some((pid, uid)) = sender {
                sent_by(out, pid, uid);
            }
            if let Some(value) = value {
                sent_value(out, value);
            }
            Ok(())
        }
        More::Timer { id, overrun, value } => {
            out.push_str(", si_timerid=");
            hex(out, u64::from(id as u32));
            let _ = write!(out, ", si_overrun={overrun}");
            sent_value(out, value);
            Ok(())
        }
        More::Child {
            pid,
            uid,
            status,
            user,
            system,
        } => {
            sent_by(out, pid, uid);
            // Of an exit it is the status, else a signal.
            let _ = match info.code {
                1 => write!(out, ", si_status={status}"),
                _ => write!(out, ", si_status={}", Signal(status)),
            };
            ticks(out, "si_utime", user);
            ticks(out, "si_stime", system);
            Ok(())
        }
        More::Fault { addr: at, detail } => {
            out.push_str(", si_addr=");
            addr(out, at);
            match detail {
                Detail::None => Ok(()),
                Detail::Lsb(bit) => {
                    out.push_str(", si_addr_lsb=");
                    hex(out, u64::from(bit as u16));
                    Ok(())
                }
                Detail::Bounds(lower, upper) => {
                    out.push_str(", si_lower=");
                    addr(out, lower);
                    out.push_str(", si_upper=");
                    addr(out, upper);
                    Ok(())
                }
                Detail::Key(key) => write!(out, ", si_pkey={key}"),
            }
        }
        More::Poll { band, fd } => write!(out, ", si_band={band}, si_fd={fd}"),
        More::Syscall { addr: at, nr, arch } => {
            out.push_str(", si_call_addr=");
            addr(out, at);
            write!(out, ", si_syscall={nr}, si_arch={arch:#x}")
        }
    };
}

fn sent_by(out: &mut String, pid: i32, uid: u32) {
    let _ = match uid {
        u32::MAX => write!(out, ", si_pid={pid}, si_uid=-1"),
        uid => write!(out, ", si_pid={pid}, si_uid={uid}"),
    };
}

fn sent_value(out: &mut String, value: u64) {
    let _ = write!(out, ", si_int={}, si_ptr=", value as i32);
    addr(out, value);
}

/// Clock ticks, in hundredths of a second.
fn ticks(out: &mut String, name: &str, ticks: u64) {
    let _ = write!(out, ", {name}={ticks}");
    if ticks != 0 {
        let _ = write!(out, " /* {}.{:02} s */", ticks / 100, ticks % 100);
    }
}
