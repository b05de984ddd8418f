//! The probe of live tracees: ptrace, process_vm_readv and /proc.

use std::fs::File;
use std::io::Read;

use super::machine::creating_abi;
use super::probe::{Gone, Phase, Probe};
use super::sys::{self, SyscallInfo};
use super::task::Stopped;
use crate::abi::{Abi, Syscall};
use crate::ids::{Comm, Pid, Tid};
use crate::memory::Memory;

/// Asks the kernel.
#[derive(Debug, Clone, Copy)]
pub struct Live {
    /// Whether /proc can be asked about tids.
    proc: bool,
}

impl Live {
    /// Looks whether /proc is that of forktrace's own pid namespace.
    pub fn new() -> Live {
        Live {
            proc: proc_is_ours(),
        }
    }

    /// Whether /proc can be asked about tids.
    pub fn has_proc(&self) -> bool {
        self.proc
    }

    fn status_of(&self, tid: Tid) -> Option<String> {
        self.proc.then(|| status_of(tid)).flatten()
    }
}

impl Default for Live {
    fn default() -> Live {
        Live::new()
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
        sys::event_message(task.tid()).map_err(|_| Gone)
    }

    fn phase(&mut self, task: &Stopped) -> Result<Phase, Gone> {
        let info = sys::syscall_info(task.tid()).map_err(|_| Gone)?;
        Ok(match info.op {
            libc::PTRACE_SYSCALL_INFO_ENTRY | libc::PTRACE_SYSCALL_INFO_SECCOMP => {
                Phase::Entry(from_info(&info))
            }
            libc::PTRACE_SYSCALL_INFO_EXIT => Phase::Exit(info.words[0] as i64),
            _ => Phase::None,
        })
    }

    fn creating_call(&mut self, task: &Stopped) -> Result<Syscall, Gone> {
        let r = sys::registers(task.tid()).map_err(|_| Gone)?;
        let arch = || sys::syscall_info(task.tid()).ok().map(|info| info.arch);
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
        let r = sys::registers(task.tid()).map_err(|_| Gone)?;
        let abi = if r.cs == USER32_CS {
            Abi::I386
        } else {
            Abi::X86_64
        };
        Ok((r.rsp, abi))
    }

    fn set_clone_flags(&mut self, task: &Stopped, abi: Abi, flags: u64) -> Result<(), Gone> {
        let mut r = sys::registers(task.tid()).map_err(|_| Gone)?;
        match abi {
            Abi::X86_64 | Abi::X32 => r.rdi = flags,
            Abi::I386 => r.rbx = flags,
        }
        sys::set_registers(task.tid(), &r).map_err(|_| Gone)
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

/// Whether /proc shows forktrace's own pid namespace: in another one's a tid
/// names somebody else.
pub fn proc_is_ours() -> bool {
    std::fs::read_link("/proc/self")
        .is_ok_and(|link| link.as_os_str() == sys::own_tid().to_string().as_str())
}

/// The name of a thread, without the newline that the file adds; empty if it
/// is gone.
pub(super) fn comm_of(tid: Tid) -> Comm {
    let mut bytes = [0; Comm::MAX + 1];
    let read = File::open(format!("/proc/{tid}/comm")).and_then(|mut file| file.read(&mut bytes));
    let length = read.unwrap_or(0).saturating_sub(1);
    Comm::new(&bytes[..length])
}

pub(super) fn status_of(tid: Tid) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{tid}/status")).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

pub(super) fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

/// Whether forktrace itself runs under a seccomp filter, which its children
/// inherit: where that one refuses a call, ours is not asked.
pub fn filtered_already() -> bool {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| field(&status, "Seccomp").map(|mode| mode == "2"))
        .unwrap_or(false)
}
