//! The options of `forktrace explain`.

use std::ffi::OsString;

use clap::{CommandFactory, Parser};

use super::ColorArg;
use crate::config::When;

/// Explain flags, system call numbers, pasted calls or a whole strace log
///
/// Works offline: nothing is traced. Each TERM is a call (fork, vfork, clone,
/// clone3) or its number, a flag, a mask of flags in hex, decimal or as A|B, an
/// exit signal, an error, or the text of a call as strace or forktrace prints
/// it. After a call's name a mask is read as that call reads it.
#[derive(Debug, Parser)]
#[command(
    name = "explain",
    after_help = EXAMPLES,
    arg_required_else_help = true,
    override_usage = "forktrace explain [OPTIONS] TERM...\n       \
                      forktrace explain [OPTIONS] - < LOG"
)]
pub struct Cli {
    /// What to explain; "-" reads a log from standard input and adds the
    /// meaning to each line that creates a process or thread
    #[arg(value_name = "TERM", required = true)]
    pub terms: Vec<OsString>,

    /// Use colour
    ///
    /// auto: on a terminal, unless NO_COLOR is set; CLICOLOR_FORCE=1 forces it.
    #[arg(long, value_name = "WHEN", value_enum, default_value = "auto")]
    color: ColorArg,
}

const EXAMPLES: &str = "\
Examples:
  forktrace explain CLONE_CHILD_CLEARTID      one flag
  forktrace explain clone 0x1200011           flags of the old clone
  forktrace explain clone3 0x80               the low byte differs there
  forktrace explain 'CLONE_VM|CLONE_THREAD'   why the kernel refuses these
  forktrace explain fork                      a call, its numbers per ABI
  forktrace explain 435                       a number: of a call, or a mask
  forktrace explain 'clone(child_stack=NULL, flags=SIGCHLD) = 30643'
  strace -f make 2>&1 | forktrace explain -   a log, annotated as it comes";

impl Cli {
    /// When the text is coloured.
    pub fn color(&self) -> When {
        self.color.into()
    }
}

/// The grammar with its help.
pub fn grammar() -> clap::Command {
    Cli::command()
}
