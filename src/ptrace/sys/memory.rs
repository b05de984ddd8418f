//! A tracee's memory: read and written, in whole and word by word.

use std::ffi::c_void;

use super::{check, fault, ptrace};
use crate::ids::{Errno, Tid};

/// The size of a page of memory on x86.
const PAGE: u64 = 4096;
/// The most pieces that one process_vm_readv takes (`IOV_MAX`).
const PIECES_MAX: usize = 1024;

/// Copies several places of a tracee's memory with one process_vm_readv(2),
/// in pieces that don't cross pages, so that what lies before an unmapped page
/// is still read. Returns how many bytes came, in order.
pub fn read_memory(tid: Tid, places: &mut [(u64, &mut [u8])]) -> usize {
    let mut local = Vec::with_capacity(places.len());
    let mut remote = Vec::with_capacity(places.len() + 1);
    let mut wanted = 0;
    for (addr, buf) in places.iter_mut() {
        let mut at = *addr;
        let mut left = buf.len();
        while left > 0 {
            let piece = left.min((PAGE - at % PAGE) as usize);
            remote.push(libc::iovec {
                iov_base: at as *mut c_void,
                iov_len: piece,
            });
            left -= piece;
            at = at.wrapping_add(piece as u64);
        }
        wanted += buf.len();
        local.push(libc::iovec {
            iov_base: buf.as_mut_ptr().cast(),
            iov_len: buf.len(),
        });
    }
    let (locals, remotes) = (local.len().min(PIECES_MAX), remote.len().min(PIECES_MAX));
    if wanted == 0 {
        return 0;
    }
    let read = || {
        // SAFETY: `local` describes live, writable buffers that nobody else
        // uses during the call; `remote` is only looked up in the tracee.
        let got = unsafe {
            libc::process_vm_readv(
                tid.0,
                local.as_ptr(),
                locals as libc::c_ulong,
                remote.as_ptr(),
                remotes as libc::c_ulong,
                0,
            )
        };
        check(got as libc::c_long)
    };
    match fault("readv", Some(tid)).map_or_else(read, Err) {
        Ok(got) => got as usize,
        // Nobody, or nothing, is there.
        Err(Errno(libc::ESRCH | libc::EFAULT)) => 0,
        Err(_) => peek_memory(tid, places),
    }
}

/// Copies to a tracee's memory with process_vm_writev(2), or, where a sandbox
/// forbids that, word by word. Returns how many bytes were written.
pub fn write_memory(tid: Tid, addr: u64, bytes: &[u8]) -> usize {
    let local = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let remote = libc::iovec {
        iov_base: addr as *mut c_void,
        iov_len: bytes.len(),
    };
    let write = || {
        // SAFETY: `local` describes a live buffer, which is only read; `remote`
        // is only looked up in the tracee.
        let put =
            unsafe { libc::process_vm_writev(tid.0, &raw const local, 1, &raw const remote, 1, 0) };
        check(put as libc::c_long)
    };
    match fault("writev", Some(tid)).map_or_else(write, Err) {
        Ok(put) => put as usize,
        // Nobody, or nothing, is there.
        Err(Errno(libc::ESRCH | libc::EFAULT)) => 0,
        Err(_) => poke_memory(tid, addr, bytes),
    }
}

/// The slow way to write; whole words only.
fn poke_memory(tid: Tid, addr: u64, bytes: &[u8]) -> usize {
    let words = bytes.as_chunks::<8>().0;
    let poke = |(index, word): (usize, &[u8; 8])| {
        let at = addr as usize + index * 8;
        ptrace(libc::PTRACE_POKEDATA, tid, at, usize::from_ne_bytes(*word)).is_ok()
    };
    words
        .iter()
        .enumerate()
        .take_while(|word| poke(*word))
        .count()
        * 8
}

/// The slow way, word by word, for where a sandbox forbids process_vm_readv.
fn peek_memory(tid: Tid, places: &mut [(u64, &mut [u8])]) -> usize {
    let mut total = 0;
    for (addr, buf) in places {
        let mut done = 0;
        while done < buf.len() {
            // Aligned: a word that crosses into an unmapped page can't be read.
            let at = addr.wrapping_add(done as u64);
            let skip = (at % 8) as usize;
            let mut word: u64 = 0;
            if peek(tid, at - skip as u64, &mut word).is_err() {
                return total;
            }
            let length = (8 - skip).min(buf.len() - done);
            buf[done..done + length].copy_from_slice(&word.to_ne_bytes()[skip..skip + length]);
            done += length;
            total += length;
        }
    }
    total
}

/// One word of a tracee's memory, by the raw system call: the C library's
/// function returns the word in place of an error.
fn peek(tid: Tid, addr: u64, word: &mut u64) -> Result<(), Errno> {
    if let Some(errno) = fault("2", Some(tid)) {
        return Err(errno);
    }
    // SAFETY: the kernel stores one word at its data pointer, that of `word`.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ptrace,
            libc::PTRACE_PEEKDATA,
            tid.0,
            addr,
            std::ptr::from_mut(word),
        )
    };
    check(result).map(drop)
}
