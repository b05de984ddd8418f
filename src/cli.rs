//! The command line as typed: options, help, examples.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::config::{Config, Destination, StopsChoice};
use crate::event::Stops;
use crate::view::style::When;
use crate::view::text::Detail;

/// Trace process creation: every fork, vfork, clone and clone3 of a program,
/// and what each means.
///
/// Each call is one line: the tid, the call as strace prints it, then "#" and
/// its meaning in words. Exec, exit and death by signal have their lines too.
#[derive(Debug, Parser)]
#[command(
    name = "forktrace",
    version,
    after_help = EXAMPLES,
    after_long_help = LONG_AFTER,
    arg_required_else_help = true,
    override_usage = "forktrace [OPTIONS] [--] COMMAND [ARG]..."
)]
pub struct Cli {
    /// The program to run, and its arguments
    #[arg(
        value_name = "COMMAND",
        required = true,
        trailing_var_arg = true,
        value_parser = clap::value_parser!(OsString)
    )]
    command: Vec<OsString>,

    /// Follow every thread and process that descends from the program, to the last
    #[arg(short, long = "follow-forks", help_heading = "Tracing")]
    follow: bool,

    /// Where the traced program is stopped to be looked at
    ///
    /// All three give the same lines, but for what they can't see.
    #[arg(
        long,
        value_name = "MODE",
        value_enum,
        default_value = "auto",
        help_heading = "Tracing"
    )]
    stops: StopsArg,

    /// Kill what is left of the program when its first process ends, or forktrace does
    ///
    /// Without it children that outlive the program are followed to their end
    /// (with -f), or left alone (without).
    #[arg(long, help_heading = "Tracing")]
    kill_on_exit: bool,

    /// Write the trace to FILE, not to stderr; "-" is stdout
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    output: Option<PathBuf>,

    /// Show at most SIZE bytes of each argument string, and SIZE arguments
    #[arg(
        short = 's',
        long = "string-limit",
        value_name = "SIZE",
        default_value_t = 32,
        value_parser = clap::value_parser!(u32).range(..=1 << 20),
        help_heading = "Output"
    )]
    string_limit: u32,

    /// Explain every flag and argument on a line of its own
    #[arg(short, long, conflicts_with = "quiet", help_heading = "Output")]
    verbose: bool,

    /// Print the calls only, not what they mean
    #[arg(short, long, help_heading = "Output")]
    quiet: bool,

    /// Use colour
    ///
    /// auto: on a terminal, unless NO_COLOR is set; CLICOLOR_FORCE=1 forces it.
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        default_value = "auto",
        help_heading = "Output"
    )]
    color: When,
}

/// `--stops`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StopsArg {
    /// seccomp with -f, syscall without
    Auto,
    /// At the calls of interest only, by a seccomp filter; needs -f
    Seccomp,
    /// At ptrace's own events only: the lightest, but failed calls are not seen
    Event,
    /// At every system call: sees all, needs nothing, and is slow
    Syscall,
}

const EXAMPLES: &str = "\
Examples:
  forktrace ls -l                            one program
  forktrace -f -- make -j8                   the whole tree, threads included
  forktrace -f -- make 2>&1 | grep CLONE_VM  one event, one line
  forktrace -f -o trace.txt -- ./server      the trace in a file
  forktrace -v -- ruby -e fork               every flag explained";

const LONG_AFTER: &str = "\
Examples:
  forktrace ls -l                            one program
  forktrace -f -- make -j8                   the whole tree, threads included
  forktrace -f -- make 2>&1 | grep CLONE_VM  one event, one line
  forktrace -f -o trace.txt -- ./server      the trace in a file
  forktrace -v -- ruby -e fork               every flag explained

Exit status:
  that of the program, or death by the same signal; 1 where forktrace itself
  failed or the trace could not be written; 126 where the command can't be
  executed, 127 where there is none; 141 where the reader of the trace went
  away. What is said of the trace never hides a failure of the program.";

impl Cli {
    /// What the run needs.
    ///
    /// # Errors
    /// One line on options that don't go together.
    pub fn into_config(self) -> Result<Config, String> {
        let stops = match self.stops {
            StopsArg::Auto => StopsChoice::Auto,
            StopsArg::Seccomp => StopsChoice::Only(Stops::Seccomp),
            StopsArg::Event => StopsChoice::Only(Stops::Event),
            StopsArg::Syscall => StopsChoice::Only(Stops::Syscall),
        };
        if stops == StopsChoice::Only(Stops::Seccomp) && !self.follow {
            return Err(
                "--stops=seccomp needs -f: children that nobody follows would keep the filter and \
                 fail to fork or exec"
                    .to_owned(),
            );
        }
        Ok(Config {
            command: self.command,
            follow: self.follow,
            stops,
            kill_on_exit: self.kill_on_exit,
            string_limit: self.string_limit as usize,
            output: match self.output {
                None => Destination::Stderr,
                Some(path) if path.as_os_str() == "-" => Destination::Stdout,
                Some(path) => Destination::File(path),
            },
            detail: match (self.quiet, self.verbose) {
                (true, _) => Detail::Quiet,
                (_, true) => Detail::Verbose,
                _ => Detail::Normal,
            },
            color: self.color,
        })
    }
}
