//! Options of the views of the whole trace: the tree and the summary.

use clap::Args;

use crate::config::{Fold, Glyphs, WholeLook};
use crate::tree::Threads;

/// `--threads`, `--no-fold`, `--top`, `--ascii`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Tree and summary")]
pub(super) struct WholeArgs {
    /// Show each thread in the tree, not only how many there were
    #[arg(long)]
    threads: bool,

    /// Show each process in the tree, also many that look the same
    #[arg(long)]
    no_fold: bool,

    /// Show at most N rows of each table of the summary [default: 10; of summary-json all]
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    top: Option<u32>,

    /// Draw trees, lanes and charts with ASCII characters only
    #[arg(long)]
    ascii: bool,
}

impl WholeArgs {
    /// What they ask for.
    pub(super) fn look(&self) -> WholeLook {
        WholeLook {
            glyphs: match self.ascii {
                true => Glyphs::Ascii,
                false => Glyphs::Unicode,
            },
            threads: match self.threads {
                true => Threads::Kept,
                false => Threads::Counted,
            },
            fold: match self.no_fold {
                true => Fold::No,
                false => Fold::Yes,
            },
            top: self.top.map(|top| top as usize),
        }
    }
}
