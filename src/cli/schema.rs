//! The options of `forktrace schema`: none.

use clap::{CommandFactory, Parser};

/// Print the JSON Schema of the log's lines
///
/// It is made from the types that write them. Each line of a log is valid by
/// it; the field "event" says which part of it applies.
#[derive(Debug, Parser)]
#[command(name = "schema")]
pub struct Cli {}

/// The grammar with its help.
pub fn grammar() -> clap::Command {
    Cli::command()
}
