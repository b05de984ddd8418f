//! The seccomp filter: a small classic BPF program that makes the calls of
//! interest stop and lets all others through. Our own, because libraries for
//! filters kill what comes through another ABI, which a tracer must not.

use crate::abi::{AUDIT_ARCH_I386, AUDIT_ARCH_X86_64, Abi};
use crate::event::Wanted;

/// Offset of `nr` in `struct seccomp_data` (linux/seccomp.h).
const OFFSET_NR: u32 = 0;
/// Offset of `arch` there.
const OFFSET_ARCH: u32 = 4;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP_EQ: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
/// The data that comes with our stops (`SECCOMP_RET_DATA`, seccomp(2)): a
/// program's own filter may say RET_TRACE, too, and without a tracer that means
/// that its call fails.
pub const MARK: u32 = 0x6674;

const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// The filter: RET_TRACE for the calls in the ABI table of x86_64 and i386,
/// RET_ALLOW for everything else, other ABIs included. Besides the creating and
/// the exec calls the table has unshare and setns, after which a child's number
/// differs from one pid namespace to another, and ptrace, which fails for
/// tracees: rare calls, which cost one stop each. Where `waits` are wanted, those
/// that wait and that send signals stop as well.
///
/// It looks at architecture and number only, so that the kernel can remember
/// the answer of each number that is always let through (its action cache)
/// and skip the program for it.
pub fn program(waits: Wanted) -> Vec<libc::sock_filter> {
    let numbers = |abi: Abi| -> Vec<u32> {
        let more = (waits == Wanted::Yes).then(|| abi.waits_numbers());
        abi.numbers()
            .chain(more.into_iter().flatten())
            .map(|(nr, _)| nr as u32)
            .collect()
    };
    let (x86_64, i386) = (numbers(Abi::X86_64), numbers(Abi::I386));
    // load arch; x86_64? else i386? else allow; per ABI: load nr, compare
    // each; allow; trace.
    let mut program = vec![
        statement(LOAD, OFFSET_ARCH),
        jump(JUMP_EQ, AUDIT_ARCH_X86_64, 2, 0),
        jump(JUMP_EQ, AUDIT_ARCH_I386, 0, 0), // patched below
        statement(RETURN, libc::SECCOMP_RET_ALLOW),
    ];
    let i386_at = program.len() + block_len(&x86_64);
    program[2].jt = (i386_at - 3) as u8;
    push_block(&mut program, &x86_64);
    push_block(&mut program, &i386);
    program
}

fn block_len(numbers: &[u32]) -> usize {
    1 + numbers.len() + 2
}

/// Load the number; each match jumps to the block's last instruction.
fn push_block(program: &mut Vec<libc::sock_filter>, numbers: &[u32]) {
    program.push(statement(LOAD, OFFSET_NR));
    for (index, nr) in numbers.iter().enumerate() {
        let to_trace = numbers.len() - index;
        program.push(jump(JUMP_EQ, *nr, to_trace as u8, 0));
    }
    program.push(statement(RETURN, libc::SECCOMP_RET_ALLOW));
    program.push(statement(RETURN, libc::SECCOMP_RET_TRACE | MARK));
}

fn statement(code: u16, k: u32) -> libc::sock_filter {
    jump(code, k, 0, 0)
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// Runs a filter as the kernel would; enough of BPF for [`program`].
#[cfg(test)]
fn run(program: &[libc::sock_filter], nr: u32, arch: u32) -> u32 {
    let mut accumulator = 0;
    let mut at = 0;
    loop {
        let i = program[at];
        at += 1;
        match i.code {
            LOAD => accumulator = if i.k == OFFSET_NR { nr } else { arch },
            JUMP_EQ if accumulator == i.k => at += usize::from(i.jt),
            JUMP_EQ => at += usize::from(i.jf),
            RETURN => return i.k,
            other => panic!("unknown instruction {other:#x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_the_calls_of_interest_and_nothing_else() {
        let (without, with) = (program(Wanted::No), program(Wanted::Yes));
        for (abi, arch) in [
            (Abi::X86_64, AUDIT_ARCH_X86_64),
            (Abi::I386, AUDIT_ARCH_I386),
        ] {
            let answer = |stops: bool| match stops {
                true => libc::SECCOMP_RET_TRACE | MARK,
                false => libc::SECCOMP_RET_ALLOW,
            };
            for nr in 0..600 {
                let always = abi.call(u64::from(nr)).is_some();
                let waits = abi.waits_call(u64::from(nr)).is_some();
                assert!(!(always && waits), "{abi:?} {nr} is in both tables");
                assert_eq!(run(&without, nr, arch), answer(always), "{abi:?} {nr}");
                assert_eq!(
                    run(&with, nr, arch),
                    answer(always || waits),
                    "{abi:?} {nr}"
                );
            }
        }
    }

    #[test]
    fn other_abis_pass() {
        let program = program(Wanted::Yes);
        for nr in [2, 11, 56, 57, 58, 59, 220, 221, 435] {
            assert_eq!(run(&program, nr, 0xc000_00b7), libc::SECCOMP_RET_ALLOW);
            // x32: no filter knows it; its events are seen all the same.
            let x32 = nr | 0x4000_0000;
            assert_eq!(
                run(&program, x32, AUDIT_ARCH_X86_64),
                libc::SECCOMP_RET_ALLOW
            );
        }
    }
}
