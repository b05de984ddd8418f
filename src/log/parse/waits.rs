//! Waits and signals from lines.

use std::time::Duration;

use super::super::line::{KillLine, SigInfoLine, WaitLine};
use super::super::types::Hex;
use super::super::words::Signalling;
use super::{Trouble, call, known};
use crate::abi::{Abi, Syscall};
use crate::event::{Event, EventKind, Kill, Wait};
use crate::ids::{Comm, Errno, Pid, Signal, Tid};
use crate::waits::siginfo::{Detail, More, SigInfo};
use crate::waits::{KillCall, Stored, Times, WaitCall};

fn syscall(abi: Abi, nr: u64, args: [Hex; 6]) -> Syscall {
    let args = args.map(|Hex(value)| value);
    Syscall { abi, nr, args }
}

fn answer(returned: Option<i64>, errno: Option<i32>) -> Option<Result<i64, Errno>> {
    match (returned, errno) {
        (Some(value), _) => Some(Ok(value)),
        (None, Some(errno)) => Some(Err(Errno(errno))),
        (None, None) => None,
    }
}

pub(super) fn wait(line: WaitLine<'_>) -> Result<Event, Trouble> {
    let syscall = syscall(known("abi", line.abi)?, line.nr, line.args);
    let call = call(syscall, |_| WaitCall::of(syscall), "waits")?;
    let usage = match (line.child_utime, line.child_stime) {
        (Some(user), Some(system)) => Some(Times {
            user: user.into(),
            system: system.into(),
        }),
        _ => None,
    };
    let wait = Wait {
        call,
        answer: answer(line.returned, line.errno_nr),
        stored: Stored {
            status: line.status_word,
            info: line.siginfo.as_ref().map(siginfo),
            usage,
        },
        child: line.child_tid.map(Tid),
        latency: line.latency_ns.map(Duration::from_nanos),
    };
    Ok(event!(line, EventKind::Wait(Box::new(wait))))
}

pub(super) fn kill(line: KillLine<'_>) -> Result<Event, Trouble> {
    let syscall = syscall(known("abi", line.abi)?, line.nr, line.args);
    call(syscall, Signalling::of, "sends a signal")?;
    let kill = Kill {
        call: KillCall {
            syscall,
            info: line.siginfo.as_ref().map(siginfo),
        },
        target: line.target_tid.map(Tid),
        answer: answer(line.returned, line.errno_nr),
        latency: line.latency_ns.map(Duration::from_nanos),
    };
    Ok(event!(line, EventKind::Kill(Box::new(kill))))
}

/// Which fields are there tells what it is.
fn siginfo(line: &SigInfoLine) -> SigInfo {
    let value = line.value.map(|Hex(value)| value);
    let more = if let Some(status) = line.status {
        More::Child {
            pid: line.pid.unwrap_or_default(),
            uid: line.uid.unwrap_or_default(),
            status,
            user: line.utime_ticks.unwrap_or_default(),
            system: line.stime_ticks.unwrap_or_default(),
        }
    } else if let Some(id) = line.timer_id {
        More::Timer {
            id,
            overrun: line.overrun.unwrap_or_default(),
            value: value.unwrap_or_default(),
        }
    } else if let Some(band) = line.band {
        More::Poll {
            band,
            fd: line.fd.unwrap_or_default(),
        }
    } else if let Some(Hex(addr)) = line.addr {
        match line.arch {
            Some(arch) => More::Syscall {
                addr,
                nr: line.syscall_nr.unwrap_or_default(),
                arch,
            },
            None => More::Fault {
                addr,
                detail: match (line.addr_lsb, line.bounds, line.pkey) {
                    (Some(bit), _, _) => Detail::Lsb(bit),
                    (_, Some([Hex(lower), Hex(upper)]), _) => Detail::Bounds(lower, upper),
                    (_, _, Some(key)) => Detail::Key(key),
                    _ => Detail::None,
                },
            },
        }
    } else if SigInfo::is_bare(Signal(line.signo_nr), line.code_nr) {
        More::Nothing
    } else {
        More::Sent {
            sender: line.pid.map(|pid| (pid, line.uid.unwrap_or_default())),
            value,
        }
    };
    SigInfo {
        signo: Signal(line.signo_nr),
        errno: line.errno_nr.unwrap_or_default(),
        code: line.code_nr,
        more,
    }
}
