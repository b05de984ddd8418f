//! Where lines go: standard error, standard output, or a file opened in place.
//! Lines are written whole. Where somebody waits for them (a terminal, a pipe) or
//! the program writes to the same place, each is written at once, with one
//! write(2); for a regular file of forktrace's own they are collected until
//! nothing happens for a moment: a write costs a tenth of a creation.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use terminal_size::{Width, terminal_size_of};

/// An output for lines.
#[derive(Debug)]
pub struct Output {
    file: File,
    /// Lines to be written, where they are collected.
    collected: Option<Vec<u8>>,
}

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
    fn of(fd: std::os::fd::BorrowedFd<'_>) -> io::Result<Output> {
        Ok(Output {
            file: File::from(fd.try_clone_to_owned()?),
            collected: None,
        })
    }

    /// A file, emptied if it has content. It is opened in place: a FIFO, a
    /// terminal and /dev/null stay what they are. It is closed on exec.
    ///
    /// # Errors
    /// Where it can't be opened for writing.
    pub fn file(path: &Path) -> io::Result<Output> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        let collects = file.metadata()?.is_file();
        Ok(Output {
            file,
            collected: collects.then(|| Vec::with_capacity(COLLECTED_MAX)),
        })
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
    }
}
