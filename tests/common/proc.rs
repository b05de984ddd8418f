//! What /proc says of a task, and waiting until it says something else.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// A field of /proc/TID/status.
pub(crate) fn status(tid: i32, name: &str) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{tid}/status")).ok()?;
    String::from_utf8_lossy(&bytes)
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(|value| value.trim().to_owned())
}

/// `R`, `S`, `T` (stopped), `t` (stopped by a tracer), `Z`, ...; a space if it is gone.
pub(crate) fn state(tid: i32) -> char {
    status(tid, "State").map_or(' ', |text| text.chars().next().unwrap_or(' '))
}

/// 0: nobody traces it, or it is gone.
pub(crate) fn tracer(tid: i32) -> i32 {
    status(tid, "TracerPid").map_or(0, |text| text.parse().unwrap_or(0))
}

/// The threads of a process now.
pub(crate) fn threads(pid: i32) -> BTreeSet<i32> {
    std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Whether a stop lasts: not one of the moments that a tracer stops it for.
pub(crate) fn stays_stopped(tid: i32) -> bool {
    (0..20).all(|_| {
        std::thread::sleep(Duration::from_millis(1));
        matches!(state(tid), 'T' | 't')
    })
}

/// The processes of a process group.
pub(crate) fn group(pgrp: i32) -> Vec<i32> {
    let member = |pid: i32| {
        let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
        let stat = String::from_utf8_lossy(&stat).into_owned();
        let (_, after) = stat.rsplit_once(") ")?;
        let found: i32 = after.split(' ').nth(2)?.parse().ok()?;
        (found == pgrp).then_some(pid)
    };
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| member(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

/// Returns when `condition` holds; for states that nobody announces.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < end, "never came true: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
