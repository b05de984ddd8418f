//! What is said of a process: its command, how it came to be, how it ended.

use super::super::escape::quote;
use super::super::units::ellipsis;
use crate::clone::{CloneFlags, Kind};
use crate::config::Glyphs;
use crate::ids::Signal;
use crate::tree::node::{Decoded, Failure, Fate, How, StackGiven};
use crate::tree::strings::{Command, Known, Word};

/// A command as one would type it, nearly: words of other than plain characters
/// stand in single quotes, and where that won't do in double ones, as C strings.
pub(in crate::view) fn command(command: &Command<'_>, glyphs: Glyphs) -> String {
    match command.known {
        Known::Exec => words(command, glyphs).join(" "),
        Known::Name => format!("({})", word(&command.path, glyphs)),
        Known::Not => "(?)".to_owned(),
    }
}

/// Only the program, in parentheses: a process that runs what its parent ran.
pub(in crate::view) fn copy_of(program: &[u8], glyphs: Glyphs) -> String {
    if program.is_empty() {
        return "(?)".to_owned();
    }
    format!("({})", bytes(program, glyphs))
}

/// A word of which the bytes are known.
pub(in crate::view) fn bytes(bytes: &[u8], glyphs: Glyphs) -> String {
    let text = Word {
        bytes: Some(bytes),
        cut: false,
    };
    word(&text, glyphs)
}

/// Its words. Where argv\[0\] names another program than the path the path
/// stands before it.
pub(super) fn words(command: &Command<'_>, glyphs: Glyphs) -> Vec<String> {
    let mut words = Vec::with_capacity(command.argv.len() + 2);
    let mut argv = command.argv.iter();
    match command.argv.first() {
        None => words.push(word(&command.path, glyphs)),
        Some(first) if !same_program(&command.path, first) => {
            words.push(word(&command.path, glyphs));
            words.push(format!("[{}]", word(first, glyphs)));
            argv.next();
        }
        Some(_) => {}
    }
    words.extend(argv.map(|text| word(text, glyphs)));
    if command.more {
        words.push(ellipsis(glyphs).to_owned());
    }
    words
}

fn same_program(path: &Word<'_>, first: &Word<'_>) -> bool {
    let (Some(path), Some(first)) = (path.bytes, first.bytes) else {
        return true;
    };
    let last = |bytes: &'_ [u8]| {
        bytes
            .iter()
            .rposition(|b| *b == b'/')
            .map_or(0, |at| at + 1)
    };
    // A login shell has a dash before its name.
    let name = first.strip_prefix(b"-").unwrap_or(first);
    path.is_empty() || path[last(path)..] == name[last(name)..] || first == path
}

fn word(text: &Word<'_>, glyphs: Glyphs) -> String {
    let Some(bytes) = text.bytes else {
        return "?".to_owned();
    };
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"_@%+=:,./-^~#{}[]*!?".contains(b);
    let printable = |b: &u8| (b' '..=b'~').contains(b) && *b != b'\'';
    let mut out = String::with_capacity(bytes.len() + 4);
    // Both are ASCII.
    let as_is = bytes.iter().map(|b| char::from(*b));
    if !bytes.is_empty() && bytes.iter().all(plain) {
        out.extend(as_is);
    } else if bytes.iter().all(printable) {
        out.push('\'');
        out.extend(as_is);
        out.push('\'');
    } else {
        quote(&mut out, bytes);
    }
    if text.cut {
        out.push_str(ellipsis(glyphs));
    }
    out
}

/// Flags that say nothing of what is shared: where tids are stored, and what is
/// said elsewhere.
const SILENT: CloneFlags = CloneFlags(
    CloneFlags::CHILD_SETTID.0
        | CloneFlags::CHILD_CLEARTID.0
        | CloneFlags::PARENT_SETTID.0
        | CloneFlags::SETTLS.0
        | CloneFlags::DETACHED.0
        | CloneFlags::CLEAR_SIGHAND.0
        | CloneFlags::PIDFD.0
        | CloneFlags::PARENT.0
        | CloneFlags::PTRACE.0
        | CloneFlags::UNTRACED.0,
);

/// How a process was created, in a word or with its flags in short.
pub(super) fn how(how: &How) -> String {
    match how.decoded {
        Decoded::Yes => {}
        Decoded::Unreadable => return "clone3 with unreadable arguments".to_owned(),
        Decoded::TooSmall => return "clone3 with a structure too small".to_owned(),
    }
    let flags = how.flags & !SILENT;
    let vfork = CloneFlags::VM | CloneFlags::VFORK;
    match (how.kind, how.stack) {
        (Kind::Thread, _) => "thread".to_owned(),
        (Kind::Process, _) if flags.0 == 0 => "fork".to_owned(),
        (Kind::Vfork, StackGiven::No) if flags == vfork => "vfork".to_owned(),
        // A vfork on a stack given to it is what posix_spawn makes.
        (Kind::Vfork, StackGiven::Yes) if flags == vfork => "posix_spawn".to_owned(),
        _ => format!("clone {}", short(flags)),
    }
}

/// Flags without their common prefix.
fn short(flags: CloneFlags) -> String {
    flags.to_string().replace("CLONE_", "")
}

/// What the parent is sent at its end, if that is not as usual.
pub(super) fn exit_signal(how: &How) -> Option<String> {
    let usual = how.kind == Kind::Thread
        || how.decoded != Decoded::Yes
        || how.flags.has(CloneFlags::PARENT)
        || how.exit_signal == Some(Signal::CHLD);
    match how.exit_signal {
        _ if usual => None,
        Some(signal) => Some(format!("exit signal {signal}")),
        None => Some("no exit signal".to_owned()),
    }
}

/// How it ended, where that is worth a word.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::view) enum EndWords {
    /// All went well.
    Nothing,
    /// A status that is not 0.
    Failed(String),
    /// A signal.
    Killed(String),
    /// No end was seen.
    Open(&'static str),
}

/// What is said of those that live at the end.
pub(in crate::view) const ALIVE: &str = "alive at the end of the trace";

/// How a process ended.
pub(in crate::view) fn end(fate: Fate) -> EndWords {
    match fate {
        Fate::Exited(0) => EndWords::Nothing,
        Fate::Exited(code) => EndWords::Failed(format!("exited with {code}")),
        Fate::Killed {
            signal,
            core_dumped,
        } => {
            let core = if core_dumped { " (core dumped)" } else { "" };
            EndWords::Killed(format!("killed by {signal}{core}"))
        }
        Fate::Alive => EndWords::Open(ALIVE),
        Fate::Detached => EndWords::Open("detached"),
        Fate::Silenced => EndWords::Open("runs on, not shown"),
        Fate::NotFollowed => EndWords::Open("not followed"),
        Fate::Untraced => EndWords::Open("hidden by CLONE_UNTRACED"),
        Fate::Unseen => EndWords::Open("its end was not seen"),
        Fate::BecameLeader => EndWords::Open("became the first thread by exec"),
    }
}

/// Why nothing was created.
pub(super) fn failure(failure: Failure) -> String {
    match failure {
        Failure::Errno(errno) => errno.to_string(),
        Failure::CallerKilled => "the caller was killed in the call".to_owned(),
        Failure::Skipped => "a seccomp filter answered in the kernel's place".to_owned(),
        Failure::Various => "for various reasons".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Word<'_> {
        Word {
            bytes: Some(bytes),
            cut: false,
        }
    }

    fn shown(path: &[u8], argv: &[&[u8]]) -> String {
        let it = Command {
            known: Known::Exec,
            path: text(path),
            argv: argv.iter().map(|bytes| text(bytes)).collect(),
            more: false,
        };
        command(&it, Glyphs::Unicode)
    }

    #[test]
    fn commands_as_one_would_type_them() {
        assert_eq!(
            shown(b"/bin/ls", &[b"ls", b"-l", b"a b", b""]),
            "ls -l 'a b' ''"
        );
        assert_eq!(shown(b"/bin/bash", &[b"-bash"]), "-bash");
        assert_eq!(
            shown(b"/bin/busybox", &[b"ls", b"-l"]),
            "/bin/busybox [ls] -l"
        );
        assert_eq!(shown(b"/bin/x", &[]), "/bin/x");
        assert_eq!(shown(b"", &[b"fd"]), "fd");
        assert_eq!(
            shown(b"sh", &[b"sh", b"-c", b"a \"$x\" \\n"]),
            r#"sh -c 'a "$x" \n'"#
        );
        assert_eq!(shown(b"sh", &[b"sh", b"it's"]), r#"sh "it's""#);
        assert_eq!(shown(b"x", &[b"\x1b[31m\n"]), r#"x ["\33[31m\n"]"#);
    }

    #[test]
    fn what_is_left_out_is_marked() {
        let cut = Word {
            bytes: Some(b"ab"),
            cut: true,
        };
        let unread = Word {
            bytes: None,
            cut: false,
        };
        let it = Command {
            known: Known::Exec,
            path: text(b"/x"),
            argv: vec![text(b"x"), cut, unread],
            more: true,
        };
        assert_eq!(command(&it, Glyphs::Unicode), "x ab… ? …");
        assert_eq!(command(&it, Glyphs::Ascii), "x ab... ? ...");
        assert_eq!(copy_of(b"a b", Glyphs::Ascii), "('a b')");
        assert_eq!(copy_of(b"", Glyphs::Ascii), "(?)");
    }

    #[test]
    fn creations_in_short() {
        let call = |kind, flags: CloneFlags, stack, exit_signal| How {
            call: None,
            kind,
            flags,
            exit_signal,
            stack,
            decoded: Decoded::Yes,
        };
        let none = CloneFlags::default();
        let vfork = CloneFlags::VM | CloneFlags::VFORK;
        let chld = Some(Signal::CHLD);
        for (made, text, signal) in [
            (
                call(Kind::Process, none, StackGiven::No, chld),
                "fork",
                None,
            ),
            (
                call(
                    Kind::Process,
                    CloneFlags::CHILD_SETTID,
                    StackGiven::No,
                    chld,
                ),
                "fork",
                None,
            ),
            (
                call(
                    Kind::Process,
                    CloneFlags::NEWPID | CloneFlags::NEWNS,
                    StackGiven::No,
                    Some(Signal(10)),
                ),
                "clone NEWNS|NEWPID",
                Some("exit signal SIGUSR1"),
            ),
            (
                call(Kind::Vfork, vfork, StackGiven::No, chld),
                "vfork",
                None,
            ),
            (
                call(Kind::Vfork, vfork, StackGiven::Yes, chld),
                "posix_spawn",
                None,
            ),
            (
                call(
                    Kind::SharedProcess,
                    CloneFlags::VM | CloneFlags::FS,
                    StackGiven::Yes,
                    None,
                ),
                "clone VM|FS",
                Some("no exit signal"),
            ),
        ] {
            assert_eq!(how(&made), text);
            assert_eq!(exit_signal(&made).as_deref(), signal);
        }
        for (decoded, text) in [
            (Decoded::Unreadable, "clone3 with unreadable arguments"),
            (Decoded::TooSmall, "clone3 with a structure too small"),
        ] {
            let made = How {
                decoded,
                ..call(Kind::Process, none, StackGiven::No, None)
            };
            assert_eq!(how(&made), text);
            assert_eq!(exit_signal(&made), None);
        }
    }
}
