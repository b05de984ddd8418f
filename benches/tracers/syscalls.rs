//! What forktrace itself asks of the kernel for each creation, beside what the floors do.
//! strace can't follow tracees that have a tracer, but without -f it counts the calls of
//! the tracer alone. The calls of a run that creates nothing are taken off.

use std::collections::BTreeMap;
use std::path::Path;

use crate::contender::{Contender, Mode, Tools};
use crate::fixture::Fixtures;
use crate::table::{self, Style};
use crate::{measure, tool};

/// Creations in a run: enough that what is left of start and end doesn't count.
const CREATIONS: u32 = 1_000;

const CONTENDERS: [Contender; 5] = [
    Contender::Floor(Mode::Event),
    Contender::Forktrace(Mode::Event),
    Contender::Floor(Mode::Seccomp),
    Contender::Forktrace(Mode::Seccomp),
    Contender::Forktrace(Mode::Syscall),
];

type Counts = BTreeMap<String, i64>;

/// # Errors
/// Where strace is absent or a run fails.
pub(crate) fn print(
    tools: &Tools,
    fixtures: &Fixtures,
    directory: &Path,
    style: Style,
) -> Result<(), String> {
    let strace = tool::find("strace").ok_or("--syscalls needs strace, which is absent")?;
    for fixture in ["forks", "threads", "spawns"] {
        let mut rows = Vec::new();
        for contender in CONTENDERS {
            let count = |creations: u32| {
                let workload = [fixtures.path(fixture).into(), creations.to_string().into()];
                let words = tools.words(contender, &directory.join("trace"), &workload);
                eprintln!("{fixture}: {}: {creations}", contender.name());
                counts(&strace, &words, directory)
            };
            let (base, full) = (count(0)?, count(CREATIONS)?);
            rows.push(row(contender, &base, &full));
        }
        let title = format!("{fixture}: system calls of the tracer for each creation");
        table::heading(style, &title);
        table::grid(style, &["", "all", "each"], &rows);
    }
    Ok(())
}

fn row(contender: Contender, base: &Counts, full: &Counts) -> Vec<String> {
    let mut each: Vec<(f64, &str)> = full
        .iter()
        .map(|(name, count)| {
            let extra = count - base.get(name).unwrap_or(&0);
            (extra as f64 / f64::from(CREATIONS), name.as_str())
        })
        .filter(|(count, _)| count.abs() >= 0.01)
        .collect();
    each.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let all: f64 = each.iter().map(|(count, _)| count).sum();
    let words: Vec<String> = each
        .iter()
        .map(|(count, name)| format!("{name} {count:.2}"))
        .collect();
    vec![contender.name(), format!("{all:.2}"), words.join(", ")]
}

fn counts(strace: &Path, words: &[std::ffi::OsString], directory: &Path) -> Result<Counts, String> {
    let summary = directory.join("counts");
    let mut command = measure::command([strace]);
    command
        .args(["-c", "-o"])
        .arg(&summary)
        .arg("--")
        .args(words);
    measure::run(&mut command, &directory.join("stderr"))?;
    let text = std::fs::read_to_string(&summary).map_err(|error| error.to_string())?;
    // % time, seconds, usecs/call, calls, [errors,] name.
    let lines = text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let calls = words.get(3)?.parse().ok()?;
        let name = words.last().filter(|name| **name != "total")?;
        Some(((*name).to_owned(), calls))
    });
    Ok(lines.collect())
}
