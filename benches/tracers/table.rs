//! Tables: aligned for a terminal, or Markdown to paste.

use std::time::Duration;

use crate::contender::Contender;
use crate::measure::Cost;
use crate::rounds::{Out, Row, Series};
use crate::tally::Tally;
use crate::workload::{Workload, grouped};

/// How tables are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Aligned,
    Markdown,
}

const HEADINGS: [&str; 9] = [
    "",
    "wall",
    "CPU",
    "wall / floor",
    "CPU / floor",
    "stops",
    "stops/s",
    "events/s",
    "lost",
];

/// A line of text outside of tables.
pub(crate) fn print_line(style: Style, line: &str) {
    match style {
        Style::Aligned => println!("{line}"),
        Style::Markdown => println!("- {line}"),
    }
}

/// One workload.
pub(crate) fn print(style: Style, workload: &Workload, series: &Series) {
    let Some(native) = series.row(Contender::Native) else {
        return;
    };
    let rows: Vec<Vec<String>> = series
        .rows
        .iter()
        .map(|row| cells(row, native, series, workload))
        .collect();
    let title = format!("{}: {}", workload.kind.name(), workload.title);
    heading(style, &title);
    grid(style, &HEADINGS, &rows);
    if let Some(reason) = &series.no_stops {
        note(style, &format!("stops are not counted: {reason}"));
    }
    for row in &series.rows {
        let name = row.contender.name();
        match &row.out {
            Some(Out::Failed(reason)) => note(style, &format!("{name} failed: {reason}")),
            Some(Out::Slow(wall)) if row.runs() < native.runs() => note(
                style,
                &format!(
                    "{name} took {:.0} s and was not run again",
                    wall.as_secs_f64()
                ),
            ),
            _ => {}
        }
    }
}

/// A title above a table.
pub(crate) fn heading(style: Style, title: &str) {
    match style {
        Style::Aligned => println!("\n{title}"),
        Style::Markdown => println!("\n**{title}**\n"),
    }
}

fn note(style: Style, text: &str) {
    match style {
        Style::Aligned => println!("  {text}"),
        Style::Markdown => println!("\n{text}"),
    }
}

fn cells(row: &Row, native: &Row, series: &Series, workload: &Workload) -> Vec<String> {
    let none = || "–".to_owned();
    let floor = row.contender.floor().and_then(|floor| series.row(floor));
    let wall = median(row.costs.iter().flatten().map(|c| c.wall.as_secs_f64()));
    let per_second = |count: u64| wall.map_or_else(none, |wall| rate(count as f64 / wall));
    let told = row.tallies.first().map(|tally| {
        let [creations, execs] = [tally.creations, tally.execs].map(|n| n.unwrap_or(0));
        creations + execs
    });
    let (wall_cell, cpu_cell) = if row.contender == Contender::Native {
        let cpu = row.costs.iter().flatten().map(|c| c.cpu.as_secs_f64());
        (seconds(wall), seconds(median(cpu)))
    } else {
        (
            spread(&ratios(row, native, |cost| cost.wall)),
            spread(&ratios(row, native, |cost| cost.cpu)),
        )
    };
    let of_floor = |part: fn(&Cost) -> Duration| {
        floor.map_or_else(none, |floor| {
            median(ratios(row, floor, part).into_iter()).map_or_else(none, |r| format!("{r:.2}"))
        })
    };
    vec![
        row.contender.name(),
        wall_cell,
        cpu_cell,
        of_floor(|cost| cost.wall),
        of_floor(|cost| cost.cpu),
        row.stops.map_or_else(none, grouped),
        row.stops.map_or_else(none, per_second),
        told.filter(|_| tells(workload))
            .map_or_else(none, per_second),
        lost(row, workload),
    ]
}

/// Whether there is more to tell than that the program was started.
fn tells(workload: &Workload) -> bool {
    workload.truth.is_none_or(|truth| truth.creations > 0)
}

impl Row {
    fn runs(&self) -> usize {
        self.costs.iter().flatten().count()
    }
}

/// Of each round in which both were run.
fn ratios(row: &Row, base: &Row, part: impl Fn(&Cost) -> Duration) -> Vec<f64> {
    let rounds = row.costs.iter().zip(&base.costs);
    let both = rounds.filter_map(|(cost, base)| Some((cost.as_ref()?, base.as_ref()?)));
    both.map(|(cost, base)| part(cost).as_secs_f64() / part(base).as_secs_f64().max(1e-6))
        .collect()
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

/// Median, least and most.
fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    match median(values.iter().copied()) {
        None => "–".to_owned(),
        Some(middle) => format!("{} ({}–{})", short(middle), short(least), short(most)),
    }
}

fn short(ratio: f64) -> String {
    if ratio < 20.0 {
        format!("{ratio:.2}")
    } else {
        format!("{ratio:.0}")
    }
}

fn seconds(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("1 = {value:.3} s"))
}

fn rate(per_second: f64) -> String {
    grouped(per_second.round() as u64)
}

/// What the worst run lost, of creations and of execs.
fn lost(row: &Row, workload: &Workload) -> String {
    if row.tallies.is_empty() {
        return "–".to_owned();
    }
    let worst = |told: fn(&Tally) -> Option<u64>, truth: Option<u64>, spare: u64, what: &str| {
        let all: Option<Vec<u64>> = row.tallies.iter().map(told).collect();
        let (Some(all), Some(truth)) = (all, truth) else {
            let told = row.tallies.first().and_then(told);
            return Some(match told {
                None => format!("{what} not shown"),
                Some(told) => format!("{} {what} told", grouped(told)),
            });
        };
        let least = all.iter().copied().min().unwrap_or(0);
        let most = all.iter().copied().max().unwrap_or(0);
        if least < truth {
            Some(format!(
                "{} of {} {what}",
                grouped(truth - least),
                grouped(truth)
            ))
        } else if most > truth + spare {
            Some(format!("{} {what} too many", grouped(most - truth)))
        } else {
            None
        }
    };
    let truth = workload.truth;
    let creations = truth.map(|truth| truth.creations);
    let execs = truth.map(|truth| truth.execs);
    let nothing_of = |count: Option<u64>| count == Some(0);
    let mut losses = Vec::new();
    if !nothing_of(creations) {
        losses.extend(worst(|tally| tally.creations, creations, 0, "creations"));
    }
    if !nothing_of(execs) {
        // That of the program itself.
        losses.extend(worst(|tally| tally.execs, execs, 1, "execs"));
    }
    if losses.is_empty() {
        "0".to_owned()
    } else {
        losses.join(", ")
    }
}

/// A table of any cells: the first column to the left, all others to the right.
pub(crate) fn grid(style: Style, headings: &[&str], rows: &[Vec<String>]) {
    if style == Style::Markdown {
        println!("| {} |", headings.join(" | "));
        println!("| --- {}|", "| ---: ".repeat(headings.len() - 1));
        for row in rows {
            println!("| {} |", row.join(" | "));
        }
        return;
    }
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells
            .chain([headings[column].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (column, cell) in cells.enumerate() {
            let pad = " ".repeat(widths[column] - cell.chars().count());
            match column {
                0 => text.push_str(&format!("  {cell}{pad}")),
                _ => text.push_str(&format!("  {pad}{cell}")),
            }
        }
        println!("{}", text.trim_end());
    };
    line(&mut headings.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
}
