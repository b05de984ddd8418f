//! The command line as typed: which subcommand it is, and what they share.
//! Each subcommand is a file of its own here and a row in [`SUBCOMMANDS`].
//!
//! A subcommand is one only as the very first word: `forktrace -- explain` and
//! `forktrace -f explain` run a program of that name. So clap, which would
//! look for subcommands behind options too, is given each grammar alone.

pub mod explain;
mod filter;
pub mod generate;
pub mod schema;
mod shape;
pub mod trace;
pub mod view;
pub mod views;
mod whole;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{ArgMatches, FromArgMatches, ValueEnum};

use crate::config::When;

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    /// Trace a program.
    Trace(Box<trace::Cli>),
    /// Explain flags, numbers, calls or a log.
    Explain(explain::Cli),
    /// Show a recorded log.
    View(Box<view::Cli>),
    /// Print the schema of the log.
    Schema,
    /// Write the man page or completions.
    Generate(generate::Cli),
}

/// A subcommand: the word, its grammar, what its matches mean.
struct Subcommand {
    name: &'static str,
    grammar: fn() -> clap::Command,
    read: fn(&ArgMatches) -> Result<Command, clap::Error>,
}

/// In the order of the help text.
const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand {
        name: "view",
        grammar: view::grammar,
        read: |matches| {
            let cli = view::Cli::from_arg_matches(matches)?;
            Ok(Command::View(Box::new(cli)))
        },
    },
    Subcommand {
        name: "explain",
        grammar: explain::grammar,
        read: |matches| explain::Cli::from_arg_matches(matches).map(Command::Explain),
    },
    Subcommand {
        name: "generate",
        grammar: generate::grammar,
        read: |matches| generate::Cli::from_arg_matches(matches).map(Command::Generate),
    },
    Subcommand {
        name: "schema",
        grammar: schema::grammar,
        read: |_| Ok(Command::Schema),
    },
];

/// Help on a subcommand, as a word: `forktrace help explain`.
const HELP: &str = "help";

/// A command line that asks for nothing, or for help.
#[derive(Debug)]
pub struct UsageError {
    /// What is wrong, or the help or version asked for.
    pub error: clap::Error,
    /// The command whose `--help` helps: `forktrace`, `forktrace explain`.
    pub command: String,
}

/// Reads a command line, the program's name first.
///
/// # Errors
/// Where it is not understood, or asks for help or the version.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let word = args.get(1).and_then(|word| word.to_str());
    if word == Some(HELP) {
        return Err(help(&args[2..]));
    }
    match SUBCOMMANDS.iter().find(|known| Some(known.name) == word) {
        Some(known) => {
            args.remove(0);
            let fail = |error| UsageError {
                error,
                command: full_name(known),
            };
            let matches = named(known).try_get_matches_from(args).map_err(fail)?;
            (known.read)(&matches).map_err(fail)
        }
        None => {
            let fail = |error| UsageError {
                error,
                command: "forktrace".to_owned(),
            };
            let matches = root().try_get_matches_from(args).map_err(fail)?;
            trace::Cli::from_arg_matches(&matches)
                .map(|cli| Command::Trace(Box::new(cli)))
                .map_err(fail)
        }
    }
}

/// The answer to `forktrace help WORD...`: what `WORD --help` answers.
fn help(words: &[OsString]) -> UsageError {
    let known = |word: &OsString| SUBCOMMANDS.iter().find(|known| word == known.name);
    let wrong = |kind, message: String| UsageError {
        error: root().error(kind, message),
        command: "forktrace".to_owned(),
    };
    let asked = match words {
        [] => root(),
        [word] => match known(word) {
            Some(known) => named(known),
            None => {
                let word = word.to_string_lossy();
                return wrong(
                    ErrorKind::InvalidSubcommand,
                    format!("there is no subcommand '{word}'; {RUN_HELP}"),
                );
            }
        },
        _ => {
            return wrong(
                ErrorKind::TooManyValues,
                format!("help takes one subcommand; {RUN_HELP}"),
            );
        }
    };
    match asked.try_get_matches_from(["forktrace", "--help"]) {
        Err(error) => UsageError {
            error,
            command: "forktrace".to_owned(),
        },
        Ok(_) => unreachable!("--help is an error to clap"),
    }
}

const RUN_HELP: &str = "forktrace -- help runs a program of that name";

fn full_name(subcommand: &Subcommand) -> String {
    format!("forktrace {}", subcommand.name)
}

fn named(subcommand: &Subcommand) -> clap::Command {
    (subcommand.grammar)()
        .name(subcommand.name)
        .bin_name(full_name(subcommand))
}

/// Tracing's grammar, whose help names the subcommands.
fn root() -> clap::Command {
    let mut text = String::from("Subcommands (as the first word; -- NAME runs a program NAME):");
    for known in SUBCOMMANDS {
        let about = (known.grammar)().get_about().cloned().unwrap_or_default();
        text.push_str(&format!("\n  {:<9} {about}", known.name));
    }
    text.push_str(&format!("\n  {HELP:<9} Show the help of one of these"));
    trace::grammar(&text)
}

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorArg {
    /// On a terminal, as NO_COLOR, CLICOLOR_FORCE and TERM allow
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl From<ColorArg> for When {
    fn from(arg: ColorArg) -> When {
        match arg {
            ColorArg::Auto => When::Auto,
            ColorArg::Always => When::Always,
            ColorArg::Never => When::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Command, UsageError> {
        parse(
            std::iter::once("forktrace")
                .chain(words.iter().copied())
                .map(OsString::from),
        )
    }

    #[test]
    fn the_grammars_are_sound() {
        root().debug_assert();
        for known in SUBCOMMANDS {
            named(known).debug_assert();
        }
    }

    /// The option is named, and no way to type it that would be wrong, too.
    #[test]
    fn numbers_below_zero_are_numbers() {
        for option in [
            "-p",
            "--max-depth",
            "-s",
            "--top",
            "--pid",
            "--below",
            "--depth",
        ] {
            let traced = &["-f", option, "-5", "true"][..];
            let viewed = &["view", option, "-5", "log"][..];
            for words in [traced, viewed] {
                let ours = words[0] == "-f" || !matches!(option, "-p" | "--max-depth");
                if ours {
                    let error = parsed(words).expect_err("no such number").error;
                    let kinds = [ErrorKind::ValueValidation, ErrorKind::InvalidValue];
                    assert!(kinds.contains(&error.kind()), "{words:?}: {error}");
                    assert!(error.to_string().contains("'-5'"), "{words:?}: {error}");
                }
            }
        }
        // Of the program's own words none is looked at.
        assert!(parsed(&["-f", "nice", "-5", "true"]).is_ok());
    }

    #[test]
    fn a_subcommand_is_the_very_first_word() {
        assert!(matches!(
            parsed(&["explain", "fork"]),
            Ok(Command::Explain(_))
        ));
        for words in [
            &["--", "explain", "fork"][..],
            &["-f", "explain", "fork"],
            &["--", "help"],
            &["-f", "help"],
            &["/bin/explain", "fork"],
            &["explainer"],
        ] {
            assert!(matches!(parsed(words), Ok(Command::Trace(_))), "{words:?}");
        }
    }

    #[test]
    fn help_is_there_for_each() {
        let text = |words: &[&str]| {
            let error = parsed(words).expect_err("help").error;
            assert_eq!(error.kind(), ErrorKind::DisplayHelp, "{words:?}");
            error.render().to_string()
        };
        let main = text(&["--help"]);
        for known in SUBCOMMANDS {
            assert!(main.contains(&format!("\n  {} ", known.name)), "{main}");
            let full = format!("forktrace {}", known.name);
            assert!(text(&[known.name, "--help"]).contains(&full));
            assert!(text(&["help", known.name]).contains(&full));
        }
        assert_eq!(text(&["help"]), main);
        for words in [&["help", "nothing"][..], &["help", "explain", "fork"]] {
            let error = parsed(words).expect_err("no help").error;
            assert!(error.use_stderr(), "{words:?}");
        }
    }
}
