//! Runs the contenders in turns, and gathers what came of it.

use std::path::Path;
use std::time::Duration;

use crate::args::Args;
use crate::contender::{Contender, Tools};
use crate::measure::{self, Cost};
use crate::stops::Counter;
use crate::tally::{self, Tally};
use crate::workload::Workload;

/// All runs of one workload.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) rows: Vec<Row>,
    /// Why stops were not counted, if so.
    pub(crate) no_stops: Option<String>,
}

/// All runs of one contender.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) contender: Contender,
    /// By round; `None` where it was not run.
    pub(crate) costs: Vec<Option<Cost>>,
    /// Of each run that wrote a trace.
    pub(crate) tallies: Vec<Tally>,
    pub(crate) stops: Option<u64>,
    /// Why it is run no more.
    pub(crate) out: Option<Out>,
}

/// Why a contender is run no more.
#[derive(Debug)]
pub(crate) enum Out {
    Failed(String),
    Slow(Duration),
}

impl Row {
    fn new(contender: Contender) -> Row {
        Row {
            contender,
            costs: Vec::new(),
            tallies: Vec::new(),
            stops: None,
            out: None,
        }
    }
}

impl Series {
    pub(crate) fn row(&self, contender: Contender) -> Option<&Row> {
        self.rows.iter().find(|row| row.contender == contender)
    }

    /// What went wrong that must not: native, forktrace and the floors never fail, and
    /// forktrace loses nothing.
    pub(crate) fn failures(&self, workload: &Workload) -> Vec<String> {
        let ours = |row: &&Row| !matches!(row.contender, Contender::Peer(_));
        let mut failures = Vec::new();
        for row in self.rows.iter().filter(ours) {
            let name = format!("{}, {}", workload.kind.name(), row.contender.name());
            if let Some(Out::Failed(reason)) = &row.out {
                failures.push(format!("{name}: {reason}"));
            }
            let Some(truth) = workload.truth else {
                continue;
            };
            for tally in &row.tallies {
                // The program's own exec is there as well.
                let expected = Tally {
                    creations: Some(truth.creations),
                    execs: Some(truth.execs + 1),
                };
                if *tally != expected {
                    failures.push(format!("{name}: told {tally:?}, true is {expected:?}"));
                }
            }
        }
        failures
    }
}

/// # Errors
/// Where the benchmark itself can't go on.
pub(crate) fn run(
    workload: &Workload,
    contenders: &[Contender],
    tools: &Tools,
    directory: &Path,
    args: &Args,
) -> Result<Series, String> {
    let sensible = |contender: &&Contender| workload.kind.suits(**contender);
    let chosen = contenders.iter().filter(sensible);
    let mut rows: Vec<Row> = chosen.map(|contender| Row::new(*contender)).collect();
    for round in 0..args.rounds() as usize {
        let count = rows.len();
        for turn in 0..count {
            // Each round begins with another one: nobody always runs after the same.
            let row = &mut rows[(turn + round) % count];
            let cost = if row.out.is_some() {
                None
            } else {
                progress(workload, row.contender, round + 1, args.rounds());
                one(workload, row, tools, directory)?
            };
            row.costs.push(cost);
            if let Some(cost) = cost
                && cost.wall > args.slow()
            {
                row.out = Some(Out::Slow(cost.wall));
            }
        }
    }
    let mut series = Series {
        rows,
        no_stops: None,
    };
    count_stops(workload, &mut series, tools, directory);
    Ok(series)
}

/// One timed run.
fn one(
    workload: &Workload,
    row: &mut Row,
    tools: &Tools,
    directory: &Path,
) -> Result<Option<Cost>, String> {
    workload.before_a_run()?;
    let trace = directory.join("trace");
    // Emptying the last one is not this one's work.
    let _ = std::fs::remove_file(&trace);
    let words = tools.words(row.contender, &trace, &workload.command);
    let mut command = measure::command(words);
    command.envs(workload.environment());
    let cost = match measure::run(&mut command, &directory.join("stderr")) {
        Ok(cost) => cost,
        Err(reason) => {
            row.out = Some(Out::Failed(reason));
            return Ok(None);
        }
    };
    if let Some(format) = row.contender.format() {
        match tally::count(&trace, format) {
            Ok(tally) => row.tallies.push(tally),
            Err(reason) => row.out = Some(Out::Failed(reason)),
        }
    }
    Ok(Some(cost))
}

fn count_stops(workload: &Workload, series: &mut Series, tools: &Tools, directory: &Path) {
    let counter = match Counter::new(tools, directory) {
        Ok(counter) => counter,
        Err(reason) => {
            series.no_stops = Some(reason);
            return;
        }
    };
    let stopping = |row: &&mut Row| row.contender.stops_tracees() && row.out.is_none();
    for row in series.rows.iter_mut().filter(stopping) {
        eprintln!("{}: {}: stops", workload.kind.name(), row.contender.name());
        row.stops = counter
            .stops(row.contender, workload, tools, directory)
            .ok();
    }
}

fn progress(workload: &Workload, contender: Contender, round: usize, rounds: u32) {
    eprintln!(
        "{}: round {round} of {rounds}: {}",
        workload.kind.name(),
        contender.name()
    );
}
