//! From registers and memory to a [`Request`]. Never fails: what can't be
//! read is said to be unreadable.

use super::args::{self, CloneArgs, UserDesc};
use super::flags::CloneFlags;
use super::request::{Body, Clone3, LegacyClone, Request, SetTid, Spec, Tail, Tls};
use crate::abi::{Abi, Call, Syscall};
use crate::memory::{Memory, read_exact};

/// The most elements that the kernel takes in `set_tid`
/// (`MAX_PID_NS_LEVEL`, linux/pid_namespace.h).
const MAX_SET_TID: u64 = 32;

/// Decodes a creating call at its entry; `None` if `syscall` is none.
/// At most `string_limit` bytes of a structure's unknown tail are kept.
pub fn decode(syscall: Syscall, memory: &mut dyn Memory, string_limit: usize) -> Option<Request> {
    let spec = match syscall.call()? {
        Call::Fork => Spec::Fork,
        Call::Vfork => Spec::Vfork,
        Call::Clone => Spec::Clone(clone(&syscall, memory)),
        Call::Clone3 => Spec::Clone3(clone3(&syscall, memory, string_limit)),
        _ => return None,
    };
    Some(Request { syscall, spec })
}

fn clone(syscall: &Syscall, memory: &mut dyn Memory) -> LegacyClone {
    let order = syscall.abi.clone_order();
    let flags = syscall.args[order.flags];
    LegacyClone {
        flags,
        stack: syscall.args[order.stack],
        parent_tid: syscall.args[order.parent_tid],
        child_tid: syscall.args[order.child_tid],
        tls: tls(
            syscall.abi,
            CloneFlags(flags),
            syscall.args[order.tls],
            memory,
        ),
    }
}

/// On i386 the argument points to a segment descriptor; elsewhere it is the
/// new value of the thread pointer.
fn tls(abi: Abi, flags: CloneFlags, value: u64, memory: &mut dyn Memory) -> Tls {
    if abi == Abi::I386 && flags.has(CloneFlags::SETTLS) {
        let mut bytes = [0; UserDesc::SIZE];
        if read_exact(memory, value, &mut bytes) {
            return Tls::Segment(UserDesc::parse(&bytes));
        }
    }
    Tls::Address(value)
}

fn clone3(syscall: &Syscall, memory: &mut dyn Memory, string_limit: usize) -> Clone3 {
    let [addr, size, ..] = syscall.args;
    let body = if size < args::SIZE_VER0 as u64 {
        Body::TooSmall
    } else {
        read_body(syscall.abi, addr, size, memory, string_limit)
    };
    Clone3 { addr, size, body }
}

fn read_body(abi: Abi, addr: u64, size: u64, memory: &mut dyn Memory, string_limit: usize) -> Body {
    // One read for all that the kernel would look at: fields and tail. Nearly
    // always there is no tail.
    let wanted = usize::try_from(size).map_or(args::SIZE_MAX, |s| s.min(args::SIZE_MAX));
    let known = wanted.min(args::SIZE_VER2);
    let mut usual = [0; args::SIZE_VER2];
    let mut large = Vec::new();
    let buffer = match usual.get_mut(..wanted) {
        Some(buffer) => buffer,
        None => {
            large.resize(wanted, 0);
            &mut large[..]
        }
    };
    let got = memory.read(addr, buffer);
    if got < known {
        return Body::Unreadable;
    }
    let args = CloneArgs::parse(&buffer[..known]);
    let rest = &buffer[known..wanted];
    let last = wanted - 1;
    let tail = if got < wanted {
        Tail::Unreadable { last }
    } else if rest.iter().all(|byte| *byte == 0) {
        Tail::Zero
    } else {
        Tail::NonZero {
            head: rest[..rest.len().min(string_limit)].to_vec(),
            last,
        }
    };
    Body::Read {
        tls: tls(abi, args.flags, args.tls, memory),
        set_tid: set_tid(&args, memory),
        args,
        tail,
    }
}

fn set_tid(args: &CloneArgs, memory: &mut dyn Memory) -> SetTid {
    if args.set_tid == 0 || args.set_tid_size == 0 || args.set_tid_size > MAX_SET_TID {
        return SetTid::Address;
    }
    let mut bytes = [0; MAX_SET_TID as usize * 4];
    let wanted = args.set_tid_size as usize * 4;
    let got = memory.read(args.set_tid, &mut bytes[..wanted]);
    let pids: Vec<i32> = bytes[..got]
        .chunks_exact(4)
        .map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    if pids.is_empty() {
        SetTid::Address
    } else {
        SetTid::Pids(pids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clone::request::{Kind, Stack};
    use crate::ids::Signal;
    use crate::memory::Regions;
    use proptest::prelude::*;

    fn x86_64(nr: u64, args: [u64; 6]) -> Syscall {
        Syscall {
            abi: Abi::X86_64,
            nr,
            args,
        }
    }

    fn structure(fields: [u64; 11]) -> Vec<u8> {
        fields.iter().flat_map(|f| f.to_le_bytes()).collect()
    }

    #[test]
    fn fork_and_vfork_imply_their_flags() {
        let mut none = Regions::default();
        let fork = decode(x86_64(57, [9; 6]), &mut none, 32).unwrap();
        assert_eq!(fork.kind(), Kind::Process);
        assert_eq!(fork.exit_signal(), Some(Signal::CHLD));
        let vfork = decode(x86_64(58, [9; 6]), &mut none, 32).unwrap();
        assert_eq!(vfork.kind(), Kind::Vfork);
        assert_eq!(vfork.exit_signal(), Some(Signal::CHLD));
        assert_eq!(decode(x86_64(59, [0; 6]), &mut none, 32), None);
    }

    #[test]
    fn clone_ignores_the_upper_half_and_keeps_the_signal_apart() {
        let mut none = Regions::default();
        let r = decode(x86_64(56, [0x1_0000_0011, 0, 0, 0, 0, 0]), &mut none, 32).unwrap();
        assert_eq!(r.flags(), CloneFlags(0));
        assert_eq!(r.exit_signal(), Some(Signal::CHLD));
        // 0x80 is no CLONE_NEWTIME here but signal 128.
        let r = decode(x86_64(56, [0x80, 0, 0, 0, 0, 0]), &mut none, 32).unwrap();
        assert!(!r.flags().has(CloneFlags::NEWTIME));
        assert_eq!(r.exit_signal(), Some(Signal(128)));
    }

    #[test]
    fn i386_swaps_the_last_two_and_reads_the_segment() {
        let desc: Vec<u8> = [12u32, 0xf7c0_0740, 0xfffff, 0x51]
            .iter()
            .flat_map(|w| w.to_le_bytes())
            .collect();
        let mut memory = Regions(vec![(0x8000, desc)]);
        let call = Syscall {
            abi: Abi::I386,
            nr: 120,
            args: [0x003d_0f00, 0x1000, 0x2000, 0x8000, 0x3000, 0],
        };
        let r = decode(call, &mut memory, 32).unwrap();
        assert_eq!(r.kind(), Kind::Thread);
        assert_eq!(r.child_tid(), 0x3000);
        let Some(Tls::Segment(desc)) = r.tls() else {
            panic!("no segment: {r:?}")
        };
        assert_eq!(desc.entry_number, 12);
        assert_eq!(
            desc.members(),
            [
                ("seg_32bit", 1),
                ("contents", 0),
                ("read_exec_only", 0),
                ("limit_in_pages", 1),
                ("seg_not_present", 0),
                ("useable", 1)
            ]
        );
        let r = decode(call, &mut Regions::default(), 32).unwrap();
        assert_eq!(r.tls(), Some(Tls::Address(0x8000)));
    }

    #[test]
    fn clone3_at_every_size() {
        let bytes = structure([
            0x3_0000_0000 | 0x1000,
            0x11,
            0,
            0,
            17,
            0x5000,
            0x1000,
            0,
            0x9000,
            2,
            7,
        ]);
        let pids: Vec<u8> = [77i32, 4000].iter().flat_map(|p| p.to_le_bytes()).collect();
        let mut long = bytes.clone();
        long.extend([0; 40]);
        let mut memory = Regions(vec![(0x1000, long), (0x9000, pids)]);
        let at = |size: u64, memory: &mut Regions| {
            decode(x86_64(435, [0x1000, size, 0, 0, 0, 0]), memory, 32).unwrap()
        };
        let r = at(88, &mut memory);
        assert_eq!(r.set_tid(), Some(&[77, 4000][..]));
        assert_eq!(r.clone_args().unwrap().cgroup, 7);
        assert_eq!(r.pidfd(), Some(0x11));
        assert_eq!(r.stack(), Stack::Area(0x5000, 0x1000));
        assert_eq!(at(80, &mut memory).clone_args().unwrap().cgroup, 0);
        assert_eq!(at(64, &mut memory).set_tid(), None);
        let tail = |r: Request| match r.spec {
            Spec::Clone3(Clone3 {
                body: Body::Read { tail, .. },
                ..
            }) => tail,
            other => panic!("{other:?}"),
        };
        assert_eq!(tail(at(128, &mut memory)), Tail::Zero);
        memory.0[0].1[100] = 1;
        assert_eq!(
            tail(at(128, &mut memory)),
            Tail::NonZero {
                head: [vec![0; 12], vec![1], vec![0; 19]].concat(),
                last: 127
            }
        );
        assert_eq!(tail(at(4096, &mut memory)), Tail::Unreadable { last: 4095 });
        for (size, body) in [(63, Body::TooSmall), (0, Body::TooSmall)] {
            let r = at(size, &mut memory);
            assert!(matches!(r.spec, Spec::Clone3(ref c) if c.body == body));
            assert!(!r.is_decoded());
        }
        let r = decode(x86_64(435, [8, 88, 0, 0, 0, 0]), &mut memory, 32).unwrap();
        assert!(matches!(
            r.spec,
            Spec::Clone3(Clone3 {
                body: Body::Unreadable,
                ..
            })
        ));
    }

    fn any_abi() -> impl Strategy<Value = Abi> {
        prop_oneof![Just(Abi::X86_64), Just(Abi::I386), Just(Abi::X32)]
    }

    proptest! {
        /// Any registers over any memory: a request or none, never a panic,
        /// and its accessors hold.
        #[test]
        fn never_panics(
            abi in any_abi(),
            nr in prop_oneof![Just(56u64), Just(57), Just(58), Just(435), Just(2), Just(120), Just(190), any::<u64>()],
            args in any::<[u64; 6]>(),
            size in prop_oneof![0u64..200, Just(4096), Just(4097), any::<u64>()],
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            limit in 0usize..100,
        ) {
            let mut memory = Regions(vec![(0x1000, bytes)]);
            for args in [args, [0x1000, size, args[2], 0x1000, 0x1000, args[5]]] {
                if let Some(r) = decode(Syscall { abi, nr, args }, &mut memory, limit) {
                    let _ = (r.kind(), r.stack(), r.exit_signal(), r.tls(), r.pidfd(), r.parent_tid());
                    prop_assert!(r.syscall.call().is_some_and(Call::creates));
                    if r.kind() == Kind::Thread {
                        prop_assert_eq!(r.exit_signal(), None);
                    }
                }
            }
        }

        /// Bytes survive: what stands in the structure comes out of it.
        #[test]
        fn clone_args_are_read_whole(fields in any::<[u64; 11]>()) {
            let mut memory = Regions(vec![(0x1000, structure(fields))]);
            let r = decode(x86_64(435, [0x1000, 88, 0, 0, 0, 0]), &mut memory, 32).unwrap();
            let a = r.clone_args().unwrap();
            prop_assert_eq!(
                [a.flags.0, a.pidfd, a.child_tid, a.parent_tid, a.exit_signal, a.stack,
                 a.stack_size, a.tls, a.set_tid, a.set_tid_size, a.cgroup],
                fields
            );
        }
    }
}
