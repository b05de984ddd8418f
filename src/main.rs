//! The program: parse, run, print an error once, end as the traced program
//! ended.

use std::env;
use std::io::{self, ErrorKind, Write};
use std::panic;
use std::process::ExitCode;

use forktrace::cli::{self, Command, UsageError};
use forktrace::event::End;
use forktrace::ids::Errno;
use forktrace::ptrace::spawn::LaunchError;
use forktrace::view::sinks::{self, Trace};
use forktrace::{Finished, explain, log, ptrace, replay, run};

/// forktrace itself failed.
const FAILED: u8 = 1;
/// The command can't be executed.
const NOT_EXECUTABLE: u8 = 126;
/// There is no such command.
const NOT_FOUND: u8 = 127;
/// The reader of the trace went away: what a shell says of a program that
/// SIGPIPE killed.
const READER_GONE: u8 = 128 + 13;

fn main() -> ExitCode {
    match cli::parse(env::args_os()) {
        Ok(Command::Trace(cli)) => trace(*cli),
        Ok(Command::Explain(cli)) => match explain::run(&cli.terms, cli.color()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say(&format!("{error:#}"));
                ExitCode::from(FAILED)
            }
        },
        Ok(Command::View(cli)) => view(*cli),
        Ok(Command::Schema) => printed(|| io::stdout().write_all(log::schema_text().as_bytes())),
        Ok(Command::Generate(cli)) => printed(|| cli.run()),
        Err(error) => usage(&error),
    }
}

fn trace(cli: cli::trace::Cli) -> ExitCode {
    let config = match cli.into_config() {
        Ok(config) => config,
        Err(message) => {
            say(&message);
            return ExitCode::from(FAILED);
        }
    };
    panic::set_hook(Box::new(|info| {
        let place = info
            .location()
            .map_or_else(String::new, |l| format!(" at {l}"));
        let what = info.payload_as_str().unwrap_or("no reason given");
        say(&format!(
            "internal error{place}: {what}; what was attached runs on; please report this"
        ));
    }));
    // The kernel detaches all tracees when forktrace ends, however it ends.
    let Ok(result) = panic::catch_unwind(|| run(&config, &mut say)) else {
        return ExitCode::from(FAILED);
    };
    match result {
        Ok(finished) => end(finished),
        Err(error) => {
            let (error, code) = match error {
                LaunchError::NotFound(error) => (error, NOT_FOUND),
                LaunchError::NotExecutable(error) => (error, NOT_EXECUTABLE),
                LaunchError::Refused(error) => (error, FAILED),
            };
            say(&format!("{error:#}"));
            ExitCode::from(code)
        }
    }
}

/// Shows a recorded log. Lines of it that can't be read, or can't be written,
/// are no success.
fn view(cli: cli::view::Cli) -> ExitCode {
    let replayed = cli
        .into_replay()
        .map_err(anyhow::Error::msg)
        .and_then(|replay| replay::replay(&replay, &mut say));
    match replayed {
        Ok(replayed) => end(Finished {
            program: None,
            left_by: replayed.stopped_by,
            trace: match replayed.faults {
                0 => replayed.trace,
                _ => Trace::Unwritable,
            },
        }),
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::from(FAILED)
        }
    }
}

/// Prints to standard output all that was asked for.
fn printed(print: impl FnOnce() -> io::Result<()>) -> ExitCode {
    // There the runtime has put /dev/null, which takes everything.
    let closed = ptrace::sys::closed_at_start(1);
    let print = || match closed {
        true => Err(io::Error::from_raw_os_error(Errno::EBADF.0)),
        false => print().and_then(|()| io::stdout().flush()),
    };
    match print() {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that went away has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let why = sinks::plain(&error);
            say(&format!("cannot write to standard output: {why}"));
            ExitCode::from(FAILED)
        }
    }
}

/// Help and version go to stdout; a mistake is one line and what to do.
fn usage(UsageError { error, command }: &UsageError) -> ExitCode {
    if !error.use_stderr() {
        return printed(|| error.print());
    }
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return ExitCode::from(FAILED);
    }
    let text = error.render().to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let message = lines.next().unwrap_or("bad usage");
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let details: Vec<&str> = lines
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .collect();
    let details = if details.is_empty() {
        String::new()
    } else {
        let separator = if message.ends_with(':') { " " } else { "; " };
        format!("{separator}{}", details.join(" "))
    };
    say(&format!("{message}{details}; see {command} --help"));
    ExitCode::from(FAILED)
}

/// One line on standard error, whatever a file's name in it holds. If that is
/// closed nobody can be told.
fn say(message: &str) {
    let mut line = String::from("forktrace: ");
    for c in message.chars() {
        // Nor may characters that turn the direction of text.
        if c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Ends as the program did; a trace that is not whole doesn't end in success.
fn end(finished: Finished) -> ExitCode {
    let code = match (finished.program, finished.left_by) {
        (Some(End::Killed { signal, .. }), _) | (None, Some(signal)) => {
            ptrace::sys::die_by(signal);
            // Not killed: as a shell says it.
            (128 + signal.0) as u8
        }
        (Some(End::Exited(code)), _) => code as u8,
        (None, None) => 0,
    };
    match (code, finished.trace) {
        (0, Trace::ReaderGone) => ExitCode::from(READER_GONE),
        (0, Trace::Unwritable) => ExitCode::from(FAILED),
        _ => ExitCode::from(code),
    }
}
