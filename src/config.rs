//! What a run needs to know, free of the command line's grammar.

use std::fmt;
use std::path::PathBuf;

use crate::event::{Follow, Stops, Wanted};
use crate::filter::Criteria;
use crate::ptrace::attach::Targets;
use crate::ptrace::machine::DetachOn;
use crate::ptrace::spawn::Launch;
use crate::tree::Threads;

/// One run of forktrace.
#[derive(Debug, Clone)]
pub struct Config {
    /// What is traced.
    pub what: What,
    /// Which descendants are followed.
    pub follow: Follow,
    /// Where tracees stop.
    pub stops: StopsChoice,
    /// How many generations of processes below the first are followed.
    pub max_depth: Option<u32>,
    /// When to let go of tracees.
    pub detach_on: DetachOn,
    /// The most bytes of a string, and elements of a list, that are read.
    pub string_limit: usize,
    /// Whether calls that wait and that send signals are told.
    pub waits: Wanted,
    /// Whether the environment of each exec is recorded.
    pub environment: Wanted,
    /// What is shown of the trace, and where; at least one.
    pub views: Vec<View>,
    /// How it looks.
    pub look: Look,
    /// Which events are shown.
    pub filter: Criteria,
}

/// A view of the trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Which.
    pub kind: ViewKind,
    /// Where it goes.
    pub to: Destination,
}

/// The views that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewKind {
    /// A line for each event, as it happens.
    Text,
    /// A picture: a column for each process, time going down.
    Lanes,
    /// The log: a JSON object for each event.
    Json,
    /// The tree of processes, at the end.
    Tree,
    /// Counts and lifetimes, at the end.
    Summary,
    /// The same as one JSON document.
    SummaryJson,
}

impl Config {
    /// Whether somebody asks for the names of threads.
    pub fn names(&self) -> Wanted {
        let views = self.views.iter().map(|view| view.kind.names(self.look));
        Wanted::by_any(views.chain([self.filter.names()]))
    }

    /// Whether somebody asks for waits and signals.
    pub fn waits(&self) -> Wanted {
        let views = self.views.iter().map(|view| view.kind.sees_waits());
        Wanted::by_any(views.chain([self.waits]))
    }

    /// Whether somebody asks who adopts orphans.
    pub fn orphans(&self) -> Wanted {
        let views = self.views.iter().map(|view| view.kind.sees_orphans());
        Wanted::by_any(views.chain([self.waits()]))
    }

    /// Whether somebody asks for what processes used.
    pub fn usage(&self) -> Wanted {
        Wanted::by_any(self.views.iter().map(|view| view.kind.usage()))
    }
}

impl ViewKind {
    /// All of them.
    pub const ALL: &[ViewKind] = &[
        ViewKind::Text,
        ViewKind::Json,
        ViewKind::Lanes,
        ViewKind::Tree,
        ViewKind::Summary,
        ViewKind::SummaryJson,
    ];

    /// The word for it on the command line.
    pub fn name(self) -> &'static str {
        match self {
            ViewKind::Text => "text",
            ViewKind::Json => "json",
            ViewKind::Lanes => "lanes",
            ViewKind::Tree => "tree",
            ViewKind::Summary => "summary",
            ViewKind::SummaryJson => "summary-json",
        }
    }

    /// Whether it shows the names of threads, looking so.
    pub fn names(self, look: Look) -> Wanted {
        match (self, look.names) {
            (ViewKind::Text, Shown::No) => Wanted::No,
            (ViewKind::Text, Shown::Yes) | (ViewKind::Json, _) => Wanted::Yes,
            (ViewKind::Lanes | ViewKind::Tree | ViewKind::Summary | ViewKind::SummaryJson, _) => {
                Wanted::No
            }
        }
    }

    /// Whether it shows events one by one, for people to see while they come.
    pub fn is_streamed(self) -> bool {
        match self {
            ViewKind::Text | ViewKind::Lanes => true,
            ViewKind::Json | ViewKind::Tree | ViewKind::Summary | ViewKind::SummaryJson => false,
        }
    }

    /// Whether these criteria narrow it. A log is for every view to come, and holds
    /// all. Of a lane no event can be left out: what follows would be drawn wrong.
    pub fn is_narrowed_by(self, criteria: &Criteria) -> bool {
        match self {
            ViewKind::Json => false,
            ViewKind::Lanes => criteria.by_process(),
            ViewKind::Text | ViewKind::Tree | ViewKind::Summary | ViewKind::SummaryJson => {
                criteria.any()
            }
        }
    }

    /// Whether it shows what processes used.
    pub fn usage(self) -> Wanted {
        match self {
            ViewKind::Text | ViewKind::Lanes => Wanted::No,
            ViewKind::Json | ViewKind::Tree | ViewKind::Summary | ViewKind::SummaryJson => {
                Wanted::Yes
            }
        }
    }

    /// Whether it shows who adopts orphans.
    pub fn sees_orphans(self) -> Wanted {
        match self {
            ViewKind::Json
            | ViewKind::Lanes
            | ViewKind::Tree
            | ViewKind::Summary
            | ViewKind::SummaryJson => Wanted::Yes,
            ViewKind::Text => Wanted::No,
        }
    }

    /// Whether it shows waits and signals even where nobody asked for them.
    pub fn sees_waits(self) -> Wanted {
        match self {
            ViewKind::Lanes => Wanted::Yes,
            ViewKind::Text
            | ViewKind::Json
            | ViewKind::Tree
            | ViewKind::Summary
            | ViewKind::SummaryJson => Wanted::No,
        }
    }
}

/// How views look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// How much they say.
    pub detail: Detail,
    /// When they are coloured.
    pub color: When,
    /// How much text shows of each string, in bytes, and of each list.
    pub string_limit: usize,
    /// Which times lines have.
    pub times: Times,
    /// Whether tids have the names of their threads.
    pub names: Shown,
    /// What the tree and the summary show.
    pub whole: WholeLook,
}

/// How the views of the whole trace look: the tree and the summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WholeLook {
    /// What lines are drawn with.
    pub glyphs: Glyphs,
    /// Whether threads stand in the tree.
    pub threads: Threads,
    /// Whether siblings that look the same are one line.
    pub fold: Fold,
    /// How many rows a table of the summary has at the most, if that was said.
    pub top: Option<usize>,
}

/// How many rows a table of the summary has for people unless told otherwise.
pub const TOP: usize = 10;

/// What lines and marks are drawn with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glyphs {
    /// What looks best.
    Unicode,
    /// What every terminal has.
    Ascii,
}

/// Whether siblings that look the same are one line of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fold {
    /// They are, where they are many.
    Yes,
    /// Each has a line.
    No,
}

/// Whether something is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shown {
    /// It is.
    Yes,
    /// It is not.
    #[default]
    No,
}

/// Which times lines have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// When it happened.
    pub wall: WallTime,
    /// How long after the line before.
    pub relative: Shown,
    /// How long the call took.
    pub in_call: Shown,
}

/// How the time of the wall is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WallTime {
    /// Not at all.
    #[default]
    None,
    /// Local time of day: 12:34:56.
    Time,
    /// The same with microseconds.
    TimeMicros,
    /// Seconds since 1970, with microseconds.
    Unix,
}

/// What is traced.
#[derive(Debug, Clone)]
pub enum What {
    /// A program that forktrace starts.
    Launch(Launch),
    /// Processes that run already.
    Attach(Targets),
}

/// Where tracees stop, as asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopsChoice {
    /// The best for the run.
    Auto,
    /// Just these.
    Only(Stops),
}

impl StopsChoice {
    /// What to begin with.
    pub fn resolve(self, what: &What, follow: Follow) -> Stops {
        match self {
            StopsChoice::Only(stops) => stops,
            // What runs already is neither filtered nor slowed.
            StopsChoice::Auto if matches!(what, What::Attach(_)) => Stops::Event,
            // A filter is inherited by children that nobody follows: their
            // calls would fail.
            StopsChoice::Auto if follow == Follow::All => Stops::Seccomp,
            StopsChoice::Auto => Stops::Syscall,
        }
    }
}

/// Where a view goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// A file.
    File(PathBuf),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Stderr => f.write_str("standard error"),
            Destination::Stdout => f.write_str("standard output"),
            Destination::File(path) => path.display().fmt(f),
        }
    }
}

/// How much to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// The calls alone.
    Quiet,
    /// The calls and their meaning.
    Normal,
    /// Also a line for each flag and argument.
    Verbose,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// On a terminal, as NO_COLOR, CLICOLOR_FORCE and TERM allow.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}
