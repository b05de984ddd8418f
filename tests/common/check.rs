//! What must hold for every complete trace of a whole tree, whatever the program did.

use std::collections::HashMap;

use super::trace::{Event, Line, Ret};

/// What the check learnt on the way.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) root: i32,
    /// (parent, child) of every creation that worked, sorted.
    pub(crate) pairs: Vec<(i32, i32)>,
    pub(crate) failed: usize,
    pub(crate) ended: usize,
    /// In the order of their lines.
    pub(crate) attached: Vec<i32>,
    pub(crate) detached: usize,
}

/// Each task is attached to or created, once, before it has a line of its own, by one that lives, and
/// ends once; nothing is said of it afterwards. A tid may be used again only after its
/// end. `CLONE_UNTRACED` children are promised no lines at all.
pub(crate) fn check(lines: &[Line]) -> Result<Summary, String> {
    let mut summary = Summary::default();
    let mut alive: HashMap<i32, usize> = HashMap::new();
    let mut superseded: Option<(i32, i32)> = None;
    for (number, line) in lines.iter().enumerate() {
        let fail = |what: &str| Err(format!("line {}: {what}: {}", number + 1, line.text));
        if matches!(line.event, Event::Note(_)) {
            continue;
        }
        let tid = line.tid;
        if tid <= 0 {
            return fail("no tid");
        }
        if let Event::Attached { .. } = line.event {
            if summary.root == 0 {
                summary.root = tid;
            }
            if alive.insert(tid, number).is_some() {
                return fail("attached to, but known already");
            }
            summary.attached.push(tid);
            continue;
        }
        if summary.root == 0 {
            summary.root = tid;
            alive.insert(tid, number);
        }
        // The execve of a thread that became the leader stands next to that news, under
        // the tid of either.
        let took_over = superseded.take();
        if let Some((leader, by)) = took_over
            && !(matches!(&line.event, Event::Call(call) if call.executes())
                && (tid == leader || tid == by))
        {
            return fail("superseded, but the next line isn't the execve");
        }
        if !alive.contains_key(&tid) && took_over.is_none() {
            return fail("a line of a task that doesn't exist (not created yet, or ended before)");
        }
        match &line.event {
            Event::Call(call) => {
                if let Some(child) = line.created() {
                    if child == tid {
                        return fail("created itself");
                    }
                    summary.pairs.push((tid, child));
                    // Followed all the same where the flag was taken out.
                    let hidden = call.untraced()
                        && !line
                            .comment
                            .as_ref()
                            .is_some_and(|words| words.contains("taken out for the call"));
                    if !hidden && alive.insert(child, number).is_some() {
                        return fail("created a task that lives already");
                    }
                } else if call.creates() && matches!(call.ret, Ret::Error(_)) {
                    summary.failed += 1;
                }
            }
            Event::Exited(_) | Event::Killed(_) => {
                alive.remove(&tid);
                summary.ended += 1;
            }
            Event::Superseded(by) => {
                if alive.remove(by).is_none() {
                    return fail("superseded by a task that doesn't exist");
                }
                superseded = Some((tid, *by));
            }
            Event::Detached => {
                alive.remove(&tid);
                summary.detached += 1;
            }
            Event::Attached { .. } | Event::Orphaned(_) | Event::Note(_) => {}
        }
    }
    if !alive.is_empty() {
        let mut left: Vec<_> = alive.into_keys().collect();
        left.sort_unstable();
        return Err(format!("no end was seen of {left:?}"));
    }
    summary.pairs.sort_unstable();
    Ok(summary)
}

/// For programs whose pids can't be used twice within one trace.
pub(crate) fn check_single_use(summary: &Summary) -> Result<(), String> {
    let mut children: Vec<i32> = summary.pairs.iter().map(|(_, child)| *child).collect();
    children.sort_unstable();
    match children.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("{} was created twice", pair[0])),
        None => Ok(()),
    }
}
