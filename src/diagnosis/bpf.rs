//! What seccomp filters answer to a call: classic BPF run as kernel/seccomp.c
//! runs it, so that it is known, not guessed, whether a filter or the kernel
//! refused it.

use super::evidence::Verdict;
use crate::abi::{AUDIT_ARCH_I386, AUDIT_ARCH_X86_64, Abi, Syscall};
use crate::ids::Errno;

/// An instruction (`struct sock_filter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How far to jump if a condition holds.
    pub jt: u8,
    /// And if not.
    pub jf: u8,
    /// A constant.
    pub k: u32,
}

/// `struct seccomp_data`, as bytes.
const DATA_SIZE: usize = 64;

fn data(syscall: &Syscall) -> [u8; DATA_SIZE] {
    let arch = match syscall.abi {
        Abi::X86_64 | Abi::X32 => AUDIT_ARCH_X86_64,
        Abi::I386 => AUDIT_ARCH_I386,
    };
    let mut data = [0; DATA_SIZE];
    data[..4].copy_from_slice(&(syscall.nr as u32).to_le_bytes());
    data[4..8].copy_from_slice(&arch.to_le_bytes());
    // Where the call is made from is not known here: hardly a filter asks.
    for (place, arg) in data[16..].chunks_exact_mut(8).zip(syscall.args) {
        place.copy_from_slice(&arg.to_le_bytes());
    }
    data
}

/// The part of an answer that says what to do (`SECCOMP_RET_ACTION_FULL`).
const ACTION: u32 = 0xffff_0000;
const RET_ERRNO: u32 = 0x0005_0000;
const RET_TRACE: u32 = 0x7ff0_0000;
const RET_LOG: u32 = 0x7ffc_0000;
const RET_ALLOW: u32 = 0x7fff_0000;
/// The largest number of an error (linux/err.h).
const MAX_ERRNO: u32 = 4095;

/// What filters answer, the newest first; `mark` comes with the stops that are
/// forktrace's own. `None` where a filter is none that the kernel would take.
pub fn verdict(filters: &[Vec<Instruction>], syscall: &Syscall, mark: u32) -> Option<Verdict> {
    let data = data(syscall);
    let mut answer = RET_ALLOW;
    for filter in filters {
        let one = run(filter, &data)?;
        // As signed numbers: to kill the process is the smallest.
        if ((one & ACTION) as i32) < (answer & ACTION) as i32 {
            answer = one;
        }
    }
    let low = answer & !ACTION;
    Some(match answer & ACTION {
        RET_ALLOW | RET_LOG => Verdict::Passes,
        RET_TRACE if low == mark => Verdict::Passes,
        // Without a tracer, which it has none of its own.
        RET_TRACE => Verdict::Error(Errno::ENOSYS),
        RET_ERRNO => Verdict::Error(Errno(low.min(MAX_ERRNO) as i32)),
        _ => Verdict::Other,
    })
}

/// The scratch memory has 16 words (`BPF_MEMWORDS`).
const WORDS: usize = 16;

fn run(program: &[Instruction], data: &[u8; DATA_SIZE]) -> Option<u32> {
    let (mut a, mut x) = (0u32, 0u32);
    let mut memory = [0u32; WORDS];
    let mut at = 0;
    // Jumps go forward only: it ends.
    loop {
        let Instruction { code, jt, jf, k } = *program.get(at)?;
        at += 1;
        let word = |k: u32| {
            let bytes = data.get(k as usize..)?.get(..4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        // Codes: linux/bpf_common.h and linux/filter.h.
        let operand = if code & 0x08 == 0 { k } else { x };
        match code & 0x07 {
            // LD and LDX.
            class @ (0x00 | 0x01) => {
                let value = match code & 0xe0 {
                    0x00 => k,
                    0x20 => word(k)?,
                    0x60 => *memory.get(k as usize)?,
                    0x80 => DATA_SIZE as u32,
                    _ => return None,
                };
                match class {
                    0x00 => a = value,
                    _ => x = value,
                }
            }
            0x02 => *memory.get_mut(k as usize)? = a,
            0x03 => *memory.get_mut(k as usize)? = x,
            // ALU.
            0x04 => {
                a = match code & 0xf0 {
                    0x00 => a.wrapping_add(operand),
                    0x10 => a.wrapping_sub(operand),
                    0x20 => a.wrapping_mul(operand),
                    // By zero the filter ends with 0: the thread is killed.
                    0x30 => match a.checked_div(operand) {
                        Some(value) => value,
                        None => return Some(0),
                    },
                    0x40 => a | operand,
                    0x50 => a & operand,
                    0x60 => a.checked_shl(operand).unwrap_or(0),
                    0x70 => a.checked_shr(operand).unwrap_or(0),
                    0x80 => a.wrapping_neg(),
                    0xa0 => a ^ operand,
                    _ => return None,
                }
            }
            // JMP.
            0x05 => {
                let holds = match code & 0xf0 {
                    0x00 => {
                        at = at.checked_add(k as usize)?;
                        continue;
                    }
                    0x10 => a == operand,
                    0x20 => a > operand,
                    0x30 => a >= operand,
                    0x40 => a & operand != 0,
                    _ => return None,
                };
                at += usize::from(if holds { jt } else { jf });
            }
            // RET.
            0x06 => {
                return Some(match code & 0x18 {
                    0x00 => k,
                    0x10 => a,
                    _ => return None,
                });
            }
            // MISC: TAX and TXA.
            _ => match code & 0xf8 {
                0x00 => x = a,
                0x80 => a = x,
                _ => return None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn op(code: u16, k: u32) -> Instruction {
        jump(code, k, 0, 0)
    }

    fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
        Instruction { code, jt, jf, k }
    }

    /// This answer for calls of one number, and leave for others.
    fn refuse(nr: u32, answer: u32) -> Vec<Instruction> {
        vec![
            op(0x20, 0),
            jump(0x15, nr, 0, 1),
            op(0x06, answer),
            op(0x06, RET_ALLOW),
        ]
    }

    fn call(nr: u64) -> Syscall {
        Syscall {
            abi: Abi::X86_64,
            nr,
            args: [0x1_0000_0011, 2, 3, 4, 5, 6],
        }
    }

    #[test]
    fn the_most_severe_answer_counts() {
        let permit = refuse(1, 0);
        let eperm = refuse(435, RET_ERRNO | 1);
        let enosys = refuse(435, RET_ERRNO | 38);
        let kill = refuse(435, 0x8000_0000);
        let ours = refuse(435, RET_TRACE | 7);
        let foreign = refuse(435, RET_TRACE | 8);
        let said = |filters: &[&Vec<Instruction>], nr| {
            let filters: Vec<_> = filters.iter().map(|filter| (*filter).clone()).collect();
            verdict(&filters, &call(nr), 7).unwrap()
        };
        assert_eq!(said(&[], 435), Verdict::Passes);
        assert_eq!(said(&[&permit, &ours], 435), Verdict::Passes);
        assert_eq!(said(&[&ours, &eperm], 435), Verdict::Error(Errno::EPERM));
        assert_eq!(said(&[&ours, &eperm], 56), Verdict::Passes);
        // Of two alike that of the newer one.
        assert_eq!(said(&[&enosys, &eperm], 435), Verdict::Error(Errno::ENOSYS));
        assert_eq!(said(&[&enosys, &kill], 435), Verdict::Other);
        assert_eq!(said(&[&foreign], 435), Verdict::Error(Errno::ENOSYS));
    }

    #[test]
    fn arguments_are_where_the_kernel_puts_them() {
        // The low word of the first argument and 0x7e020000, as container
        // runtimes look for namespaces.
        let filter = |mask| {
            vec![
                op(0x20, 16),
                op(0x54, mask),
                jump(0x15, 0, 1, 0),
                op(0x06, RET_ERRNO | 1),
                op(0x06, RET_ALLOW),
            ]
        };
        let said = |mask| verdict(&[filter(mask)], &call(56), 0).unwrap();
        assert_eq!(said(0x7e02_0000), Verdict::Passes);
        assert_eq!(said(0x11), Verdict::Error(Errno::EPERM));
        // The high word.
        let high = vec![op(0x20, 20), op(0x16, 0)];
        assert_eq!(run(&high, &data(&call(56))), Some(1));
    }

    #[test]
    fn all_of_the_language() {
        let cases: &[(&[Instruction], u32)] = &[
            (&[op(0x80, 0), op(0x16, 0)], 64),
            (&[op(0x00, 6), op(0x07, 0), op(0x2c, 0), op(0x16, 0)], 36),
            (
                &[op(0x01, 3), op(0x87, 0), op(0x84, 0), op(0x16, 0)],
                3u32.wrapping_neg(),
            ),
            (
                &[
                    op(0x00, 9),
                    op(0x02, 5),
                    op(0x00, 0),
                    op(0x60, 5),
                    op(0x16, 0),
                ],
                9,
            ),
            (&[op(0x00, 9), op(0x34, 0), op(0x06, 1)], 0),
            (&[op(0x05, 1), op(0x06, 1), op(0x06, 2)], 2),
            (
                &[op(0x00, 5), jump(0x25, 4, 0, 1), op(0x06, 1), op(0x06, 2)],
                1,
            ),
            (
                &[op(0x00, 5), jump(0x45, 2, 0, 1), op(0x06, 1), op(0x06, 2)],
                2,
            ),
            (&[op(0x00, 1), op(0x64, 40), op(0x16, 0)], 0),
        ];
        for (program, value) in cases {
            assert_eq!(run(program, &[0; DATA_SIZE]), Some(*value), "{program:?}");
        }
    }

    proptest! {
        #[test]
        fn no_filter_is_too_strange(
            words in proptest::collection::vec((any::<u16>(), any::<u8>(), any::<u8>(), 0u32..80), 0..30)
        ) {
            let program: Vec<_> = words
                .into_iter()
                .map(|(code, jt, jf, k)| Instruction { code, jt, jf, k })
                .collect();
            let _ = verdict(&[program], &call(56), 0);
        }
    }
}
