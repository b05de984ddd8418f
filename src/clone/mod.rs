//! What a creating call asks for: flags, request, kind. All of it is pure:
//! numbers and bytes in, facts out.
//!
//! - [`flags`]: the flag bits and their names;
//! - [`args`]: `struct clone_args` and `struct user_desc`, as bytes;
//! - [`request`]: fork, vfork, clone and clone3 in one vocabulary;
//! - [`decode`]: registers and memory to a [`Request`];
//! - [`rules`]: what the kernel refuses, and with which error;
//! - [`meaning`] and [`failure`]: the one line in words;
//! - [`manual`]: what each flag does, since when;
//! - [`explain`]: a line for each flag and argument.

pub mod args;
pub mod decode;
pub mod explain;
pub mod failure;
pub mod flags;
pub mod manual;
pub mod meaning;
pub mod request;
pub mod rules;

pub use args::{CloneArgs, UserDesc};
pub use decode::decode;
pub use flags::CloneFlags;
pub use request::{
    ArgSet, Body, Clone3, Kind, LegacyClone, Request, SetTid, Spec, Stack, Tail, Tls,
};
