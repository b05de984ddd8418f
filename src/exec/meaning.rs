//! What an exec means, in one line of plain words.

use std::fmt::Write;

use crate::diagnosis::{self, Cause};
use crate::event::Exec;
use crate::ids::{Errno, Pid, Tid};

/// What a successful exec did; `tid` called it, a thread of `tgid`.
pub fn done(tid: Tid, tgid: Pid, exec: &Exec) -> String {
    let mut words = format!(
        "process {tgid} becomes a new program: memory replaced, signal handlers reset, \
         close-on-exec files closed"
    );
    if let Some(parent) = exec.releases {
        let _ = write!(words, "; {parent}, suspended in vfork, goes on");
    }
    if let Some(leader) = exec.continues_as {
        let _ = write!(
            words,
            "; thread {tid} goes on as {leader}, all other threads are gone"
        );
    }
    words
}

/// What a failed exec means, where it was found out why; else as [`failed`].
pub fn failed_by(errno: Errno, why: &[Cause]) -> String {
    match diagnosis::words(why).filter(|_| errno.restart().is_none()) {
        Some(words) => format!("{words}; the old program goes on"),
        None => failed(errno).to_owned(),
    }
}

/// What a failed exec means, as far as the error tells.
pub fn failed(errno: Errno) -> &'static str {
    match errno {
        Errno::ENOENT => "no such file, or its interpreter is missing; the old program goes on",
        Errno::EACCES => "not an executable file, or no permission; the old program goes on",
        Errno::ENOEXEC => "no format that the kernel can run; the old program goes on",
        Errno::E2BIG => "arguments and environment are too large; the old program goes on",
        _ => "the old program goes on",
    }
}
