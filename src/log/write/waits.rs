//! Waits and signals as lines.

use super::super::line::{KillLine, SigInfoLine, WaitLine};
use super::super::types::{Hex, HexBytes};
use super::super::words::{Of, Signalling, Waiting};
use super::{ns, word};
use crate::event::{End, Event, Kill, Wait};
use crate::ids::Errno;
use crate::waits::Change;
use crate::waits::siginfo::{Detail, More, SigInfo};

/// What a call returned, and its error.
fn answer(answer: Option<Result<i64, Errno>>) -> (Option<i64>, Option<Errno>) {
    match answer {
        Some(Ok(value)) => (Some(value), None),
        Some(Err(errno)) => (None, Some(errno)),
        None => (None, None),
    }
}

fn change(change: Change) -> &'static str {
    match change {
        Change::Ended(Some(End::Exited(_))) => "exited",
        Change::Ended(Some(End::Killed { .. })) => "killed",
        Change::Ended(None) => "ended",
        Change::Stopped(_) => "stopped",
        Change::Trapped => "trapped",
        Change::Continued => "continued",
        Change::Unknown => "unknown",
    }
}

pub(super) fn wait<'a>(event: &'a Event, wait: &Wait) -> WaitLine<'a> {
    let (returned, error) = answer(wait.answer);
    let syscall = wait.call.syscall;
    let told = wait.told();
    line!(WaitLine of event {
        syscall: syscall.call().and_then(Waiting::of),
        child_tid: wait.child.map(|tid| tid.0),
        change: told.map(|told| change(told.change).to_owned()),
        reaped: told.is_some_and(|told| matches!(told.change, Change::Ended(_)) && !told.kept),
        status_word: wait.stored.status,
        child_utime: wait.stored.usage.map(|times| times.user.into()),
        child_stime: wait.stored.usage.map(|times| times.system.into()),
        returned,
        errno: error.and_then(Errno::symbol),
        errno_nr: error.map(|errno| errno.0),
        siginfo: wait.stored.info.as_ref().map(siginfo),
        abi: Of::Known(syscall.abi),
        nr: syscall.nr,
        args: syscall.args.map(Hex),
        latency_ns: wait.latency.map(ns),
    })
}

pub(super) fn kill<'a>(event: &'a Event, kill: &Kill) -> KillLine<'a> {
    let (returned, error) = answer(kill.answer);
    let syscall = kill.call.syscall;
    let signal = kill.call.signal();
    line!(KillLine of event {
        syscall: syscall.call().and_then(Signalling::of),
        target_tid: kill.target.map(|tid| tid.0),
        signal: signal.to_string(),
        signal_nr: signal.0,
        returned,
        errno: error.and_then(Errno::symbol),
        errno_nr: error.map(|errno| errno.0),
        siginfo: kill.call.info.as_ref().map(siginfo),
        abi: Of::Known(syscall.abi),
        nr: syscall.nr,
        args: syscall.args.map(Hex),
        latency_ns: kill.latency.map(ns),
    })
}

fn siginfo(info: &SigInfo) -> SigInfoLine {
    let mut line = SigInfoLine {
        signo_nr: info.signo.0,
        code_nr: info.code,
        code: info.code_name(),
        errno_nr: Some(info.errno).filter(|errno| *errno != 0),
        ..SigInfoLine::default()
    };
    match info.more {
        More::Nothing => {}
        More::Sent { sender, value } => {
            line.pid = sender.map(|(pid, _)| pid);
            line.uid = sender.map(|(_, uid)| uid);
            line.value = value.map(Hex);
        }
        More::Timer { id, overrun, value } => {
            line.timer_id = Some(id);
            line.overrun = Some(overrun);
            line.value = Some(Hex(value)).filter(|_| value != 0);
        }
        More::Child {
            pid,
            uid,
            status,
            user,
            system,
        } => {
            line.pid = Some(pid);
            line.uid = Some(uid);
            line.status = Some(status);
            line.utime_ticks = Some(user);
            line.stime_ticks = Some(system);
        }
        More::Fault { addr, detail } => {
            line.addr = Some(Hex(addr));
            match detail {
                Detail::None => {}
                Detail::Lsb(bit) => line.addr_lsb = Some(bit),
                Detail::Bounds(lower, upper) => line.bounds = Some([Hex(lower), Hex(upper)]),
                Detail::Key(key) => line.pkey = Some(key),
            }
        }
        More::Poll { band, fd } => {
            line.band = Some(band);
            line.fd = Some(fd);
        }
        More::Syscall { addr, nr, arch } => {
            line.addr = Some(Hex(addr));
            line.syscall_nr = Some(nr);
            line.arch = Some(arch);
        }
    }
    line
}
