//! The calls that wait for children and that send signals: what they ask for,
//! and what they tell. Decoded from registers and memory; pure.
//!
//! What a wait tells is known only when it returns, what a signal carries already
//! at the call's entry: so each is decoded there.

pub mod meaning;
pub mod siginfo;

use crate::abi::{Abi, Call, Syscall};
use crate::event::{End, Wait};
use crate::ids::{Pid, Signal};
use crate::memory::{Memory, read_exact, read_u32};
use siginfo::{More, SigInfo};

/// `WNOHANG` (linux/wait.h): doesn't block.
pub const WNOHANG: u64 = 1;
/// `WUNTRACED`, also `WSTOPPED`: stops are told.
pub const WSTOPPED: u64 = 2;
/// `WCONTINUED`: continuations are told.
pub const WCONTINUED: u64 = 8;
/// `WNOWAIT`: what is told can be waited for again.
pub const WNOWAIT: u64 = 0x0100_0000;

/// A call that waits for children, as it was entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitCall {
    /// ABI, number and raw arguments.
    pub syscall: Syscall,
}

/// Which children a wait is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// All.
    Any,
    /// The one with this pid, in the caller's pid namespace.
    Process(Pid),
    /// Those of the caller's own process group.
    OwnGroup,
    /// Those of this process group.
    Group(Pid),
    /// The one behind this pidfd.
    Pidfd(i32),
    /// waitid with an idtype that forktrace doesn't know.
    Unknown,
}

/// What a wait stored in the caller's memory, read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stored {
    /// wait4 and waitpid: the status word (wait(2)).
    pub status: Option<i32>,
    /// waitid: the structure.
    pub info: Option<SigInfo>,
    /// The child's times.
    pub usage: Option<Times>,
}

/// The first fields of a `struct rusage` (getrusage(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// `ru_utime`, CPU time in user mode: seconds and microseconds as they stand there.
    pub user: (i64, i64),
    /// `ru_stime`, CPU time in the kernel.
    pub system: (i64, i64),
}

/// What a wait told of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// The child's pid in the pid namespace of the caller.
    pub child: Pid,
    /// What became of it.
    pub change: Change,
    /// Whether it can be waited for again: with WNOWAIT, and not by an end
    /// otherwise.
    pub kept: bool,
}

/// What became of a child, as its parent is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It ended; `None` where the caller asked for no status.
    Ended(Option<End>),
    /// It was stopped by a signal.
    Stopped(Signal),
    /// It is traced by the caller, and in a ptrace stop.
    Trapped,
    /// SIGCONT continued it.
    Continued,
    /// One of these: the caller asked for no status.
    Unknown,
}

/// WIFCONTINUED (wait(2)).
const CONTINUED: i32 = 0xffff;

impl WaitCall {
    /// The call, if it is one that waits.
    pub fn of(syscall: Syscall) -> Option<WaitCall> {
        let waits = syscall.call().is_some_and(Call::waits);
        waits.then_some(WaitCall { syscall })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.syscall.call().map_or("", Call::name)
    }

    /// Whether it is waitid, with a siginfo, and not a form with a status word.
    pub fn is_waitid(&self) -> bool {
        self.syscall.call() == Some(Call::Waitid)
    }

    /// Which children it is for.
    pub fn whom(&self) -> Whom {
        let [first, second, ..] = self.syscall.args.map(|arg| arg as i32);
        if self.is_waitid() {
            return match (first, second) {
                (0, _) => Whom::Any,
                (1, pid) => Whom::Process(Pid(pid)),
                (2, 0) => Whom::OwnGroup,
                (2, group) => Whom::Group(Pid(group)),
                (3, fd) => Whom::Pidfd(fd),
                _ => Whom::Unknown,
            };
        }
        match first {
            -1 => Whom::Any,
            0 => Whom::OwnGroup,
            pid if pid > 0 => Whom::Process(Pid(pid)),
            group => Whom::Group(Pid(group.wrapping_neg())),
        }
    }

    /// The options register, whole.
    pub fn options(&self) -> u64 {
        self.syscall.args[if self.is_waitid() { 3 } else { 2 }]
    }

    /// Where the status word or the siginfo goes.
    pub fn result_addr(&self) -> u64 {
        self.syscall.args[if self.is_waitid() { 2 } else { 1 }]
    }

    /// Where the child's usage goes; `None` for waitpid, which has no such
    /// argument.
    pub fn usage_addr(&self) -> Option<u64> {
        match self.syscall.call() {
            Some(Call::Wait4) => Some(self.syscall.args[3]),
            Some(Call::Waitid) => Some(self.syscall.args[4]),
            _ => None,
        }
    }

    /// Reads back what the kernel stored for a call that returned `value`.
    pub fn stored(&self, value: i64, memory: &mut dyn Memory) -> Stored {
        let abi = self.syscall.abi;
        if value < 0 || (value == 0 && !self.is_waitid()) {
            return Stored::default();
        }
        let mut stored = Stored::default();
        let addr = self.result_addr();
        if addr != 0 && self.is_waitid() {
            stored.info = SigInfo::read(abi, memory, addr);
        } else if addr != 0 {
            stored.status = read_u32(memory, addr).map(|word| word as i32);
        }
        if let Some(addr) = self.usage_addr().filter(|addr| *addr != 0) {
            stored.usage = Times::read(abi, memory, addr);
        }
        stored
    }
}

impl Times {
    fn read(abi: Abi, memory: &mut dyn Memory, addr: u64) -> Option<Times> {
        // Two times and fourteen words of statistics. x32 has 64-bit words here.
        let word = match abi {
            Abi::I386 => 4,
            Abi::X86_64 | Abi::X32 => 8,
        };
        let mut bytes = [0; 18 * 8];
        let bytes = &mut bytes[..18 * word];
        if !read_exact(memory, addr, bytes) {
            return None;
        }
        let mut words = bytes.chunks_exact(word).map(|bytes| match bytes {
            [a, b, c, d] => i64::from(i32::from_le_bytes([*a, *b, *c, *d])),
            _ => i64::from_le_bytes(bytes.try_into().unwrap_or_default()),
        });
        let mut time = || Some((words.next()?, words.next()?));
        Some(Times {
            user: time()?,
            system: time()?,
        })
    }
}

impl Change {
    /// What a status word says (wait(2)).
    fn of_status(status: i32) -> Change {
        let (low, high) = (status & 0x7f, status >> 8 & 0xff);
        if status == CONTINUED {
            Change::Continued
        } else if status & 0xff == 0x7f {
            match status >> 16 == 0 && high & 0x80 == 0 {
                true => Change::Stopped(Signal(high)),
                false => Change::Trapped,
            }
        } else if low == 0 {
            Change::Ended(Some(End::Exited(high)))
        } else {
            Change::Ended(Some(End::Killed {
                signal: Signal(low),
                core_dumped: status & 0x80 != 0,
            }))
        }
    }

    /// What a siginfo of waitid says (waitid(2)).
    fn of_info(code: i32, status: i32) -> Change {
        let killed = |core_dumped| {
            Change::Ended(Some(End::Killed {
                signal: Signal(status),
                core_dumped,
            }))
        };
        match code {
            1 => Change::Ended(Some(End::Exited(status))),
            2 => killed(false),
            3 => killed(true),
            4 => Change::Trapped,
            5 => Change::Stopped(Signal(status)),
            6 => Change::Continued,
            _ => Change::Unknown,
        }
    }
}

impl Wait {
    /// What the call told of which child; `None` where it told of none.
    pub fn told(&self) -> Option<Told> {
        let value = self.answer?.ok()?;
        let options = self.call.options();
        // Without a place for it no status is told.
        let unseen = match options & (WSTOPPED | WCONTINUED) {
            0 => Change::Ended(None),
            _ => Change::Unknown,
        };
        let (child, change) = if !self.call.is_waitid() {
            let change = self.stored.status.map_or(unseen, Change::of_status);
            (Pid(value as i32), change)
        } else if let Some(info) = &self.stored.info {
            let More::Child { pid, status, .. } = info.more else {
                return None;
            };
            (Pid(pid), Change::of_info(info.code, status))
        } else {
            match self.call.whom() {
                Whom::Process(pid) if options & WNOHANG == 0 => (pid, unseen),
                _ => return None,
            }
        };
        (child.0 > 0).then_some(Told {
            child,
            change,
            kept: options & WNOWAIT != 0,
        })
    }
}

/// A call that sends a signal, as it was entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KillCall {
    /// ABI, number and raw arguments.
    pub syscall: Syscall,
    /// The siginfo that the caller sends along; `None` where the call has none,
    /// or it can't be read.
    pub info: Option<SigInfo>,
}

/// Whom a signal is for; numbers are those of the caller's pid namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A process.
    Process(Pid),
    /// A thread, and its process where the caller named it.
    Thread(Option<Pid>, i32),
    /// The process behind a pidfd.
    Pidfd(i32),
    /// All of the caller's process group.
    OwnGroup,
    /// All of this process group.
    Group(Pid),
    /// Every process that the caller may signal, but init and its own.
    Everyone,
}

impl KillCall {
    /// The call, if it is one that sends a signal; reads the siginfo.
    pub fn decode(syscall: Syscall, memory: &mut dyn Memory) -> Option<KillCall> {
        if !syscall.call().is_some_and(Call::signals) {
            return None;
        }
        let call = KillCall {
            syscall,
            info: None,
        };
        let info = call
            .info_addr()
            .filter(|addr| *addr != 0)
            .and_then(|addr| SigInfo::read(syscall.abi, memory, addr));
        Some(KillCall { info, ..call })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.syscall.call().map_or("", Call::name)
    }

    /// The index of the signal among the arguments.
    fn signal_at(&self) -> usize {
        match self.syscall.call() {
            Some(Call::Tgkill | Call::RtTgsigqueueinfo) => 2,
            _ => 1,
        }
    }

    /// The signal; 0 asks only whether one could be sent.
    pub fn signal(&self) -> Signal {
        Signal(self.syscall.args[self.signal_at()] as i32)
    }

    /// Where the siginfo is, for the calls that have one.
    pub fn info_addr(&self) -> Option<u64> {
        match self.syscall.call() {
            Some(Call::RtSigqueueinfo | Call::RtTgsigqueueinfo | Call::PidfdSendSignal) => {
                Some(self.syscall.args[self.signal_at() + 1])
            }
            _ => None,
        }
    }

    /// Whom it is for.
    pub fn target(&self) -> Target {
        let [first, second, ..] = self.syscall.args.map(|arg| arg as i32);
        match self.syscall.call() {
            Some(Call::Tkill) => Target::Thread(None, first),
            Some(Call::Tgkill | Call::RtTgsigqueueinfo) => Target::Thread(Some(Pid(first)), second),
            Some(Call::PidfdSendSignal) => Target::Pidfd(first),
            Some(Call::Kill) => match first {
                0 => Target::OwnGroup,
                -1 => Target::Everyone,
                pid if pid > 0 => Target::Process(Pid(pid)),
                group => Target::Group(Pid(group.wrapping_neg())),
            },
            _ => Target::Process(Pid(first)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Errno;
    use crate::memory::Regions;

    fn call(abi: Abi, nr: u64, args: [u64; 6]) -> WaitCall {
        WaitCall::of(Syscall { abi, nr, args }).unwrap()
    }

    fn wait(call: WaitCall, value: i64, memory: Regions) -> Wait {
        Wait {
            answer: Some(Ok(value)),
            stored: call.stored(value, &mut { memory }),
            ..Wait::unanswered(call)
        }
    }

    fn status(word: i32) -> Change {
        let memory = Regions(vec![(0x1000, word.to_le_bytes().to_vec())]);
        let call = call(Abi::X86_64, 61, [u64::MAX, 0x1000, 0, 0, 0, 0]);
        let told = wait(call, 42, memory).told().unwrap();
        assert_eq!(told.child, Pid(42));
        told.change
    }

    #[test]
    fn every_form_of_status() {
        let killed = |signal, core_dumped| {
            Change::Ended(Some(End::Killed {
                signal: Signal(signal),
                core_dumped,
            }))
        };
        for (word, change) in [
            (0, Change::Ended(Some(End::Exited(0)))),
            (3 << 8, Change::Ended(Some(End::Exited(3)))),
            (15, killed(15, false)),
            (64, killed(64, false)),
            (11 | 0x80, killed(11, true)),
            (20 << 8 | 0x7f, Change::Stopped(Signal(20))),
            (0x85 << 8 | 0x7f, Change::Trapped),
            (1 << 16 | 5 << 8 | 0x7f, Change::Trapped),
            (0xffff, Change::Continued),
        ] {
            assert_eq!(status(word), change, "{word:#x}");
        }
    }

    #[test]
    fn whom_a_wait_is_for() {
        let wait4 = |pid: i32| call(Abi::X86_64, 61, [pid as u32 as u64, 0, 0, 0, 0, 0]).whom();
        assert_eq!(wait4(-1), Whom::Any);
        assert_eq!(wait4(0), Whom::OwnGroup);
        assert_eq!(wait4(7), Whom::Process(Pid(7)));
        assert_eq!(wait4(-7), Whom::Group(Pid(7)));
        assert_eq!(wait4(i32::MIN), Whom::Group(Pid(i32::MIN)));
        let waitid = |kind: u64, id: u64| call(Abi::I386, 284, [kind, id, 0, 0, 0, 0]).whom();
        assert_eq!(waitid(0, 9), Whom::Any);
        assert_eq!(waitid(1, 9), Whom::Process(Pid(9)));
        assert_eq!(waitid(2, 9), Whom::Group(Pid(9)));
        assert_eq!(waitid(2, 0), Whom::OwnGroup);
        assert_eq!(waitid(3, 9), Whom::Pidfd(9));
        assert_eq!(waitid(4, 9), Whom::Unknown);
    }

    #[test]
    fn nothing_to_tell() {
        let any = call(Abi::X86_64, 61, [u64::MAX, 0, WNOHANG, 0, 0, 0]);
        assert_eq!(wait(any, 0, Regions::default()).told(), None);
        let failed = Wait {
            answer: Some(Err(Errno(10))),
            ..Wait::unanswered(any)
        };
        assert_eq!(failed.told(), None);
        assert_eq!(Wait::unanswered(any).told(), None);
        // waitid with WNOHANG fills in zeros.
        let none = call(Abi::X86_64, 247, [0, 0, 0x1000, WNOHANG | 4, 0, 0]);
        let zeros = Regions(vec![(0x1000, vec![0; 128])]);
        assert_eq!(wait(none, 0, zeros).told(), None);
    }

    #[test]
    fn without_a_status_an_end_is_known_by_the_options() {
        let told = |options| {
            let call = call(Abi::X86_64, 61, [u64::MAX, 0, options, 0, 0, 0]);
            wait(call, 5, Regions::default()).told().unwrap()
        };
        assert_eq!(told(0).change, Change::Ended(None));
        assert_eq!(told(WSTOPPED).change, Change::Unknown);
        let waitid = |options| {
            let call = call(Abi::X86_64, 247, [1, 8, 0, options, 0, 0]);
            wait(call, 0, Regions::default()).told()
        };
        let told = waitid(4 | WNOWAIT).unwrap();
        assert_eq!((told.child, told.change), (Pid(8), Change::Ended(None)));
        assert!(told.kept);
        assert_eq!(waitid(4 | WNOHANG), None);
    }

    #[test]
    fn whom_a_signal_is_for() {
        let of = |abi, nr, args: [u64; 6]| {
            let syscall = Syscall { abi, nr, args };
            let call = KillCall::decode(syscall, &mut Regions::default()).unwrap();
            (call.target(), call.signal(), call.info_addr())
        };
        let minus = |n: i32| n as u32 as u64;
        for (args, target) in [
            ([5, 15, 0, 0, 0, 0], Target::Process(Pid(5))),
            ([0, 15, 0, 0, 0, 0], Target::OwnGroup),
            ([minus(-1), 15, 0, 0, 0, 0], Target::Everyone),
            ([minus(-9), 15, 0, 0, 0, 0], Target::Group(Pid(9))),
        ] {
            assert_eq!(of(Abi::X86_64, 62, args), (target, Signal(15), None));
        }
        let [tkill, tgkill] = [[5, 10, 0, 0, 0, 0], [4, 5, 10, 0, 0, 0]];
        let thread = |group| Target::Thread(group, 5);
        assert_eq!(of(Abi::I386, 238, tkill).0, thread(None));
        assert_eq!(of(Abi::I386, 270, tgkill).0, thread(Some(Pid(4))));
        let queued = of(Abi::X86_64, 129, [4, 10, 0x66, 0, 0, 0]);
        assert_eq!(queued, (Target::Process(Pid(4)), Signal(10), Some(0x66)));
        let queued = of(Abi::X86_64, 297, [4, 5, 10, 0x66, 0, 0]);
        assert_eq!(queued, (thread(Some(Pid(4))), Signal(10), Some(0x66)));
        let pidfd = of(Abi::X86_64, 424, [3, 10, 0, 0, 0, 0]);
        assert_eq!(pidfd, (Target::Pidfd(3), Signal(10), Some(0)));
    }

    proptest::proptest! {
        #[test]
        fn any_registers_and_memory_decode(
            args: [u64; 6],
            index in 0usize..9,
            value: i64,
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..160),
        ) {
            for abi in [Abi::X86_64, Abi::I386, Abi::X32] {
                let numbers: Vec<_> = abi.waits_numbers().collect();
                let (nr, name) = numbers[index % numbers.len()];
                let syscall = Syscall { abi, nr, args };
                let mut memory = Regions(args.iter().map(|at| (*at, bytes.clone())).collect());
                let wait_call = WaitCall::of(syscall);
                proptest::prop_assert_eq!(wait_call.is_some(), name.waits());
                if let Some(call) = wait_call {
                    let wait = Wait {
                        answer: Some(Ok(value)),
                        stored: call.stored(value, &mut memory),
                        ..Wait::unanswered(call)
                    };
                    let _ = wait.told();
                }
                let kill_call = KillCall::decode(syscall, &mut memory);
                proptest::prop_assert_eq!(kill_call.is_some(), name.signals());
                if let Some(call) = kill_call {
                    let _ = (call.target(), call.signal(), call.info_addr());
                }
            }
        }
    }
}
