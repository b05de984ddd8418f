//! `forktrace explain`: what flags, numbers, calls and logs mean, without a
//! process to trace. All but [`stream`] is pure.
//!
//! - [`value`] and [`parse`]: the text of a call back to a request;
//! - [`prefix`]: what stands before a call in a log;
//! - [`log`]: which lines of a log are creations, and their meanings;
//! - [`stream`]: a log from standard input to standard output;
//! - [`terms`]: what a term asks about; [`readings`]: masks; [`page`]: the text.

pub mod log;
pub mod page;
pub mod parse;
pub mod prefix;
pub mod readings;
pub mod stream;
pub mod terms;
mod value;

pub use value::Trouble;

use std::ffi::OsString;
use std::io;

use anyhow::{Context, Result, anyhow, bail};

use crate::config::When;
use crate::ids::Errno;
use crate::ptrace::sys::closed_at_start;
use crate::view::output::Output;
use crate::view::sinks::plain;
use crate::view::style;
use page::Page;
use stream::{Input, Stopped};

/// The term that stands for a log on standard input.
const LOG: &str = "-";

/// Explains terms, or the log on standard input, on standard output.
///
/// # Errors
/// Where a term is not understood, or something can't be read or written. That
/// the reader went away is none.
pub fn run(terms: &[OsString], color: When) -> Result<()> {
    let mut output = Output::stdout().context("cannot write to standard output")?;
    if closed_at_start(1) {
        return Err(unwritable(&closed()));
    }
    let palette = style::palette(color, output.is_terminal());
    if let [term] = terms
        && term == LOG
    {
        if closed_at_start(0) {
            return Err(unreadable(&closed()));
        }
        let mut input = Input::stdin().context("cannot read standard input")?;
        return match stream::annotate(&mut input, &mut output, palette) {
            Ok(()) => Ok(()),
            Err(Stopped::Reading(error)) => Err(unreadable(&error)),
            Err(Stopped::Writing(error)) => gone_or(error),
            Err(Stopped::Recorded) => {
                bail!("standard input is a log recorded with --json: forktrace view - shows it")
            }
        };
    }
    if terms.iter().any(|term| term == LOG) {
        bail!("'-' (a log on standard input) doesn't go with other terms");
    }
    let terms: Vec<String> = terms
        .iter()
        .map(|term| term.to_string_lossy().into_owned())
        .collect();
    let mut page = Page::new(palette);
    terms::answer(&mut page, &terms).map_err(|message| anyhow!(message))?;
    output.write_lines(page.text()).or_else(gone_or)
}

/// A reader that went away has seen enough.
fn gone_or(error: io::Error) -> Result<()> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(unwritable(&error)),
    }
}

fn closed() -> io::Error {
    io::Error::from_raw_os_error(Errno::EBADF.0)
}

fn unreadable(error: &io::Error) -> anyhow::Error {
    anyhow!("cannot read standard input: {}", plain(error))
}

fn unwritable(error: &io::Error) -> anyhow::Error {
    anyhow!("cannot write to standard output: {}", plain(error))
}
