//! Why a creating call or an exec failed: from evidence, which somebody else
//! reads, to causes. Pure: what a cause says is what the evidence supports.
//!
//! - [`evidence`]: what was read at the moment of the failure, each piece of it
//!   perhaps not;
//! - [`creation`], with [`limits`], and [`exec`]: from it to [`Cause`]s;
//! - [`reason`]: what a cause is, with the figures that decide; its words;
//! - [`parse`]: the texts of /proc and of cgroups, as facts;
//! - [`path`]: a path as the kernel resolved it, part by part;
//! - [`image`]: what the first bytes of a file say of how it is run;
//! - [`bpf`]: what a seccomp filter answers to a call;
//! - [`retry`]: calls that repeat one that failed.

pub mod bpf;
pub mod creation;
pub mod evidence;
pub mod exec;
pub mod image;
pub mod limits;
pub mod parse;
pub mod path;
pub mod reason;
pub mod retry;

use std::fmt::Write;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use evidence::Fact;
pub use reason::Reason;
pub use retry::Retry;

/// How far the evidence goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// It alone makes the call fail with this error.
    Certain,
    /// It may have: something that decides could not be read, or has changed
    /// since.
    Possible,
}

/// What may have made a call fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// How certain that is.
    pub certainty: Certainty,
    /// What it is.
    pub reason: Reason,
}

impl Cause {
    /// A cause that is certain.
    pub fn certain(reason: Reason) -> Cause {
        Cause {
            certainty: Certainty::Certain,
            reason,
        }
    }

    /// A cause that is possible.
    pub fn possible(reason: Reason) -> Cause {
        Cause {
            certainty: Certainty::Possible,
            reason,
        }
    }
}

/// The causes of a failure: those that are certain first, each kind in the order
/// in which the kernel looks. Empty where nothing is known.
pub type Causes = Vec<Cause>;

/// Causes in one clause, without a full stop: the first that is certain, or all
/// that are possible. `None` if there are none.
pub fn words(causes: &[Cause]) -> Option<String> {
    let certain = causes
        .iter()
        .find(|cause| cause.certainty == Certainty::Certain);
    if let Some(cause) = certain {
        return Some(printable(cause.reason.to_string()));
    }
    let (first, others) = causes.split_first()?;
    let mut words = format!("perhaps {}", first.reason);
    for cause in others {
        let _ = write!(words, "; or {}", cause.reason);
    }
    Some(printable(words))
}

/// Paths may have any characters in them, also those that steer a terminal or
/// turn the direction of writing: all but printable ASCII is escaped, as strace
/// does in calls.
fn printable(text: String) -> String {
    let plain = |c: char| matches!(c, ' '..='~');
    if text.chars().all(plain) {
        return text;
    }
    let mut printable = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\t' | '\n' | '\r' => printable.extend(c.escape_default()),
            c if plain(c) => printable.push(c),
            c => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(printable, "\\{byte:03o}");
                }
            }
        }
    }
    printable
}

/// Those that are certain first; the order is kept otherwise, and what was found
/// twice is there once.
fn sorted(causes: Causes) -> Causes {
    let mut sorted: Causes = Vec::with_capacity(causes.len());
    for certainty in [Certainty::Certain, Certainty::Possible] {
        for cause in causes.iter().filter(|cause| cause.certainty == certainty) {
            if !sorted.iter().any(|known| known.reason == cause.reason) {
                sorted.push(cause.clone());
            }
        }
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_certain_is_said_alone() {
        let limit = || Reason::ThreadsMax { max: 9, tasks: 9 };
        let other = || Reason::Deadline;
        assert_eq!(words(&[]), None);
        assert_eq!(
            words(&[Cause::certain(limit()), Cause::possible(other())]).as_deref(),
            Some("kernel.threads-max 9, tasks on the system 9")
        );
        assert_eq!(
            words(&[Cause::possible(limit()), Cause::possible(other())]).as_deref(),
            Some(
                "perhaps kernel.threads-max 9, tasks on the system 9; or the caller's scheduling \
                 policy is SCHED_DEADLINE, without reset-on-fork"
            )
        );
    }

    #[test]
    fn words_steer_no_terminal() {
        let reason = Reason::EmptyFile {
            path: "/a\r\x1b[31m\u{202e}".to_owned(),
        };
        assert_eq!(
            words(&[Cause::certain(reason)]).as_deref(),
            Some("/a\\r\\033[31m\\342\\200\\256 is empty")
        );
    }

    #[test]
    fn the_certain_comes_first_and_each_once() {
        let one = || Reason::Deadline;
        let two = || Reason::InitDied;
        let causes = vec![
            Cause::possible(one()),
            Cause::certain(two()),
            Cause::possible(two()),
        ];
        let expected = [Cause::certain(two()), Cause::possible(one())];
        assert_eq!(sorted(causes), expected);
    }
}
