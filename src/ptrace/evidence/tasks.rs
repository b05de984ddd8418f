//! Looks at all tasks that /proc shows: how many, whose, and who is init.

use std::fs::{DirEntry, read_dir};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{namespace, text};
use crate::diagnosis::evidence::{Fact, Writer};
use crate::diagnosis::parse;
use crate::ids::{Comm, Pid};

/// What looking at all tasks may take in any case.
const FREE: Duration = Duration::from_millis(100);
/// And beyond that: one part in so many of the time since the first look.
const SHARE: u32 = 10;

/// Looks, unless such looks took too much time already: `None` then. A program whose
/// calls fail again and again is stopped at each, for a time that grows with the number
/// of tasks.
pub(super) fn look<T>(at_tasks: impl FnOnce() -> T) -> Option<T> {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    static SPENT: AtomicU64 = AtomicU64::new(0);
    let now = Instant::now();
    let since = now.duration_since(*FIRST.get_or_init(|| now));
    let spent = Duration::from_nanos(SPENT.load(Ordering::Relaxed));
    if is_too_much(spent, since) {
        return None;
    }
    let seen = at_tasks();
    let took = now.elapsed().as_nanos() as u64;
    SPENT.fetch_add(took, Ordering::Relaxed);
    Some(seen)
}

fn is_too_much(spent: Duration, since: Duration) -> bool {
    spent > FREE + since / SHARE
}

/// Numbers of tasks: threads, zombies with them.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// All that are seen.
    pub(super) all: u64,
    /// Those of a real user.
    pub(super) of_user: u64,
}

/// The numbers in a directory of /proc.
fn numbers(path: &str) -> impl Iterator<Item = i32> {
    let number = |entry: DirEntry| entry.file_name().to_str()?.parse().ok();
    read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(number)
}

/// Counts all tasks, and those of a user.
pub(super) fn count(uid: u32) -> Counted {
    let mut counted = Counted::default();
    for pid in numbers("/proc") {
        let status = text(&format!("/proc/{pid}/status"));
        let read = status.parsed(|text| parse::user_and_threads(&text));
        if let Some((user, threads)) = read.get() {
            counted.all += threads;
            counted.of_user += if *user == uid { *threads } else { 0 };
        }
    }
    counted
}

/// Whether a pid namespace has an init that lives.
pub(super) fn has_init(inode: u64) -> bool {
    numbers("/proc").any(|pid| {
        let lives = |text: &String| {
            let zombie = parse::field(text, "State").is_none_or(|s| s.starts_with(['Z', 'X']));
            let init = parse::status(text).is_some_and(|s| s.ns_tgids.last() == Some(&1));
            init && !zombie
        };
        namespace(&format!("/proc/{pid}/ns/pid")) == Fact::Read(inode)
            && text(&format!("/proc/{pid}/status"))
                .get()
                .is_some_and(lives)
    })
}

/// The processes that have a file open for writing, by its device and inode.
pub(super) fn writers(device: u64, inode: u64) -> Vec<Writer> {
    use std::os::unix::fs::MetadataExt;
    let writes = |pid: i32, fd: i32| {
        let info = text(&format!("/proc/{pid}/fdinfo/{fd}"));
        let flags = parse::field(info.get()?, "flags")?;
        let flags = i32::from_str_radix(flags, 8).ok()?;
        if flags & libc::O_ACCMODE == libc::O_RDONLY {
            return None;
        }
        // Who answers for other files may be stopped: they are not looked at
        // (the field is there since Linux 5.14).
        let number: u64 = parse::field(info.get()?, "ino")?.parse().ok()?;
        if number != inode {
            return None;
        }
        let file = std::fs::metadata(format!("/proc/{pid}/fd/{fd}")).ok()?;
        ((file.dev(), file.ino()) == (device, inode)).then_some(())
    };
    numbers("/proc")
        .filter(|pid| numbers(&format!("/proc/{pid}/fd")).any(|fd| writes(*pid, fd).is_some()))
        .map(|pid| Writer {
            pid: Pid(pid),
            comm: match text(&format!("/proc/{pid}/comm")) {
                Fact::Read(name) => Comm::new(name.trim_end_matches('\n').as_bytes()),
                Fact::NotRead | Fact::Unreadable(_) => Comm::default(),
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_takes_a_share_of_the_time_at_the_most() {
        let ms = Duration::from_millis;
        assert!(!is_too_much(ms(0), ms(0)));
        assert!(!is_too_much(ms(100), ms(0)));
        assert!(is_too_much(ms(101), ms(0)));
        assert!(!is_too_much(ms(1100), ms(10_000)));
        assert!(is_too_much(ms(1101), ms(10_000)));
    }
}
