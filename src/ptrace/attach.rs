//! Attaching: seizing all threads of processes that run already, those born
//! meanwhile included.
//!
//! A thread that was seized brings the threads it creates from then on along;
//! one that was not yet seized may create threads that nobody traces. So the
//! thread lists are read again until they show nothing new.

use std::collections::HashSet;
use std::{fs, io};

use anyhow::anyhow;

use super::live::{comm_of, field, status_of};
use super::sys;
use crate::event::Attached;
use crate::ids::{Comm, Errno, Pid, Tid};

/// What to attach to.
#[derive(Debug, Clone)]
pub struct Targets {
    /// The processes.
    pub pids: Vec<Pid>,
    /// Whether the processes below them are taken too.
    pub descendants: bool,
}

/// A thread that was seized.
#[derive(Debug)]
pub struct Seized {
    /// Its tid.
    pub tid: Tid,
    /// Its process.
    pub tgid: Pid,
    /// Its name.
    pub comm: Comm,
    /// How many pid namespaces below forktrace's its own is.
    pub ns_level: u8,
    /// What there is to tell of it.
    pub attached: Attached,
}

/// What a round of seizing found.
#[derive(Debug, Default)]
pub struct Round {
    /// Threads that are traced from now on.
    pub seized: Vec<Seized>,
    /// Processes that can't be traced, or not all of whose threads can, with the
    /// reason in words.
    pub refused: Vec<(Pid, anyhow::Error)>,
}

impl Targets {
    /// Puts processes in the place of their threads, each process once. Returns
    /// a line on each thread. To be asked where /proc is forktrace's own.
    pub fn resolve(&mut self) -> Vec<String> {
        let mut notices = Vec::new();
        let mut found: Vec<Pid> = Vec::new();
        for given in &self.pids {
            let status = status_of(Tid::from(*given)).unwrap_or_default();
            let tgid = field(&status, "Tgid").and_then(|word| word.parse().ok());
            let pid = tgid.map_or(*given, Pid);
            if pid != *given {
                notices.push(format!(
                    "-p {given}: that is a thread of process {pid}, and stands for all of it"
                ));
            }
            if !found.contains(&pid) {
                found.push(pid);
            }
        }
        self.pids = found;
        notices
    }
}

/// Seizes every thread of the targets that `known` doesn't know, until the
/// thread lists show no new one.
pub fn seize_all(targets: &Targets, options: i32, known: &dyn Fn(Tid) -> bool) -> Round {
    let mut round = Round::default();
    let mut done: HashSet<Tid> = HashSet::new();
    let mut refused: HashSet<Pid> = HashSet::new();
    loop {
        let before = done.len();
        let processes = match processes(targets) {
            Ok(processes) => processes,
            Err(error) => {
                for pid in &targets.pids {
                    let reason = unreadable("the processes below it", &error);
                    round.refused.push((*pid, reason));
                }
                return round;
            }
        };
        for pid in processes {
            if refused.contains(&pid) {
                continue;
            }
            let tids = match threads(pid) {
                Ok(tids) => tids,
                Err(error) => {
                    round.refused.push((pid, unreadable("its threads", &error)));
                    refused.insert(pid);
                    continue;
                }
            };
            if tids.is_empty() && targets.pids.contains(&pid) && round_is_first(&done, known, pid) {
                round.refused.push((pid, anyhow!("No such process")));
                refused.insert(pid);
            }
            for tid in tids {
                if known(tid) || !done.insert(tid) {
                    continue;
                }
                match seize(pid, tid, options) {
                    Ok(Some(seized)) => round.seized.push(seized),
                    Ok(None) => {}
                    // One below the targets that has ended is nothing to report.
                    Err(Refusal::Ended) if !targets.pids.contains(&pid) => {}
                    Err(reason) => {
                        let reason = reason.into_error();
                        let new = |seized: &Seized| seized.tgid == pid;
                        let partly = known(Tid::from(pid)) || round.seized.iter().any(new);
                        if !partly {
                            round.refused.push((pid, reason));
                            refused.insert(pid);
                            break;
                        }
                        let reason = reason.context(format!("not to its thread {tid}"));
                        round.refused.push((pid, reason));
                    }
                }
            }
        }
        if done.len() == before {
            return round;
        }
    }
}

/// Whether nothing of a process was seen yet: later it may just have ended.
fn round_is_first(done: &HashSet<Tid>, known: &dyn Fn(Tid) -> bool, pid: Pid) -> bool {
    !done.contains(&Tid::from(pid)) && !known(Tid::from(pid))
}

/// Seizes one thread. `None`: it is gone, or came along with its creator.
fn seize(pid: Pid, tid: Tid, options: i32) -> Result<Option<Seized>, Refusal> {
    let errno = match sys::seize(tid, options) {
        Ok(()) => return Ok(look(pid, tid)),
        Err(errno) => errno,
    };
    if errno == Errno(libc::ESRCH) {
        return Ok(None);
    }
    let status = status_of(tid).unwrap_or_default();
    let tracer = field(&status, "TracerPid").unwrap_or("0");
    let state = field(&status, "State").unwrap_or("X");
    let own = sys::own_tid();
    if tracer == own.to_string() || (state.starts_with(['Z', 'X']) && tid != Tid::from(pid)) {
        return Ok(None);
    }
    if state.starts_with(['Z', 'X']) {
        // A leader that exited before its threads: they are all there is.
        return match threads(pid) {
            Ok(tids) if tids.len() < 2 => Err(Refusal::Ended),
            _ => Ok(None),
        };
    }
    Err(Refusal::Forbidden(match tracer {
        _ if tid == own || pid == Pid::from(own) => anyhow!("forktrace can't trace itself"),
        "0" if is_kernel_thread(tid) => anyhow!("a kernel thread can't be traced"),
        "0" => anyhow!("{}{}", errno.text(), permission_hint(errno)),
        other => anyhow!("it is traced already, by process {other}"),
    }))
}

/// Why a thread can't be seized.
enum Refusal {
    /// Its process has ended and waits for its parent.
    Ended,
    /// Something forbids it.
    Forbidden(anyhow::Error),
}

impl Refusal {
    fn into_error(self) -> anyhow::Error {
        match self {
            Refusal::Ended => anyhow!("it has ended and waits for its parent"),
            Refusal::Forbidden(error) => error,
        }
    }
}

/// What to do about a refusal.
fn permission_hint(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM => attach_hint(&yama_scope()),
        Errno::ENOSYS => NO_PTRACE,
        _ => "",
    }
}

/// What to do about ENOSYS: no kernel that forktrace runs on lacks the call.
pub(super) const NO_PTRACE: &str = "; a sandbox's seccomp filter hides ptrace: in a container \
                                    allow it (docker run --cap-add=SYS_PTRACE)";

/// What `kernel.yama.ptrace_scope` says; empty without Yama.
pub(super) fn yama_scope() -> String {
    let text = sys::read_proc("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    String::from_utf8_lossy(&text).trim().to_owned()
}

/// What to do where attaching is not permitted, given Yama's scope
/// (Documentation/admin-guide/LSM/Yama.rst).
fn attach_hint(scope: &str) -> &'static str {
    match scope {
        "1" => {
            "; kernel.yama.ptrace_scope is 1: only a program's own ancestors and root may attach \
             (sudo, or sysctl kernel.yama.ptrace_scope=0)"
        }
        "2" => "; kernel.yama.ptrace_scope is 2: attaching needs CAP_SYS_PTRACE (sudo)",
        "3" => "; kernel.yama.ptrace_scope is 3: attaching is forbidden until reboot",
        // None, 0, or one that this forktrace doesn't know.
        _ => {
            "; attaching to another user's or a privileged process needs CAP_SYS_PTRACE (sudo; in \
             a container --cap-add=SYS_PTRACE)"
        }
    }
}

fn look(pid: Pid, tid: Tid) -> Option<Seized> {
    let status = status_of(tid)?;
    let tids: Vec<i32> = field(&status, "NSpid")
        .unwrap_or_default()
        .split_ascii_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let parent = field(&status, "PPid").and_then(|word| word.parse().ok());
    Some(Seized {
        tid,
        tgid: pid,
        ns_level: tids.len().saturating_sub(1) as u8,
        comm: comm_of(tid),
        attached: Attached {
            parent: Pid(parent.unwrap_or(0)),
            own: tids.last().copied().unwrap_or(tid.0),
            orphan: false,
        },
    })
}

/// Whether a thread is one of the kernel's own (PF_KTHREAD of the ninth field of
/// `/proc/PID/stat`, proc_pid_stat(5); include/linux/sched.h).
fn is_kernel_thread(tid: Tid) -> bool {
    const PF_KTHREAD: u64 = 0x0020_0000;
    let stat = sys::read_proc(&format!("/proc/{tid}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold anything.
    let stat = String::from_utf8_lossy(&stat).into_owned();
    let flags = stat
        .rsplit_once(") ")
        .and_then(|(_, after)| after.split(' ').nth(6)?.parse::<u64>().ok());
    flags.is_some_and(|flags| flags & PF_KTHREAD != 0)
}

/// The threads of a process, its leader first; none if there is no such process.
fn threads(pid: Pid) -> io::Result<Vec<Tid>> {
    let mut tids: Vec<Tid> = match numbers(&format!("/proc/{pid}/task")) {
        Ok(numbers) => numbers.into_iter().map(Tid).collect(),
        Err(error) if is_gone(&error) => Vec::new(),
        Err(error) => return Err(error),
    };
    leader_first(pid, &mut tids);
    Ok(tids)
}

/// Sorts threads: a process is told before its threads, whose numbers may be
/// smaller where they began anew.
fn leader_first(pid: Pid, tids: &mut [Tid]) {
    tids.sort_unstable_by_key(|tid| (*tid != Tid::from(pid), *tid));
}

/// The names in a directory that are numbers.
fn numbers(directory: &str) -> io::Result<Vec<i32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        match entry {
            Ok(entry) => {
                let name = entry.file_name();
                numbers.extend(name.to_str().and_then(|name| name.parse::<i32>().ok()));
            }
            Err(error) if is_gone(&error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(numbers)
}

/// Whether what a file of /proc is about has ended.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno),
        Some(Errno::ENOENT | Errno::ESRCH)
    )
}

/// What can't be read of /proc, and what to do.
fn unreadable(what: &str, error: &io::Error) -> anyhow::Error {
    let errno = Errno(error.raw_os_error().unwrap_or(0));
    let hint = match errno {
        Errno(libc::EMFILE) => "; raise the limit on open files (ulimit -n)",
        _ => "",
    };
    anyhow!("{what} can't be listed: {}{hint}", errno.text())
}

/// The targets, and what is below them if that is wanted, parents first.
fn processes(targets: &Targets) -> io::Result<Vec<Pid>> {
    let mut found = targets.pids.clone();
    if !targets.descendants {
        return Ok(found);
    }
    let parents: Vec<(Pid, Pid)> = numbers("/proc")?
        .into_iter()
        .filter_map(|pid| {
            let status = status_of(Tid(pid))?;
            Some((Pid(pid), Pid(field(&status, "PPid")?.parse().ok()?)))
        })
        .collect();
    let own = Pid::from(sys::own_tid());
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        for (pid, its_parent) in &parents {
            if *its_parent == parent && *pid != own && !found.contains(pid) {
                found.push(*pid);
            }
        }
        next += 1;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_seized_before_its_threads() {
        let mut tids = [Tid(300), Tid(32_000), Tid(31_999), Tid(301)];
        leader_first(Pid(31_999), &mut tids);
        assert_eq!(tids, [Tid(31_999), Tid(300), Tid(301), Tid(32_000)]);
    }

    #[test]
    fn a_refusal_names_the_setting_that_is_to_blame() {
        for (scope, words) in [
            ("", "CAP_SYS_PTRACE (sudo; in a container"),
            ("0", "CAP_SYS_PTRACE (sudo; in a container"),
            ("1", "ptrace_scope is 1: only a program's own ancestors"),
            ("2", "ptrace_scope is 2: attaching needs CAP_SYS_PTRACE"),
            ("3", "ptrace_scope is 3: attaching is forbidden"),
            ("4", "CAP_SYS_PTRACE (sudo; in a container"),
        ] {
            let hint = attach_hint(scope);
            assert!(
                hint.starts_with("; ") && hint.contains(words),
                "{scope}: {hint}"
            );
        }
        assert_eq!(permission_hint(Errno::ESRCH), "");
    }
}
