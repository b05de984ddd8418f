//! What the first bytes of a file say of how the kernel runs it: a script with
//! its interpreter (fs/binfmt_script.c), or an ELF program with its loader
//! (fs/binfmt_elf.c).

/// How much of a file the kernel looks at (`BINPRM_BUF_SIZE`).
pub const HEAD_SIZE: usize = 256;

/// The first bytes of a file, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// There are none.
    Empty,
    /// `#!` and the path of an interpreter.
    Script(Vec<u8>),
    /// `#!` and none.
    NoInterpreter,
    /// An ELF file.
    Elf(Elf),
    /// `\x7fELF` and too little, or nonsense.
    BrokenElf,
    /// Text, as far as it was read.
    Text,
    /// Something else.
    Other,
}

/// The header of an ELF file (elf(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elf {
    /// 32 or 64.
    pub bits: u8,
    /// `e_machine`.
    pub machine: u16,
    /// `e_type`: 2 a program, 3 one that can be anywhere.
    pub kind: u16,
    /// Where the program headers are.
    pub headers: u64,
    /// How large each is.
    pub header_size: u16,
    /// How many.
    pub header_count: u16,
    /// PT_INTERP: the loader, once that was read.
    pub loader: Option<Vec<u8>>,
}

/// `EM_386` and `EM_X86_64` (elf.h).
pub const MACHINES: [u16; 2] = [3, 62];

/// The names of machines that programs are found for.
pub fn machine_name(machine: u16) -> Option<&'static str> {
    Some(match machine {
        3 => "i386",
        8 => "mips",
        20 => "powerpc",
        21 => "powerpc64",
        22 => "s390",
        40 => "arm",
        50 => "ia64",
        62 => "x86_64",
        183 => "aarch64",
        243 => "riscv",
        258 => "loongarch",
        _ => return None,
    })
}

impl Head {
    /// Understands what a file starts with, [`HEAD_SIZE`] bytes or all that it
    /// has.
    pub fn parse(bytes: &[u8]) -> Head {
        if bytes.is_empty() {
            return Head::Empty;
        }
        if bytes.starts_with(b"#!") {
            return script(&bytes[..bytes.len().min(HEAD_SIZE)]);
        }
        if bytes.starts_with(b"\x7fELF") {
            return elf(bytes).map_or(Head::BrokenElf, Head::Elf);
        }
        let text = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..);
        match bytes.iter().all(text) {
            true => Head::Text,
            false => Head::Other,
        }
    }
}

fn script(bytes: &[u8]) -> Head {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let line = &bytes[2..];
    let line = match line.iter().position(|byte| *byte == b'\n') {
        Some(end) => &line[..end],
        None => line,
    };
    let start = line.iter().position(|byte| !blank(byte));
    let rest = start.map_or(&[][..], |start| &line[start..]);
    let end = rest.iter().position(|byte| blank(byte) || *byte == 0);
    match &rest[..end.unwrap_or(rest.len())] {
        [] => Head::NoInterpreter,
        interpreter => Head::Script(interpreter.to_vec()),
    }
}

fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + size)?;
    let add = |value, byte: &u8| value << 8 | u64::from(*byte);
    Some(bytes.iter().rev().fold(0, add))
}

/// A file of the other byte order is none that runs here, and its numbers are
/// read as they are: the machine is then unknown.
fn elf(bytes: &[u8]) -> Option<Elf> {
    let wide = match bytes.get(4)? {
        1 => false,
        2 => true,
        _ => return None,
    };
    let big = *bytes.get(5)? == 2;
    let half = |at: usize| {
        let value = number(bytes, at, 2)? as u16;
        Some(if big { value.swap_bytes() } else { value })
    };
    let (headers, size, count) = match wide {
        true => (number(bytes, 32, 8)?, half(54)?, half(56)?),
        false => (number(bytes, 28, 4)?, half(42)?, half(44)?),
    };
    Some(Elf {
        bits: if wide { 64 } else { 32 },
        machine: half(18)?,
        kind: half(16)?,
        headers,
        header_size: size,
        header_count: count,
        loader: None,
    })
}

/// The most bytes of program headers that the kernel takes.
const HEADERS_MAX: usize = 65536;
/// The longest path of a loader, with its NUL.
const PATH_MAX: u64 = 4096;

impl Elf {
    /// Reads the loader's path; `read` copies bytes from an offset of the file,
    /// as many as there are, and says how many.
    pub fn read_loader(&mut self, read: &mut dyn FnMut(u64, &mut [u8]) -> usize) {
        /// `PT_INTERP`.
        const INTERP: u64 = 3;
        let wide = self.bits == 64;
        let size = usize::from(self.header_size);
        // The kernel takes headers of one size only (`load_elf_phdrs`).
        if size != if wide { 56 } else { 32 } {
            return;
        }
        let mut headers = vec![0; (size * usize::from(self.header_count)).min(HEADERS_MAX)];
        let got = read(self.headers, &mut headers);
        for header in headers[..got].chunks_exact(size) {
            if number(header, 0, 4) != Some(INTERP) {
                continue;
            }
            let (offset, length) = match wide {
                true => (number(header, 8, 8), number(header, 32, 8)),
                false => (number(header, 4, 4), number(header, 16, 4)),
            };
            let (Some(offset), Some(length @ 2..=PATH_MAX)) = (offset, length) else {
                return;
            };
            let mut path = vec![0; length as usize];
            if read(offset, &mut path) == path.len() && path.pop() == Some(0) {
                let end = path.iter().position(|byte| *byte == 0);
                path.truncate(end.unwrap_or(path.len()));
                self.loader = Some(path);
            }
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A 64-bit ELF file with one program header, PT_INTERP.
    pub(crate) fn program(machine: u16, loader: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 64 + 56];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[16] = 3;
        file[18..20].copy_from_slice(&machine.to_le_bytes());
        file[32] = 64;
        file[54] = 56;
        file[56] = 1;
        file[64] = 3;
        file[72..80].copy_from_slice(&120u64.to_le_bytes());
        file[96..104].copy_from_slice(&(loader.len() as u64 + 1).to_le_bytes());
        file.extend_from_slice(loader);
        file.push(0);
        file
    }

    #[test]
    fn scripts_name_their_interpreter() {
        let script = |path: &[u8]| Head::Script(path.to_vec());
        for (bytes, head) in [
            (&b"#!/bin/sh\necho"[..], script(b"/bin/sh")),
            (b"#! \t/bin/sh -e\n", script(b"/bin/sh")),
            (b"#!/bin/sh", script(b"/bin/sh")),
            (b"#!/bin/sh\r\necho\r\n", script(b"/bin/sh\r")),
            (b"#!\n/bin/sh", Head::NoInterpreter),
            (b"#!   ", Head::NoInterpreter),
            (b"", Head::Empty),
            (b"echo hello\n", Head::Text),
            (b"\0\0\0", Head::Other),
            (b"\x7fELF", Head::BrokenElf),
        ] {
            assert_eq!(
                Head::parse(bytes),
                head,
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    #[test]
    fn programs_name_their_loader() {
        let file = program(62, b"/lib64/ld.so");
        let Head::Elf(mut elf) = Head::parse(&file) else {
            panic!("no ELF file");
        };
        assert_eq!((elf.bits, elf.machine, elf.kind), (64, 62, 3));
        elf.read_loader(&mut |at, buffer| {
            let rest = file.get(at as usize..).unwrap_or_default();
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            length
        });
        assert_eq!(elf.loader.as_deref(), Some(&b"/lib64/ld.so"[..]));
    }

    #[test]
    fn the_other_byte_order_has_its_machine_too() {
        let mut file = program(62, b"/lib/ld.so");
        file[5] = 2;
        file[18..20].copy_from_slice(&21u16.to_be_bytes());
        let Head::Elf(elf) = Head::parse(&file) else {
            panic!("no ELF file");
        };
        assert_eq!(machine_name(elf.machine), Some("powerpc64"));
    }

    proptest! {
        /// Whatever a file has.
        #[test]
        fn no_file_is_too_strange(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), elf: bool) {
            if elf && bytes.len() > 6 {
                bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
            }
            if let Head::Elf(mut elf) = Head::parse(&bytes) {
                elf.read_loader(&mut |at, buffer| {
                    let at = usize::try_from(at).unwrap_or(usize::MAX);
                    let rest = bytes.get(at..).unwrap_or_default();
                    let length = rest.len().min(buffer.len());
                    buffer[..length].copy_from_slice(&rest[..length]);
                    length
                });
            }
        }
    }
}
