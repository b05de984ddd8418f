//! `forktrace explain -`: a log from standard input to standard output, each
//! line as soon as it is whole, byte for byte but for the meanings.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::log::Log;
use crate::view::output::Output;
use crate::view::style::{Palette, Part};

/// Longer lines pass unexplained, in pieces.
const LONGEST: usize = 1 << 20;

/// What stopped a stream.
#[derive(Debug)]
pub enum Stopped {
    /// It could not be read on.
    Reading(io::Error),
    /// It could not be written on.
    Writing(io::Error),
    /// It is no text: forktrace recorded it.
    Recorded,
}

/// How a recorded log begins.
const RECORDED: &[u8] = b"{\"event\":\"start\",";

/// A descriptor that is read unbuffered: what is there is taken at once.
#[derive(Debug)]
pub struct Input(File);

impl Input {
    /// Standard input.
    ///
    /// # Errors
    /// Where no descriptor is left.
    pub fn stdin() -> io::Result<Input> {
        Ok(Input(File::from(io::stdin().as_fd().try_clone_to_owned()?)))
    }

    /// Waits for bytes; 0 at the end.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Whoever shares it may have made it non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
                    match poll(&mut fds, PollTimeout::NONE) {
                        Ok(_) | Err(Errno::EINTR) => {}
                        Err(errno) => return Err(errno.into()),
                    }
                }
                other => return other,
            }
        }
    }
}

/// Copies a log and adds meanings.
///
/// # Errors
/// Where it can't be read or written on, or is no log of this kind.
pub fn annotate(input: &mut Input, output: &mut Output, palette: Palette) -> Result<(), Stopped> {
    let mut annotator = Annotator {
        palette,
        log: Log::default(),
        held: Vec::new(),
        line: Line::Whole,
    };
    let mut buffer = vec![0; 1 << 16];
    let mut out = Vec::new();
    let mut first = true;
    loop {
        let length = input.read(&mut buffer).map_err(Stopped::Reading)?;
        if std::mem::take(&mut first) && buffer[..length].starts_with(RECORDED) {
            return Err(Stopped::Recorded);
        }
        if length == 0 {
            annotator.end(&mut out);
        } else {
            annotator.take(&buffer[..length], &mut out);
        }
        output.write_bytes(&out).map_err(Stopped::Writing)?;
        out.clear();
        if length == 0 {
            return Ok(());
        }
    }
}

/// Cuts bytes into lines.
struct Annotator {
    palette: Palette,
    log: Log,
    /// The beginning of a line whose end has not come yet.
    held: Vec<u8>,
    line: Line,
}

/// What is left of the line that comes next.
enum Line {
    Whole,
    /// It is too long: its beginning has passed already.
    Rest,
}

impl Annotator {
    fn take(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end + 1);
            bytes = rest;
            if matches!(self.line, Line::Rest) {
                out.extend_from_slice(line);
                self.line = Line::Whole;
            } else if self.held.is_empty() {
                self.whole(line, out);
            } else {
                let mut whole = std::mem::take(&mut self.held);
                whole.extend_from_slice(line);
                self.whole(&whole, out);
            }
        }
        if matches!(self.line, Line::Rest) {
            out.extend_from_slice(bytes);
        } else {
            self.held.extend_from_slice(bytes);
            if self.held.len() > LONGEST {
                out.append(&mut self.held);
                self.line = Line::Rest;
            }
        }
    }

    /// The last line may have no newline.
    fn end(&mut self, out: &mut Vec<u8>) {
        let last = std::mem::take(&mut self.held);
        if !last.is_empty() {
            self.whole(&last, out);
        }
    }

    fn whole(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some(meaning) = self.log.line(line) else {
            out.extend_from_slice(line);
            return;
        };
        let mut end = line.len();
        for newline in [b'\n', b'\r'] {
            if end > 0 && line[end - 1] == newline {
                end -= 1;
            }
        }
        let mut text = String::from("  ");
        self.palette.paint(&mut text, Part::Meaning, |text| {
            text.push_str("# ");
            text.push_str(&meaning);
        });
        out.extend_from_slice(&line[..end]);
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(&line[end..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotated(pieces: &[&[u8]]) -> Vec<u8> {
        let mut annotator = Annotator {
            palette: Palette::PLAIN,
            log: Log::default(),
            held: Vec::new(),
            line: Line::Whole,
        };
        let mut out = Vec::new();
        for piece in pieces {
            annotator.take(piece, &mut out);
        }
        annotator.end(&mut out);
        out
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(annotated(&[bytes])).unwrap()
    }

    #[test]
    fn the_end_of_a_line_stays_as_it_is() {
        for end in ["", "\n", "\r\n"] {
            let out = text(format!("1 vfork() = 2{end}").as_bytes());
            let meaning = out.strip_prefix("1 vfork() = 2  # vfork child: ").unwrap();
            assert!(meaning.ends_with(&format!("at exit{end}")), "{meaning:?}");
        }
    }

    #[test]
    fn a_line_too_long_passes_and_the_next_is_explained() {
        let long = "x".repeat(LONGEST + 3);
        let log = format!("{long}\nvfork() = 2\n");
        let out = text(log.as_bytes());
        assert!(out.starts_with(&format!("{long}\nvfork() = 2  # ")));
        // It is not held back until its end.
        let mut annotator = Annotator {
            palette: Palette::PLAIN,
            log: Log::default(),
            held: Vec::new(),
            line: Line::Whole,
        };
        let mut out = Vec::new();
        annotator.take(long.as_bytes(), &mut out);
        assert_eq!(out.len(), long.len());
    }

    proptest::proptest! {
        /// What creates nothing comes out as it went in, in whatever pieces.
        #[test]
        fn bytes_pass(pieces in proptest::collection::vec(proptest::collection::vec(0u8.., 0..50), 0..20)) {
            let whole = pieces.concat();
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            proptest::prop_assert_eq!(annotated(&pieces), whole);
        }

        /// And where a log is cut makes no difference.
        #[test]
        fn pieces_make_no_difference(cuts in proptest::collection::vec(0usize..200, 0..6)) {
            let log = b"1 fork( <unfinished ...>\r\n\xff\xfe\n1 <... fork resumed>) = 12\n\n[pid 3] vfork() = 4";
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(log.len())).collect();
            cuts.extend([0, log.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &log[cut[0]..cut[1]]).collect();
            let out = annotated(&pieces);
            proptest::prop_assert_eq!(&out, &annotated(&[log]));
            let meanings = out.windows(3).filter(|bytes| bytes == b" # ").count();
            proptest::prop_assert_eq!(meanings, 2);
        }
    }
}
