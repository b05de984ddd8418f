//! What a trace comes to: a finished tree, counted. Facts only; how they look is
//! the business of the views.

use std::cmp::Reverse;
use std::time::Duration;

use crate::clone::Kind;
use crate::event::Stops;
use crate::tree::Tree;
use crate::tree::node::{Deed, Fate, Node, NodeId};
use crate::tree::outline::Outline;
use crate::tree::strings::WordId;

/// A trace, counted.
#[derive(Debug)]
pub struct Summary<'a> {
    /// What was counted.
    pub tree: &'a Tree,
    /// Processes created.
    pub processes: u64,
    /// Threads created.
    pub threads: u64,
    /// By what came into being; those that there were.
    pub kinds: Vec<KindRow>,
    /// By call; those that there were. Empty name: a number that isn't known.
    pub calls: Vec<(&'static str, u64)>,
    /// By the program that created.
    pub creators: Vec<ProgramRow>,
    /// By the program that was executed.
    pub executed: Vec<ProgramRow>,
    /// Successful execs.
    pub execs: u64,
    /// Created processes that never exec'd, by the program that they ran on.
    pub never_execd: Vec<ProgramRow>,
    /// The process that is the most generations below the first.
    pub deepest: Option<NodeId>,
    /// The processes that lived longest, the longest first.
    pub longest: Vec<(NodeId, Duration)>,
    /// The processes that lived when the trace ended or nothing more was told
    /// of them.
    pub alive: Vec<NodeId>,
    /// Processes that outlived their parents: init or a subreaper took them
    /// over.
    pub outlived: u64,
    /// Whether calls that failed were seen.
    pub failures_seen: FailuresSeen,
}

/// Whether a trace has the calls that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailuresSeen {
    /// It has.
    Yes,
    /// Not where it was recorded at events only.
    No,
}

/// How long some lived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lifetimes {
    /// Of how many it is known.
    pub known: u64,
    /// All together.
    pub total: Duration,
    /// The one in the middle (of an even number the earlier).
    pub median: Option<Duration>,
}

/// What came into being of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindRow {
    /// Which.
    pub kind: Kind,
    /// How many.
    pub count: u64,
    /// How long they lived; of threads the median is within 2 %.
    pub lives: Lifetimes,
}

/// What one program did or went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramRow {
    /// The last part of its path.
    pub program: WordId,
    /// How many processes or execs.
    pub count: u64,
    /// How many threads, where threads count.
    pub threads: u64,
    /// How long those processes lived, or ran this program.
    pub lives: Lifetimes,
}

/// What is counted: a program, and how long, if that is known.
type Life = (WordId, Option<Duration>);

impl<'a> Summary<'a> {
    /// Counts a tree; `top` is how many of the longest-lived are wanted.
    pub fn new(tree: &'a Tree, top: usize) -> Summary<'a> {
        let tally = tree.tally();
        let texts = tree.texts();
        let created = || {
            tree.nodes()
                .filter(|(_, node)| node.creator().is_some() && !node.is_thread())
        };
        let of_processes = || tree.nodes().filter(|(_, node)| !node.is_thread());
        let by_creator = created().map(|(_, node)| (texts.program(node.first()), node.lived()));
        let mut creators = rows(by_creator.collect());
        for (program, threads) in tally.threads_by_program() {
            match creators.iter_mut().find(|row| row.program == program) {
                Some(row) => row.threads = threads,
                None => creators.push(ProgramRow {
                    program,
                    count: 0,
                    threads,
                    lives: Lifetimes::default(),
                }),
            }
        }
        let never =
            created().filter(|(_, node)| node.execs() == 0 && node.fate() != Fate::NotFollowed);
        let never = never.map(|(_, node)| (texts.program(node.first()), node.lived()));
        let mut summary = Summary {
            tree,
            processes: tally.creations() - tally.of_kind(Kind::Thread),
            threads: tally.of_kind(Kind::Thread),
            kinds: kinds(tree),
            calls: tally.by_call().collect(),
            creators,
            executed: rows(runs(tree)),
            execs: of_processes()
                .map(|(_, node)| u64::from(node.execs()))
                .sum(),
            never_execd: rows(never.collect()),
            deepest: of_processes()
                .max_by_key(|(id, node)| (node.depth(), Reverse(*id)))
                .map(|(id, _)| id),
            longest: longest(of_processes(), top),
            alive: of_processes()
                .filter(|(_, node)| node.fate().alive())
                .map(|(id, _)| id)
                .collect(),
            outlived: tree.ids().filter(|id| tree.outlived_parent(*id)).count() as u64,
            failures_seen: match tree.start() {
                Some(start) if start.stops == Stops::Event => FailuresSeen::No,
                _ => FailuresSeen::Yes,
            },
        };
        summary
            .calls
            .sort_by_key(|(call, count)| (Reverse(*count), *call));
        for rows in [
            &mut summary.creators,
            &mut summary.executed,
            &mut summary.never_execd,
        ] {
            let name = |row: &ProgramRow| texts.bytes(row.program);
            rows.sort_by(|a, b| {
                (b.count + b.threads, name(a)).cmp(&(a.count + a.threads, name(b)))
            });
        }
        summary
    }

    /// How many levels of processes are below the first.
    pub fn depth(&self) -> u32 {
        self.deepest.map_or(0, |id| self.tree.node(id).depth())
    }

    /// Execs that are not in the rows by program: of one process only the first
    /// and the last ones are kept.
    pub fn execs_left_out(&self) -> u64 {
        let kept: u64 = self.executed.iter().map(|row| row.count).sum();
        self.execs.saturating_sub(kept)
    }
}

fn kinds(tree: &Tree) -> Vec<KindRow> {
    let tally = tree.tally();
    let mut rows = Vec::new();
    for kind in [
        Kind::Process,
        Kind::Vfork,
        Kind::SharedProcess,
        Kind::Thread,
    ] {
        let count = tally.of_kind(kind);
        if count == 0 {
            continue;
        }
        let lives = match kind {
            Kind::Thread => Lifetimes {
                known: tally.thread_lives.count(),
                total: tally.thread_lives.total(),
                median: tally.thread_lives.median(),
            },
            _ => {
                let of_kind = |id| tree.kind(id) == Some(kind);
                let lives = tree.nodes().filter(|(id, _)| of_kind(*id));
                lifetimes(
                    &mut lives
                        .filter_map(|(_, node)| node.lived())
                        .collect::<Vec<_>>(),
                )
            }
        };
        rows.push(KindRow { kind, count, lives });
    }
    rows.sort_by_key(|row| Reverse(row.count));
    rows
}

/// How long each program ran: from its exec to the next one of the process, or
/// to its end.
fn runs(tree: &Tree) -> Vec<Life> {
    let outline = Outline::new(tree);
    let mut runs = Vec::new();
    for (id, node) in tree.nodes() {
        let execs = outline.moments(tree, id);
        let execs = execs.filter_map(|moment| match moment.what {
            Deed::Exec(command) => Some((tree.texts().program(command), moment.at())),
            _ => None,
        });
        let mut before: Option<(WordId, Duration)> = None;
        for (program, at) in execs {
            if let Some((program, since)) = before {
                runs.push((program, Some(at.saturating_sub(since))));
            }
            before = Some((program, at));
        }
        if let Some((program, since)) = before {
            let end = node.fate().ended().then(|| node.ended());
            runs.push((program, end.map(|end| end.saturating_sub(since))));
        }
    }
    runs
}

/// Rows by program, in no order.
fn rows(mut lives: Vec<Life>) -> Vec<ProgramRow> {
    lives.sort_unstable();
    lives
        .chunk_by(|(a, _), (b, _)| a == b)
        .map(|group| {
            // Those that are not known come first.
            let mut known: Vec<Duration> = group.iter().filter_map(|(_, life)| *life).collect();
            ProgramRow {
                program: group[0].0,
                count: group.len() as u64,
                threads: 0,
                lives: lifetimes(&mut known),
            }
        })
        .collect()
}

fn lifetimes(lives: &mut [Duration]) -> Lifetimes {
    lives.sort_unstable();
    Lifetimes {
        known: lives.len() as u64,
        total: lives
            .iter()
            .fold(Duration::ZERO, |sum, life| sum.saturating_add(*life)),
        median: lives.get(lives.len().wrapping_sub(1) / 2).copied(),
    }
}

fn longest<'a>(
    nodes: impl Iterator<Item = (NodeId, &'a Node)>,
    top: usize,
) -> Vec<(NodeId, Duration)> {
    let mut lives: Vec<_> = nodes
        .filter_map(|(id, node)| Some((id, node.lived()?)))
        .collect();
    lives.sort_by_key(|(id, life)| (Reverse(*life), *id));
    lives.truncate(top);
    lives.shrink_to_fit();
    lives
}
