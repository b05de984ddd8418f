//! What a trace tells, counted in each tracer's own format. A creation counts where a
//! call that creates has a result that is a tid; the child's side, where a tracer shows
//! it, has 0 and does not count.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// How a trace is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// forktrace's text: strace's syntax, the meaning behind `  # `.
    Forktrace,
    /// `PID call(...) = N`, or that call's second half: `PID <... call resumed>...) = N`.
    Strace,
    /// `time (duration): comm/tid call(...) = N`, or `...: comm/tid ... [continued]: call()) = N`.
    PerfTrace,
    /// `tid<comm>: new child: N`; `tid<comm>: "file" [arguments]...`, a failure with
    /// ` = -N (ENAME: text)` at the end.
    Tracexec,
    /// `[tid] call(...) = N`.
    Lurk,
    /// `stops N creations N execs N`.
    Floor,
}

/// What was counted. `None`: not a thing that this tracer shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) creations: Option<u64>,
    pub(crate) execs: Option<u64>,
}

const CREATING: [&str; 4] = ["fork", "vfork", "clone", "clone3"];
const EXECUTING: [&str; 2] = ["execve", "execveat"];

/// # Errors
/// Where the trace can't be read.
pub(crate) fn count(path: &Path, format: Format) -> Result<Tally, String> {
    let failed = |error| format!("cannot read {}: {error}", path.display());
    let mut lines = BufReader::new(File::open(path).map_err(failed)?);
    let (mut creations, mut execs) = (0, 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line).map_err(failed)? == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if format == Format::Floor {
            return Ok(of_floor(text));
        }
        if format == Format::Tracexec {
            let created = text.contains(">: new child: ");
            let failed = text.ends_with(')') && text.contains(" = -");
            creations += u64::from(created);
            execs += u64::from(!created && !failed && text.contains(">: \""));
        } else if let Some((name, result)) = call(text, format) {
            creations += u64::from(CREATING.contains(&name) && result > 0);
            execs += u64::from(EXECUTING.contains(&name) && result == 0);
        }
    }
    Ok(Tally {
        creations: Some(creations),
        execs: Some(execs),
    })
}

/// The name and result of a call that a line tells the end of.
fn call(line: &str, format: Format) -> Option<(&str, i64)> {
    let line = match format {
        Format::Forktrace => line.rsplit_once("  # ").map_or(line, |(call, _)| call),
        _ => line,
    };
    let (before, result) = line.rsplit_once("= ")?;
    let result = result.split_ascii_whitespace().next()?.parse().ok()?;
    let name = match format {
        Format::PerfTrace => match before.split_once("[continued]: ") {
            Some((_, name)) => name,
            None => {
                // The thread's name may hold blanks.
                let (_, rest) = before.split_once("): ")?;
                let (thread, _) = rest.split_once('(')?;
                let (_, name) = thread.rsplit_once(' ')?;
                return Some((name, result));
            }
        },
        _ => {
            // The tid, which strace may pad and lurk puts into brackets.
            let digits = |c: char| c.is_ascii_digit() || matches!(c, '[' | ']' | ' ');
            let rest = before.trim_start_matches(digits);
            rest.strip_prefix("<... ").unwrap_or(rest)
        }
    };
    let end = name.find(['(', ' '])?;
    Some((&name[..end], result))
}

fn of_floor(line: &str) -> Tally {
    let words: Vec<&str> = line.split(' ').collect();
    let after = |name: &str| {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at + 1)?.parse().ok()
    };
    Tally {
        creations: after("creations"),
        execs: after("execs"),
    }
}
