//! Where lines go: standard error, standard output, or a file opened in place.
//! Each line is written whole, with one write(2), so that a reader in a pipe
//! sees it at once and lines of several writers don't mix.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;

/// An output for lines.
#[derive(Debug)]
pub struct Output {
    file: File,
}

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
        Ok(Output { file })
    }

    /// Whether a person looks at it.
    pub fn is_terminal(&self) -> bool {
        self.file.is_terminal()
    }

    /// Writes whole lines at once.
    ///
    /// # Errors
    /// As write(2).
    pub fn write_lines(&mut self, lines: &str) -> io::Result<()> {
        self.file.write_all(lines.as_bytes())
    }
}
