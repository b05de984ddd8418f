//! The man page: options from the grammar, with the default and an example of
//! each, and the sections that no grammar holds.

use std::io;

use clap::Arg;
use clap_mangen::Man;
use roff::{Roff, bold, roman};

use super::examples::{self, Known};
use super::{SUBCOMMANDS, named, root};
use crate::cli::trace::EXAMPLES;

const EXIT_STATUS: &[(&str, &str)] = &[
    (
        "the program's",
        "It ended. If a signal killed it, forktrace dies by the same signal.",
    ),
    (
        "0, or death by a signal",
        "With -p: all that was attached to has ended, or that signal made forktrace leave.",
    ),
    (
        "1",
        "forktrace failed and says why on standard error, or the trace could not be written \
         and the program itself succeeded.",
    ),
    ("126", "The command can't be executed."),
    ("127", "There is no such command."),
    (
        "141",
        "The reader of the trace went away and the program itself succeeded.",
    ),
    (
        "of forktrace view",
        "0; 1 where the file is no log, where lines of it can't be read (the others are shown), or \
         where what it shows can't be written; 141 where the reader went away; death by the \
         signal that ended a --follow.",
    ),
    (
        "of forktrace explain",
        "0, also where the reader went away; 1 where a term is not understood, or something can't \
         be read or written.",
    ),
    (
        "of forktrace schema and generate",
        "0, also where the reader went away; 1 where it can't be written.",
    ),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("PATH", "Where a command without a slash is looked for."),
    (
        "TZ",
        "The time zone of -t and -tt (tzset(3)); without it that of /etc/localtime.",
    ),
    (
        "NO_COLOR",
        "If not empty: no colour with --color=auto. It wins over CLICOLOR_FORCE.",
    ),
    (
        "CLICOLOR_FORCE",
        "If neither empty nor 0: colour with --color=auto, even where the trace goes to no terminal.",
    ),
    (
        "TERM",
        "If dumb: no colour with --color=auto; if dumb or not set: no status line.",
    ),
    (
        "COLUMNS",
        "How wide --as lanes is; without it as wide as the terminal, else 80.",
    ),
];

const FILES: &[(&str, &str)] = &[
    ("/proc/TID/comm", "The names of threads."),
    (
        "/proc/TID/status, /proc/TID/ns/pid",
        "Pids in inner pid namespaces. /proc must be that of forktrace's own.",
    ),
    ("/proc/PID/task", "The threads of a process to attach to."),
    (
        "/proc/sys/kernel/yama/ptrace_scope",
        "Whether processes of the same user may be attached to (ptrace(2)).",
    ),
    ("/etc/localtime", "The local time zone."),
];

const SEE_ALSO: &[&str] = &[
    "strace(1)",
    "clone(2)",
    "execve(2)",
    "fork(2)",
    "ptrace(2)",
    "seccomp(2)",
    "vfork(2)",
    "wait(2)",
    "proc(5)",
    "namespaces(7)",
    "pid_namespaces(7)",
    "pthreads(7)",
    "signal(7)",
];

/// The page, in roff.
///
/// # Errors
/// None that a string could give.
pub(super) fn page() -> io::Result<String> {
    let trace = documented(root(), examples::TRACE);
    let man = Man::new(trace)
        .manual("User Commands")
        // None, but an empty one would shift what follows.
        .date(" ")
        .source(concat!("forktrace ", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    subcommands(&mut page)?;
    let mut rest = Roff::new();
    list(&mut rest, "EXIT STATUS", EXIT_STATUS);
    list(&mut rest, "ENVIRONMENT", ENVIRONMENT);
    list(&mut rest, "FILES", FILES);
    rest.control("SH", ["EXAMPLES"]);
    verbatim(&mut rest, EXAMPLES);
    rest.control("SH", ["SEE ALSO"]);
    rest.text([roman(SEE_ALSO.join(", "))]);
    rest.to_writer(&mut page)?;
    String::from_utf8(page).map_err(io::Error::other)
}

/// A section of terms, each with what it means.
fn list(out: &mut Roff, title: &str, terms: &[(&str, &str)]) {
    out.control("SH", [title]);
    for (term, meaning) in terms {
        out.control("TP", []);
        out.text([bold(*term)]);
        out.text([roman(*meaning)]);
    }
}

/// Examples as the help has them, without its heading.
fn verbatim(out: &mut Roff, examples: &str) {
    let lines = examples.lines().filter(|line| *line != "Examples:");
    out.control("nf", []);
    for line in lines {
        out.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
    }
    out.control("fi", []);
}

fn subcommands(page: &mut Vec<u8>) -> io::Result<()> {
    let mut head = Roff::new();
    head.control("SH", ["SUBCOMMANDS"]);
    head.text([roman(
        "Only as the first word: forktrace -- NAME runs a program of that name.",
    )]);
    head.to_writer(page)?;
    for known in SUBCOMMANDS {
        let grammar = documented(named(known), examples_of(known.name));
        let mut title = Roff::new();
        title.control("SS", [format!("forktrace {}", known.name).as_str()]);
        title.to_writer(page)?;
        let after = grammar.get_after_help().map(ToString::to_string);
        let man = Man::new(grammar);
        for render in [
            Man::render_synopsis_section,
            Man::render_description_section,
            Man::render_options_section,
        ] {
            let mut section = Vec::new();
            render(&man, &mut section)?;
            page.extend(without_heading(&section));
        }
        if let Some(after) = after {
            let mut out = Roff::new();
            out.control("PP", []);
            verbatim(&mut out, &after);
            out.to_writer(page)?;
        }
    }
    Ok(())
}

/// A section's text as a paragraph of another section.
fn without_heading(section: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(section);
    let lines = text.lines().map(|line| match line.starts_with(".SH ") {
        true => ".PP",
        false => line,
    });
    lines
        .flat_map(|line| [line, "\n"])
        .collect::<String>()
        .into()
}

pub(super) fn examples_of(subcommand: &str) -> &'static [Known] {
    examples::SUBCOMMANDS
        .iter()
        .find(|(name, _)| *name == subcommand)
        .map_or(&[], |(_, known)| known)
}

/// A grammar whose help of each option ends with its default and an example.
fn documented(mut grammar: clap::Command, known: &[Known]) -> clap::Command {
    grammar.build();
    grammar.mut_args(|arg| {
        let name = name_of(&arg);
        let Some(known) = known.iter().find(|known| known.name == name) else {
            return arg;
        };
        let help = arg.get_long_help().or(arg.get_help());
        let mut help = help.map(ToString::to_string).unwrap_or_default();
        if !known.default.is_empty() {
            help += &format!("\n\nDefault: {}.", known.default);
        }
        help += &format!("\n\nExample: {}", known.example);
        arg.long_help(help)
    })
}

/// An argument as it is typed, or its name in the usage.
pub(super) fn name_of(arg: &Arg) -> String {
    match (arg.get_long(), arg.get_short(), arg.get_value_names()) {
        (Some(long), _, _) => format!("--{long}"),
        (None, Some(short), _) => format!("-{short}"),
        (None, None, Some([value, ..])) => value.to_string(),
        (None, None, _) => arg.get_id().to_string(),
    }
}
