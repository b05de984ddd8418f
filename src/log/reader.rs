//! A recorded log as a source of events: what a view shows of it is what it
//! showed, or would have shown, live.

use std::io;
use std::path::Path;

use anyhow::anyhow;

use super::line::EndLine;
use super::lines::{AtEnd, Lines, Piece};
use super::parse::{Parsed, header, parse};
use crate::event::{Event, EventKind};
use crate::ids::Signal;
use crate::source::{Next, Source};
use crate::view::sinks::plain;

/// A log that is read.
#[derive(Debug)]
pub struct Reader {
    name: String,
    lines: Lines,
    /// The first event, until it is handed out.
    start: Option<Event>,
    /// Whether events were handed out since it was last said that none come.
    told: bool,
    ended: bool,
    /// Whether the log's last line was there.
    whole: bool,
    faults: u64,
    /// Lines handed out so far, the header and those that can't be read with them;
    /// empty ones are none.
    lines_seen: u64,
    /// Events of a later version among them.
    unknown: u64,
    notices: Vec<String>,
}

/// Whether a line is one of a log of calls, as strace writes it.
fn is_of_calls(line: &[u8]) -> bool {
    let has = |what: &[u8]| memchr::memmem::find(line, what).is_some();
    has(b"(") && (has(b") = ") || has(b"<unfinished ...>"))
}

/// So many lines that can't be read are told one by one.
const FAULTS_TOLD: u64 = 10;

impl Reader {
    /// Opens a log and reads its first line; `-` is standard input.
    ///
    /// # Errors
    /// Where it can't be opened, or is no log, or one of a format that this
    /// forktrace does not read.
    pub fn open(path: &Path, at_end: AtEnd) -> anyhow::Result<Reader> {
        let name = match path.as_os_str() == "-" {
            true => "standard input".to_owned(),
            false => path.display().to_string(),
        };
        let cannot = |error| anyhow!("cannot read {name}: {}", plain(&error));
        let mut lines = Lines::open(path, at_end).map_err(cannot)?;
        let first = loop {
            match lines.next_piece().map_err(cannot)? {
                Piece::Line(at) | Piece::Rest(at) => break lines.bytes(at),
                Piece::TooLong => break b"",
                Piece::Quiet => {}
                Piece::End => return Err(anyhow!("{name} is empty: no log")),
            }
        };
        let start = header(first).map_err(|what| match is_of_calls(first) {
            true => {
                let from = match path.as_os_str() == "-" {
                    true => String::new(),
                    false => format!(" < {name}"),
                };
                anyhow!("{name} is {what}; a log of strace's: forktrace explain -{from}")
            }
            false => anyhow!("{name} is {what}"),
        })?;
        Ok(Reader {
            name,
            lines,
            start: Some(start),
            told: false,
            ended: false,
            whole: false,
            faults: 0,
            lines_seen: 1,
            unknown: 0,
            notices: Vec::new(),
        })
    }

    /// What the user should know, a line each; handed out once.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// How many lines could not be read.
    pub fn faults(&self) -> u64 {
        self.faults
    }

    /// Whether the recording ended in good order, all of it read.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// The signal that ended the following of a log.
    pub fn stopped_by(&self) -> Option<Signal> {
        self.lines.stopped_by()
    }

    /// Whether a signal that ends the following has come just now, for who waits
    /// for others than the log.
    pub fn signalled(&mut self) -> bool {
        self.lines.signalled()
    }

    fn cannot(&self, error: &io::Error) -> anyhow::Error {
        anyhow!("cannot read {}: {}", self.name, plain(error))
    }

    fn notice(&mut self, words: &str) {
        self.notices.push(format!("{}: {words}", self.name));
    }

    fn fault(&mut self, what: &str) {
        self.faults += 1;
        if self.faults <= FAULTS_TOLD {
            self.notice(&format!("line {}: {what}", self.lines.number()));
        }
    }

    /// There is no more, and this is what should be known of that.
    fn end(&mut self, words: Option<&str>) {
        self.ended = true;
        if self.faults > FAULTS_TOLD {
            let more = self.faults - FAULTS_TOLD;
            self.notice(&format!("{more} more lines that can't be read"));
        }
        match self.unknown {
            0 => {}
            1 => self.notice("1 event of a later version is not shown"),
            count => self.notice(&format!("{count} events of a later version are not shown")),
        }
        if let Some(words) = words {
            self.notice(words);
        }
    }

    /// The log's last line.
    fn finish(&mut self, end: &EndLine) -> io::Result<()> {
        self.whole = self.faults == 0 && self.lines_seen == end.events;
        let (seen, written) = (self.lines_seen, end.events);
        match written.abs_diff(seen) {
            0 => {}
            1 if seen < written => self.notice("1 line is missing"),
            count if seen < written => self.notice(&format!("{count} lines are missing")),
            1 => self.notice("1 line more than was recorded"),
            count => self.notice(&format!("{count} lines more than were recorded")),
        }
        let number = self.lines.number();
        let more = format!("what follows line {number}, where the recording ends, is left out");
        let has_more = self.lines.has_more()?;
        self.end(has_more.then_some(more.as_str()));
        Ok(())
    }

    /// The end of the file came first.
    fn broken_off(&mut self, within_a_line: bool) {
        let whence = match within_a_line {
            true => format!(" within line {}", self.lines.number()),
            false => String::new(),
        };
        let words = format!(
            "the recording breaks off{whence}: it was cut short, or goes on (--follow waits for it)"
        );
        let stopped = self.stopped_by().is_some();
        self.end((!stopped).then_some(words.as_str()));
    }
}

impl Source for Reader {
    fn next(&mut self) -> anyhow::Result<Next> {
        if let Some(start) = self.start.take() {
            self.told = true;
            return Ok(Next::Event(start));
        }
        while !self.ended {
            let piece = self
                .lines
                .next_piece()
                .map_err(|error| self.cannot(&error))?;
            let (at, whole) = match piece {
                Piece::Line(at) => (at, true),
                Piece::Rest(at) => (at, false),
                Piece::TooLong => {
                    self.lines_seen += 1;
                    self.fault("longer than any line that forktrace writes");
                    continue;
                }
                Piece::Quiet if std::mem::take(&mut self.told) => return Ok(Next::Quiet),
                Piece::Quiet => continue,
                Piece::End => {
                    self.broken_off(false);
                    break;
                }
            };
            let line = self.lines.bytes(at);
            if line.trim_ascii().is_empty() {
                continue;
            }
            let parsed = parse(line);
            if !matches!(parsed, Ok(Parsed::End(_))) {
                self.lines_seen += 1;
            }
            match parsed {
                Ok(Parsed::Event(event)) if !matches!(event.kind, EventKind::Start(_)) => {
                    self.told = true;
                    return Ok(Next::Event(event));
                }
                Ok(Parsed::Event(_)) => self.fault("a second header"),
                Ok(Parsed::Unknown) => self.unknown += 1,
                Ok(Parsed::End(end)) => {
                    self.finish(&end).map_err(|error| self.cannot(&error))?;
                }
                // Cut off while it was written.
                Err(_) if !whole => self.broken_off(true),
                Err(what) => self.fault(&what),
            }
        }
        Ok(Next::End)
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::CHUNK;
    use super::*;

    const HEADER: &str = r#"{"event":"start","time_ns":0,"tid":1,"tgid":1,"comm":"","format":"forktrace","format_version":"1.0","forktrace_version":"0","wall_ns":0,"monotonic_ns":0,"command":[],"abi":"x86_64","stops":"seccomp","follow":"all"}"#;

    /// What is said of a log, and whether it is whole.
    fn said(name: &str, content: &str) -> (Vec<String>, bool) {
        let name = format!("forktrace-reader-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        std::fs::write(&path, content).expect("a file");
        let mut reader = Reader::open(&path, AtEnd::Stop).expect("a log");
        while !matches!(reader.next().expect("readable"), Next::End) {}
        std::fs::remove_file(&path).expect("the file");
        let prefix = format!("{}: ", path.display());
        let notices = reader.take_notices().into_iter();
        let notices = notices.map(|notice| notice.replacen(&prefix, "", 1));
        (notices.collect(), reader.is_whole())
    }

    /// Wherever the reads end.
    #[test]
    fn what_follows_the_end_is_seen() {
        let end = "{\"event\":\"end\",\"time_ns\":0,\"events\":1}\n";
        for shift in [0, 1, 2] {
            let room = CHUNK - HEADER.len() - 1 - end.len() + 1 - shift;
            let padding = " ".repeat(room);
            let log = format!("{HEADER}{padding}\n{end}");
            assert_eq!(log.len(), CHUNK + 1 - shift);
            assert_eq!(said("whole", &log), (vec![], true));
            let left_out = "what follows line 2, where the recording ends, is left out";
            let more = said("more", &format!("{log}{HEADER}\n"));
            assert_eq!(more, (vec![left_out.to_owned()], true));
        }
    }
}
