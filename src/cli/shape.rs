//! Options on how lines look, shared by all that show a trace.

use clap::{ArgAction, Args, ValueEnum};

use crate::config::{Shown, Times, WallTime};

/// Times and names.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct TimeArgs {
    /// Show when each line happened; -tt with microseconds, -ttt in seconds since 1970
    ///
    /// The local time of day, as TZ says. It is the time at which the child was
    /// born, the call failed, the program was replaced or the thread ended.
    #[arg(short = 't', long = "absolute-timestamps", action = ArgAction::Count)]
    wall: u8,

    /// Show how long after the line before each line happened
    #[arg(short = 'r', long = "relative-timestamps")]
    relative: bool,

    /// Show how long each call took, behind its result: <0.000123>
    ///
    /// From the call's entry to the child's birth, the error or the new
    /// program, with forktrace's own share. Not with --stops=event, which sees no entry.
    #[arg(short = 'T', long = "syscall-times")]
    in_call: bool,

    /// Show the names of threads behind their tids: 4280<ruby>
    #[arg(short = 'Y')]
    names: bool,

    /// What to show behind tids
    ///
    /// -Y is short for --decode-pids=comm.
    #[arg(long, value_name = "SET", value_enum, value_delimiter = ',')]
    decode_pids: Vec<DecodeArg>,
}

/// `--decode-pids`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DecodeArg {
    /// The names of threads
    Comm,
    /// Pids in their own namespaces; always shown where they differ
    Pidns,
}

impl TimeArgs {
    /// Which times lines have, and whether tids have names.
    pub(crate) fn into_look(self) -> (Times, Shown) {
        let shown = |asked| if asked { Shown::Yes } else { Shown::No };
        let times = Times {
            wall: match self.wall {
                0 => WallTime::None,
                1 => WallTime::Time,
                2 => WallTime::TimeMicros,
                _ => WallTime::Unix,
            },
            relative: shown(self.relative),
            in_call: shown(self.in_call),
        };
        let names = self.names || self.decode_pids.contains(&DecodeArg::Comm);
        (times, shown(names))
    }
}
