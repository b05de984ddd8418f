//! `forktrace generate`: the man page and completions for shells, from the
//! grammar itself, so that they can't fall behind it.

mod examples;
mod man;
#[cfg(test)]
mod tests;
mod zsh;

use std::io::{self, Write};

use clap::builder::PossibleValuesParser;
use clap::{CommandFactory, Parser, ValueEnum, ValueHint};
use clap_complete::Shell;

use crate::clone::flags::NAMES;

use super::{SUBCOMMANDS, named, root};

/// Write the man page, or completions for a shell, to standard output
///
/// forktrace generate man > ~/.local/share/man/man1/forktrace.1 installs the
/// one. Completions: bash takes them by eval "$(forktrace generate bash)", zsh
/// from a file _forktrace in its $fpath, fish from
/// ~/.config/fish/completions/forktrace.fish.
#[derive(Debug, Parser)]
#[command(name = "generate", arg_required_else_help = true)]
pub struct Cli {
    /// What to write
    #[arg(value_name = "WHAT", value_enum)]
    what: What,
}

/// What can be generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// The man page, forktrace(1)
    Man,
    /// Completions for bash
    Bash,
    /// Completions for zsh
    Zsh,
    /// Completions for fish
    Fish,
}

/// The grammar with its help.
pub fn grammar() -> clap::Command {
    Cli::command()
}

impl Cli {
    /// Writes what was asked for.
    ///
    /// # Errors
    /// Where standard output can't be written.
    pub fn run(&self) -> io::Result<()> {
        let text = match self.what {
            What::Man => man::page()?.into_bytes(),
            What::Bash => completions(Shell::Bash),
            What::Zsh => completions(Shell::Zsh),
            What::Fish => completions(Shell::Fish),
        };
        let mut out = io::stdout().lock();
        out.write_all(&text)?;
        out.flush()
    }
}

fn completions(shell: Shell) -> Vec<u8> {
    // In the grammar for zsh, subcommands stand behind the command to trace.
    if shell == Shell::Zsh {
        return zsh::script().into_bytes();
    }
    let mut whole = SUBCOMMANDS
        .iter()
        .fold(completed(root()), |root, known| {
            root.subcommand(completed(named(known)))
        })
        .disable_help_subcommand(true);
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut whole, "forktrace", &mut text);
    match shell {
        Shell::Fish => String::from_utf8_lossy(&text)
            .replace(FISH_GIVES_UP, FISH_GOES_ON)
            .into_bytes(),
        _ => text,
    }
}

/// What a generated script for fish does where an option's value is still to
/// come: it takes that for a mistake and completes nothing.
const FISH_GIVES_UP: &str = "-- $cmd 2>/dev/null\n    or return\n";
const FISH_GOES_ON: &str = "-- $cmd 2>/dev/null\n    or return 0\n";

/// A grammar that says what can stand where.
fn completed(grammar: clap::Command) -> clap::Command {
    grammar.mut_args(|arg| match arg.get_id().as_str() {
        "command" => arg.value_hint(ValueHint::CommandWithArguments),
        "output" => arg.value_hint(ValueHint::FilePath),
        "user" => arg.value_hint(ValueHint::Username),
        "flag" => arg.value_parser(PossibleValuesParser::new(
            NAMES.iter().map(|(_, name)| *name),
        )),
        _ => arg,
    })
}
