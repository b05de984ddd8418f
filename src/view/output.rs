//! Where lines go: standard error, standard output, or a file opened in place.
//! Lines are written whole. Where somebody waits for them (a terminal, a pipe) or
//! the program writes to the same place, each is written at once, with one
//! write(2); for a regular file of forktrace's own they are collected until
//! nothing happens for a moment: a write costs a tenth of a creation.
//!
//! A reader that doesn't read blocks who writes. Where a signal must be looked
//! after meanwhile, a write that a signal interrupts keeps the rest; it is for
//! the caller to have it written. No stream is made non-blocking for that: the
//! program may share it.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use terminal_size::{Width, terminal_size_of};

/// An output for lines.
#[derive(Debug)]
pub struct Output {
    file: File,
    /// Lines to be written, where they are collected.
    collected: Option<Vec<u8>>,
    when_blocked: WhenBlocked,
    /// What could not be written yet.
    rest: Vec<u8>,
}

/// What becomes of what can't be written at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WhenBlocked {
    /// It is written, however long that takes.
    Wait,
    /// It is kept once a signal came.
    KeepRest,
    /// It is kept at once: signals are blocked, and end no write.
    KeepAll,
    /// Nobody waits for it any more.
    Drop,
}

/// What can be written to a pipe at once when there is room at all (PIPE_BUF).
const PIECE_MAX: usize = 4096;

/// How much is collected at the most, in bytes.
const COLLECTED_MAX: usize = 64 * 1024;

impl Output {
    /// forktrace's own standard error.
    ///
    /// # Errors
    /// Where no descriptor is left.
    pub fn stderr() -> io::Result<Output> {
        Output::of(io::stderr().as_fd())
    }

    /// forktrace's own standard output.
    ///
    /// # Errors
    /// Where no descriptor is left.
    pub fn stdout() -> io::Result<Output> {
        Output::of(io::stdout().as_fd())
    }

    /// Writes unbuffered, and not through std's handle, which would take
    /// itself for a success where the descriptor is closed.
    fn of(fd: BorrowedFd<'_>) -> io::Result<Output> {
        Ok(Output {
            file: File::from(fd.try_clone_to_owned()?),
            collected: None,
            when_blocked: WhenBlocked::Wait,
            rest: Vec::new(),
        })
    }

    /// A file, emptied if it has content. It is opened in place: a FIFO, a
    /// terminal and /dev/null stay what they are. It is closed on exec. A file
    /// that is standard output or error already is written there, among what
    /// others write: at an offset of its own each would overwrite
    /// the other.
    ///
    /// # Errors
    /// Where it can't be opened for writing.
    pub fn file(path: &Path) -> io::Result<Output> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let metadata = file.metadata()?;
        let collects = metadata.is_file();
        if collects {
            for fd in [io::stdout().as_fd(), io::stderr().as_fd()] {
                let shared = Output::of(fd)?;
                if shared.writes_to(&metadata) {
                    return Ok(shared);
                }
            }
            file.set_len(0)?;
        }
        Ok(Output {
            file,
            collected: collects.then(|| Vec::with_capacity(COLLECTED_MAX)),
            when_blocked: WhenBlocked::Wait,
            rest: Vec::new(),
        })
    }

    /// Whether it is this very file, and open for writing.
    fn writes_to(&self, file: &Metadata) -> bool {
        let same = self
            .file
            .metadata()
            .is_ok_and(|own| (own.dev(), own.ino()) == (file.dev(), file.ino()));
        let flags = || fcntl(&self.file, FcntlArg::F_GETFL).map(OFlag::from_bits_truncate);
        same && flags().is_ok_and(|flags| flags & OFlag::O_ACCMODE != OFlag::O_RDONLY)
    }

    /// Lets a signal end the waiting for a reader: then what is left to write
    /// is kept until [`push`](Output::push).
    pub fn keep_rest(&mut self) {
        self.when_blocked = WhenBlocked::KeepRest;
    }

    /// Never waits for a reader: what it doesn't take is kept until
    /// [`push`](Output::push).
    pub fn keep_all(&mut self) {
        self.when_blocked = WhenBlocked::KeepAll;
    }

    /// How many bytes are left to write because the reader didn't take them.
    pub fn behind(&self) -> usize {
        self.rest.len()
    }

    /// Nothing is written any more, without an error.
    pub fn abandon(&mut self) {
        self.when_blocked = WhenBlocked::Drop;
        self.rest.clear();
    }

    /// Collects lines wherever they go, for a source that says when it has no
    /// more for a moment, and that nobody's own lines stand beside.
    pub fn collect(&mut self) {
        self.collected
            .get_or_insert_with(|| Vec::with_capacity(COLLECTED_MAX));
    }

    /// Whether lines are collected before they are written.
    pub fn collects(&self) -> bool {
        self.collected.is_some()
    }

    /// Whether a person looks at it.
    pub fn is_terminal(&self) -> bool {
        self.file.is_terminal()
    }

    /// How wide it is, in columns, if it is a terminal that knows.
    pub fn columns(&self) -> Option<usize> {
        let (Width(columns), _) = terminal_size_of(&self.file)?;
        Some(usize::from(columns)).filter(|columns| *columns > 0)
    }

    /// Writes whole lines, or collects them until [`flush`](Output::flush).
    ///
    /// # Errors
    /// As write(2).
    pub fn write_lines(&mut self, lines: impl AsRef<[u8]>) -> io::Result<()> {
        let lines = lines.as_ref();
        let Some(collected) = &mut self.collected else {
            return self.write(lines);
        };
        collected.extend_from_slice(lines);
        match collected.len() {
            COLLECTED_MAX.. => self.flush(),
            _ => Ok(()),
        }
    }

    /// Writes what was collected.
    ///
    /// # Errors
    /// As write(2).
    pub fn flush(&mut self) -> io::Result<()> {
        let Some(mut collected) = self.collected.take() else {
            return Ok(());
        };
        let written = self.write(&collected);
        collected.clear();
        self.collected = Some(collected);
        written
    }

    /// Writes any bytes at once, after what was collected.
    ///
    /// # Errors
    /// As write(2).
    pub fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.flush()?;
        self.write(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        match self.when_blocked {
            WhenBlocked::Wait => self.write_all(bytes),
            WhenBlocked::Drop => Ok(()),
            WhenBlocked::KeepRest if self.rest.is_empty() => {
                let written = written(self.file.write(bytes))?;
                self.rest.extend_from_slice(&bytes[written..]);
                Ok(())
            }
            WhenBlocked::KeepRest | WhenBlocked::KeepAll => {
                self.rest.extend_from_slice(bytes);
                self.push(Duration::ZERO)
            }
        }
    }

    /// Writes what was kept, as far as it is taken: waits so long for a reader,
    /// and not after a signal.
    ///
    /// # Errors
    /// As write(2).
    pub fn push(&mut self, wait: Duration) -> io::Result<()> {
        while !self.rest.is_empty() {
            if !takes_more(self.file.as_fd(), wait) {
                return Ok(());
            }
            // Whole lines, as long as they are.
            let most = self.rest.len().min(PIECE_MAX);
            let end = self.rest[..most].iter().rposition(|byte| *byte == b'\n');
            let piece = &self.rest[..end.map_or(most, |end| end + 1)];
            match written(self.file.write(piece))? {
                0 => return Ok(()),
                count => drop(self.rest.drain(..count)),
            }
        }
        Ok(())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut left = bytes;
        while !left.is_empty() {
            match self.file.write(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => left = &left[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The program may have made the stream that it shares with
                // forktrace non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_writable()?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn wait_writable(&self) -> io::Result<()> {
        let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Drop for Output {
    /// Whatever ended the trace, what was seen is kept.
    fn drop(&mut self) {
        let _ = self.flush();
        let _ = self.push(Duration::ZERO);
    }
}

/// How much was written; nothing where a signal came first.
fn written(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        // The program may have made the stream that it shares non-blocking.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}

/// Whether something can be written, or an error is to be had, within so long;
/// not if a signal comes first.
fn takes_more(fd: BorrowedFd<'_>, wait: Duration) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::POLLOUT)];
    let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
    poll(&mut fds, wait).is_ok_and(|ready| ready > 0)
}

/// Whether forktrace's own standard error takes a line now.
pub fn stderr_takes_more() -> bool {
    takes_more(io::stderr().as_fd(), Duration::ZERO)
}
