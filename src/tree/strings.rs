//! The commands of a tree, each kept once: a build of 40,000 processes runs a
//! handful of programs, with words that are mostly the same. Words are interned
//! as bytes, commands as lists of words.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use crate::exec::{ExecCall, ListEnd, Strings, Text};

/// A word that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WordId(u32);

/// A command that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandId(u32);

impl CommandId {
    /// The command of which nothing is known.
    pub const UNKNOWN: CommandId = CommandId(0);
}

/// A word of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word<'a> {
    /// Its bytes; `None` where they could not be read.
    pub bytes: Option<&'a [u8]>,
    /// Whether more followed that is not kept.
    pub cut: bool,
}

/// What a process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command<'a> {
    /// How it is known.
    pub known: Known,
    /// The path that was given to exec, or the name of the thread.
    pub path: Word<'a>,
    /// The arguments, argv\[0\] first.
    pub argv: Vec<Word<'a>>,
    /// Whether more arguments followed that are not kept.
    pub more: bool,
}

/// How a command is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Known {
    /// Its exec was seen.
    Exec,
    /// Only the name of the thread was, in place of the path.
    Name,
    /// Not at all.
    Not,
}

/// Words and commands, each once.
#[derive(Debug)]
pub struct Texts {
    hasher: RandomState,
    words: Lists,
    /// Of each command how it is known, the word that names its program, its
    /// path and its arguments.
    commands: Lists,
}

/// How many bytes of text are kept before commands are cut.
const FREE: usize = 8 << 20;
/// How many new bytes a command may bring after that.
const NEW_BYTES: usize = 64;
/// How many arguments of a command are kept after that.
const ARGUMENTS: usize = 16;

/// The first byte of a command: how it is known, and whether more followed.
const EXEC: u8 = 0;
const NAME: u8 = 1;
const NOT: u8 = 2;
const MORE: u8 = 4;

impl Default for Texts {
    fn default() -> Texts {
        let mut texts = Texts {
            hasher: RandomState::new(),
            words: Lists::default(),
            commands: Lists::default(),
        };
        let WordId(nothing) = texts.word(b"");
        let mut code = vec![NOT];
        push_number(&mut code, nothing);
        push_number(&mut code, 0);
        texts.commands.add(&texts.hasher, &code);
        texts
    }
}

impl Texts {
    /// Keeps a word.
    pub fn word(&mut self, bytes: &[u8]) -> WordId {
        WordId(self.words.add(&self.hasher, bytes))
    }

    /// The bytes of a word.
    pub fn bytes(&self, word: WordId) -> &[u8] {
        self.words.get(word.0)
    }

    /// Keeps the command of an exec.
    pub fn exec(&mut self, call: &ExecCall) -> CommandId {
        let full = self.words.size() + self.commands.size() > FREE;
        let mut left = if full { NEW_BYTES } else { usize::MAX };
        let most = if full { ARGUMENTS } else { usize::MAX };
        let mut code = vec![EXEC];
        // Half of it, so that something is left for the path.
        let mut half = left / 2;
        let (WordId(program), _) = self.cut(program(call), &mut half);
        left -= left / 2 - half;
        push_number(&mut code, program);
        self.encode(&mut code, &call.path, &mut left);
        match &call.argv {
            Strings::Address(_) => {}
            Strings::List { items, end } => {
                for item in items.iter().take(most) {
                    self.encode(&mut code, item, &mut left);
                }
                if items.len() > most || *end != ListEnd::Complete {
                    code[0] |= MORE;
                }
            }
        }
        CommandId(self.commands.add(&self.hasher, &code))
    }

    /// Keeps the name of a thread in place of a command.
    pub fn name(&mut self, name: &[u8]) -> CommandId {
        if name.is_empty() {
            return CommandId::UNKNOWN;
        }
        let word = self.word(name);
        let mut code = vec![NAME];
        push_number(&mut code, word.0);
        push_number(&mut code, word.0 + 1);
        CommandId(self.commands.add(&self.hasher, &code))
    }

    /// Appends a word: its number and one, 0 if it could not be read; with the
    /// top bit where it is cut.
    fn encode(&mut self, code: &mut Vec<u8>, text: &Text, left: &mut usize) {
        let Text::Bytes { bytes, truncated } = text else {
            push_number(code, 0);
            return;
        };
        let (word, cut) = self.cut(bytes, left);
        let cut = if cut || *truncated { CUT } else { 0 };
        push_number(code, (word.0 + 1) | cut);
    }

    /// Keeps a word, or what of it fits in the bytes that are left, where it is new;
    /// and whether it was cut.
    fn cut(&mut self, bytes: &[u8], left: &mut usize) -> (WordId, bool) {
        let length = match self.words.find(&self.hasher, bytes) {
            Some(_) => bytes.len(),
            None => {
                let length = bytes.len().min(*left);
                *left -= length;
                length
            }
        };
        (self.word(&bytes[..length]), length < bytes.len())
    }

    /// What is kept of a command.
    pub fn get(&self, id: CommandId) -> Command<'_> {
        let code = self.commands.get(id.0);
        let (first, mut rest) = code.split_first().unwrap_or((&NOT, &[]));
        take_number(&mut rest);
        let path = self.decode(&mut rest);
        let mut argv = Vec::new();
        while !rest.is_empty() {
            argv.push(self.decode(&mut rest));
        }
        Command {
            known: match first & !MORE {
                EXEC => Known::Exec,
                NAME => Known::Name,
                _ => Known::Not,
            },
            path,
            argv,
            more: first & MORE != 0,
        }
    }

    fn decode(&self, code: &mut &[u8]) -> Word<'_> {
        let number = take_number(code);
        let word = (number & !CUT).checked_sub(1);
        Word {
            bytes: word.map(|word| self.words.get(word)),
            cut: number & CUT != 0,
        }
    }

    /// The word that names the program of a command: the last part of its path, or
    /// the beginning of that, where too much is kept already.
    pub fn program(&self, id: CommandId) -> WordId {
        let code = self.commands.get(id.0);
        WordId(take_number(&mut code.get(1..).unwrap_or_default()))
    }
}

/// What people call the program of an exec.
fn program(call: &ExecCall) -> &[u8] {
    fn last_part(text: &Text) -> Option<&[u8]> {
        match text {
            Text::Bytes { bytes, .. } => bytes.rsplit(|b| *b == b'/').next(),
            _ => None,
        }
        .filter(|part| !part.is_empty())
    }
    let first = match &call.argv {
        Strings::List { items, .. } => items.first().and_then(last_part),
        Strings::Address(_) => None,
    };
    // A descriptor's path names no program.
    let by_descriptor = matches!(&call.path, Text::Bytes { bytes, .. }
        if bytes.is_empty() || bytes.starts_with(b"/proc/") || bytes.starts_with(b"/dev/fd/"));
    let path = last_part(&call.path);
    match by_descriptor {
        true => first.or(path),
        false => path.or(first),
    }
    .unwrap_or(b"")
}

/// Marks a word of which more followed.
const CUT: u32 = 1 << 31;

/// Appends a number in as few bytes as it needs (LEB128).
fn push_number(out: &mut Vec<u8>, mut number: u32) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_number(code: &mut &[u8]) -> u32 {
    let mut number = 0;
    let mut shift = 0;
    while let Some((byte, rest)) = code.split_first() {
        *code = rest;
        number |= u32::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 || shift > 28 {
            break;
        }
    }
    number
}

/// Byte strings, each once, in one piece of memory.
#[derive(Debug, Default)]
struct Lists {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<u32>,
    table: HashTable<u32>,
}

impl Lists {
    fn get(&self, index: u32) -> &[u8] {
        slice(&self.bytes, &self.ends, index)
    }

    fn find(&self, hasher: &RandomState, bytes: &[u8]) -> Option<u32> {
        self.table
            .find(hasher.hash_one(bytes), |index| self.get(*index) == bytes)
            .copied()
    }

    /// The number of a string; of the first one where there is no more room
    /// (4 GiB).
    fn add(&mut self, hasher: &RandomState, bytes: &[u8]) -> u32 {
        let hash = hasher.hash_one(bytes);
        if let Some(index) = self.table.find(hash, |index| self.get(*index) == bytes) {
            return *index;
        }
        let Ok(end) = u32::try_from(self.bytes.len() + bytes.len()) else {
            return 0;
        };
        let index = self.ends.len() as u32;
        self.bytes.extend_from_slice(bytes);
        self.ends.push(end);
        let (all, ends) = (&self.bytes, &self.ends);
        self.table.insert_unique(hash, index, |index| {
            hasher.hash_one(slice(all, ends, *index))
        });
        index
    }

    /// About how much memory it takes, in bytes.
    fn size(&self) -> usize {
        self.bytes.len() + 12 * self.ends.len()
    }
}

fn slice<'a>(bytes: &'a [u8], ends: &[u32], index: u32) -> &'a [u8] {
    let index = index as usize;
    let start = index.checked_sub(1).map_or(0, |before| ends[before]);
    &bytes[start as usize..ends[index] as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::Call;
    use crate::exec::Env;
    use proptest::prelude::*;

    fn text(bytes: &[u8]) -> Text {
        Text::Bytes {
            bytes: bytes.to_vec(),
            truncated: false,
        }
    }

    fn call(path: Text, argv: Vec<Text>) -> ExecCall {
        ExecCall {
            syscall: None,
            call: Call::Execve,
            path,
            argv: Strings::List {
                items: argv,
                end: ListEnd::Complete,
            },
            env: Env {
                text: None,
                addr: None,
                vars: None,
                unterminated: false,
            },
        }
    }

    fn word(bytes: &[u8]) -> Word<'_> {
        Word {
            bytes: Some(bytes),
            cut: false,
        }
    }

    #[test]
    fn a_command_is_kept_once_and_whole() {
        let mut texts = Texts::default();
        let ls = call(text(b"/bin/ls"), vec![text(b"ls"), text(b"-l"), text(b"")]);
        let id = texts.exec(&ls);
        assert_eq!(texts.exec(&ls), id);
        let command = texts.get(id);
        assert_eq!(command.known, Known::Exec);
        assert_eq!(command.path, word(b"/bin/ls"));
        assert_eq!(command.argv, [word(b"ls"), word(b"-l"), word(b"")]);
        assert!(!command.more);
        assert_eq!(texts.bytes(texts.program(id)), b"ls");
    }

    #[test]
    fn what_could_not_be_read_stays_unknown() {
        let mut texts = Texts::default();
        let id = texts.exec(&call(Text::Null, vec![Text::Unreadable(7)]));
        let command = texts.get(id);
        assert_eq!((command.path.bytes, command.argv[0].bytes), (None, None));
        assert_eq!(texts.bytes(texts.program(id)), b"");
        assert_eq!(texts.get(CommandId::UNKNOWN).known, Known::Not);
        assert_eq!(texts.name(b""), CommandId::UNKNOWN);
        let name = texts.name(b"ruby");
        assert_eq!(texts.get(name).known, Known::Name);
        assert_eq!(texts.get(name).path, word(b"ruby"));
        assert_eq!(texts.bytes(texts.program(name)), b"ruby");
    }

    #[test]
    fn programs_are_named_by_their_path_unless_it_names_none() {
        let mut texts = Texts::default();
        for (path, first, program) in [
            (&b"/bin/busybox"[..], &b"ls"[..], &b"busybox"[..]),
            (b"./a/", b"x/y", b"y"),
            (b"", b"/usr/bin/fd", b"fd"),
            (b"/proc/self/exe", b"runc", b"runc"),
            (b"/dev/fd/3", b"/x/tool", b"tool"),
        ] {
            let id = texts.exec(&call(text(path), vec![text(first)]));
            assert_eq!(texts.bytes(texts.program(id)), program);
        }
        let id = texts.exec(&call(text(b"/proc/self/exe"), vec![]));
        assert_eq!(texts.bytes(texts.program(id)), b"exe");
    }

    #[test]
    fn memory_is_bounded_whatever_is_run() {
        let mut texts = Texts::default();
        let run = |texts: &mut Texts, number: u32| {
            let argument = |index: u32| text(&[b'x'; 200].map(|b| b ^ (index as u8)));
            let mut argv: Vec<Text> = (0..30).map(argument).collect();
            argv[0] = text(format!("{number:050000}").as_bytes());
            argv[1] = text(format!("{number:050001}").as_bytes());
            texts.exec(&call(text(b"/bin/x"), argv))
        };
        let mut number = 0;
        while texts.words.size() + texts.commands.size() <= FREE {
            run(&mut texts, number);
            number += 1;
        }
        let before = texts.words.size() + texts.commands.size();
        for _ in 0..100 {
            number += 1;
            run(&mut texts, number);
        }
        let grown = texts.words.size() + texts.commands.size() - before;
        assert!(grown / 100 < 160, "{} bytes a command", grown / 100);
        let id = run(&mut texts, number + 1);
        let last = texts.get(id);
        assert!(last.more && last.argv[0].cut);
        assert_eq!(last.argv.len(), ARGUMENTS);
    }

    /// Nor do programs escape the bound whose names are long, and each another.
    #[test]
    fn names_of_programs_are_bounded_too() {
        let mut texts = Texts::default();
        let size = |texts: &Texts| texts.words.size() + texts.commands.size();
        texts.word(&vec![b'x'; FREE]);
        for by_descriptor in [false, true] {
            let before = size(&texts);
            for number in 0..100 {
                let name = format!("{by_descriptor}{number}{}", "x".repeat(4000));
                let (path, first) = match by_descriptor {
                    false => (format!("/bin/{name}"), "x".to_owned()),
                    true => (String::new(), name),
                };
                texts.exec(&call(text(path.as_bytes()), vec![text(first.as_bytes())]));
            }
            let grown = size(&texts) - before;
            assert!(grown / 100 < 160, "{} bytes a command", grown / 100);
        }
        let id = texts.exec(&call(text(&[b'p'; 100]), vec![]));
        assert_eq!(texts.bytes(texts.program(id)), [b'p'; NEW_BYTES / 2]);
        assert_eq!(texts.get(id).path.bytes, Some(&[b'p'; NEW_BYTES / 2][..]));
        assert!(texts.get(id).path.cut);
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(words: Vec<Vec<u8>>, numbers: Vec<u32>) {
            let mut texts = Texts::default();
            let argv: Vec<Text> = words.iter().map(|w| text(w)).collect();
            let id = texts.exec(&call(text(b"/bin/x"), argv));
            let command = texts.get(id);
            let back: Vec<&[u8]> = command.argv.iter().map(|w| w.bytes.unwrap()).collect();
            prop_assert_eq!(back, words);
            let mut code = Vec::new();
            for number in &numbers {
                push_number(&mut code, *number);
            }
            let mut rest = &code[..];
            for number in numbers {
                prop_assert_eq!(take_number(&mut rest), number);
            }
        }
    }
}
