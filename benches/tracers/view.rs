//! How fast a recorded log is shown, and in how much memory.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::args::Args;
use crate::table::{self, Style};
use crate::workload::{Kind, Size, grouped};
use crate::{measure, recording};

const VIEWS: [&str; 3] = ["text", "tree", "summary"];

/// What one run took.
struct Run {
    cpu: Duration,
    peak_kib: u64,
}

/// Writes a log and shows it in each of the views, in turns.
///
/// # Errors
/// Where it can't be written or a run fails.
pub(crate) fn print(args: &Args, directory: &Path, style: Style) -> Result<(), String> {
    let least = match args.size() {
        Size::Full => 1_000_000,
        Size::Quick => 20_000,
    };
    let log = directory.join("view.ndjson");
    let shown = directory.join("shown");
    let printed = print_of(&log, least, &shown, args.rounds(), style);
    // They are hundreds of megabytes.
    for file in [log, shown] {
        let _ = std::fs::remove_file(file);
    }
    printed
}

fn print_of(log: &Path, least: u64, shown: &Path, rounds: u32, style: Style) -> Result<(), String> {
    let events = recording::write(log, least)
        .map_err(|error| format!("cannot write {}: {error}", log.display()))?;
    let bytes = log.metadata().map_err(|error| error.to_string())?.len();
    let mut runs = VIEWS.map(|_| Vec::new());
    for round in 0..rounds {
        for (view, runs) in VIEWS.iter().zip(&mut runs) {
            eprintln!("view: round {} of {}: {view}", round + 1, rounds);
            runs.push(run(log, view, shown)?);
        }
    }
    let rows = VIEWS.iter().zip(&runs).map(|(view, runs)| {
        let mut cpus: Vec<f64> = runs.iter().map(|run| run.cpu.as_secs_f64()).collect();
        cpus.sort_by(f64::total_cmp);
        let cpu = cpus[cpus.len() / 2];
        let peak = runs.iter().map(|run| run.peak_kib).max().unwrap_or(0);
        vec![
            format!("forktrace view --as {view}"),
            format!("{cpu:.3} s"),
            grouped((events as f64 / cpu.max(1e-6)).round() as u64),
            format!("{:.1} MiB", peak as f64 / 1024.0),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let title = format!(
        "{}: a log of {} events, {} MB",
        Kind::View.name(),
        grouped(events),
        bytes / 1_000_000
    );
    table::heading(style, &title);
    table::grid(style, &["", "CPU", "events/s of CPU", "peak memory"], &rows);
    Ok(())
}

/// Shows it once, under this program again: what its children used is that of one then.
fn run(log: &Path, view: &str, shown: &Path) -> Result<Run, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = measure::command([own.as_os_str()])
        .arg("--usage-of")
        .arg(env!("CARGO_BIN_EXE_forktrace"))
        .args(["view", "--as", view, "-o"])
        .arg(shown)
        .arg(log)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run this program again: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    match (output.status.success(), numbers.next(), numbers.next()) {
        (true, Some(Ok(micros)), Some(Ok(peak_kib))) => Ok(Run {
            cpu: Duration::from_micros(micros),
            peak_kib,
        }),
        _ => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("view --as {view}: {}", said.trim()))
        }
    }
}

/// Runs a command and prints its CPU time in microseconds and its largest resident set in
/// KiB.
///
/// # Errors
/// Where it fails.
pub(crate) fn usage_of(words: &[OsString]) -> Result<(), String> {
    let (program, rest) = words.split_first().ok_or("--usage-of needs a command")?;
    let status = std::process::Command::new(program).args(rest).status();
    let status = status.map_err(|error| format!("cannot run it: {error}"))?;
    if !status.success() {
        return Err(status.to_string());
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|errno| errno.to_string())?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    println!("{micros} {}", usage.max_rss());
    Ok(())
}
