//! What is run: programs that create processes and threads, each with what is known of it
//! by construction, so that it can be said what a trace lost.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::contender::{Contender, Mode};
use crate::fixture::Fixtures;
use crate::{measure, project, tool};

/// A workload by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// fork, exit, wait
    Forks,
    /// pthread_create, join
    Threads,
    /// posix_spawn of /bin/true
    Spawns,
    /// A loop of sh over /bin/true
    Sh,
    /// getppid: what a tracer costs a program that creates nothing
    Calls,
    /// make -j2 of a C project
    Make,
    /// cargo build of forktrace
    Cargo,
    /// A log of a million events, shown: nothing is traced
    View,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Forks => "forks",
            Kind::Threads => "threads",
            Kind::Spawns => "spawns",
            Kind::Sh => "sh",
            Kind::Calls => "calls",
            Kind::Make => "make",
            Kind::Cargo => "cargo",
            Kind::View => "view",
        }
    }

    /// Whether it makes sense under a contender: what it costs to stop at all of millions
    /// of calls is known.
    pub(crate) fn suits(self, contender: Contender) -> bool {
        let many_calls = matches!(self, Kind::Calls | Kind::Make | Kind::Cargo);
        !(many_calls && contender == Contender::Forktrace(Mode::Syscall))
    }
}

/// How much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    Full,
    /// Enough to see that everything works.
    Quick,
}

/// What a trace of a workload has to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Truth {
    /// Processes and threads created.
    pub(crate) creations: u64,
    /// Execs, that of the program itself not counted: not every tracer sees it.
    pub(crate) execs: u64,
}

/// A workload, ready to be run.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) kind: Kind,
    /// What it does, for a heading.
    pub(crate) title: String,
    pub(crate) command: Vec<OsString>,
    /// `None` for builds: only the compiler's authors know.
    pub(crate) truth: Option<Truth>,
    /// A directory to be removed before each run.
    fresh: Option<PathBuf>,
    /// Variables to be set for each run.
    environment: Vec<(&'static str, OsString)>,
}

impl Workload {
    /// Makes what it needs, and runs it once, native, to see that it works here and to
    /// have its files in memory.
    ///
    /// # Errors
    /// Why it can't be run here.
    pub(crate) fn prepare(
        kind: Kind,
        size: Size,
        fixtures: &Fixtures,
        directory: &Path,
    ) -> Result<Workload, String> {
        let count = |full: u64, quick: u64| match size {
            Size::Full => full,
            Size::Quick => quick,
        };
        let workload = match kind {
            Kind::Forks => {
                let n = count(5_000, 500);
                let title = format!("{} × fork, exit, wait", grouped(n));
                Workload::counted(kind, title, fixtures.path("forks"), n, (n, 0))
            }
            Kind::Threads => {
                let n = count(20_000, 2_000);
                let title = format!("{} × pthread_create, join", grouped(n));
                Workload::counted(kind, title, fixtures.path("threads"), n, (n, 0))
            }
            Kind::Spawns => {
                let n = count(1_000, 100);
                let title = format!("{} × posix_spawn of /bin/true, wait", grouped(n));
                Workload::counted(kind, title, fixtures.path("spawns"), n, (n, n))
            }
            Kind::Sh => shell_loop(count(1_000, 100))?,
            Kind::Calls => {
                let n = count(2_000_000, 50_000);
                let title = format!("{} × getppid", grouped(n));
                Workload::counted(kind, title, fixtures.path("calls"), n, (0, 0))
            }
            Kind::Make => make(count(50, 10), directory)?,
            Kind::Cargo if size == Size::Quick => return Err("not with --quick".to_owned()),
            Kind::Cargo => cargo(directory),
            Kind::View => return Err("it runs nothing".to_owned()),
        };
        workload.before_a_run()?;
        let mut command = measure::command(&workload.command);
        command.envs(workload.environment());
        measure::run(&mut command, &directory.join("stderr"))?;
        Ok(workload)
    }

    fn counted(
        kind: Kind,
        title: String,
        program: PathBuf,
        count: u64,
        (creations, execs): (u64, u64),
    ) -> Workload {
        Workload {
            kind,
            title,
            command: vec![program.into(), count.to_string().into()],
            truth: Some(Truth { creations, execs }),
            fresh: None,
            environment: Vec::new(),
        }
    }

    /// Removes what the last run left.
    ///
    /// # Errors
    /// Where that is not allowed.
    pub(crate) fn before_a_run(&self) -> Result<(), String> {
        let Some(directory) = &self.fresh else {
            return Ok(());
        };
        match std::fs::remove_dir_all(directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(format!("cannot remove {}: {error}", directory.display()))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn environment(&self) -> impl Iterator<Item = (&'static str, &OsString)> {
        self.environment.iter().map(|(name, value)| (*name, value))
    }
}

fn shell_loop(count: u64) -> Result<Workload, String> {
    let sh = tool::find("sh").ok_or("sh is absent")?;
    let script = format!("i=0; while [ $i -lt {count} ]; do /bin/true; i=$((i+1)); done");
    Ok(Workload {
        kind: Kind::Sh,
        title: format!("sh, a loop of {} × /bin/true", grouped(count)),
        command: vec![sh.into(), "-c".into(), script.into()],
        truth: Some(Truth {
            creations: count,
            execs: count,
        }),
        fresh: None,
        environment: Vec::new(),
    })
}

fn make(files: u64, directory: &Path) -> Result<Workload, String> {
    let make = tool::find("make").ok_or("make is absent")?;
    let project = directory.join(format!("project-{files}"));
    project::write(&project, files)
        .map_err(|error| format!("cannot write {}: {error}", project.display()))?;
    // -B: each run makes everything anew, in place.
    let mut command: Vec<OsString> = vec![make.into()];
    command.extend(["-B", "-s", "-j2", "-C"].map(OsString::from));
    command.push(project.into());
    Ok(Workload {
        kind: Kind::Make,
        title: format!("make -j2, a C project of {files} files"),
        command,
        truth: None,
        fresh: None,
        environment: Vec::new(),
    })
}

/// A debug build, from what is in the registry's cache.
fn cargo(directory: &Path) -> Workload {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let target = directory.join("cargo-target");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let mut command = vec![cargo];
    command.extend(["build", "--frozen", "-j2", "--manifest-path"].map(OsString::from));
    command.push(manifest.into());
    Workload {
        kind: Kind::Cargo,
        title: "cargo build of forktrace, -j2".to_owned(),
        command,
        truth: None,
        fresh: Some(target.clone()),
        environment: vec![("CARGO_TARGET_DIR", target.into())],
    }
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
