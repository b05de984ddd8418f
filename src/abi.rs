//! Architecture as data: which number means which call under which system
//! call ABI, and where `clone` keeps its arguments.
//!
//! A new architecture is a variant of [`Abi`] and a few rows here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A system call interface that a tracee on this kernel can use. One process
/// may use several: 64-bit code can do `int $0x80`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Abi {
    /// `syscall` of 64-bit code.
    #[serde(rename = "x86_64")]
    X86_64,
    /// `int $0x80` or `sysenter`, of 32-bit and of 64-bit code.
    #[serde(rename = "i386")]
    I386,
    /// 64-bit code with 32-bit pointers: x86_64 with bit 30 set in the number.
    #[serde(rename = "x32")]
    X32,
}

/// `AUDIT_ARCH_X86_64` (linux/audit.h).
pub const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
/// `AUDIT_ARCH_I386` (linux/audit.h).
pub const AUDIT_ARCH_I386: u32 = 0x4000_0003;
/// `__X32_SYSCALL_BIT` (asm/unistd.h).
pub const X32_SYSCALL_BIT: u64 = 0x4000_0000;

/// The calls that forktrace looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Call {
    /// fork(2).
    Fork,
    /// vfork(2).
    Vfork,
    /// clone(2), the old call: arguments in registers.
    Clone,
    /// clone3, its arguments in a structure (clone(2)).
    Clone3,
    /// execve(2).
    Execve,
    /// execveat(2).
    Execveat,
    /// unshare(2): may move later children into another pid namespace.
    Unshare,
    /// setns(2): likewise.
    Setns,
    /// ptrace(2): a tracee can't be traced by another tracer.
    Ptrace,
    /// wait4(2).
    Wait4,
    /// waitpid, a call of its own on i386 (wait(2)).
    Waitpid,
    /// waitid(2).
    Waitid,
    /// kill(2).
    Kill,
    /// tkill(2): a signal for one thread.
    Tkill,
    /// tgkill(2): the same, its process named too.
    Tgkill,
    /// rt_sigqueueinfo(2): a signal with a siginfo of the caller's own.
    #[serde(rename = "rt_sigqueueinfo")]
    RtSigqueueinfo,
    /// rt_tgsigqueueinfo(2): the same for one thread.
    #[serde(rename = "rt_tgsigqueueinfo")]
    RtTgsigqueueinfo,
    /// pidfd_send_signal(2).
    #[serde(rename = "pidfd_send_signal")]
    PidfdSendSignal,
}

impl Call {
    /// All of them.
    pub const ALL: [Call; 18] = [
        Call::Fork,
        Call::Vfork,
        Call::Clone,
        Call::Clone3,
        Call::Execve,
        Call::Execveat,
        Call::Unshare,
        Call::Setns,
        Call::Ptrace,
        Call::Wait4,
        Call::Waitpid,
        Call::Waitid,
        Call::Kill,
        Call::Tkill,
        Call::Tgkill,
        Call::RtSigqueueinfo,
        Call::RtTgsigqueueinfo,
        Call::PidfdSendSignal,
    ];

    /// The call of this name.
    pub fn from_name(name: &str) -> Option<Call> {
        Call::ALL.into_iter().find(|call| call.name() == name)
    }

    /// The name in the manual and in strace.
    pub fn name(self) -> &'static str {
        match self {
            Call::Fork => "fork",
            Call::Vfork => "vfork",
            Call::Clone => "clone",
            Call::Clone3 => "clone3",
            Call::Execve => "execve",
            Call::Execveat => "execveat",
            Call::Unshare => "unshare",
            Call::Setns => "setns",
            Call::Ptrace => "ptrace",
            Call::Wait4 => "wait4",
            Call::Waitpid => "waitpid",
            Call::Waitid => "waitid",
            Call::Kill => "kill",
            Call::Tkill => "tkill",
            Call::Tgkill => "tgkill",
            Call::RtSigqueueinfo => "rt_sigqueueinfo",
            Call::RtTgsigqueueinfo => "rt_tgsigqueueinfo",
            Call::PidfdSendSignal => "pidfd_send_signal",
        }
    }

    /// Whether a success makes a new thread or process.
    pub fn creates(self) -> bool {
        matches!(self, Call::Fork | Call::Vfork | Call::Clone | Call::Clone3)
    }

    /// Whether it waits for children.
    pub fn waits(self) -> bool {
        matches!(self, Call::Wait4 | Call::Waitpid | Call::Waitid)
    }

    /// Whether it sends a signal.
    pub fn signals(self) -> bool {
        matches!(
            self,
            Call::Kill
                | Call::Tkill
                | Call::Tgkill
                | Call::RtSigqueueinfo
                | Call::RtTgsigqueueinfo
                | Call::PidfdSendSignal
        )
    }
}

/// (ABI, number, call): arch/x86/entry/syscalls/syscall_{64,32}.tbl.
const NUMBERS: &[(Abi, u64, Call)] = &[
    (Abi::X86_64, 56, Call::Clone),
    (Abi::X86_64, 57, Call::Fork),
    (Abi::X86_64, 58, Call::Vfork),
    (Abi::X86_64, 59, Call::Execve),
    (Abi::X86_64, 101, Call::Ptrace),
    (Abi::X86_64, 272, Call::Unshare),
    (Abi::X86_64, 308, Call::Setns),
    (Abi::X86_64, 322, Call::Execveat),
    (Abi::X86_64, 435, Call::Clone3),
    (Abi::I386, 2, Call::Fork),
    (Abi::I386, 11, Call::Execve),
    (Abi::I386, 26, Call::Ptrace),
    (Abi::I386, 120, Call::Clone),
    (Abi::I386, 190, Call::Vfork),
    (Abi::I386, 310, Call::Unshare),
    (Abi::I386, 346, Call::Setns),
    (Abi::I386, 358, Call::Execveat),
    (Abi::I386, 435, Call::Clone3),
    (Abi::X32, X32_SYSCALL_BIT | 56, Call::Clone),
    (Abi::X32, X32_SYSCALL_BIT | 57, Call::Fork),
    (Abi::X32, X32_SYSCALL_BIT | 58, Call::Vfork),
    (Abi::X32, X32_SYSCALL_BIT | 272, Call::Unshare),
    (Abi::X32, X32_SYSCALL_BIT | 521, Call::Ptrace),
    (Abi::X32, X32_SYSCALL_BIT | 308, Call::Setns),
    (Abi::X32, X32_SYSCALL_BIT | 435, Call::Clone3),
    (Abi::X32, X32_SYSCALL_BIT | 520, Call::Execve),
    (Abi::X32, X32_SYSCALL_BIT | 545, Call::Execveat),
];

/// The same of the calls that wait and that send signals, which forktrace looks
/// at only where it is asked to: programs do many of them.
const WAITS: &[(Abi, u64, Call)] = &[
    (Abi::X86_64, 61, Call::Wait4),
    (Abi::X86_64, 62, Call::Kill),
    (Abi::X86_64, 129, Call::RtSigqueueinfo),
    (Abi::X86_64, 200, Call::Tkill),
    (Abi::X86_64, 234, Call::Tgkill),
    (Abi::X86_64, 247, Call::Waitid),
    (Abi::X86_64, 297, Call::RtTgsigqueueinfo),
    (Abi::X86_64, 424, Call::PidfdSendSignal),
    (Abi::I386, 7, Call::Waitpid),
    (Abi::I386, 37, Call::Kill),
    (Abi::I386, 114, Call::Wait4),
    (Abi::I386, 178, Call::RtSigqueueinfo),
    (Abi::I386, 238, Call::Tkill),
    (Abi::I386, 270, Call::Tgkill),
    (Abi::I386, 284, Call::Waitid),
    (Abi::I386, 335, Call::RtTgsigqueueinfo),
    (Abi::I386, 424, Call::PidfdSendSignal),
    (Abi::X32, X32_SYSCALL_BIT | 61, Call::Wait4),
    (Abi::X32, X32_SYSCALL_BIT | 62, Call::Kill),
    (Abi::X32, X32_SYSCALL_BIT | 200, Call::Tkill),
    (Abi::X32, X32_SYSCALL_BIT | 234, Call::Tgkill),
    (Abi::X32, X32_SYSCALL_BIT | 424, Call::PidfdSendSignal),
    (Abi::X32, X32_SYSCALL_BIT | 524, Call::RtSigqueueinfo),
    (Abi::X32, X32_SYSCALL_BIT | 529, Call::Waitid),
    (Abi::X32, X32_SYSCALL_BIT | 536, Call::RtTgsigqueueinfo),
];

/// An ABI that forktrace can't trace; its numbers are there to be looked up.
#[derive(Debug)]
pub struct Foreign {
    /// The architecture's name.
    pub name: &'static str,
    /// Number and call.
    pub numbers: &'static [(u64, Call)],
}

/// The table of architectures that came after 2011, include/uapi/asm-generic/unistd.h
/// (now scripts/syscall.tbl): without fork and vfork, which clone can do.
const GENERIC: &[(u64, Call)] = &[
    (95, Call::Waitid),
    (97, Call::Unshare),
    (117, Call::Ptrace),
    (129, Call::Kill),
    (130, Call::Tkill),
    (131, Call::Tgkill),
    (138, Call::RtSigqueueinfo),
    (220, Call::Clone),
    (221, Call::Execve),
    (240, Call::RtTgsigqueueinfo),
    (260, Call::Wait4),
    (268, Call::Setns),
    (281, Call::Execveat),
    (424, Call::PidfdSendSignal),
    (435, Call::Clone3),
];

/// The others that people meet. All three take clone's arguments in i386's
/// order (CONFIG_CLONE_BACKWARDS).
pub const FOREIGN: &[Foreign] = &[
    Foreign {
        name: "aarch64",
        numbers: GENERIC,
    },
    // arch/arm/tools/syscall.tbl, the EABI.
    Foreign {
        name: "arm",
        numbers: &[
            (2, Call::Fork),
            (11, Call::Execve),
            (26, Call::Ptrace),
            (37, Call::Kill),
            (114, Call::Wait4),
            (120, Call::Clone),
            (178, Call::RtSigqueueinfo),
            (190, Call::Vfork),
            (238, Call::Tkill),
            (268, Call::Tgkill),
            (280, Call::Waitid),
            (337, Call::Unshare),
            (363, Call::RtTgsigqueueinfo),
            (375, Call::Setns),
            (387, Call::Execveat),
            (424, Call::PidfdSendSignal),
            (435, Call::Clone3),
        ],
    },
    Foreign {
        name: "riscv64",
        numbers: GENERIC,
    },
];

/// Each ABI by name, with the number that `call` has there.
pub fn numbers_of(call: Call) -> impl Iterator<Item = (&'static str, Option<u64>)> {
    let number = move |mut numbers: Box<dyn Iterator<Item = (u64, Call)>>| {
        numbers
            .find(|(_, known)| *known == call)
            .map(|(number, _)| number)
    };
    let own = Abi::ALL.into_iter().map(move |abi| {
        let numbers = abi.numbers().chain(abi.waits_numbers());
        (abi.name(), number(Box::new(numbers)))
    });
    let foreign = FOREIGN.iter().map(move |foreign| {
        let numbers = foreign.numbers.iter().copied();
        (foreign.name, number(Box::new(numbers)))
    });
    own.chain(foreign)
}

/// What a number means, by ABI; those that have no such call of interest are
/// left out. x32's numbers count with and without the x32 bit.
pub fn calls_of(nr: u64) -> impl Iterator<Item = (&'static str, Call)> {
    let own = Abi::ALL.into_iter().filter_map(move |abi| {
        let call = |nr| abi.call(nr).or_else(|| abi.waits_call(nr));
        let x32 = || (abi == Abi::X32).then(|| call(nr | X32_SYSCALL_BIT));
        Some((abi.name(), call(nr).or_else(|| x32().flatten())?))
    });
    let foreign = FOREIGN.iter().filter_map(move |foreign| {
        let found = foreign.numbers.iter().find(|(number, _)| *number == nr)?;
        Some((foreign.name, found.1))
    });
    own.chain(foreign)
}

/// Which argument of `clone` is which. The order differs between
/// architectures (clone(2), "C library/kernel differences").
#[derive(Debug, Clone, Copy)]
pub struct CloneOrder {
    /// Index of the flags word.
    pub flags: usize,
    /// Index of the child's stack pointer.
    pub stack: usize,
    /// Index of the address that gets the tid in the parent.
    pub parent_tid: usize,
    /// Index of the address of the tid word in the child.
    pub child_tid: usize,
    /// Index of the TLS argument.
    pub tls: usize,
}

impl Abi {
    /// All of them.
    pub const ALL: [Abi; 3] = [Abi::X86_64, Abi::I386, Abi::X32];

    /// That of the machine that forktrace runs on.
    pub const NATIVE: Abi = Abi::X86_64;

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Abi::X86_64 => "x86_64",
            Abi::I386 => "i386",
            Abi::X32 => "x32",
        }
    }

    /// The ABI of an audit architecture and a number; `None` for a foreign one.
    pub fn from_audit(arch: u32, nr: u64) -> Option<Abi> {
        match arch {
            AUDIT_ARCH_X86_64 if nr & X32_SYSCALL_BIT != 0 => Some(Abi::X32),
            AUDIT_ARCH_X86_64 => Some(Abi::X86_64),
            AUDIT_ARCH_I386 => Some(Abi::I386),
            _ => None,
        }
    }

    /// What `nr` means here, if it is a call that forktrace always looks at.
    pub fn call(self, nr: u64) -> Option<Call> {
        find(NUMBERS, self, nr)
    }

    /// What `nr` means here, if it is a call that waits or sends a signal.
    pub fn waits_call(self, nr: u64) -> Option<Call> {
        find(WAITS, self, nr)
    }

    /// The numbers of this ABI that forktrace always looks at.
    pub fn numbers(self) -> impl Iterator<Item = (u64, Call)> {
        of_abi(NUMBERS, self)
    }

    /// Those of the calls that wait and that send signals.
    pub fn waits_numbers(self) -> impl Iterator<Item = (u64, Call)> {
        of_abi(WAITS, self)
    }

    /// Bytes in a pointer, as in `argv`.
    pub fn word(self) -> usize {
        match self {
            Abi::X86_64 => 8,
            Abi::I386 | Abi::X32 => 4,
        }
    }

    /// The order of `clone`'s arguments.
    pub fn clone_order(self) -> CloneOrder {
        match self {
            Abi::X86_64 | Abi::X32 => CloneOrder {
                flags: 0,
                stack: 1,
                parent_tid: 2,
                child_tid: 3,
                tls: 4,
            },
            Abi::I386 => CloneOrder {
                flags: 0,
                stack: 1,
                parent_tid: 2,
                tls: 3,
                child_tid: 4,
            },
        }
    }

    /// The ABI of a creating call whose number was read from the registers at
    /// a ptrace event stop. No number but clone3's creates under two ABIs
    /// (i386's 56 to 58 and x86_64's 2, 120 and 190 don't), so the number
    /// alone tells; for clone3 the answer is `None` and the caller must ask
    /// for the architecture (`PTRACE_GET_SYSCALL_INFO` has it).
    pub fn of_creating(nr: u64) -> Option<Abi> {
        let mut found = NUMBERS
            .iter()
            .filter(|(_, number, call)| *number == nr && call.creates());
        match (found.next(), found.next()) {
            (Some((abi, _, _)), None) => Some(*abi),
            _ => None,
        }
    }
}

fn find(table: &[(Abi, u64, Call)], abi: Abi, nr: u64) -> Option<Call> {
    table
        .iter()
        .find(|(one, number, _)| *one == abi && *number == nr)
        .map(|(_, _, call)| *call)
}

fn of_abi(table: &'static [(Abi, u64, Call)], abi: Abi) -> impl Iterator<Item = (u64, Call)> {
    table
        .iter()
        .filter(move |(one, _, _)| *one == abi)
        .map(|(_, number, call)| (*number, *call))
}

/// One system call as it was entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Syscall {
    /// The interface it came through.
    pub abi: Abi,
    /// The number, with the x32 bit where that is the ABI.
    pub nr: u64,
    /// The six argument registers in the ABI's order; zero-extended for i386.
    pub args: [u64; 6],
}

impl Syscall {
    /// What it is, if forktrace looks at it, always or where it is asked to.
    pub fn call(&self) -> Option<Call> {
        let Syscall { abi, nr, .. } = *self;
        abi.call(nr).or_else(|| abi.waits_call(nr))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_libc() {
        for (nr, call) in [
            (libc::SYS_clone, Call::Clone),
            (libc::SYS_fork, Call::Fork),
            (libc::SYS_vfork, Call::Vfork),
            (libc::SYS_clone3, Call::Clone3),
            (libc::SYS_execve, Call::Execve),
            (libc::SYS_execveat, Call::Execveat),
            (libc::SYS_unshare, Call::Unshare),
            (libc::SYS_setns, Call::Setns),
            (libc::SYS_ptrace, Call::Ptrace),
        ] {
            assert_eq!(Abi::X86_64.call(nr as u64), Some(call));
        }
        for (nr, call) in [
            (libc::SYS_wait4, Call::Wait4),
            (libc::SYS_waitid, Call::Waitid),
            (libc::SYS_kill, Call::Kill),
            (libc::SYS_tkill, Call::Tkill),
            (libc::SYS_tgkill, Call::Tgkill),
            (libc::SYS_rt_sigqueueinfo, Call::RtSigqueueinfo),
            (libc::SYS_rt_tgsigqueueinfo, Call::RtTgsigqueueinfo),
            (libc::SYS_pidfd_send_signal, Call::PidfdSendSignal),
        ] {
            assert_eq!(Abi::X86_64.waits_call(nr as u64), Some(call));
            assert_eq!(Abi::X86_64.call(nr as u64), None, "only where asked for");
            assert!(call.waits() != call.signals());
        }
        assert_eq!(Abi::X86_64.call(2), None, "open is no fork");
        assert_eq!(Abi::I386.call(2), Some(Call::Fork));
        for call in Call::ALL {
            assert_eq!(Call::from_name(call.name()), Some(call));
        }
    }

    #[test]
    fn all_calls_are_all() {
        let tables = NUMBERS.iter().chain(WAITS).map(|(_, _, call)| *call);
        let foreign = FOREIGN.iter().flat_map(|foreign| foreign.numbers);
        for call in tables.chain(foreign.map(|(_, call)| *call)) {
            assert!(Call::ALL.contains(&call), "{call:?}");
        }
        for (index, call) in Call::ALL.iter().enumerate() {
            assert!(
                !Call::ALL[..index].contains(call),
                "{call:?} is there twice"
            );
            // Where a variant is added, so that it comes into ALL, too.
            let kinds = [call.creates(), call.waits(), call.signals()];
            assert!(kinds.iter().filter(|is| **is).count() < 2, "{call:?}");
        }
        assert_eq!(Call::ALL.len(), Call::PidfdSendSignal as usize + 1);
    }

    #[test]
    fn numbers_can_be_looked_up_both_ways() {
        for call in Call::ALL {
            let mut count = 0;
            for (abi, number) in numbers_of(call) {
                count += 1;
                let missing = match call {
                    Call::Fork | Call::Vfork => matches!(abi, "aarch64" | "riscv64"),
                    Call::Waitpid => abi != "i386",
                    _ => false,
                };
                assert_eq!(number.is_none(), missing, "{call:?} on {abi}");
                if let Some(number) = number {
                    assert!(calls_of(number).any(|found| found == (abi, call)));
                }
            }
            assert_eq!(count, 6);
        }
        let forks: Vec<_> = calls_of(57).collect();
        assert_eq!(forks, [("x86_64", Call::Fork), ("x32", Call::Fork)]);
        assert_eq!(calls_of(435).count(), 6);
        let signals: Vec<_> = calls_of(129).collect();
        assert_eq!(
            signals,
            [
                ("x86_64", Call::RtSigqueueinfo),
                ("aarch64", Call::Kill),
                ("riscv64", Call::Kill),
            ]
        );
        assert_eq!(calls_of(3).count(), 0);
    }

    #[test]
    fn a_creating_number_tells_its_abi_but_for_clone3() {
        for (abi, nr, call) in NUMBERS {
            if call.creates() && nr & !X32_SYSCALL_BIT != 435 {
                assert_eq!(Abi::of_creating(*nr), Some(*abi));
            }
        }
        assert_eq!(Abi::of_creating(435), None);
        assert_eq!(Abi::of_creating(1), None);
    }

    #[test]
    fn clone_arguments_are_a_permutation() {
        for abi in [Abi::X86_64, Abi::I386, Abi::X32] {
            let o = abi.clone_order();
            let mut all = [o.flags, o.stack, o.parent_tid, o.child_tid, o.tls];
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2, 3, 4]);
        }
    }
}
