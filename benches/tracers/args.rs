//! The command line, after `cargo bench --`.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::contender::{Contender, Mode, Peer};
use crate::workload::{Kind, Size};

/// Compares forktrace with native runs, with the floors of ptrace and with other tracers.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --")]
pub(crate) struct Args {
    /// How often each contender runs each workload; 7, with --quick 2.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,

    /// Only these workloads.
    #[arg(long, value_enum, value_name = "WORKLOAD", value_delimiter = ',')]
    only: Vec<Kind>,

    /// Only these peers beside forktrace and the floors, or `none`.
    #[arg(long, value_name = "PEER", value_delimiter = ',')]
    peers: Option<Vec<String>>,

    /// Small sizes: does everything work?
    #[arg(long)]
    quick: bool,

    /// Print tables in Markdown.
    #[arg(long)]
    pub(crate) markdown: bool,

    /// Print, instead, the system calls that forktrace and the floors make for each
    /// creation; needs strace.
    #[arg(long)]
    pub(crate) syscalls: bool,

    /// Also write forktrace's trace to /dev/null: what its output costs.
    #[arg(long)]
    null: bool,

    /// A contender whose first run takes longer than this is not run again.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    slow: u64,

    /// Only run a command, and print what it used: how the benchmark measures one process.
    #[arg(long, hide = true, num_args = 1.., allow_hyphen_values = true, value_name = "WORD")]
    pub(crate) usage_of: Vec<OsString>,

    /// What cargo passes to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    /// The arguments; help, and what is wrong with them, end the program.
    pub(crate) fn parse_or_exit() -> Args {
        Args::parse()
    }

    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 2 } else { 7 })
    }

    pub(crate) fn size(&self) -> Size {
        if self.quick { Size::Quick } else { Size::Full }
    }

    pub(crate) fn slow(&self) -> Duration {
        Duration::from_secs(self.slow)
    }

    pub(crate) fn workloads(&self) -> Vec<Kind> {
        if self.only.is_empty() {
            return Kind::value_variants().to_vec();
        }
        self.only.clone()
    }

    /// Everything to compare with native, in the order of the table.
    pub(crate) fn contenders(&self) -> Result<Vec<Contender>, String> {
        let mut contenders = vec![
            Contender::Native,
            Contender::Floor(Mode::Event),
            Contender::Forktrace(Mode::Event),
            Contender::Floor(Mode::Seccomp),
            Contender::Forktrace(Mode::Seccomp),
        ];
        if self.null {
            contenders.push(Contender::ForktraceToNull(Mode::Event));
            contenders.push(Contender::ForktraceToNull(Mode::Seccomp));
        }
        contenders.push(Contender::Forktrace(Mode::Syscall));
        contenders.extend(self.peers()?.into_iter().map(Contender::Peer));
        Ok(contenders)
    }

    fn peers(&self) -> Result<Vec<Peer>, String> {
        let Some(names) = &self.peers else {
            return Ok(Peer::ALL.to_vec());
        };
        let names = names.iter().filter(|name| *name != "none");
        names.map(|name| Peer::named(name)).collect()
    }
}
