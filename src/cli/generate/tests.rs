//! That what is generated is complete.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::parser::ValueSource;

use super::*;
use crate::cli::{self, Command};
use examples::Known;

fn names(mut grammar: clap::Command) -> Vec<String> {
    grammar.build();
    grammar.get_arguments().map(man::name_of).collect()
}

/// Each grammar with the word for its examples.
fn grammars() -> Vec<(&'static str, clap::Command, &'static [Known])> {
    let mut all = vec![("", root(), examples::TRACE)];
    for known in SUBCOMMANDS {
        all.push((known.name, named(known), man::examples_of(known.name)));
    }
    all
}

#[test]
fn each_option_has_an_example_and_each_example_an_option() {
    for (word, grammar, known) in grammars() {
        let mut options = names(grammar);
        let mut documented: Vec<&str> = known.iter().map(|known| known.name).collect();
        options.sort();
        documented.sort();
        assert_eq!(options, documented, "forktrace {word}");
    }
}

#[test]
fn examples_are_right() {
    for (word, _, known) in grammars() {
        for Known { example, .. } in known {
            let words = example.split(' ').map(OsString::from);
            let parsed = cli::parse(words);
            let right = match (word, &parsed) {
                ("", Ok(Command::Trace(_))) => true,
                ("explain", Ok(Command::Explain(_))) => true,
                ("generate", Ok(Command::Generate(_))) => true,
                ("view", Ok(Command::View(_))) => true,
                (_, Err(usage)) => matches!(
                    usage.error.kind(),
                    ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
                ),
                _ => false,
            };
            assert!(right, "{example}: {parsed:?}");
        }
    }
}

/// An example types what it is an example of, by whatever name.
#[test]
fn examples_are_of_their_options() {
    for (word, mut grammar, known) in grammars() {
        grammar.build();
        for Known { name, example, .. } in known {
            let mut words: Vec<&str> = example.split(' ').collect();
            if !word.is_empty() {
                assert_eq!(words.remove(1), word, "{example}");
            }
            let arg = grammar
                .get_arguments()
                .find(|arg| man::name_of(arg) == *name);
            let id = arg.expect(name).get_id().to_string();
            match grammar.clone().try_get_matches_from(words) {
                Ok(matches) => assert_eq!(
                    matches.value_source(&id),
                    Some(ValueSource::CommandLine),
                    "{example} is no example of {name}"
                ),
                // Whoever asks for these gets nothing else.
                Err(error) => match error.kind() {
                    ErrorKind::DisplayHelp => assert_eq!(*name, "--help", "{example}"),
                    ErrorKind::DisplayVersion => assert_eq!(*name, "--version", "{example}"),
                    _ => panic!("{example}: {error}"),
                },
            }
        }
    }
}

#[test]
fn each_option_has_a_default() {
    for (_, mut grammar, known) in grammars() {
        grammar.build();
        for arg in grammar.get_arguments() {
            let name = man::name_of(arg);
            let said = known
                .iter()
                .any(|known| known.name == name && !known.default.is_empty());
            let stated = arg.get_action().takes_values() && !arg.get_default_values().is_empty();
            let asks = arg.is_positional() || matches!(name.as_str(), "--help" | "--version");
            assert!(said != stated || asks, "{name}");
        }
    }
}

#[test]
fn the_page_has_its_sections_and_all_options() {
    let page = man::page().expect("a page");
    for section in [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "SUBCOMMANDS",
        "\"EXIT STATUS\"",
        "ENVIRONMENT",
        "FILES",
        "EXAMPLES",
        "\"SEE ALSO\"",
    ] {
        assert_eq!(
            page.matches(&format!("\n.SH {section}\n")).count(),
            1,
            "{section}"
        );
    }
    for (_, grammar, known) in grammars() {
        for name in names(grammar) {
            let escaped = name.replace('-', "\\-");
            assert!(page.contains(&escaped), "{name}");
        }
        for known in known {
            let example = format!("Example: {}", known.example.replace('-', "\\-"));
            assert!(page.contains(&example), "{example}");
        }
    }
}

/// What the environment changes, how each subcommand ends, and each view.
#[test]
fn the_page_tells_all_that_no_grammar_holds() {
    let page = man::page().expect("a page");
    let section = |title: &str| {
        let (_, rest) = page.split_once(&format!("\n.SH {title}\n")).expect(title);
        rest.split("\n.SH ").next().expect("a section").to_owned()
    };
    let environment = section("ENVIRONMENT");
    for name in [
        "PATH",
        "TZ",
        "NO_COLOR",
        "CLICOLOR_FORCE",
        "TERM",
        "COLUMNS",
    ] {
        assert!(environment.contains(&format!("\\fB{name}\\fR")), "{name}");
    }
    assert!(environment.contains("status line"));
    let (status, examples) = (section("\"EXIT STATUS\""), section("EXAMPLES"));
    for known in SUBCOMMANDS {
        assert!(status.contains(known.name), "{}", known.name);
    }
    for word in ["tree", "summary", "lanes", "waits", "view"] {
        assert!(examples.contains(word), "{word}");
    }
}

#[test]
fn completions_have_all_options() {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let text = String::from_utf8(completions(shell)).expect("text");
        for (_, grammar, _) in grammars() {
            let long = names(grammar);
            for name in long.iter().filter_map(|name| name.strip_prefix("--")) {
                assert!(text.contains(name), "{shell}: {name}");
            }
        }
        for word in ["explain", "generate", "seccomp", "CLONE_NEWUSER"] {
            assert!(text.contains(word), "{shell}: {word}");
        }
    }
}
