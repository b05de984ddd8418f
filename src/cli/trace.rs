//! The options of tracing, which is what forktrace does without a subcommand.

use std::ffi::OsString;

use clap::{CommandFactory, Parser, ValueEnum};

use super::views::ViewArgs;
use crate::config::{Config, Destination, StopsChoice, ViewKind, What};
use crate::event::{Follow, Stops, Wanted};
use crate::ids::Pid;
use crate::ptrace::attach::Targets;
use crate::ptrace::machine::DetachOn;
use crate::ptrace::spawn::{self, Launch};

/// Trace process creation: every fork, vfork, clone and clone3 of a program,
/// and what each means.
///
/// Each call is one line: the tid, the call as strace prints it, then "#" and
/// its meaning in words. Exec, exit and death by signal have their lines too.
#[derive(Debug, Parser)]
#[command(
    name = "forktrace",
    version,
    arg_required_else_help = true,
    args_override_self = true,
    override_usage = "forktrace [OPTIONS] [--] COMMAND [ARG]...\n       \
                      forktrace [OPTIONS] -p PID\n       \
                      forktrace SUBCOMMAND ..."
)]
pub struct Cli {
    /// The program to run, and its arguments
    #[arg(
        value_name = "COMMAND",
        required_unless_present_any = ["pid", "only_pid"],
        trailing_var_arg = true,
        value_parser = clap::value_parser!(OsString)
    )]
    command: Vec<OsString>,

    /// Follow every thread and process that descends from the program, to the last
    #[arg(short, long = "follow-forks", help_heading = "Tracing")]
    follow: bool,

    /// Trace processes that run already, with all their threads; -p 1,2 -p 3
    #[arg(
        short,
        long = "attach",
        id = "pid",
        value_name = "PID",
        value_delimiter = ',',
        conflicts_with = "command",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(i32).range(1..),
        help_heading = "Tracing"
    )]
    pid: Vec<i32>,

    /// With -p: also the processes below those
    #[arg(long, help_heading = "Tracing")]
    descendants: bool,

    /// Follow processes only N generations below the first (0: its threads only)
    #[arg(
        long,
        value_name = "N",
        requires = "follow",
        allow_negative_numbers = true,
        help_heading = "Tracing"
    )]
    max_depth: Option<u32>,

    /// Let go of tracees that live on, at their exec or at the program's exit
    ///
    /// Where a seccomp filter is installed they can't live without a tracer:
    /// then they are traced on, and nothing more of them is shown.
    #[arg(long, value_name = "WHEN", value_enum, help_heading = "Tracing")]
    detach_on: Option<DetachArg>,

    /// Run the program as this user (name or number in the user database); setuid programs keep working
    #[arg(
        short,
        long = "user",
        value_name = "USER",
        conflicts_with = "pid",
        help_heading = "Tracing"
    )]
    user: Option<String>,

    /// Trace from a detached grandchild: the program stays its parent's child
    #[arg(
        short = 'D',
        long = "daemonize",
        conflicts_with = "pid",
        help_heading = "Tracing"
    )]
    detached: bool,

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

    /// Also show the calls that wait for children and that send signals
    ///
    /// wait4, waitid, kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo and
    /// pidfd_send_signal: who reaps whom, and who signals whom.
    #[arg(long, help_heading = "Tracing")]
    waits: bool,

    /// Kill what is still traced when the program's first process ends, or forktrace does
    ///
    /// Without it children that outlive the program are followed to their end.
    /// What isn't traced (without -f: all children) is left alone either way.
    #[arg(long, conflicts_with = "pid", help_heading = "Tracing")]
    kill_on_exit: bool,

    /// Record the environment of each exec in the log; it may hold secrets
    #[arg(long, help_heading = "Output")]
    env: bool,

    #[command(flatten)]
    views: ViewArgs,
}

/// `--stops`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StopsArg {
    /// seccomp with -f, event with -p, else syscall
    Auto,
    /// At the calls of interest only, by a seccomp filter; needs -f
    Seccomp,
    /// At ptrace's own events only: the lightest, but failed calls are not seen
    Event,
    /// At every system call: sees all, needs nothing, and is slow
    Syscall,
}

/// `--detach-on`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DetachArg {
    /// When a process execs
    Exec,
    /// When the program's first process exits
    ExitOfRoot,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  forktrace ls -l                            one program
  forktrace -f -- make -j8                   the whole tree, threads included
  forktrace -f -- make 2>&1 | grep CLONE_VM  one event, one line
  forktrace -f -o trace.txt -- ./server      the trace in a file
  forktrace -f --as tree -- make             who made whom, at the end
  forktrace -f --as summary -- make          counted
  forktrace -f --as lanes -- make            a picture: a lane for each process
  forktrace -f --waits -- make               also who waits for and signals whom
  forktrace -f --json -o t.ndjson -- make    recorded
  forktrace view t.ndjson --as tree          a recording, as text or any other view
  forktrace -f --failed --below gcc -- make  less of it
  forktrace -v -- ruby -e fork               every flag explained
  forktrace -f -p 1234                       a process that runs already
  forktrace explain clone 0x1200011          what these flags mean";

const EXIT_STATUS: &str = "\
Exit status:
  that of the program, or death by the same signal; 1 where forktrace itself
  failed or the trace could not be written; 126 where the command can't be
  executed, 127 where there is none; 141 where the reader of the trace went
  away. What is said of the trace never hides a failure of the program.";

/// The grammar with its help, which names the subcommands: `subcommands` is
/// that text.
pub fn grammar(subcommands: &str) -> clap::Command {
    Cli::command()
        .after_help(format!("{subcommands}\n\n{EXAMPLES}"))
        .after_long_help(format!("{subcommands}\n\n{EXAMPLES}\n\n{EXIT_STATUS}"))
}

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
        if stops == StopsChoice::Only(Stops::Seccomp) {
            if !self.pid.is_empty() {
                return Err(
                    "--stops=seccomp doesn't go with -p: what runs already can't be given a filter"
                        .to_owned(),
                );
            }
            if !self.follow {
                return Err(
                    "--stops=seccomp needs -f: children that nobody follows would keep the filter \
                     and fail to fork or exec"
                        .to_owned(),
                );
            }
        }
        if self.command.is_empty() && self.pid.is_empty() && self.views.has_pids() {
            return Err(
                "--pid narrows what is shown; to trace a process that runs already: -p PID"
                    .to_owned(),
            );
        }
        let waits = match self.waits {
            true => Wanted::Yes,
            false => Wanted::No,
        };
        // clap's `requires` gives way where a command is there, which conflicts
        // with what is required.
        if self.descendants && self.pid.is_empty() {
            return Err(
                "--descendants needs -p: it is about processes that run already".to_owned(),
            );
        }
        let follow = match (self.follow, self.pid.is_empty()) {
            (true, _) => Follow::All,
            (false, true) => Follow::None,
            (false, false) => Follow::Threads,
        };
        let what = if self.pid.is_empty() {
            let user = self.user.as_deref().map(spawn::user).transpose();
            What::Launch(Launch {
                command: self.command,
                may_fall_back: stops == StopsChoice::Auto,
                kill_on_exit: self.kill_on_exit,
                user: user.map_err(|error| format!("{error:#}"))?,
                detached: self.detached,
            })
        } else {
            What::Attach(Targets {
                pids: self.pid.into_iter().map(Pid).collect(),
                descendants: self.descendants,
            })
        };
        let shown = self.views.into_shown(Destination::Stderr)?;
        if self.env && !shown.views.iter().any(|view| view.kind == ViewKind::Json) {
            return Err("--env needs --json: only the log holds the environment".to_owned());
        }
        let config = Config {
            what,
            follow,
            stops,
            max_depth: self.max_depth,
            detach_on: match self.detach_on {
                None => DetachOn::Never,
                Some(DetachArg::Exec) => DetachOn::Exec,
                Some(DetachArg::ExitOfRoot) => DetachOn::ExitOfRoot,
            },
            environment: match self.env {
                true => Wanted::Yes,
                false => Wanted::No,
            },
            waits,
            string_limit: shown.read_limit,
            views: shown.views,
            look: shown.look,
            filter: shown.filter,
        };
        let stops = config.stops.resolve(&config.what, config.follow);
        if config.waits() == Wanted::Yes && stops == Stops::Event {
            return Err(
                "--waits (and --as lanes) needs to see system calls return, which --stops=event (the default with \
                 -p) doesn't: add --stops=syscall"
                    .to_owned(),
            );
        }
        Ok(config)
    }
}
