//! How often tracees were stopped: counted once for each contender and workload, in a run
//! that is not timed, since counting slows all system calls. Every stop is ended by one
//! resuming ptrace request, and `perf stat` counts those of the tracer whatever its threads
//! do; tracees make none themselves.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::contender::{Contender, Mode, Tools};
use crate::workload::Workload;
use crate::{measure, tool};

/// PTRACE_CONT, PTRACE_DETACH, PTRACE_SYSCALL, PTRACE_LISTEN (linux/ptrace.h).
const RESUMING: &str = "request==7||request==17||request==24||request==0x4208";

/// A counter of stops.
#[derive(Debug)]
pub(crate) struct Counter {
    perf: PathBuf,
}

impl Counter {
    /// A counter, if it works here.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn new(tools: &Tools, directory: &Path) -> Result<Counter, String> {
        let perf = tool::find("perf").ok_or("perf is absent")?;
        let counter = Counter { perf };
        let words = tools.words(
            Contender::Floor(Mode::Event),
            &directory.join("trial"),
            &["/bin/true".into()],
        );
        // Its exec: one stop, the least there is.
        match counter.count(&words, &[], directory)? {
            0 => Err("perf stat counts no ptrace requests here".to_owned()),
            _ => Ok(counter),
        }
    }

    /// The stops in one run of a workload.
    ///
    /// # Errors
    /// Where that run fails.
    pub(crate) fn stops(
        &self,
        contender: Contender,
        workload: &Workload,
        tools: &Tools,
        directory: &Path,
    ) -> Result<u64, String> {
        workload.before_a_run()?;
        let words = tools.words(contender, &directory.join("trace"), &workload.command);
        let environment: Vec<_> = workload.environment().collect();
        self.count(&words, &environment, directory)
    }

    fn count(
        &self,
        words: &[OsString],
        environment: &[(&str, &OsString)],
        directory: &Path,
    ) -> Result<u64, String> {
        let counts = directory.join("counts");
        let mut command = measure::command([&self.perf]);
        command
            .args(["stat", "-x", ",", "-e", "syscalls:sys_enter_ptrace"])
            .args(["--filter", RESUMING, "-o"])
            .arg(&counts)
            .arg("--")
            .args(words)
            .envs(environment.iter().copied());
        measure::run(&mut command, &directory.join("stderr"))?;
        let text = std::fs::read_to_string(&counts).map_err(|error| error.to_string())?;
        text.lines()
            .find_map(|line| line.split(',').next()?.parse().ok())
            .ok_or_else(|| "perf stat gave no count".to_owned())
    }
}
