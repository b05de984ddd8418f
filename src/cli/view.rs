//! The options of `forktrace view`.

use std::path::PathBuf;

use clap::{CommandFactory, Parser};

use super::views::{ViewArgs, same_file};
use crate::config::Destination;
use crate::log::AtEnd;
use crate::replay::Replay;

/// Show a recorded log (--json) as it was live, or in another form
#[derive(Debug, Parser)]
#[command(
    name = "view",
    after_help = EXAMPLES,
    arg_required_else_help = true,
    args_override_self = true
)]
pub struct Cli {
    /// The log; "-" is standard input
    #[arg(value_name = "FILE")]
    log: PathBuf,

    /// Wait at the end of the file for more, until the recording ends or Ctrl-C
    #[arg(long)]
    follow: bool,

    #[command(flatten)]
    views: ViewArgs,
}

const EXAMPLES: &str = "\
Without -o the trace goes to standard output.

Examples:
  forktrace -f --json -o build.ndjson -- make -j8   record
  forktrace view build.ndjson                       the same text as live
  forktrace view -v build.ndjson | less             every flag explained
  forktrace view --follow build.ndjson              while it is recorded
  zcat build.ndjson.gz | forktrace view -           through a pipe";

impl Cli {
    /// What is to be shown.
    ///
    /// # Errors
    /// One line on options that don't go together.
    pub fn into_replay(self) -> Result<Replay, String> {
        let shown = self.views.into_shown(Destination::Stdout)?;
        for view in &shown.views {
            if let Destination::File(path) = &view.to
                && same_file(path, &self.log)
            {
                return Err(format!(
                    "{} is the log itself: write to another file",
                    view.to
                ));
            }
        }
        Ok(Replay {
            look: shown.look,
            filter: shown.filter,
            at_end: match self.follow {
                true => AtEnd::Wait,
                false => AtEnd::Stop,
            },
            log: self.log,
            views: shown.views,
        })
    }
}

/// The grammar with its help.
pub fn grammar() -> clap::Command {
    Cli::command()
}
