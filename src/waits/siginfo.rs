//! siginfo_t: what comes along with a signal, and what waitid fills in. One form
//! for all ABIs; which of its fields mean something follows from signal and code
//! (sigaction(2); the layouts: asm-generic/siginfo.h and asm/compat.h).

use crate::abi::Abi;
use crate::ids::Signal;
use crate::memory::{Memory, read_exact};

/// A siginfo_t.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SigInfo {
    /// `si_signo`.
    pub signo: Signal,
    /// `si_errno`.
    pub errno: i32,
    /// `si_code`: where it comes from; not above 0 where user space sent it.
    pub code: i32,
    /// What else it says.
    pub more: More,
}

/// The fields that go with a signal and a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum More {
    /// No fields.
    Nothing,
    /// Sent by a process.
    Sent {
        /// Pid and user of the sender, in the receiver's namespaces; `None`
        /// where the kernel sent it.
        sender: Option<(i32, u32)>,
        /// `si_value`, where there is one and it isn't 0.
        value: Option<u64>,
    },
    /// A timer (timer_create(2)).
    Timer {
        /// `si_timerid`.
        id: i32,
        /// `si_overrun`.
        overrun: i32,
        /// `si_value`.
        value: u64,
    },
    /// SIGCHLD of the kernel, or an answer of waitid.
    Child {
        /// Which child.
        pid: i32,
        /// Its user.
        uid: u32,
        /// Its exit status, or the signal.
        status: i32,
        /// CPU time in user mode, in hundredths of a second.
        user: u64,
        /// CPU time in the kernel, likewise.
        system: u64,
    },
    /// A fault of the program.
    Fault {
        /// Where.
        addr: u64,
        /// What some codes add.
        detail: Detail,
    },
    /// I/O is possible.
    Poll {
        /// `si_band`.
        band: i64,
        /// `si_fd`.
        fd: i32,
    },
    /// A filtered system call.
    Syscall {
        /// `si_call_addr`.
        addr: u64,
        /// `si_syscall`.
        nr: i32,
        /// `si_arch`.
        arch: u32,
    },
}

/// What some faults add to their address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Nothing.
    None,
    /// `si_addr_lsb`, of a memory error.
    Lsb(i16),
    /// `si_lower` and `si_upper`, of a bound violation.
    Bounds(u64, u64),
    /// `si_pkey`, of a protection key.
    Key(u32),
}

/// Bytes in a siginfo_t.
const SIZE: usize = 128;

/// The last code that says what I/O is possible (`POLL_HUP`).
const POLL_MAX: i32 = 6;
const SI_USER: i32 = 0;
const SI_TIMER: i32 = -2;
const SI_SIGIO: i32 = -5;
const SI_TKILL: i32 = -6;

impl SigInfo {
    /// Reads one at an address; `None` where it can't be read whole.
    pub fn read(abi: Abi, memory: &mut dyn Memory, addr: u64) -> Option<SigInfo> {
        let mut bytes = [0; SIZE];
        read_exact(memory, addr, &mut bytes).then(|| SigInfo::parse(abi, &bytes))
    }

    /// Takes one apart.
    pub fn parse(abi: Abi, bytes: &[u8; SIZE]) -> SigInfo {
        let raw = Raw {
            bytes,
            word: abi.word(),
        };
        let [signo, errno, code] = [0, 4, 8].map(|at| raw.int(at));
        SigInfo {
            signo: Signal(signo),
            errno,
            code,
            more: match signo {
                _ if SigInfo::is_bare(Signal(signo), code) => More::Nothing,
                _ if code <= 0 => raw.sent_by_user(code),
                _ => raw.sent_by_kernel(abi, signo, code),
            },
        }
    }

    /// Whether one of this signal and code has no more fields.
    pub fn is_bare(signo: Signal, code: i32) -> bool {
        signo.0 == 0 || (signo.0 == SIGIO && code > POLL_MAX)
    }

    /// The name of `si_code` (sigaction(2)); `None` for one that has none.
    pub fn code_name(&self) -> Option<&'static str> {
        let find = |table: &[(i32, &'static str)]| {
            let found = table.iter().find(|(code, _)| *code == self.code);
            found.map(|(_, name)| *name)
        };
        find(CODES).or_else(|| {
            let of_signal = CODES_OF.iter().find(|(signal, _)| *signal == self.signo.0);
            let index = usize::try_from(self.code).ok()?.checked_sub(1)?;
            of_signal?
                .1
                .get(index)
                .copied()
                .filter(|name| !name.is_empty())
        })
    }
}

/// Codes that every signal may have (asm-generic/siginfo.h).
const CODES: &[(i32, &str)] = &[
    (SI_USER, "SI_USER"),
    (0x80, "SI_KERNEL"),
    (-1, "SI_QUEUE"),
    (SI_TIMER, "SI_TIMER"),
    (-3, "SI_MESGQ"),
    (-4, "SI_ASYNCIO"),
    (SI_SIGIO, "SI_SIGIO"),
    (SI_TKILL, "SI_TKILL"),
    (-7, "SI_DETHREAD"),
    (-60, "SI_ASYNCNL"),
];

const SIGILL: i32 = libc::SIGILL;
const SIGTRAP: i32 = libc::SIGTRAP;
const SIGBUS: i32 = libc::SIGBUS;
const SIGFPE: i32 = libc::SIGFPE;
const SIGSEGV: i32 = libc::SIGSEGV;
const SIGCHLD: i32 = libc::SIGCHLD;
const SIGIO: i32 = libc::SIGIO;
const SIGSYS: i32 = libc::SIGSYS;

/// Codes of one signal each, from 1 on.
const CODES_OF: &[(i32, &[&str])] = &[
    (
        SIGILL,
        &[
            "ILL_ILLOPC",
            "ILL_ILLOPN",
            "ILL_ILLADR",
            "ILL_ILLTRP",
            "ILL_PRVOPC",
            "ILL_PRVREG",
            "ILL_COPROC",
            "ILL_BADSTK",
            "ILL_BADIADDR",
        ],
    ),
    (
        SIGTRAP,
        &[
            "TRAP_BRKPT",
            "TRAP_TRACE",
            "TRAP_BRANCH",
            "TRAP_HWBKPT",
            "TRAP_UNK",
            "TRAP_PERF",
        ],
    ),
    (
        SIGBUS,
        &[
            "BUS_ADRALN",
            "BUS_ADRERR",
            "BUS_OBJERR",
            "BUS_MCEERR_AR",
            "BUS_MCEERR_AO",
        ],
    ),
    (
        SIGFPE,
        &[
            "FPE_INTDIV",
            "FPE_INTOVF",
            "FPE_FLTDIV",
            "FPE_FLTOVF",
            "FPE_FLTUND",
            "FPE_FLTRES",
            "FPE_FLTINV",
            "FPE_FLTSUB",
            "",
            "",
            "",
            "",
            "",
            "FPE_FLTUNK",
            "FPE_CONDTRAP",
        ],
    ),
    (
        SIGSEGV,
        &[
            "SEGV_MAPERR",
            "SEGV_ACCERR",
            "SEGV_BNDERR",
            "SEGV_PKUERR",
            "SEGV_ACCADI",
            "SEGV_ADIDERR",
            "SEGV_ADIPERR",
            "SEGV_MTEAERR",
            "SEGV_MTESERR",
        ],
    ),
    (
        SIGCHLD,
        &[
            "CLD_EXITED",
            "CLD_KILLED",
            "CLD_DUMPED",
            "CLD_TRAPPED",
            "CLD_STOPPED",
            "CLD_CONTINUED",
        ],
    ),
    (
        SIGIO,
        &[
            "POLL_IN", "POLL_OUT", "POLL_MSG", "POLL_ERR", "POLL_PRI", "POLL_HUP",
        ],
    ),
    (SIGSYS, &["SYS_SECCOMP", "SYS_USER_DISPATCH"]),
];

/// The bytes of one, and how wide pointers are in it.
struct Raw<'a> {
    bytes: &'a [u8; SIZE],
    word: usize,
}

impl Raw<'_> {
    fn take<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut out = [0; N];
        out.copy_from_slice(&self.bytes[at..at + N]);
        out
    }

    fn int(&self, at: usize) -> i32 {
        i32::from_le_bytes(self.take(at))
    }

    /// A pointer or `unsigned long`.
    fn word(&self, at: usize) -> u64 {
        match self.word {
            4 => u64::from(self.int(at) as u32),
            _ => u64::from_le_bytes(self.take(at)),
        }
    }

    /// Where the fields begin that depend on the signal: they hold pointers.
    fn fields(&self) -> usize {
        if self.word == 4 { 12 } else { 16 }
    }

    fn sent(&self) -> More {
        let at = self.fields();
        More::Sent {
            sender: Some((self.int(at), self.int(at + 4) as u32)),
            value: Some(self.word(at + 8)).filter(|value| *value != 0),
        }
    }

    /// The fields of a signal that user space made.
    fn sent_by_user(&self, code: i32) -> More {
        let at = self.fields();
        match (code, self.sent()) {
            (SI_USER | SI_TKILL, More::Sent { sender, .. }) => More::Sent {
                sender,
                value: None,
            },
            (SI_TIMER, _) => More::Timer {
                id: self.int(at),
                overrun: self.int(at + 4),
                value: self.word(at + 8),
            },
            (SI_SIGIO, _) => self.poll(),
            (_, sent) => sent,
        }
    }

    fn poll(&self) -> More {
        let at = self.fields();
        let band = match self.word {
            4 => i64::from(self.int(at)),
            _ => self.word(at) as i64,
        };
        More::Poll {
            band,
            fd: self.int(at + self.word),
        }
    }

    /// The fields of a signal that the kernel made (a program may send itself a
    /// copy of one).
    fn sent_by_kernel(&self, abi: Abi, signo: i32, code: i32) -> More {
        let at = self.fields();
        let after = at + self.word;
        match (signo, code) {
            (SIGCHLD, _) => {
                let clock = |index: usize| match abi {
                    Abi::X86_64 => self.word(at + 16 + 8 * index),
                    Abi::X32 => u64::from_le_bytes(self.take(at + 12 + 8 * index)),
                    // Signed, as clock_t is, and as strace shows it.
                    Abi::I386 => i64::from(self.int(at + 12 + 4 * index)) as u64,
                };
                More::Child {
                    pid: self.int(at),
                    uid: self.int(at + 4) as u32,
                    status: self.int(at + 8),
                    user: clock(0),
                    system: clock(1),
                }
            }
            (SIGILL | SIGFPE | SIGBUS | SIGSEGV | SIGTRAP, _) => More::Fault {
                addr: self.word(at),
                detail: match (signo, code) {
                    (SIGBUS, 4 | 5) => Detail::Lsb(i16::from_le_bytes(self.take(after))),
                    (SIGSEGV, 3) => {
                        let bounds = after + self.word;
                        Detail::Bounds(self.word(bounds), self.word(bounds + self.word))
                    }
                    (SIGSEGV, 4) => Detail::Key(self.int(after + self.word) as u32),
                    _ => Detail::None,
                },
            },
            (SIGIO, 1..=POLL_MAX) => self.poll(),
            (SIGSYS, _) => More::Syscall {
                addr: self.word(at),
                nr: self.int(after),
                arch: self.int(after + 4) as u32,
            },
            _ => match self.sent() {
                More::Sent { sender, value } => More::Sent {
                    sender: sender.filter(|sender| *sender != (0, 0)),
                    value,
                },
                other => other,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(ints: &[(usize, u64, usize)]) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        for (at, value, width) in ints {
            bytes[*at..at + width].copy_from_slice(&value.to_le_bytes()[..*width]);
        }
        bytes
    }

    #[test]
    fn the_same_child_in_each_layout() {
        let head = [(0, 17, 4), (8, 1, 4)];
        let child = |tail: &[(usize, u64, usize)]| bytes(&[&head[..], tail].concat());
        let wide = child(&[(16, 7, 4), (20, 8, 4), (24, 9, 4), (32, 10, 8), (40, 11, 8)]);
        let narrow = child(&[(12, 7, 4), (16, 8, 4), (20, 9, 4), (24, 10, 4), (28, 11, 4)]);
        let x32 = child(&[(12, 7, 4), (16, 8, 4), (20, 9, 4), (24, 10, 8), (32, 11, 8)]);
        for (abi, bytes) in [(Abi::X86_64, wide), (Abi::I386, narrow), (Abi::X32, x32)] {
            let info = SigInfo::parse(abi, &bytes);
            let expected = More::Child {
                pid: 7,
                uid: 8,
                status: 9,
                user: 10,
                system: 11,
            };
            assert_eq!(info.more, expected, "{abi:?}");
            assert_eq!(info.code_name(), Some("CLD_EXITED"));
        }
    }

    #[test]
    fn values_of_either_width() {
        let wide = bytes(&[(0, 10, 4), (8, u64::MAX, 4), (16, 7, 4), (24, 1 << 40, 8)]);
        let narrow = bytes(&[(0, 10, 4), (8, u64::MAX, 4), (12, 7, 4), (20, 1 << 20, 8)]);
        for (abi, bytes, value) in [(Abi::X86_64, wide, 1 << 40), (Abi::I386, narrow, 1 << 20)] {
            let expected = More::Sent {
                sender: Some((7, 0)),
                value: Some(value),
            };
            assert_eq!(SigInfo::parse(abi, &bytes).more, expected, "{abi:?}");
        }
    }

    #[test]
    fn an_empty_one_says_nothing() {
        let info = SigInfo::parse(Abi::X86_64, &[0; SIZE]);
        assert_eq!(info.more, More::Nothing);
    }

    #[test]
    fn codes_have_names_by_signal() {
        let name = |signo, code| {
            let bytes = bytes(&[(0, signo, 4), (8, code as u32 as u64, 4)]);
            SigInfo::parse(Abi::X86_64, &bytes).code_name()
        };
        assert_eq!(name(11, 1), Some("SEGV_MAPERR"));
        assert_eq!(name(17, 6), Some("CLD_CONTINUED"));
        assert_eq!(name(17, 7), None);
        assert_eq!(name(8, 9), None);
        assert_eq!(name(8, 14), Some("FPE_FLTUNK"));
        assert_eq!(name(12, 1), None);
        assert_eq!(name(12, -6_i32), Some("SI_TKILL"));
        assert_eq!(name(12, i32::MIN), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_one(signo in 0i32..66, code in -70i32..130, rest: [u8; 32]) {
            for abi in [Abi::X86_64, Abi::I386, Abi::X32] {
                let mut bytes = [0; SIZE];
                bytes[12..44].copy_from_slice(&rest);
                bytes[..4].copy_from_slice(&signo.to_le_bytes());
                bytes[8..12].copy_from_slice(&code.to_le_bytes());
                let info = SigInfo::parse(abi, &bytes);
                proptest::prop_assert_eq!(info.more == More::Nothing, signo == 0
                    || signo == SIGIO && code > 6);
                let _ = info.code_name();
            }
        }
    }
}
