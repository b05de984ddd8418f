//! What the integration tests share: running programs without ever hanging, compiling
//! fixtures, reading traces, and judging them against strace and against themselves.

// Each test binary uses its own part of this.
#![allow(dead_code)]

pub(crate) mod attachment;
pub(crate) mod case;
pub(crate) mod check;
pub(crate) mod fixture;
pub(crate) mod proc;
pub(crate) mod program;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod session;
pub(crate) mod trace;
pub(crate) mod tree;

/// The three ways forktrace learns of creations; each must tell the same story.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Seccomp,
    Event,
    Syscall,
}

impl Mode {
    pub(crate) const ALL: [Mode; 3] = [Mode::Seccomp, Mode::Event, Mode::Syscall];

    pub(crate) fn option(self) -> &'static str {
        match self {
            Mode::Seccomp => "--stops=seccomp",
            Mode::Event => "--stops=event",
            Mode::Syscall => "--stops=syscall",
        }
    }
}

/// How often each storm is raised: `FORKTRACE_STORM_ROUNDS`, 2 by default.
pub(crate) fn rounds() -> usize {
    std::env::var("FORKTRACE_STORM_ROUNDS").map_or(2, |text| text.parse().expect("a number"))
}

impl Mode {
    /// The modes of a round: all of them in the first, then one after the other.
    pub(crate) fn of_round(round: usize) -> Vec<Mode> {
        match round {
            0 => Mode::ALL.to_vec(),
            _ => vec![Mode::ALL[round % 3]],
        }
    }
}
