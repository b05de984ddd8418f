//! What stands in the document, and where in a summary it comes from.

use std::time::Duration;

use serde::Serialize;

use super::super::whole::Extent;
use crate::clone::Kind;
use crate::event::Target;
use crate::ids::{Errno, Pid};
use crate::summary::{FailuresSeen, KindRow, Lifetimes, ProgramRow, Summary};
use crate::tree::Tree;
use crate::tree::node::{Fate, NodeId};
use crate::tree::strings::WordId;
use crate::tree::tally::Cause;

/// The version of the document: it grows with each field that changes its
/// meaning or goes. Fields may be added within one.
const FORMAT_VERSION: u32 = 1;

/// The document.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    /// "forktrace-summary".
    format: &'static str,
    format_version: u32,
    /// The forktrace that traced.
    forktrace_version: Option<String>,
    /// Whether the trace was told to its end: false where tracing failed, or the log
    /// was cut short.
    complete: bool,
    /// What was launched, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Vec<String>>,
    /// The same in hex, null where the word is UTF-8; only if one is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    command_hex: Option<Vec<Option<String>>>,
    /// What was attached to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pids: Option<Vec<i32>>,
    /// What there was in all, where a filter is in place and all below counts only
    /// what it kept; but for the peaks, which are those of the whole trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    filtered: Option<FilteredFrom>,
    /// From the start of tracing to the last event.
    elapsed_ns: u64,
    /// Processes created; the launched one is not among them.
    processes_created: u64,
    threads_created: u64,
    /// Creating calls that created nothing; null where that is not seen.
    creations_failed: Option<u64>,
    execs: u64,
    /// Execs that `by_executed_program` leaves out: of one process only the
    /// first and the last are kept.
    execs_left_out: u64,
    by_kind: Vec<ByKind>,
    by_call: Vec<ByCall>,
    by_creating_program: Vec<Creator>,
    /// How long each program ran: from its exec to the next or the end.
    by_executed_program: Vec<Program>,
    /// Created processes without an exec.
    never_execd: u64,
    never_execd_by_program: Vec<Program>,
    processes_alive_peak: u64,
    processes_alive_peak_at_ns: u64,
    /// The first threads of processes among them.
    threads_alive_peak: u64,
    threads_alive_peak_at_ns: u64,
    /// How many were created in each stretch of so long from the start on.
    creation_rate_width_ns: u64,
    creation_rate: Vec<u64>,
    /// Generations below the first process.
    depth: u32,
    deepest: Option<Process>,
    failures: Vec<Failure>,
    exec_failures: Vec<ExecFailure>,
    longest_lived: Vec<Process>,
    alive_at_end: Vec<Process>,
    /// Processes that init or a subreaper took over.
    outlived_parent: u64,
    /// Who took them over; null where that is not told.
    adopted_by: Option<Vec<Adopter>>,
    /// Processes that ended and that nobody waited for, though their parents could
    /// have; null where waits are not traced.
    unreaped: Option<u64>,
    /// The same, each.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreaped_processes: Option<Vec<Process>>,
}

/// How long some lived or ran.
#[derive(Debug, Serialize)]
struct Lives {
    /// Of how many it is known.
    lived_known: u64,
    lived_total_ns: u64,
    lived_median_ns: Option<u64>,
}

#[derive(Debug, Serialize)]
struct FilteredFrom {
    /// Children created, threads with them.
    creations: u64,
    creations_failed: u64,
}

#[derive(Debug, Serialize)]
struct ByKind {
    /// process, vfork, shared_process or thread.
    kind: &'static str,
    count: u64,
    /// The median of threads is within 2 %.
    #[serde(flatten)]
    lives: Lives,
}

#[derive(Debug, Serialize)]
struct ByCall {
    /// null where its number is not known.
    call: Option<&'static str>,
    count: u64,
}

#[derive(Debug, Serialize)]
struct Name {
    /// The last part of its path; empty where that is not known.
    program: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    program_hex: Option<String>,
}

#[derive(Debug, Serialize)]
struct Creator {
    #[serde(flatten)]
    name: Name,
    processes: u64,
    threads: u64,
    /// Of the processes.
    #[serde(flatten)]
    lives: Lives,
}

#[derive(Debug, Serialize)]
struct Program {
    #[serde(flatten)]
    name: Name,
    count: u64,
    #[serde(flatten)]
    lives: Lives,
}

#[derive(Debug, Serialize)]
struct Adopter {
    /// 0 for one outside of the tracer's pid namespace.
    pid: i32,
    count: u64,
}

#[derive(Debug, Serialize)]
struct Failure {
    call: Option<&'static str>,
    /// The error; or caller_killed, or filtered where a seccomp filter
    /// answered.
    reason: String,
    errno_nr: Option<i32>,
    count: u64,
}

#[derive(Debug, Serialize)]
struct ExecFailure {
    reason: String,
    errno_nr: i32,
    count: u64,
}

#[derive(Debug, Serialize)]
struct Process {
    pid: i32,
    parent_pid: Option<i32>,
    depth: u32,
    #[serde(flatten)]
    name: Name,
    born_ns: u64,
    /// null where an end was not seen.
    lived_ns: Option<u64>,
    exit_status: Option<i32>,
    signal: Option<String>,
}

impl Document {
    pub(super) fn new(summary: &Summary<'_>, extent: Extent, top: usize) -> Document {
        let tree = summary.tree;
        let tally = tree.tally();
        let start = tree.start();
        let words = start.and_then(|start| match &start.target {
            Target::Command(words) => Some(words),
            Target::Processes(_) => None,
        });
        let pids = start.and_then(|start| match &start.target {
            Target::Command(_) => None,
            Target::Processes(pids) => Some(pids.iter().map(|pid| pid.0).collect()),
        });
        let hex = words.map(|words| words.iter().map(|word| hex_unless_text(word)));
        let hex: Option<Vec<Option<String>>> = hex.map(Iterator::collect);
        let mut failures: Vec<Failure> = tally.failures_by_call().map(failure).collect();
        failures.sort_by_key(|row| std::cmp::Reverse(row.count));
        failures.truncate(top);
        let process = |id: &NodeId| process(tree, *id);
        Document {
            format: "forktrace-summary",
            format_version: FORMAT_VERSION,
            forktrace_version: start.map(|start| start.version.clone()),
            complete: extent == Extent::Whole,
            command: words.map(|words| words.iter().map(|word| lossy(word)).collect()),
            command_hex: hex.filter(|words| words.iter().any(Option::is_some)),
            pids,
            filtered: tree.seen().map(|seen| FilteredFrom {
                creations: seen.creations,
                creations_failed: seen.failures,
            }),
            elapsed_ns: nanos(tree.last()),
            processes_created: summary.processes,
            threads_created: summary.threads,
            creations_failed: match summary.failures_seen {
                FailuresSeen::Yes => Some(tally.failures()),
                FailuresSeen::No => None,
            },
            execs: summary.execs,
            execs_left_out: summary.execs_left_out(),
            by_kind: summary.kinds.iter().map(by_kind).collect(),
            by_call: summary
                .calls
                .iter()
                .map(|(call, count)| ByCall {
                    call: known(call),
                    count: *count,
                })
                .collect(),
            by_creating_program: summary
                .creators
                .iter()
                .take(top)
                .map(|row| Creator {
                    name: name(tree, row.program),
                    processes: row.count,
                    threads: row.threads,
                    lives: lives(&row.lives),
                })
                .collect(),
            by_executed_program: programs(tree, &summary.executed, top),
            never_execd: summary.never_execd.iter().map(|row| row.count).sum(),
            never_execd_by_program: programs(tree, &summary.never_execd, top),
            processes_alive_peak: tally.processes.peak,
            processes_alive_peak_at_ns: nanos(tally.processes.peak_at),
            threads_alive_peak: tally.threads.peak,
            threads_alive_peak_at_ns: nanos(tally.threads.peak_at),
            creation_rate_width_ns: nanos(tally.rate.width()),
            creation_rate: tally.rate.counts().to_vec(),
            depth: summary.depth(),
            deepest: summary.deepest.as_ref().map(process),
            failures,
            exec_failures: tally
                .exec_failures()
                .map(|(errno, count)| ExecFailure {
                    reason: errno_name(errno),
                    errno_nr: errno.0,
                    count,
                })
                .collect(),
            longest_lived: summary.longest.iter().map(|(id, _)| process(id)).collect(),
            alive_at_end: summary.alive.iter().take(top).map(process).collect(),
            outlived_parent: summary.outlived,
            adopted_by: summary.adopters.as_ref().map(|adopters| {
                let rows = adopters.iter().take(top);
                let row = |(pid, count): &(Pid, u64)| Adopter {
                    pid: pid.0,
                    count: *count,
                };
                rows.map(row).collect()
            }),
            unreaped: summary.unreaped.as_ref().map(|ids| ids.len() as u64),
            unreaped_processes: summary
                .unreaped
                .as_ref()
                .map(|ids| ids.iter().take(top).map(process).collect()),
        }
    }
}

fn by_kind(row: &KindRow) -> ByKind {
    ByKind {
        kind: match row.kind {
            Kind::Process => "process",
            Kind::Vfork => "vfork",
            Kind::SharedProcess => "shared_process",
            Kind::Thread => "thread",
        },
        count: row.count,
        lives: lives(&row.lives),
    }
}

fn programs(tree: &Tree, rows: &[ProgramRow], top: usize) -> Vec<Program> {
    let rows = rows.iter().take(top).map(|row| Program {
        name: name(tree, row.program),
        count: row.count,
        lives: lives(&row.lives),
    });
    rows.collect()
}

fn lives(lives: &Lifetimes) -> Lives {
    Lives {
        lived_known: lives.known,
        lived_total_ns: nanos(lives.total),
        lived_median_ns: lives.median().map(nanos),
    }
}

fn name(tree: &Tree, program: WordId) -> Name {
    let bytes = tree.texts().bytes(program);
    Name {
        program: lossy(bytes),
        program_hex: hex_unless_text(bytes),
    }
}

fn process(tree: &Tree, id: NodeId) -> Process {
    let node = tree.node(id);
    let parent = tree.real_parent(id).map(|parent| tree.node(parent).pid());
    Process {
        pid: node.pid().0,
        parent_pid: parent.or(tree.parent_outside(id)).map(|pid| pid.0),
        depth: node.depth(),
        name: name(tree, tree.texts().program(node.current())),
        born_ns: nanos(node.born()),
        lived_ns: node.lived().map(nanos),
        exit_status: match node.fate() {
            Fate::Exited(code) => Some(code),
            _ => None,
        },
        signal: match node.fate() {
            Fate::Killed { signal, .. } => Some(signal.to_string()),
            _ => None,
        },
    }
}

fn failure((call, cause, count): (&'static str, Cause, u64)) -> Failure {
    let (reason, errno_nr) = match cause {
        Cause::Errno(errno) => (errno_name(Errno(errno)), Some(errno)),
        Cause::CallerKilled => ("caller_killed".to_owned(), None),
        Cause::Skipped => ("filtered".to_owned(), None),
    };
    Failure {
        call: known(call),
        reason,
        errno_nr,
        count,
    }
}

fn errno_name(errno: Errno) -> String {
    errno.symbol().unwrap_or_else(|| errno.0.to_string())
}

fn known(call: &'static str) -> Option<&'static str> {
    Some(call).filter(|call| !call.is_empty())
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(super) fn hex_unless_text(bytes: &[u8]) -> Option<String> {
    use std::fmt::Write;
    std::str::from_utf8(bytes).is_err().then(|| {
        bytes.iter().fold(String::new(), |mut hex, byte| {
            // Writing to a String can't fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    })
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
