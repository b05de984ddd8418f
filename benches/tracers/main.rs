//! What tracing costs: the same programs native, under forktrace, under the two floors
//! (bare tracers in C) and under every peer that is installed, in turns, round after
//! round. Each run is compared with the native run of its own round, so that a machine
//! that gets slower or faster meanwhile does so for all; and what a trace lost is counted,
//! as a fast tracer that loses half is none.
//!
//! ```text
//! workload × contender ─► measure (wall, CPU) ┐
//!                         trace ─► tally      ├─► rounds ─► table
//!                         perf stat ─► stops  ┘
//! ```

mod args;
mod contender;
mod fixture;
mod host;
mod measure;
mod project;
mod recording;
mod rounds;
mod stops;
mod syscalls;
mod table;
mod tally;
mod tool;
mod view;
mod workload;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use args::Args;
use contender::{Contender, Tools};
use table::Style;
use workload::{Kind, Workload};

fn main() -> ExitCode {
    let args = Args::parse_or_exit();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("benchmark: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), String> {
    if !args.usage_of.is_empty() {
        return view::usage_of(&args.usage_of);
    }
    measure::adopt_orphans()?;
    let directory = directory()?;
    let fixtures = fixture::build_all(&directory)?;
    let tools = Tools::find(&fixtures, &directory);
    let wanted = args.contenders()?;
    let workloads = args.workloads();
    let style = if args.markdown {
        Style::Markdown
    } else {
        Style::Aligned
    };
    for line in host::describe(&tools) {
        table::print_line(style, &line);
    }
    for (contender, reason) in tools.absent(&wanted) {
        table::print_line(style, &format!("absent: {}: {reason}", contender.name()));
    }
    let present: Vec<Contender> = wanted.into_iter().filter(|c| tools.has(*c)).collect();
    if args.syscalls {
        return syscalls::print(&tools, &fixtures, &directory, style);
    }
    let mut failed = Vec::new();
    for kind in workloads {
        if kind == Kind::View {
            view::print(args, &directory, style)?;
            continue;
        }
        match Workload::prepare(kind, args.size(), &fixtures, &directory) {
            Err(reason) => table::print_line(style, &format!("{}: skipped: {reason}", kind.name())),
            Ok(workload) => {
                let series = rounds::run(&workload, &present, &tools, &directory, args)?;
                table::print(style, &workload, &series);
                failed.extend(series.failures(&workload));
            }
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(failed.join("\nbenchmark: "))
}

/// Where fixtures, projects and traces go, all on one file system.
fn directory() -> Result<PathBuf, String> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench");
    std::fs::create_dir_all(&directory)
        .map_err(|error| format!("cannot create {}: {error}", directory.display()))?;
    Ok(directory)
}
