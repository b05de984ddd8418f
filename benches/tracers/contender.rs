//! Who is compared: what command runs a workload under each, how its trace is read, and
//! whether it is there at all.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::fixture::Fixtures;
use crate::measure;
use crate::tally::Format;
use crate::tool;

/// One way to run a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    /// Not traced: what all others are measured by.
    Native,
    Forktrace(Mode),
    /// The same, its trace thrown away.
    ForktraceToNull(Mode),
    /// A bare tracer: the least that ptrace costs.
    Floor(Mode),
    Peer(Peer),
}

/// Where forktrace and the floors stop tracees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Event,
    Seccomp,
    Syscall,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::Event => "event",
            Mode::Seccomp => "seccomp",
            Mode::Syscall => "syscall",
        }
    }
}

/// Another tracer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Strace,
    StraceSeccomp,
    Tracexec,
    Lurk,
    PerfTrace,
}

/// What strace and perf are asked for: the calls that forktrace shows, and no others, so
/// that they decode and write no more than it does.
const CALLS: &str = "fork,vfork,clone,clone3,execve,execveat";

impl Peer {
    pub(crate) const ALL: [Peer; 5] = [
        Peer::Strace,
        Peer::StraceSeccomp,
        Peer::Tracexec,
        Peer::Lurk,
        Peer::PerfTrace,
    ];

    /// # Errors
    /// Where there is none of that name.
    pub(crate) fn named(name: &str) -> Result<Peer, String> {
        let found = Peer::ALL.into_iter().find(|peer| peer.key() == name);
        let keys: Vec<&str> = Peer::ALL.iter().map(|peer| peer.key()).collect();
        found.ok_or_else(|| format!("--peers: no '{name}'; one of none, {}", keys.join(", ")))
    }

    /// Its name on the command line.
    fn key(self) -> &'static str {
        match self {
            Peer::Strace => "strace",
            Peer::StraceSeccomp => "strace-seccomp",
            Peer::Tracexec => "tracexec",
            Peer::Lurk => "lurk",
            Peer::PerfTrace => "perf",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Peer::Strace => "strace -f",
            Peer::StraceSeccomp => "strace -f --seccomp-bpf",
            Peer::Tracexec => "tracexec log",
            Peer::Lurk => "lurk -f",
            Peer::PerfTrace => "perf trace",
        }
    }

    fn program(self) -> &'static str {
        match self {
            Peer::Strace | Peer::StraceSeccomp => "strace",
            Peer::Tracexec => "tracexec",
            Peer::Lurk => "lurk",
            Peer::PerfTrace => "perf",
        }
    }

    /// Its arguments between its name and the command to trace.
    fn arguments(self, trace: &Path) -> Vec<OsString> {
        let calls = format!("trace={CALLS}");
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let mut arguments = match self {
            // Signals would be lines that forktrace doesn't write.
            Peer::Strace => words(&["-f", "-e", "signal=none", "-e", &calls]),
            Peer::StraceSeccomp => {
                words(&["-f", "--seccomp-bpf", "-e", "signal=none", "-e", &calls])
            }
            // By itself it shows execs only.
            Peer::Tracexec => words(&["log", "--filter-include", "new-child"]),
            Peer::Lurk => words(&["-f", "--expr", &calls]),
            Peer::PerfTrace => words(&["trace", "-e", CALLS]),
        };
        arguments.extend(["-o".into(), trace.into(), "--".into()]);
        arguments
    }

    fn format(self) -> Format {
        match self {
            Peer::Strace | Peer::StraceSeccomp => Format::Strace,
            Peer::Tracexec => Format::Tracexec,
            Peer::Lurk => Format::Lurk,
            Peer::PerfTrace => Format::PerfTrace,
        }
    }
}

impl Contender {
    /// How it is called in tables.
    pub(crate) fn name(self) -> String {
        match self {
            Contender::Native => "native".to_owned(),
            Contender::Forktrace(Mode::Seccomp) => "forktrace -f".to_owned(),
            Contender::Forktrace(mode) => format!("forktrace -f --stops={}", mode.name()),
            Contender::ForktraceToNull(mode) => {
                format!("forktrace -f --stops={} -o /dev/null", mode.name())
            }
            Contender::Floor(mode) => format!("floor, {} stops", mode.name()),
            Contender::Peer(peer) => peer.title().to_owned(),
        }
    }

    /// The floor that it stands on.
    pub(crate) fn floor(self) -> Option<Contender> {
        match self {
            Contender::Forktrace(mode) | Contender::ForktraceToNull(mode) => match mode {
                Mode::Event | Mode::Seccomp => Some(Contender::Floor(mode)),
                Mode::Syscall => None,
            },
            _ => None,
        }
    }

    /// The format of its trace; `None` where it writes none.
    pub(crate) fn format(self) -> Option<Format> {
        match self {
            Contender::Native | Contender::ForktraceToNull(_) => None,
            Contender::Forktrace(_) => Some(Format::Forktrace),
            Contender::Floor(_) => Some(Format::Floor),
            Contender::Peer(peer) => Some(peer.format()),
        }
    }

    /// Whether it is a tracer by ptrace.
    pub(crate) fn stops_tracees(self) -> bool {
        !matches!(self, Contender::Native | Contender::Peer(Peer::PerfTrace))
    }
}

/// What is there of all this.
#[derive(Debug)]
pub(crate) struct Tools {
    floor: PathBuf,
    peers: Vec<(Peer, Result<PathBuf, String>)>,
}

impl Tools {
    /// Looks for every peer, and tries whether it works here: perf may be installed and
    /// not be allowed to trace.
    pub(crate) fn find(fixtures: &Fixtures, directory: &Path) -> Tools {
        let floor = fixtures.path("floor");
        let mut tools = Tools {
            floor,
            peers: Vec::new(),
        };
        for peer in Peer::ALL {
            let path = tool::find(peer.program());
            let path = path.ok_or_else(|| format!("no {} in PATH", peer.program()));
            tools.peers.push((peer, path));
            let contender = Contender::Peer(peer);
            if tools.has(contender) {
                let trace = directory.join("trial");
                let _ = std::fs::remove_file(&trace);
                let words = tools.words(contender, &trace, &["/bin/true".into()]);
                let mut command = measure::command(words);
                if let Err(reason) = measure::run(&mut command, &directory.join("stderr")) {
                    let reason = format!("it is installed but doesn't work here: {reason}");
                    if let Some(last) = tools.peers.last_mut() {
                        last.1 = Err(reason);
                    }
                }
            }
        }
        tools
    }

    /// Whether it can be run.
    pub(crate) fn has(&self, contender: Contender) -> bool {
        match contender {
            Contender::Peer(_) => self.path(contender).is_some(),
            _ => true,
        }
    }

    /// Those that can't be run, and why.
    pub(crate) fn absent(&self, wanted: &[Contender]) -> Vec<(Contender, String)> {
        let absent = self.peers.iter().filter_map(|(peer, path)| {
            let reason = path.as_ref().err()?;
            Some((Contender::Peer(*peer), reason.clone()))
        });
        absent
            .filter(|(contender, _)| wanted.contains(contender))
            .collect()
    }

    /// The programs that are there, each once.
    pub(crate) fn programs(&self) -> Vec<&Path> {
        let mut programs: Vec<&Path> = Vec::new();
        for path in self.peers.iter().filter_map(|(_, path)| path.as_ref().ok()) {
            if !programs.contains(&path.as_path()) {
                programs.push(path);
            }
        }
        programs
    }

    fn path(&self, contender: Contender) -> Option<&Path> {
        match contender {
            Contender::Peer(peer) => {
                let (_, path) = self.peers.iter().find(|(other, _)| *other == peer)?;
                path.as_deref().ok()
            }
            Contender::Floor(_) => Some(&self.floor),
            Contender::Forktrace(_) | Contender::ForktraceToNull(_) => {
                Some(Path::new(env!("CARGO_BIN_EXE_forktrace")))
            }
            Contender::Native => None,
        }
    }

    /// The command that runs `workload` under `contender`, the trace going to `trace`.
    pub(crate) fn words(
        &self,
        contender: Contender,
        trace: &Path,
        workload: &[OsString],
    ) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        words.extend(self.path(contender).map(OsString::from));
        match contender {
            Contender::Native => {}
            Contender::Forktrace(mode) => words.extend(forktrace(mode, trace)),
            Contender::ForktraceToNull(mode) => {
                words.extend(forktrace(mode, Path::new("/dev/null")));
            }
            Contender::Floor(mode) => words.extend([mode.name().into(), trace.into()]),
            Contender::Peer(peer) => words.extend(peer.arguments(trace)),
        }
        words.extend(workload.iter().cloned());
        words
    }
}

fn forktrace(mode: Mode, trace: &Path) -> Vec<OsString> {
    vec![
        "-f".into(),
        format!("--stops={}", mode.name()).into(),
        "-o".into(),
        trace.into(),
        "--".into(),
    ]
}
