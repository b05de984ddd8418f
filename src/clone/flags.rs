//! The clone flags of `linux/sched.h`, all of them, in a 64-bit type: those
//! of clone3 don't fit in the C `int` that other bindings use.

use std::fmt;
use std::ops::{BitAnd, BitOr, Not};

/// Flag bits of clone, clone3 and what fork and vfork imply. Not the exit
/// signal: that is a number, and `clone` keeps it in the low byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CloneFlags(pub u64);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $value:expr;)*) => {
        impl CloneFlags {
            $($(#[$doc])* pub const $name: CloneFlags = CloneFlags($value);)*
        }

        /// Every flag with its name, in ascending order of bits.
        pub const NAMES: &[(CloneFlags, &str)] = &[
            $((CloneFlags::$name, concat!("CLONE_", stringify!($name))),)*
        ];
    };
}

flags! {
    /// clone3 and unshare only: in `clone` this bit belongs to the exit signal.
    NEWTIME = 0x80;
    /// Share the address space.
    VM = 0x100;
    /// Share root, working directory and umask.
    FS = 0x200;
    /// Share the table of file descriptors.
    FILES = 0x400;
    /// Share the table of signal handlers.
    SIGHAND = 0x800;
    /// Return a pidfd.
    PIDFD = 0x1000;
    /// The caller's tracer traces the child too.
    PTRACE = 0x2000;
    /// Suspend the caller until the child execs or exits.
    VFORK = 0x4000;
    /// The child's parent is the caller's parent.
    PARENT = 0x8000;
    /// Same thread group.
    THREAD = 0x1_0000;
    /// New mount namespace.
    NEWNS = 0x2_0000;
    /// Share System V semaphore undo values.
    SYSVSEM = 0x4_0000;
    /// Set the child's thread-local storage.
    SETTLS = 0x8_0000;
    /// Store the tid in the parent's memory.
    PARENT_SETTID = 0x10_0000;
    /// Clear the tid word at exit and wake its futex.
    CHILD_CLEARTID = 0x20_0000;
    /// Ignored by clone, refused by clone3.
    DETACHED = 0x40_0000;
    /// No tracer can force CLONE_PTRACE on this child.
    UNTRACED = 0x80_0000;
    /// Store the tid in the child's memory.
    CHILD_SETTID = 0x100_0000;
    /// New cgroup namespace.
    NEWCGROUP = 0x200_0000;
    /// New UTS namespace.
    NEWUTS = 0x400_0000;
    /// New IPC namespace.
    NEWIPC = 0x800_0000;
    /// New user namespace.
    NEWUSER = 0x1000_0000;
    /// New pid namespace.
    NEWPID = 0x2000_0000;
    /// New network namespace.
    NEWNET = 0x4000_0000;
    /// Share the I/O context.
    IO = 0x8000_0000;
    /// Reset caught signals to their defaults.
    CLEAR_SIGHAND = 1 << 32;
    /// Start in the cgroup given.
    INTO_CGROUP = 1 << 33;
    /// The kernel reaps the child itself.
    AUTOREAP = 1 << 34;
    /// Set no_new_privs on the child.
    NNP = 1 << 35;
    /// Kill the child when its pidfd is closed.
    PIDFD_AUTOKILL = 1 << 36;
    /// New mount namespace that is empty.
    EMPTY_MNTNS = 1 << 37;
}

/// The names by the number of their bit.
const BY_BIT: [Option<&str>; 64] = {
    let mut names = [None; 64];
    let mut index = 0;
    while index < NAMES.len() {
        let (flag, name) = NAMES[index];
        names[flag.0.trailing_zeros() as usize] = Some(name);
        index += 1;
    }
    names
};

/// The byte of clone's flags that holds the exit signal (`CSIGNAL`).
pub const CSIGNAL: u64 = 0xff;

/// The namespaces, as people call them.
pub const NAMESPACES: &[(CloneFlags, &str)] = &[
    (CloneFlags::NEWUSER, "user"),
    (CloneFlags::NEWPID, "pid"),
    (CloneFlags::NEWNS, "mount"),
    (CloneFlags::NEWNET, "network"),
    (CloneFlags::NEWIPC, "IPC"),
    (CloneFlags::NEWUTS, "UTS (hostname)"),
    (CloneFlags::NEWCGROUP, "cgroup"),
    (CloneFlags::NEWTIME, "time"),
];

impl CloneFlags {
    /// Whether all bits of `other` are set.
    pub fn has(self, other: CloneFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any bit of `other` is set.
    pub fn any(self, other: CloneFlags) -> bool {
        self.0 & other.0 != 0
    }

    /// The bits that no name is known for.
    pub fn unknown(self) -> u64 {
        NAMES.iter().fold(self.0, |left, (flag, _)| left & !flag.0)
    }

    /// The flags set that have names, one by one.
    pub fn iter(self) -> impl Iterator<Item = (CloneFlags, &'static str)> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            while left != 0 {
                let bit = left.trailing_zeros();
                left &= left - 1;
                if let Some(name) = BY_BIT[bit as usize] {
                    return Some((CloneFlags(1 << bit), name));
                }
            }
            None
        })
    }
}

impl BitOr for CloneFlags {
    type Output = CloneFlags;
    fn bitor(self, other: CloneFlags) -> CloneFlags {
        CloneFlags(self.0 | other.0)
    }
}

impl BitAnd for CloneFlags {
    type Output = CloneFlags;
    fn bitand(self, other: CloneFlags) -> CloneFlags {
        CloneFlags(self.0 & other.0)
    }
}

impl Not for CloneFlags {
    type Output = CloneFlags;
    fn not(self) -> CloneFlags {
        CloneFlags(!self.0)
    }
}

impl fmt::Display for CloneFlags {
    /// `A|B|0x…`, or `0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (_, name) in self.iter() {
            write!(f, "{separator}{name}")?;
            separator = "|";
        }
        match self.unknown() {
            0 if separator.is_empty() => f.write_str("0"),
            0 => Ok(()),
            bits => write!(f, "{separator}{bits:#x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_libc() {
        for (flag, value) in [
            (CloneFlags::VM, libc::CLONE_VM),
            (CloneFlags::FS, libc::CLONE_FS),
            (CloneFlags::FILES, libc::CLONE_FILES),
            (CloneFlags::SIGHAND, libc::CLONE_SIGHAND),
            (CloneFlags::PIDFD, libc::CLONE_PIDFD),
            (CloneFlags::PTRACE, libc::CLONE_PTRACE),
            (CloneFlags::VFORK, libc::CLONE_VFORK),
            (CloneFlags::PARENT, libc::CLONE_PARENT),
            (CloneFlags::THREAD, libc::CLONE_THREAD),
            (CloneFlags::NEWNS, libc::CLONE_NEWNS),
            (CloneFlags::SYSVSEM, libc::CLONE_SYSVSEM),
            (CloneFlags::SETTLS, libc::CLONE_SETTLS),
            (CloneFlags::PARENT_SETTID, libc::CLONE_PARENT_SETTID),
            (CloneFlags::CHILD_CLEARTID, libc::CLONE_CHILD_CLEARTID),
            (CloneFlags::DETACHED, libc::CLONE_DETACHED),
            (CloneFlags::UNTRACED, libc::CLONE_UNTRACED),
            (CloneFlags::CHILD_SETTID, libc::CLONE_CHILD_SETTID),
            (CloneFlags::NEWCGROUP, libc::CLONE_NEWCGROUP),
            (CloneFlags::NEWUTS, libc::CLONE_NEWUTS),
            (CloneFlags::NEWIPC, libc::CLONE_NEWIPC),
            (CloneFlags::NEWUSER, libc::CLONE_NEWUSER),
            (CloneFlags::NEWPID, libc::CLONE_NEWPID),
            (CloneFlags::NEWNET, libc::CLONE_NEWNET),
            (CloneFlags::IO, libc::CLONE_IO),
        ] {
            assert_eq!(flag.0, u64::from(value as u32));
        }
    }

    #[test]
    fn names_are_distinct_single_bits_in_order() {
        for pair in NAMES.windows(2) {
            assert!(pair[0].0.0 < pair[1].0.0);
        }
        for (flag, _) in NAMES {
            assert_eq!(flag.0.count_ones(), 1);
        }
        assert_eq!(NAMES.len(), 31);
    }

    #[test]
    fn unknown_bits_stay_in_hex() {
        let flags = CloneFlags::VM | CloneFlags(1 << 40) | CloneFlags(1);
        assert_eq!(flags.to_string(), "CLONE_VM|0x10000000001");
        assert_eq!(CloneFlags(0).to_string(), "0");
    }
}
