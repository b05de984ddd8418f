//! What a trace comes to: a finished tree, counted. Facts only; how they look is
//! the business of the views.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::clone::Kind;
use crate::event::Stops;
use crate::ids::Pid;
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
    /// Who took them over, and how many; `None` where that is not told.
    pub adopters: Option<Vec<(Pid, u64)>>,
    /// The processes that ended and that nobody waited for; `None` where waits are not
    /// told.
    pub unreaped: Option<Vec<NodeId>>,
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
    /// From the shortest to the longest; `None` if none is known.
    pub range: Option<Range>,
}

/// The range of some times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The shortest.
    pub least: Duration,
    /// The one in the middle (of an even number the earlier).
    pub median: Duration,
    /// The longest.
    pub most: Duration,
}

impl Lifetimes {
    /// Those of these.
    pub fn of(lives: impl Iterator<Item = Duration>) -> Lifetimes {
        // As small as they can be: there may be millions.
        let mut lives: Vec<u64> = lives.map(nanos).collect();
        lives.sort_unstable();
        let at = |index: usize| Duration::from_nanos(lives[index]);
        Lifetimes {
            known: lives.len() as u64,
            total: lives.iter().fold(Duration::ZERO, |sum, life| {
                sum.saturating_add(Duration::from_nanos(*life))
            }),
            range: lives.len().checked_sub(1).map(|last| Range {
                least: at(0),
                median: at(last / 2),
                most: at(last),
            }),
        }
    }

    /// The one in the middle.
    pub fn median(&self) -> Option<Duration> {
        self.range.map(|range| range.median)
    }
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
            tree.nodes().filter(|(id, node)| {
                node.creator().is_some() && !node.is_thread() && tree.creation_is_picked(*id)
            })
        };
        let of_processes = || {
            tree.nodes()
                .filter(|(id, node)| !node.is_thread() && tree.is_picked(*id))
        };
        let by_creator = created().map(|(_, node)| (texts.program(node.first()), node.lived()));
        let mut creators = rows(by_creator);
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
        let outline = Outline::new(tree);
        let executed = rows(runs(tree, &outline));
        drop(outline);
        let mut summary = Summary {
            tree,
            processes: tally.creations() - tally.of_kind(Kind::Thread),
            threads: tally.of_kind(Kind::Thread),
            kinds: kinds(tree),
            calls: tally.by_call().collect(),
            creators,
            executed,
            execs: tally.execs,
            never_execd: rows(never),
            deepest: of_processes()
                .max_by_key(|(id, node)| (node.depth(), Reverse(*id)))
                .map(|(id, _)| id),
            longest: longest(of_processes(), top),
            alive: of_processes()
                .filter(|(_, node)| node.fate().alive())
                .map(|(id, _)| id)
                .collect(),
            outlived: of_processes()
                .filter(|(id, _)| tree.outlived_parent(*id))
                .count() as u64,
            adopters: tree
                .orphans_told()
                .then(|| adopters(of_processes().filter_map(|(id, _)| tree.adopter(id)))),
            unreaped: tree.waits_told().then(|| {
                let unreaped = of_processes().filter(|(id, _)| tree.unreaped(*id));
                unreaped.map(|(id, _)| id).collect()
            }),
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

/// Those that took over most first.
fn adopters(each: impl Iterator<Item = Pid>) -> Vec<(Pid, u64)> {
    let mut counts: BTreeMap<Pid, u64> = BTreeMap::new();
    for adopter in each {
        *counts.entry(adopter).or_default() += 1;
    }
    let mut counts: Vec<(Pid, u64)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| Reverse(*count));
    counts
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
                range: tally.thread_lives.median().map(|median| Range {
                    least: tally.thread_lives.least(),
                    median,
                    most: tally.thread_lives.most(),
                }),
            },
            _ => {
                let of_kind = |id| tree.kind(id) == Some(kind) && tree.creation_is_picked(id);
                let lives = tree.nodes().filter(|(id, _)| of_kind(*id));
                Lifetimes::of(lives.filter_map(|(_, node)| node.lived()))
            }
        };
        rows.push(KindRow { kind, count, lives });
    }
    rows.sort_by_key(|row| Reverse(row.count));
    rows
}

/// How long each program ran: from its exec to the next one of the process, or
/// to its end.
fn runs<'a>(tree: &'a Tree, outline: &'a Outline) -> impl Iterator<Item = Life> + 'a {
    tree.nodes().flat_map(move |(id, node)| {
        let execs = outline.moments_with_place(tree, id);
        let execs = execs.filter_map(|(place, moment)| match moment.what {
            Deed::Exec(command) => Some((place, tree.texts().program(command), moment.at())),
            _ => None,
        });
        let mut execs = execs.peekable();
        let runs = std::iter::from_fn(move || {
            let (place, program, since) = execs.next()?;
            let until = match execs.peek() {
                Some((_, _, next)) => Some(*next),
                None => node.fate().ended().then(|| node.ended()),
            };
            let life = until.map(|until| until.saturating_sub(since));
            Some((place, (program, life)))
        });
        // The exec that ends a run counts for that, picked or not.
        runs.filter(|(place, _)| tree.moment_is_picked(*place))
            .map(|(_, life)| life)
    })
}

/// Rows by program, in no order.
fn rows(lives: impl Iterator<Item = Life>) -> Vec<ProgramRow> {
    let mut lives: Vec<(WordId, u64)> = lives
        .map(|(program, life)| (program, life.map_or(UNKNOWN, nanos)))
        .collect();
    lives.sort_unstable();
    lives
        .chunk_by(|(a, _), (b, _)| a == b)
        .map(|group| {
            let known = group.iter().map(|(_, life)| *life);
            let known = known.filter(|life| *life != UNKNOWN);
            ProgramRow {
                program: group[0].0,
                count: group.len() as u64,
                threads: 0,
                lives: Lifetimes::of(known.map(Duration::from_nanos)),
            }
        })
        .collect()
}

/// A life of which the end is not known.
const UNKNOWN: u64 = u64::MAX;

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn longest<'a>(
    nodes: impl Iterator<Item = (NodeId, &'a Node)>,
    top: usize,
) -> Vec<(NodeId, Duration)> {
    let mut longest: Vec<(NodeId, Duration)> = Vec::new();
    let cut = |longest: &mut Vec<(NodeId, Duration)>| {
        longest.sort_by_key(|(id, life)| (Reverse(*life), *id));
        longest.truncate(top);
    };
    for (id, node) in nodes {
        let Some(life) = node.lived() else {
            continue;
        };
        longest.push((id, life));
        // Now and then, so that it stays short.
        if longest.len() > top.saturating_mul(2).max(1000) {
            cut(&mut longest);
        }
    }
    cut(&mut longest);
    longest
}
