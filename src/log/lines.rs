//! The lines of a log, one by one, out of a file, a pipe or a file that still
//! grows. Flat in memory, whatever the size of the log; a line is borrowed from
//! the buffer that it was read into.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::ops::Range;
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal as NixSignal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::ids::Signal;

/// Whether to wait for more at the end of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtEnd {
    /// The end of the file is the end.
    Stop,
    /// Until the recording has ended, or a signal comes.
    Wait,
}

/// The lines of a log.
#[derive(Debug)]
pub struct Lines {
    file: File,
    /// Whether reading may block: no regular file.
    waits: bool,
    /// The signals that end the following, where that is asked for.
    signals: Option<SignalFd>,
    stopped_by: Option<Signal>,
    /// What was read; `start..end` of it is still to be handed out, and has no
    /// newline before `searched`.
    buffer: Vec<u8>,
    start: usize,
    searched: usize,
    end: usize,
    /// The most bytes that a line may have.
    longest: usize,
    /// Whether the rest of a line too long is being passed over.
    skipping: bool,
    /// The number of the line handed out last.
    number: u64,
    at_end: bool,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// A line, without its newline; where it stands, see [`Lines::bytes`].
    Line(Range<usize>),
    /// The last line, which has no newline.
    Rest(Range<usize>),
    /// A line longer than any that forktrace writes.
    TooLong,
    /// Nothing for a moment.
    Quiet,
    /// The end.
    End,
}

/// How much is read at once, in bytes.
pub(super) const CHUNK: usize = 256 * 1024;
/// The longest line that is one: an exec with all that a kernel takes as
/// arguments and environment, escaped.
const LINE_MAX: usize = 64 * 1024 * 1024;
/// How often a file is looked at that has not grown.
const LOOK_AGAIN_MS: u16 = 50;
/// How long a pipe may be silent before that is said.
const QUIET_MS: u16 = 5;

impl Lines {
    /// Of a file; `-` is standard input.
    ///
    /// # Errors
    /// Where it can't be opened.
    pub fn open(path: &Path, at_end: AtEnd) -> io::Result<Lines> {
        let file = match path.as_os_str() == "-" {
            true => File::from(io::stdin().as_fd().try_clone_to_owned()?),
            false => File::open(path)?,
        };
        let waits = !file.metadata()?.is_file();
        Ok(Lines {
            file,
            waits,
            signals: match at_end {
                AtEnd::Wait => Some(take_signals()?),
                AtEnd::Stop => None,
            },
            stopped_by: None,
            buffer: vec![0; CHUNK],
            start: 0,
            searched: 0,
            end: 0,
            longest: LINE_MAX,
            skipping: false,
            number: 0,
            at_end: false,
        })
    }

    /// The number of the line handed out last, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The signal that ended the following.
    pub fn stopped_by(&self) -> Option<Signal> {
        self.stopped_by
    }

    /// A line that was just handed out.
    pub fn bytes(&self, at: Range<usize>) -> &[u8] {
        &self.buffer[at]
    }

    /// Whether anything follows the line handed out last. Of a pipe that is what
    /// comes within a moment.
    ///
    /// # Errors
    /// As read(2).
    pub fn has_more(&mut self) -> io::Result<bool> {
        while self.start == self.end && !self.at_end && self.fill()? {}
        Ok(self.start < self.end)
    }

    /// What comes next. Says [`Piece::Quiet`] again and again where it waits.
    ///
    /// # Errors
    /// As read(2).
    pub fn next_piece(&mut self) -> io::Result<Piece> {
        loop {
            let fresh = &self.buffer[self.searched..self.end];
            if let Some(length) = memchr::memchr(b'\n', fresh) {
                let line = self.start..self.searched + length;
                self.start = line.end + 1;
                self.searched = self.start;
                if std::mem::take(&mut self.skipping) {
                    continue;
                }
                self.number += 1;
                return Ok(match line.len() > self.longest {
                    true => Piece::TooLong,
                    false => Piece::Line(line),
                });
            }
            self.searched = self.end;
            if self.end - self.start > self.longest {
                self.start = self.end;
                if !std::mem::replace(&mut self.skipping, true) {
                    self.number += 1;
                    return Ok(Piece::TooLong);
                }
            }
            if self.at_end {
                let rest = self.start..self.end;
                self.start = self.end;
                if rest.is_empty() || self.skipping {
                    return Ok(Piece::End);
                }
                self.number += 1;
                return Ok(Piece::Rest(rest));
            }
            if !self.fill()? {
                return Ok(Piece::Quiet);
            }
        }
    }

    /// Reads more; `false` if there is nothing yet.
    fn fill(&mut self) -> io::Result<bool> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.searched -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        if self.waits && !self.wait(QUIET_MS)? {
            return Ok(self.at_end);
        }
        match self.file.read(&mut self.buffer[self.end..]) {
            // The end of a pipe is the end of whoever wrote it.
            Ok(0) if self.waits || self.signals.is_none() => self.at_end = true,
            Ok(0) => {
                if self.file.metadata()?.len() < self.file.stream_position()? {
                    return Err(io::Error::other(
                        "it was emptied while it was followed; perhaps it is recorded anew",
                    ));
                }
                self.wait(LOOK_AGAIN_MS)?;
                return Ok(self.at_end);
            }
            Ok(got) => self.end += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Waits for something to read, where that can be waited for, or a signal.
    /// Returns whether there is something to read.
    fn wait(&mut self, milliseconds: u16) -> io::Result<bool> {
        let Lines {
            file,
            waits,
            signals,
            ..
        } = self;
        let mut fds = Vec::with_capacity(2);
        if *waits {
            fds.push(PollFd::new(file.as_fd(), PollFlags::POLLIN));
        }
        if let Some(signals) = &*signals {
            fds.push(PollFd::new(signals.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, PollTimeout::from(milliseconds)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let readable = *waits && fds.first().is_some_and(|fd| fd.any().unwrap_or(true));
        match self.signalled() {
            true => Ok(false),
            false => Ok(readable),
        }
    }

    /// Whether a signal that ends the following has come just now. Only what was
    /// read already is handed out then.
    pub fn signalled(&mut self) -> bool {
        let Some(Ok(Some(told))) = self.signals.as_ref().map(SignalFd::read_signal) else {
            return false;
        };
        self.stopped_by = Some(Signal(told.ssi_signo as i32));
        self.at_end = true;
        true
    }
}

/// Has the signals by which people end a program read instead of obeyed, so
/// that views can finish what they show.
fn take_signals() -> nix::Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [NixSignal::SIGINT, NixSignal::SIGTERM, NixSignal::SIGHUP] {
        set.add(signal);
    }
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    /// A file of these bytes, gone with the value.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str, content: &[u8]) -> Scratch {
            let name = format!("forktrace-lines-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::write(&path, content).expect("a file");
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn pieces(lines: &mut Lines) -> Vec<(bool, Vec<u8>)> {
        let mut all = Vec::new();
        loop {
            match lines.next_piece().expect("readable") {
                Piece::Line(at) => all.push((true, lines.bytes(at).to_vec())),
                Piece::Rest(at) => all.push((false, lines.bytes(at).to_vec())),
                Piece::TooLong => all.push((false, b"too long".to_vec())),
                Piece::Quiet => {}
                Piece::End => return all,
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Lines are what stands between newlines, wherever the reads end.
        #[test]
        fn lines_are_what_newlines_part(
            lengths in proptest::collection::vec(0usize..CHUNK + 2, 0..12),
            rest in 0usize..3,
        ) {
            let mut content = Vec::new();
            let mut expected = Vec::new();
            for (index, length) in lengths.iter().enumerate() {
                let line = vec![b'a' + index as u8; *length];
                content.extend_from_slice(&line);
                content.push(b'\n');
                expected.push((true, line));
            }
            content.resize(content.len() + rest, b'r');
            if rest > 0 {
                expected.push((false, vec![b'r'; rest]));
            }
            let file = Scratch::new("parted", &content);
            let mut lines = Lines::open(&file.0, AtEnd::Stop).expect("a file");
            prop_assert!(pieces(&mut lines) == expected);
            prop_assert_eq!(lines.number(), expected.len() as u64);
        }
    }

    #[test]
    fn memory_does_not_grow_with_the_log() {
        let content = b"0123456789\n".repeat(CHUNK);
        let file = Scratch::new("long", &content);
        let mut lines = Lines::open(&file.0, AtEnd::Stop).expect("a file");
        assert_eq!(pieces(&mut lines).len(), CHUNK);
        assert_eq!(lines.buffer.capacity(), CHUNK);
    }

    #[test]
    fn a_line_too_long_is_passed_over() {
        let mut content = b"one\n".to_vec();
        for longer in [1, 3 * CHUNK] {
            content.resize(content.len() + CHUNK + longer, b'x');
            content.extend_from_slice(b"\ntwo\n");
        }
        let file = Scratch::new("too-long", &content);
        let mut lines = Lines::open(&file.0, AtEnd::Stop).expect("a file");
        lines.longest = CHUNK;
        let (line, long) = ((true, "two"), (false, "too long"));
        let expected = [(true, "one"), long, line, long, line];
        assert!(pieces(&mut lines) == expected.map(|(whole, text)| (whole, text.into())));
        assert_eq!(lines.number(), 5);
    }
}
