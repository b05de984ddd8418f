//! The structures that creating calls point to, as bytes of a tracee:
//! `struct clone_args` (linux/sched.h) and i386's `struct user_desc`
//! (asm/ldt.h).

use super::flags::CloneFlags;

/// The size of clone_args in Linux 5.3: up to `tls`.
pub const SIZE_VER0: usize = 64;
/// The size since Linux 5.5: with `set_tid` and `set_tid_size`.
pub const SIZE_VER1: usize = 80;
/// The size since Linux 5.7: with `cgroup`.
pub const SIZE_VER2: usize = 88;
/// The most that clone3 accepts: one page; above is E2BIG.
pub const SIZE_MAX: usize = 4096;

/// `struct clone_args` of clone3; fields that a short structure lacks are 0,
/// as the kernel takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CloneArgs {
    /// Flag bits.
    pub flags: CloneFlags,
    /// Where to store the pidfd.
    pub pidfd: u64,
    /// Address of the tid word in the child.
    pub child_tid: u64,
    /// Where to store the tid in the parent.
    pub parent_tid: u64,
    /// Signal to the parent at exit; a number of 64 bits here.
    pub exit_signal: u64,
    /// Lowest byte of the child's stack.
    pub stack: u64,
    /// Size of the stack in bytes.
    pub stack_size: u64,
    /// TLS argument.
    pub tls: u64,
    /// Address of an array of pids, innermost namespace first.
    pub set_tid: u64,
    /// Number of its elements.
    pub set_tid_size: u64,
    /// File descriptor of a cgroup directory.
    pub cgroup: u64,
}

impl CloneArgs {
    /// Reads the fields that `bytes` holds whole; more than 88 are ignored.
    pub fn parse(bytes: &[u8]) -> CloneArgs {
        let field = |index: usize| {
            bytes
                .get(index * 8..index * 8 + 8)
                .and_then(|b| b.try_into().ok())
                .map_or(0, u64::from_le_bytes)
        };
        CloneArgs {
            flags: CloneFlags(field(0)),
            pidfd: field(1),
            child_tid: field(2),
            parent_tid: field(3),
            exit_signal: field(4),
            stack: field(5),
            stack_size: field(6),
            tls: field(7),
            set_tid: field(8),
            set_tid_size: field(9),
            cgroup: field(10),
        }
    }
}

/// `struct user_desc`: what the TLS argument of an i386 clone points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserDesc {
    /// Number of the GDT entry to set.
    pub entry_number: u32,
    /// Where the segment starts: the thread's TLS.
    pub base_addr: u32,
    /// Its limit, in bytes or pages.
    pub limit: u32,
    /// The bit field after the limit, as it stands.
    pub bits: u32,
}

impl UserDesc {
    /// The size of the structure in bytes.
    pub const SIZE: usize = 16;

    /// Reads it.
    pub fn parse(bytes: &[u8; UserDesc::SIZE]) -> UserDesc {
        let field =
            |i: usize| u32::from_le_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
        UserDesc {
            entry_number: field(0),
            base_addr: field(4),
            limit: field(8),
            bits: field(12),
        }
    }

    /// The members of the bit field with their names, in order.
    pub fn members(&self) -> [(&'static str, u32); 6] {
        let b = self.bits;
        [
            ("seg_32bit", b & 1),
            ("contents", b >> 1 & 3),
            ("read_exec_only", b >> 3 & 1),
            ("limit_in_pages", b >> 4 & 1),
            ("seg_not_present", b >> 5 & 1),
            ("useable", b >> 6 & 1),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_where_the_kernel_puts_them() {
        let mut bytes = Vec::new();
        for n in 1..=11u64 {
            bytes.extend_from_slice(&n.to_le_bytes());
        }
        let args = CloneArgs::parse(&bytes);
        assert_eq!(args.flags, CloneFlags(1));
        assert_eq!(args.exit_signal, 5);
        assert_eq!(args.tls, 8);
        assert_eq!(args.cgroup, 11);
        let short = CloneArgs::parse(&bytes[..SIZE_VER0]);
        assert_eq!(short.tls, 8);
        assert_eq!(short.set_tid, 0);
        assert_eq!(short.cgroup, 0);
    }

    #[test]
    fn a_field_cut_in_two_is_absent() {
        let bytes = [0xff; SIZE_VER0 + 4];
        let args = CloneArgs::parse(&bytes);
        assert_eq!(args.tls, u64::MAX);
        assert_eq!(args.set_tid, 0);
    }
}
