//! The options that say what is shown, where, and how it looks; the same for
//! what is traced and for what was recorded.

use std::path::{Path, PathBuf};

use clap::Args;

use super::ColorArg;
use super::filter::FilterArgs;
use super::shape::TimeArgs;
use super::whole::WholeArgs;
use crate::config::{Destination, Detail, Look, View, ViewKind};
use crate::filter::Criteria;

/// The options.
#[derive(Debug, Args)]
pub struct ViewArgs {
    /// Show the trace as VIEW: text, json, lanes, tree, summary, summary-json;
    /// several, each with its file: text,tree:tree.txt,json:t.ndjson
    ///
    /// A view without a FILE of its own goes where -o says. text is a line for
    /// each event; json the log, which "forktrace view" reads again; lanes a
    /// picture with a column for each process, with what --waits adds; tree and
    /// summary come at the end.
    #[arg(
        long = "as",
        value_name = "VIEW[:FILE],...",
        value_delimiter = ',',
        help_heading = "Output"
    )]
    shown_as: Vec<String>,

    /// Record the log: short for --as json
    #[arg(long, help_heading = "Output")]
    json: bool,

    /// Write the trace to FILE; "-" is stdout
    ///
    /// Without it the trace goes to stderr, and that of a recorded log to stdout.
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    output: Option<PathBuf>,

    /// Show at most SIZE bytes of each argument string, and SIZE arguments
    ///
    /// Without it text shows 32, and a log holds 4096.
    #[arg(
        short = 's',
        long = "string-limit",
        value_name = "SIZE",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(..=1 << 20),
        help_heading = "Output"
    )]
    string_limit: Option<u32>,

    /// Explain every flag and argument on a line of its own
    #[arg(short, long, conflicts_with = "quiet", help_heading = "Output")]
    verbose: bool,

    /// Print the calls only, not what they mean
    #[arg(short, long, help_heading = "Output")]
    quiet: bool,

    /// Use colour
    ///
    /// auto: on a terminal, unless NO_COLOR is set; CLICOLOR_FORCE=1 forces it.
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        default_value = "auto",
        help_heading = "Output"
    )]
    color: ColorArg,

    #[command(flatten)]
    times: TimeArgs,

    #[command(flatten)]
    filter: FilterArgs,

    #[command(flatten)]
    whole: WholeArgs,
}

/// What is shown, where, and how it looks.
#[derive(Debug)]
pub struct Shown {
    /// The views; at least one.
    pub views: Vec<View>,
    /// How they look.
    pub look: Look,
    /// What they show, those that don't need every event.
    pub filter: Criteria,
    /// The most bytes of a string, and elements of a list, that views need.
    pub read_limit: usize,
}

/// What text shows of a string unless told otherwise, as strace does.
const TEXT_LIMIT: usize = 32;
/// What a log holds of it: it can be shown in part later, but not read again.
const LOG_LIMIT: usize = 4096;

impl ViewArgs {
    /// Whether `--pid` is given.
    pub(crate) fn has_pids(&self) -> bool {
        self.filter.has_pids()
    }

    /// What is shown; without `-o` at `default`.
    ///
    /// # Errors
    /// One line on options that don't go together.
    pub fn into_shown(self, default: Destination) -> Result<Shown, String> {
        let views = self.views(default)?;
        let read_limit = self.read_limit(&views);
        let (times, names) = self.times.into_look();
        let look = Look {
            detail: match (self.quiet, self.verbose) {
                (true, _) => Detail::Quiet,
                (_, true) => Detail::Verbose,
                _ => Detail::Normal,
            },
            color: self.color.into(),
            string_limit: self.string_limit.map_or(TEXT_LIMIT, |limit| limit as usize),
            times,
            names,
            whole: self.whole.look(),
        };
        let filter = self.filter.into_criteria();
        if filter.any() && !views.iter().any(|view| view.kind.is_narrowed_by(&filter)) {
            let why = match views.iter().any(|view| view.kind == ViewKind::Lanes) {
                true => {
                    "lanes show all that a process does: they take --pid, --below, --depth and \
                     --comm, and no filter of events; --as text or tree does"
                }
                false => {
                    "a log holds all events, as other views need those that a filter leaves out: \
                     write it without, and give the filter to forktrace view, or pick lines with \
                     jq 'select(.tgid == PID)'"
                }
            };
            return Err(why.to_owned());
        }
        Ok(Shown {
            views,
            look,
            filter,
            read_limit,
        })
    }

    /// How much of a string has to be read of a tracee for `views`.
    fn read_limit(&self, views: &[View]) -> usize {
        match self.string_limit {
            Some(limit) => limit as usize,
            None if views
                .iter()
                .all(|view| matches!(view.kind, ViewKind::Text | ViewKind::Lanes)) =>
            {
                TEXT_LIMIT
            }
            None => LOG_LIMIT,
        }
    }

    /// The views, and where they go; one line on those that there aren't, or that
    /// would go to one place.
    fn views(&self, default: Destination) -> Result<Vec<View>, String> {
        let common = match &self.output {
            None => default,
            Some(path) => destination(path),
        };
        let mut views: Vec<View> = Vec::new();
        let json = self.json.then_some("json");
        for item in json
            .into_iter()
            .chain(self.shown_as.iter().map(String::as_str))
        {
            views.push(view(item, &common)?);
        }
        if views.is_empty() {
            views.push(View {
                kind: ViewKind::Text,
                to: common.clone(),
            });
        }
        if self.output.is_some() && !views.iter().any(|view| view.to == common) {
            return Err(format!(
                "-o {common}: each view has a file of its own already; leave -o out"
            ));
        }
        for (index, view) in views.iter().enumerate() {
            if let Some(other) = views[..index]
                .iter()
                .find(|other| same_place(&other.to, &view.to))
            {
                return Err(format!(
                    "{} and {} would both go to {}: give one a file, --as {}:FILE",
                    other.kind.name(),
                    view.kind.name(),
                    view.to,
                    view.kind.name()
                ));
            }
        }
        Ok(views)
    }
}

/// `NAME` or `NAME:FILE`.
fn view(item: &str, common: &Destination) -> Result<View, String> {
    let (name, file) = match item.split_once(':') {
        Some((name, file)) => (name, Some(file)),
        None => (item, None),
    };
    let Some(kind) = ViewKind::ALL.iter().find(|kind| kind.name() == name) else {
        let known: Vec<&str> = ViewKind::ALL.iter().map(|kind| kind.name()).collect();
        let known = known.join(", ");
        return Err(format!(
            "--as {item}: no view named {name:?}; there are {known}"
        ));
    };
    let to = match file {
        None => common.clone(),
        Some("") => return Err(format!("--as {item}: no file named after the colon")),
        Some(file) => destination(Path::new(file)),
    };
    Ok(View { kind: *kind, to })
}

fn destination(path: &Path) -> Destination {
    match path.as_os_str() == "-" {
        true => Destination::Stdout,
        false => Destination::File(path.to_owned()),
    }
}

/// Whether two views would write over each other.
fn same_place(one: &Destination, other: &Destination) -> bool {
    match (one, other) {
        (Destination::File(one), Destination::File(other)) => same_file(one, other),
        _ => one == other,
    }
}

/// Whether two names are of one file, there already or to be. Not of one
/// device: /dev/null takes everybody's lines.
pub(super) fn same_file(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let file = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.is_file(), metadata.dev(), metadata.ino()))
    };
    match (file(one), file(other)) {
        (Some(one), Some(other)) => one.0 && one == other,
        (None, None) => match (std::path::absolute(one), std::path::absolute(other)) {
            (Ok(one), Ok(other)) => one == other,
            _ => one == other,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: ViewArgs,
    }

    fn args(words: &[&str]) -> ViewArgs {
        let words = std::iter::once("x").chain(words.iter().copied());
        Cli::try_parse_from(words).expect("options").args
    }

    fn views(words: &[&str]) -> Result<Vec<(&'static str, String)>, String> {
        let views = args(words).views(Destination::Stderr)?;
        Ok(views
            .iter()
            .map(|view| (view.kind.name(), view.to.to_string()))
            .collect())
    }

    #[test]
    fn views_go_to_their_files_or_to_the_common_place() {
        let named = |list: &[(&'static str, &str)]| {
            let list = list.iter().map(|(name, to)| (*name, (*to).to_owned()));
            Ok(list.collect::<Vec<_>>())
        };
        assert_eq!(views(&[]), named(&[("text", "standard error")]));
        assert_eq!(views(&["-o", "a"]), named(&[("text", "a")]));
        assert_eq!(views(&["--json"]), named(&[("json", "standard error")]));
        assert_eq!(
            views(&["--json", "-o", "b", "--as", "text:-"]),
            named(&[("json", "b"), ("text", "standard output")])
        );
        assert_eq!(
            views(&["--as", "text,json:t.ndjson", "--as=text:a:b"]),
            named(&[
                ("text", "standard error"),
                ("json", "t.ndjson"),
                ("text", "a:b")
            ])
        );
        // There is room for all in /dev/null.
        let nowhere = ["--as", "text:/dev/null,json:/dev/null"];
        assert_eq!(views(&nowhere).map(|views| views.len()), Ok(2));
    }

    #[test]
    fn what_makes_no_sense_is_said_in_a_line() {
        for (words, said) in [
            (
                &["--as", "trees"][..],
                "no view named \"trees\"; there are text, json, lanes, tree, summary, summary-json",
            ),
            (&["--as", ""], "no view named \"\""),
            (&["--as", "text:"], "no file named after the colon"),
            (
                &["--as", "text,json"],
                "text and json would both go to standard error",
            ),
            (&["--json", "--as", "json"], "would both go to"),
            (
                &["--as", "text:/a/b,json:/a/./b"],
                "would both go to /a/./b",
            ),
            (&["-o", "x", "--as", "text:y"], "-o x: each view has a file"),
        ] {
            let error = views(words).expect_err("no sense");
            assert!(error.contains(said), "{words:?}: {error}");
        }
    }

    #[test]
    fn a_filter_that_narrows_nothing_is_refused() {
        for (words, said) in [
            (&["--failed"][..], None),
            (&["--as", "lanes", "--below", "make"], None),
            (&["--as", "lanes", "--pid=1", "--failed"], None),
            (&["--as", "lanes,text:x", "--failed"], None),
            (&["--json", "--as", "text:x", "--failed"], None),
            (&["--json", "--pid", "1"], Some("a log holds all events")),
            (
                &["--as", "lanes", "--failed"],
                Some("lanes show all that a process does"),
            ),
            (
                &["--as", "lanes:x,json", "--only=execs"],
                Some("lanes show all"),
            ),
        ] {
            let shown = args(words).into_shown(Destination::Stderr);
            match (shown, said) {
                (Ok(_), None) => {}
                (Err(error), Some(said)) => assert!(error.contains(said), "{words:?}: {error}"),
                (shown, _) => panic!("{words:?}: {shown:?}"),
            }
        }
    }

    #[test]
    fn a_log_has_strings_in_full_unless_told_otherwise() {
        for (words, read, shown) in [
            (&[][..], 32, 32),
            (&["--json"], 4096, 32),
            (&["--json", "-s", "7"], 7, 7),
            (&["-s", "0"], 0, 0),
        ] {
            let asked = args(words).into_shown(Destination::Stderr).expect("views");
            let limits = (asked.read_limit, asked.look.string_limit);
            assert_eq!(limits, (read, shown), "{words:?}");
        }
    }
}
