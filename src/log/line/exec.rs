//! The lines of exec calls.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::types::{Hex, HexBytes, HexWords, Word, Words};
use super::super::words::{Executing, Of};
use super::causes::{CauseLine, known_causes};
use crate::abi::Abi;

/// Lines of exec calls.
macro_rules! executing {
    ($(#[$doc:meta])* $name:ident { $($fields:tt)* }) => {
        line! {
            $(#[$doc])*
            $name {
                /// `execve` or `execveat`; follows from `abi` and `nr` where they are
                /// there.
                syscall: Of<Executing>,
                $($fields)*
                /// The program's path; missing if null or unreadable.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                path: Option<Word<'a>>,
                /// Its bytes, where they are not UTF-8.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                path_hex: Option<HexBytes<'a>>,
                /// More of the path followed.
                #[serde(default, skip_serializing_if = "std::ops::Not::not")]
                path_truncated: bool,
                /// The path's address, if nothing could be read there.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                path_unreadable: Option<Hex>,
                /// The arguments; null for one that could not be read.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                argv: Option<Words<'a>>,
                /// The bytes of those that are not UTF-8.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                argv_hex: Option<HexWords<'a>>,
                /// What of the arguments is not there in full.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                argv_gaps: Option<Gaps>,
                /// The environment, if asked for (`--env`), like `argv`.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                env: Option<Words<'a>>,
                /// The bytes of those variables that are not UTF-8.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                env_hex: Option<HexWords<'a>>,
                /// What of the environment is not there in full.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                env_gaps: Option<Gaps>,
                /// How many variables there are; missing if that can't be read.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                env_vars: Option<u64>,
                /// Where they are.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                env_addr: Option<Hex>,
                /// Their array ended in memory that can't be read.
                #[serde(default, skip_serializing_if = "std::ops::Not::not")]
                env_unterminated: bool,
                /// The system call interface of the call; missing, as `nr` and
                /// `args` are, where its entry was not seen.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                abi: Option<Of<Abi>>,
                /// The call's number.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                nr: Option<u64>,
                /// The six argument registers in the ABI's order.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                args: Option<[Hex; 6]>,
                /// As for `create`.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                latency_ns: Option<u64>,
            }
        }
    };
}

executing! {
    /// A process became a new program.
    ExecLine {
        /// The tid that the caller goes on under, where it was no leader.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        continues_as_tid: Option<i32>,
        /// The thread that waited in vfork for this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        releases_tid: Option<i32>,
    }
}

executing! {
    /// An exec call that failed.
    ExecFailedLine {
        /// How it ended.
        outcome: Of<ExecFailure>,
        /// The error by name (derived); missing if it has none.
        #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
        errno: Option<String>,
        /// The error.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        errno_nr: Option<i32>,
        /// Why it failed, as for `create_failed`.
        #[serde(
            default,
            skip_serializing_if = "Vec::is_empty",
            deserialize_with = "known_causes"
        )]
        why: Vec<CauseLine<'a>>,
    }
}

/// How an exec call ended that did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExecFailure {
    /// With the error in `errno`.
    Error,
    /// Not at all: its caller was killed in it.
    Killed,
}

/// What of an array of strings is not there in full.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gaps {
    /// The address of the array, where nothing of it could be read or it is null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addr: Option<Hex>,
    /// Indices of the strings that were cut at the limit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub truncated: Vec<usize>,
    /// Indices of the strings that could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<usize>,
    /// The addresses of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable_addr: Vec<Hex>,
    /// More strings followed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// Where the array ended in memory that can't be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Hex>,
}
