//! execve and execveat: what a process becomes. Decoded from the call's
//! arguments at its entry, or, where the tracer stops only when the old
//! memory is gone, from what the kernel laid out on the new stack. Pure.

pub mod meaning;

use crate::abi::{Abi, Call, Syscall};
use crate::diagnosis::evidence::Sizes;
use crate::memory::{Ahead, Memory};

/// The longest path that the kernel takes, with its NUL (limits.h).
const PATH_MAX: usize = 4096;
/// `AT_EXECFN` (getauxval(3)): the path that was given to exec.
const AT_EXECFN: u64 = 31;

/// A string of the tracee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// Its bytes without the NUL, as many as the limit allows.
    Bytes {
        /// The bytes; any, not only UTF-8.
        bytes: Vec<u8>,
        /// Whether more followed.
        truncated: bool,
    },
    /// A null pointer.
    Null,
    /// A pointer to memory that can't be read.
    Unreadable(u64),
}

/// An array of strings as exec takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strings {
    /// Null, or not readable at all: only the address.
    Address(u64),
    /// Its elements.
    List {
        /// The strings, as many as the limit allows.
        items: Vec<Text>,
        /// What comes after them.
        end: ListEnd,
    },
}

/// What comes after the strings that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListEnd {
    /// The null pointer: that was all.
    Complete,
    /// More strings than the limit allows.
    More,
    /// Memory that can't be read, at this address.
    Unreadable(u64),
}

/// The environment: counted, as it holds secrets; read only where asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Env {
    /// Where the array is; `None` where the call was not seen at its entry.
    pub addr: Option<u64>,
    /// How many variables; `None` if the array can't be read.
    pub vars: Option<usize>,
    /// Whether the array ended in memory that can't be read.
    pub unterminated: bool,
    /// The variables; `None` where nobody asked for them.
    pub text: Option<Strings>,
}

/// One exec call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecCall {
    /// ABI, number and raw arguments; `None` where the call was not seen at
    /// its entry.
    pub syscall: Option<Syscall>,
    /// [`Call::Execve`] or [`Call::Execveat`].
    pub call: Call,
    /// The program's path.
    pub path: Text,
    /// Its arguments.
    pub argv: Strings,
    /// Its environment.
    pub env: Env,
}

impl ExecCall {
    /// Whether nothing of it is known but that it happened: see [`unseen`].
    pub fn is_unseen(&self) -> bool {
        *self == unseen()
    }

    /// execveat's directory and flags, where they were seen.
    pub fn at(&self) -> Option<(i32, i32)> {
        match (self.call, &self.syscall) {
            (Call::Execveat, Some(s)) => Some((s.args[0] as i32, s.args[4] as i32)),
            _ => None,
        }
    }
}

impl Strings {
    /// The first `limit` strings, and of each as many bytes; `None` if there
    /// are no more.
    fn cut(&self, limit: usize) -> Option<Strings> {
        let Strings::List { items, end } = self else {
            return None;
        };
        let long = |item: &Text| matches!(item, Text::Bytes { bytes, .. } if bytes.len() > limit);
        if items.len() <= limit && !items.iter().any(long) {
            return None;
        }
        let cut = |item: &Text| match item {
            Text::Bytes { bytes, .. } if bytes.len() > limit => Text::Bytes {
                bytes: bytes[..limit].to_vec(),
                truncated: true,
            },
            other => other.clone(),
        };
        Some(Strings::List {
            items: items.iter().take(limit).map(cut).collect(),
            end: match items.len() > limit {
                true => ListEnd::More,
                false => *end,
            },
        })
    }
}

impl ExecCall {
    /// The same with `limit` arguments at the most, and of each as many bytes;
    /// `None` if it has no more.
    pub fn cut(&self, limit: usize) -> Option<ExecCall> {
        let argv = self.argv.cut(limit)?;
        Some(ExecCall {
            argv,
            ..self.clone()
        })
    }
}

/// Decodes an exec call at its entry; `None` if `syscall` is none. Strings
/// are cut at `limit` bytes, arrays at `limit` elements, as strace's -s does.
pub fn decode(syscall: Syscall, memory: &mut dyn Memory, limit: usize) -> Option<ExecCall> {
    let call = syscall.call()?;
    let first = match call {
        Call::Execve => 0,
        Call::Execveat => 1,
        _ => return None,
    };
    let word = syscall.abi.word();
    let [path, argv, envp] = [0, 1, 2].map(|i| syscall.args[first + i]);
    Some(ExecCall {
        syscall: Some(syscall),
        call,
        path: read_text(memory, path, PATH_MAX - 1),
        argv: read_strings(memory, argv, word, limit),
        env: count_env(memory, envp, word),
    })
}

/// Decodes a new program's stack as execve(2) leaves it: argc, argv, envp and
/// the auxiliary vector, from the stack pointer on. The path is the one given
/// to exec (`AT_EXECFN`); where it was a script, `argv` is already that of its
/// interpreter. Always an execve: by then the kernel has set the number to that
/// of execve even for execveat (set_personality_64bit, arch/x86).
pub fn decode_image(sp: u64, abi: Abi, memory: &mut dyn Memory, limit: usize) -> ExecCall {
    let memory = &mut Ahead::new(memory, sp);
    let word = abi.word() as u64;
    let argc = read_word(memory, sp, abi.word()).unwrap_or(0);
    let argv = sp.wrapping_add(word);
    let envp = argv.wrapping_add(argc.wrapping_add(1).wrapping_mul(word));
    let env = count_env(memory, envp, abi.word());
    let vars = env.vars.unwrap_or(0) as u64;
    let auxv = envp.wrapping_add((vars + 1) * word);
    ExecCall {
        syscall: None,
        call: Call::Execve,
        path: match find_aux(memory, auxv, abi.word(), AT_EXECFN) {
            Some(addr) => read_text(memory, addr, PATH_MAX - 1),
            None => Text::Unreadable(0),
        },
        argv: read_strings(memory, argv, abi.word(), limit),
        env: Env { addr: None, ..env },
    }
}

/// Reads the environment that a decoded call passes; `None` if it passes none
/// that is known.
pub fn read_env(call: &ExecCall, memory: &mut dyn Memory, limit: usize) -> Option<Strings> {
    let word = call.syscall?.abi.word();
    Some(read_strings(memory, call.env.addr?, word, limit))
}

/// The same of a new program's stack, see [`decode_image`].
pub fn read_image_env(sp: u64, abi: Abi, memory: &mut dyn Memory, limit: usize) -> Strings {
    let word = abi.word() as u64;
    let argc = read_word(memory, sp, abi.word()).unwrap_or(0);
    let envp = sp.wrapping_add(argc.wrapping_add(2).wrapping_mul(word));
    read_strings(memory, envp, abi.word(), limit)
}

/// An exec that is known to have happened, and nothing of it: whoever called it
/// was killed before it could be looked at.
pub fn unseen() -> ExecCall {
    ExecCall {
        syscall: None,
        call: Call::Execve,
        path: Text::Unreadable(0),
        argv: Strings::Address(0),
        env: Env {
            addr: Some(0),
            vars: None,
            unterminated: false,
            text: None,
        },
    }
}

/// The sizes of a decoded call's arguments and environment, all of them;
/// `None` if they can't be read.
pub fn sizes(call: &ExecCall, memory: &mut dyn Memory) -> Option<Sizes> {
    /// More strings than any kernel takes bytes.
    const STRINGS_MAX: usize = 1 << 23;
    /// More bytes of one.
    const BYTES_MAX: usize = 1 << 26;
    let syscall = call.syscall?;
    let argv = syscall.args[match call.call {
        Call::Execveat => 2,
        _ => 1,
    }];
    let mut sizes = Sizes::default();
    for array in [argv, call.env.addr?] {
        if array == 0 {
            continue;
        }
        let (pointers, end) = read_pointers(memory, array, syscall.abi.word(), STRINGS_MAX);
        if end != ListEnd::Complete {
            return None;
        }
        for pointer in pointers {
            let Text::Bytes { bytes, .. } = read_text(memory, pointer, BYTES_MAX) else {
                return None;
            };
            let length = bytes.len() as u64 + 1;
            sizes.strings += 1;
            sizes.bytes += length;
            sizes.longest = sizes.longest.max(length);
        }
    }
    Some(sizes)
}

fn read_word(memory: &mut dyn Memory, addr: u64, word: usize) -> Option<u64> {
    let mut bytes = [0; 8];
    (memory.read(addr, &mut bytes[..word]) == word).then(|| u64::from_le_bytes(bytes))
}

fn find_aux(memory: &mut dyn Memory, addr: u64, word: usize, wanted: u64) -> Option<u64> {
    // The kernel writes about 20 entries; more than 64 is no vector.
    let mut bytes = [0; 64 * 16];
    let got = memory.read(addr, &mut bytes[..64 * 2 * word]);
    for entry in bytes[..got].chunks_exact(2 * word) {
        let (key, value) = (le(&entry[..word]), le(&entry[word..]));
        match key {
            0 => return None,
            k if k == wanted => return Some(value),
            _ => {}
        }
    }
    None
}

fn le(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Reads a string of at most `limit` bytes.
pub fn read_text(memory: &mut dyn Memory, addr: u64, limit: usize) -> Text {
    if addr == 0 {
        return Text::Null;
    }
    let mut bytes: Vec<u8> = Vec::new();
    // Most strings are short: look at little first.
    let mut chunk = 128;
    loop {
        let start = bytes.len();
        let wanted = chunk.min(limit + 1 - start);
        bytes.resize(start + wanted, 0);
        let got = memory.read(addr.wrapping_add(start as u64), &mut bytes[start..]);
        bytes.truncate(start + got);
        if let Some(end) = bytes[start..].iter().position(|byte| *byte == 0) {
            bytes.truncate(start + end);
            return Text::Bytes {
                bytes,
                truncated: false,
            };
        }
        if got < wanted {
            return Text::Unreadable(addr);
        }
        if bytes.len() > limit {
            bytes.truncate(limit);
            return Text::Bytes {
                bytes,
                truncated: true,
            };
        }
        chunk = 4096;
    }
}

/// Reads the pointers of a null-terminated array, at most `limit` and one.
/// Returns them and what stopped the reading.
fn read_pointers(
    memory: &mut dyn Memory,
    addr: u64,
    word: usize,
    limit: usize,
) -> (Vec<u64>, ListEnd) {
    let mut pointers = Vec::new();
    let mut bytes = [0; 64 * 8];
    loop {
        let at = addr.wrapping_add((pointers.len() * word) as u64);
        let wanted = (limit + 1 - pointers.len()).min(64) * word;
        let got = memory.read(at, &mut bytes[..wanted]);
        for pointer in bytes[..got].chunks_exact(word).map(le) {
            if pointer == 0 {
                return (pointers, ListEnd::Complete);
            }
            if pointers.len() == limit {
                return (pointers, ListEnd::More);
            }
            pointers.push(pointer);
        }
        if got < wanted {
            let at = addr.wrapping_add((pointers.len() * word) as u64);
            return (pointers, ListEnd::Unreadable(at));
        }
    }
}

fn read_strings(memory: &mut dyn Memory, addr: u64, word: usize, limit: usize) -> Strings {
    if addr == 0 {
        return Strings::Address(0);
    }
    let (pointers, end) = read_pointers(memory, addr, word, limit);
    if pointers.is_empty() && end == ListEnd::Unreadable(addr) {
        return Strings::Address(addr);
    }
    Strings::List {
        items: read_texts(memory, &pointers, limit),
        end,
    }
}

/// Reads several strings, short ones in one go.
fn read_texts(memory: &mut dyn Memory, pointers: &[u64], limit: usize) -> Vec<Text> {
    let size = (limit + 1).min(256);
    let mut items = Vec::with_capacity(pointers.len());
    for group in pointers.chunks(64) {
        let mut buffer = vec![0; size * group.len()];
        let mut places: Vec<(u64, &mut [u8])> = group
            .iter()
            .copied()
            .zip(buffer.chunks_exact_mut(size))
            .collect();
        let got = memory.read_many(&mut places);
        for (index, pointer) in group.iter().enumerate() {
            let bytes = &buffer[index * size..(index + 1) * size];
            let whole = got >= (index + 1) * size;
            let text = match bytes.iter().position(|byte| *byte == 0) {
                Some(end) if whole => Text::Bytes {
                    bytes: bytes[..end].to_vec(),
                    truncated: false,
                },
                None if whole && size == limit + 1 => Text::Bytes {
                    bytes: bytes[..limit].to_vec(),
                    truncated: true,
                },
                // Long, or behind a place that can't be read.
                _ => read_text(memory, *pointer, limit),
            };
            items.push(text);
        }
    }
    items
}

/// The most variables that are counted; above, the array counts as endless.
const ENV_MAX: usize = 1 << 20;

fn count_env(memory: &mut dyn Memory, addr: u64, word: usize) -> Env {
    if addr == 0 {
        return Env {
            addr: Some(0),
            vars: None,
            unterminated: false,
            text: None,
        };
    }
    let (pointers, end) = read_pointers(memory, addr, word, ENV_MAX);
    let readable = !(pointers.is_empty() && matches!(end, ListEnd::Unreadable(_)));
    Env {
        addr: Some(addr),
        vars: readable.then_some(pointers.len()),
        unterminated: end != ListEnd::Complete,
        text: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Regions;
    use proptest::prelude::*;

    fn words(values: &[u64]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    fn text(s: &str) -> Text {
        Text::Bytes {
            bytes: s.as_bytes().to_vec(),
            truncated: false,
        }
    }

    fn execve(args: [u64; 6]) -> Syscall {
        Syscall {
            abi: Abi::X86_64,
            nr: 59,
            args,
        }
    }

    fn ls() -> Regions {
        Regions(vec![
            (0x1000, b"/bin/ls\0ls\0-l\0".to_vec()),
            (0x2000, words(&[0x1008, 0x100b, 0])),
            (0x3000, words(&[0x1008, 0])),
        ])
    }

    #[test]
    fn a_plain_execve() {
        let exec = decode(execve([0x1000, 0x2000, 0x3000, 0, 0, 0]), &mut ls(), 32).unwrap();
        assert_eq!(exec.path, text("/bin/ls"));
        assert_eq!(
            exec.argv,
            Strings::List {
                items: vec![text("ls"), text("-l")],
                end: ListEnd::Complete
            }
        );
        assert_eq!(exec.env.vars, Some(1));
        assert!(!exec.env.unterminated);
        assert_eq!(exec.at(), None);
        assert_eq!(exec.env.text, None, "nobody asked");
        assert_eq!(
            read_env(&exec, &mut ls(), 32),
            Some(Strings::List {
                items: vec![text("ls")],
                end: ListEnd::Complete
            })
        );
    }

    #[test]
    fn limits_cut_strings_and_lists() {
        let exec = decode(execve([0x1000, 0x2000, 0, 0, 0, 0]), &mut ls(), 1).unwrap();
        let Strings::List { items, end } = exec.argv else {
            panic!()
        };
        assert_eq!(end, ListEnd::More);
        assert_eq!(
            items,
            vec![Text::Bytes {
                bytes: b"l".to_vec(),
                truncated: true
            }]
        );
        assert_eq!(exec.env.vars, None);
        // Exactly as long as the limit is not truncated.
        let exec = decode(execve([0x1000, 0x2000, 0, 0, 0, 0]), &mut ls(), 2).unwrap();
        let Strings::List { items, .. } = exec.argv else {
            panic!()
        };
        assert_eq!(items, vec![text("ls"), text("-l")]);
    }

    #[test]
    fn sizes_count_all() {
        let exec = decode(execve([0x1000, 0x2000, 0x3000, 0, 0, 0]), &mut ls(), 1).unwrap();
        assert_eq!(
            sizes(&exec, &mut ls()),
            Some(Sizes {
                bytes: 9,
                strings: 3,
                longest: 3
            })
        );
        let exec = decode(execve([0x1000, 0x2001, 0, 0, 0, 0]), &mut ls(), 1).unwrap();
        assert_eq!(sizes(&exec, &mut ls()), None);
    }

    #[test]
    fn bad_pointers_are_said_to_be_bad() {
        let mut memory = Regions(vec![
            (0x1000, b"no end".to_vec()),
            (0x2000, words(&[0x1000, 0x66])),
        ]);
        let exec = decode(execve([0, 0x2000, 0x99, 0, 0, 0]), &mut memory, 32).unwrap();
        assert_eq!(exec.path, Text::Null);
        assert_eq!(
            exec.argv,
            Strings::List {
                items: vec![Text::Unreadable(0x1000), Text::Unreadable(0x66)],
                end: ListEnd::Unreadable(0x2010)
            }
        );
        assert_eq!(exec.env.vars, None);
        let exec = decode(execve([0x5, 0x77, 0, 0, 0, 0]), &mut memory, 32).unwrap();
        assert_eq!(exec.path, Text::Unreadable(5));
        assert_eq!(exec.argv, Strings::Address(0x77));
    }

    #[test]
    fn a_fresh_stack_tells_path_arguments_and_variables() {
        let mut stack = words(&[2, 0x1008, 0x100b, 0, 0x1008, 0x1008, 0x1008, 0]);
        stack.extend(words(&[6, 4096, AT_EXECFN, 0x1000, 0, 0]));
        let mut memory = Regions(vec![
            (0x1000, b"/bin/ls\0ls\0-l\0".to_vec()),
            (0x7000, stack),
        ]);
        let exec = decode_image(0x7000, Abi::X86_64, &mut memory, 32);
        assert_eq!(exec.path, text("/bin/ls"));
        assert_eq!(
            exec.argv,
            Strings::List {
                items: vec![text("ls"), text("-l")],
                end: ListEnd::Complete
            }
        );
        assert_eq!((exec.env.addr, exec.env.vars), (None, Some(3)));
        assert_eq!(
            read_image_env(0x7000, Abi::X86_64, &mut memory, 2),
            Strings::List {
                items: vec![text("ls"), text("ls")],
                end: ListEnd::More
            }
        );
    }

    #[test]
    fn a_long_argument_is_read_in_full() {
        let long = vec![b'x'; 5000];
        let mut with_nul = long.clone();
        with_nul.push(0);
        let mut memory = Regions(vec![(0x10000, with_nul), (0x2000, words(&[0x10000, 0]))]);
        let exec = decode(execve([0x10000, 0x2000, 0, 0, 0, 0]), &mut memory, 9000).unwrap();
        let Strings::List { items, .. } = exec.argv else {
            panic!()
        };
        assert_eq!(
            items,
            vec![Text::Bytes {
                bytes: long,
                truncated: false
            }]
        );
        assert!(
            matches!(exec.path, Text::Bytes { truncated: true, ref bytes } if bytes.len() == 4095)
        );
    }

    proptest! {
        /// What is cut later is what would have been read then.
        #[test]
        fn cut_later_or_read_less(
            words in proptest::collection::vec("[a-z]{0,9}", 0..9),
            limit in 0usize..10,
            nr in prop_oneof![Just(59u64), Just(322)],
        ) {
            let mut pointers = Vec::new();
            let mut bytes = Vec::new();
            for word in &words {
                pointers.push(0x1000 + bytes.len() as u64);
                bytes.extend_from_slice(word.as_bytes());
                bytes.push(0);
            }
            pointers.push(0);
            let mut memory = Regions(vec![(0x1000, bytes), (0x2000, super::tests::words(&pointers))]);
            let first = usize::from(nr != 59);
            let mut args = [0; 6];
            args[first] = 0x1000;
            args[first + 1] = 0x2000;
            let syscall = Syscall { abi: Abi::X86_64, nr, args };
            let full = decode(syscall, &mut memory, 100).unwrap();
            let less = decode(syscall, &mut memory, limit).unwrap();
            prop_assert_eq!(full.cut(limit).unwrap_or(full), less);
        }

        #[test]
        fn never_panics(
            abi in prop_oneof![Just(Abi::X86_64), Just(Abi::I386), Just(Abi::X32)],
            args in any::<[u64; 6]>(),
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
            limit in 0usize..300,
            near in 0u64..700,
        ) {
            let mut memory = Regions(vec![(0x1000, bytes)]);
            for args in [args, [0x1000, 0x1000 + near, near, 0x1000 + near, 0, 0]] {
                for (nr, _) in abi.numbers() {
                    let _ = decode(Syscall { abi, nr, args }, &mut memory, limit);
                }
                let _ = decode_image(args[1], abi, &mut memory, limit);
            }
        }
    }
}
