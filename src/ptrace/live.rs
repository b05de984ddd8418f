//! The probe of live tracees: ptrace, process_vm_readv and /proc.
//!
//! To the machine a tracee that doesn't answer is gone. That holds for ESRCH
//! alone, and only if the tracee doesn't go on afterwards; any other error means
//! that something forbids what tracing needs. Both are noted here, so that a
//! trace is ended rather than told with holes.

use std::collections::HashSet;

use super::evidence::{self, Caller};
use super::filter;
use super::machine::creating_abi;
use super::probe::{Gone, Phase, Probe};
use super::sys::{self, SyscallInfo};
use super::task::Stopped;
use crate::abi::{Abi, Syscall};
use crate::clone::Request;
use crate::diagnosis::evidence::{Evidence, ExecEvidence};
pub(super) use crate::diagnosis::parse::field;
use crate::event::Stops;
use crate::exec::ExecCall;
use crate::ids::{Comm, Errno, Pid, Tid};
use crate::memory::Memory;

/// Asks the kernel.
#[derive(Debug)]
pub struct Live {
    /// Whether /proc can be asked about tids.
    proc: bool,
    /// Threads that the kernel called gone, until they report anew.
    gone: HashSet<Tid>,
    refusal: Option<Refusal>,
    /// Where tracees stop: their filters are forktrace's then.
    stops: Stops,
}

/// An answer that the kernel owes a tracer and didn't give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The thread that was asked about.
    pub tid: Tid,
    /// The ptrace request.
    pub request: &'static str,
    /// The answer.
    pub errno: Errno,
}

impl Live {
    /// Looks whether /proc is that of forktrace's own pid namespace.
    pub fn new(stops: Stops) -> Live {
        Live {
            proc: proc_is_ours(),
            gone: HashSet::new(),
            refusal: None,
            stops,
        }
    }

    /// The first answer that was refused, if any.
    pub fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// The kernel says that a thread is gone.
    pub fn is_gone(&mut self, tid: Tid) {
        self.gone.insert(tid);
    }

    /// Whether the kernel called a thread gone.
    pub fn was_called_gone(&self, tid: Tid) -> bool {
        !self.gone.is_empty() && self.gone.contains(&tid)
    }

    /// A thread reported. Whether the kernel called it gone before.
    pub fn is_back(&mut self, tid: Tid) -> bool {
        !self.gone.is_empty() && self.gone.remove(&tid)
    }

    /// Whether any thread was called gone and nothing was heard of it since.
    pub fn any_gone(&self) -> bool {
        !self.gone.is_empty()
    }

    /// Of the threads that were called gone, those that stand in a ptrace
    /// stop. Of the others nothing need be known until they report.
    pub fn gone_but_stopped(&mut self) -> Vec<Tid> {
        let gone = std::mem::take(&mut self.gone);
        gone.into_iter()
            .filter(|tid| {
                self.status_of(*tid)
                    .as_deref()
                    .and_then(|status| field(status, "State"))
                    .is_some_and(|state| state.starts_with('t'))
            })
            .collect()
    }

    /// Whether a thread is there and forktrace traces it.
    pub fn is_ours(&self, tid: Tid) -> bool {
        tracer_of(tid) == Some(Pid::from(sys::own_tid()))
    }

    fn answer<T>(
        &mut self,
        tid: Tid,
        request: &'static str,
        result: Result<T, Errno>,
    ) -> Result<T, Gone> {
        result.map_err(|errno| {
            if errno == Errno::ESRCH {
                self.is_gone(tid);
            } else {
                self.refusal.get_or_insert(Refusal {
                    tid,
                    request,
                    errno,
                });
            }
            Gone
        })
    }

    fn registers(&mut self, tid: Tid) -> Result<libc::user_regs_struct, Gone> {
        self.answer(tid, "PTRACE_GETREGS", sys::registers(tid))
    }

    fn set_registers(&mut self, tid: Tid, registers: &libc::user_regs_struct) -> Result<(), Gone> {
        self.answer(tid, "PTRACE_SETREGS", sys::set_registers(tid, registers))
    }

    fn syscall_info(&mut self, tid: Tid) -> Result<SyscallInfo, Gone> {
        self.answer(tid, "PTRACE_GET_SYSCALL_INFO", sys::syscall_info(tid))
    }

    /// Whether /proc can be asked about tids.
    pub fn has_proc(&self) -> bool {
        self.proc
    }

    fn status_of(&self, tid: Tid) -> Option<String> {
        self.proc.then(|| status_of(tid)).flatten()
    }
}

/// The address space of a live thread.
#[derive(Debug, Clone, Copy)]
pub struct LiveMemory(Tid);

impl Memory for LiveMemory {
    fn read(&mut self, addr: u64, buf: &mut [u8]) -> usize {
        sys::read_memory(self.0, &mut [(addr, buf)])
    }

    fn read_many(&mut self, places: &mut [(u64, &mut [u8])]) -> usize {
        sys::read_memory(self.0, places)
    }
}

fn from_info(info: &SyscallInfo) -> Option<Syscall> {
    let [nr, args @ .., _] = info.words;
    let abi = Abi::from_audit(info.arch, nr)?;
    Some(Syscall { abi, nr, args })
}

impl Probe for Live {
    fn event_message(&mut self, task: &Stopped) -> Result<u64, Gone> {
        let tid = task.tid();
        self.answer(tid, "PTRACE_GETEVENTMSG", sys::event_message(tid))
    }

    fn phase(&mut self, task: &Stopped) -> Result<Phase, Gone> {
        let info = self.syscall_info(task.tid())?;
        Ok(match info.op {
            libc::PTRACE_SYSCALL_INFO_SECCOMP if info.words[7] as u32 != filter::MARK => {
                Phase::Refused(from_info(&info))
            }
            libc::PTRACE_SYSCALL_INFO_ENTRY | libc::PTRACE_SYSCALL_INFO_SECCOMP => {
                Phase::Entry(from_info(&info))
            }
            libc::PTRACE_SYSCALL_INFO_EXIT => Phase::Exit(info.words[0] as i64),
            _ => Phase::None,
        })
    }

    fn creating_call(&mut self, task: &Stopped) -> Result<Syscall, Gone> {
        let r = self.registers(task.tid())?;
        let arch = || self.syscall_info(task.tid()).ok().map(|info| info.arch);
        let abi = creating_abi(r.orig_rax, arch).ok_or(Gone)?;
        let args = match abi {
            Abi::X86_64 | Abi::X32 => [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9],
            Abi::I386 => [r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp].map(|v| v & 0xffff_ffff),
        };
        Ok(Syscall {
            abi,
            nr: r.orig_rax,
            args,
        })
    }

    fn new_image(&mut self, task: &Stopped) -> Result<(u64, Abi), Gone> {
        /// The code segment of 32-bit programs (arch/x86/include/asm/segment.h).
        const USER32_CS: u64 = 0x23;
        let r = self.registers(task.tid())?;
        let abi = if r.cs == USER32_CS {
            Abi::I386
        } else {
            Abi::X86_64
        };
        Ok((r.rsp, abi))
    }

    fn set_first_argument(&mut self, task: &Stopped, abi: Abi, value: u64) -> Result<(), Gone> {
        let mut r = self.registers(task.tid())?;
        match abi {
            Abi::X86_64 | Abi::X32 => r.rdi = value,
            Abi::I386 => r.rbx = value,
        }
        self.set_registers(task.tid(), &r)
    }

    fn refuse(&mut self, task: &Stopped) -> Result<(), Gone> {
        let tid = task.tid();
        let mut r = self.registers(tid)?;
        // No call has the number -1: it is skipped, with what rax holds as its
        // result (seccomp(2), SECCOMP_RET_TRACE).
        r.orig_rax = u64::MAX;
        r.rax = i64::from(-Errno::ENOSYS.0) as u64;
        self.set_registers(tid, &r)
    }

    fn lend_below_stack(&mut self, task: &Stopped, bytes: &[u8]) -> Option<(u64, Vec<u8>)> {
        /// What code may use below its stack pointer (System V ABI, x86_64).
        const RED_ZONE: u64 = 128;
        /// A stack's alignment there.
        const ALIGNMENT: u64 = 16;
        let tid = task.tid();
        let below = RED_ZONE + bytes.len() as u64;
        let at = self.registers(tid).ok()?.rsp.checked_sub(below)? & !(ALIGNMENT - 1);
        let mut before = vec![0; bytes.len()];
        if sys::read_memory(tid, &mut [(at, &mut before)]) < bytes.len() {
            return None;
        }
        if sys::write_memory(tid, at, bytes) < bytes.len() {
            // None of it, or what lies before a page that can't be written.
            sys::write_memory(tid, at, &before);
            return None;
        }
        Some((at, before))
    }

    fn write_memory(&mut self, task: &Stopped, addr: u64, bytes: &[u8]) -> bool {
        sys::write_memory(task.tid(), addr, bytes) == bytes.len()
    }

    fn memory(&mut self, task: &Stopped) -> impl Memory {
        LiveMemory(task.tid())
    }

    fn ns_tids(&mut self, tid: Tid) -> Option<Vec<i32>> {
        let status = self.status_of(tid)?;
        let tids = field(&status, "NSpid")?;
        tids.split_ascii_whitespace()
            .map(|word| word.parse().ok())
            .collect()
    }

    fn sleeps(&mut self, tid: Tid) -> bool {
        self.status_of(tid)
            .as_deref()
            .and_then(|status| field(status, "State"))
            .is_some_and(|state| state.starts_with('S'))
    }

    fn comm(&mut self, tid: Tid) -> Comm {
        if self.proc {
            comm_of(tid)
        } else {
            Comm::default()
        }
    }

    fn behind_pidfd(&mut self, tid: Tid, fd: i32) -> Option<Pid> {
        let path = format!("/proc/{tid}/fdinfo/{fd}");
        let bytes = self.proc.then(|| sys::read_proc(&path).ok()).flatten()?;
        let pid = field(&String::from_utf8_lossy(&bytes), "Pid")?
            .parse()
            .ok()?;
        (pid > 0).then_some(Pid(pid))
    }

    fn creation_evidence(&mut self, task: &Stopped, request: &Request, errno: Errno) -> Evidence {
        if !self.proc {
            return Evidence::default();
        }
        let caller = Caller::new(task.tid(), self.stops);
        evidence::of_creation(caller, request, errno)
    }

    fn exec_evidence(&mut self, task: &Stopped, call: &ExecCall, errno: Errno) -> ExecEvidence {
        if !self.proc {
            return ExecEvidence::default();
        }
        let caller = Caller::new(task.tid(), self.stops);
        let mut memory = LiveMemory(task.tid());
        evidence::of_exec(caller, call, errno, &mut memory)
    }

    fn own_tid(&mut self, task: &Stopped) -> Result<Tid, Gone> {
        sys::stop_sender(task.tid()).map(Tid).map_err(|_| Gone)
    }

    fn family(&mut self, tid: Tid) -> Option<(Pid, Pid)> {
        let status = self.status_of(tid)?;
        if field(&status, "State")?.starts_with(['Z', 'X']) {
            return None;
        }
        let number = |name| field(&status, name)?.parse().ok();
        Some((Pid(number("Tgid")?), Pid(number("PPid")?)))
    }
}

/// The tracer of a thread.
pub fn tracer_of(tid: Tid) -> Option<Pid> {
    let status = status_of(tid)?;
    let tracer = field(&status, "TracerPid")?.parse().ok()?;
    (tracer != 0).then_some(Pid(tracer))
}

/// Whether a thread has ended, be it that it was not waited for yet.
pub(super) fn is_zombie(tid: Tid) -> bool {
    status_of(tid)
        .as_deref()
        .and_then(|status| field(status, "State"))
        .is_none_or(|state| state.starts_with(['Z', 'X']))
}

/// Whether /proc shows forktrace's own pid namespace: in another one's a tid
/// names somebody else.
pub fn proc_is_ours() -> bool {
    std::fs::read_link("/proc/self")
        .is_ok_and(|link| link.as_os_str() == sys::own_tid().to_string().as_str())
}

/// The name of a thread, without the newline that the file adds; empty if it
/// is gone.
pub(super) fn comm_of(tid: Tid) -> Comm {
    let name = sys::read_proc(&format!("/proc/{tid}/comm")).unwrap_or_default();
    Comm::new(name.strip_suffix(b"\n").unwrap_or(&name))
}

pub(super) fn status_of(tid: Tid) -> Option<String> {
    let bytes = sys::read_proc(&format!("/proc/{tid}/status")).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether forktrace itself runs under a seccomp filter, which its children
/// inherit: where that one refuses a call, ours is not asked.
pub fn filtered_already() -> bool {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| field(&status, "Seccomp").map(|mode| mode == "2"))
        .unwrap_or(false)
}
