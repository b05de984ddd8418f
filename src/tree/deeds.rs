//! What processes do apart from creating children, as the tree keeps it: execs, and
//! calls that failed; of one process not more than so many.

use super::Tree;
use super::node::{Deed, Failure, Halves, How, Marks, Moment, NodeId, nanos};
use crate::event::{Event, Exec};
use crate::ids::Errno;

/// No moment.
const NONE: u32 = u32::MAX;
/// How many moments are kept of one process: the first ones, and the last
/// exec and failure.
pub(super) const MOMENTS: u32 = 64;

/// What a process did last, as long as a thread of it lives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recent {
    /// How many of its threads live.
    pub(super) threads: u32,
    /// Its last exec, tried or done, and its last failed creation, among the moments.
    exec: u32,
    failure: u32,
    /// The last failed creation, if nothing else stands after it.
    again: u32,
    /// How many moments it has.
    moments: u32,
}

impl Default for Recent {
    fn default() -> Recent {
        Recent {
            threads: 0,
            exec: NONE,
            failure: NONE,
            again: NONE,
            moments: 0,
        }
    }
}

impl Tree {
    /// A creating call that created nothing; the same again and again counts up, and
    /// of a process that has too many whatever comes.
    pub(super) fn create_failed(
        &mut self,
        event: &Event,
        process: NodeId,
        how: How,
        failure: Failure,
    ) {
        self.see_failure();
        self.pick(process);
        if self.counts() {
            self.tally.failed(&how, failure);
        }
        let deed = Deed::CreateFailed(self.how_id(how), failure);
        let recent = self.recent(process);
        let full = recent.moments >= MOMENTS;
        if let Some(moment) = self.moments.get_mut(recent.failure as usize)
            && (moment.what == deed && recent.again == recent.failure || full)
        {
            if moment.what != deed
                && let Deed::CreateFailed(_, failure) = &mut moment.what
            {
                *failure = Failure::Various;
            }
            moment.count = moment.count.saturating_add(1);
            moment.at = Halves::of(nanos(event.at));
            return;
        }
        let index = self.happened(event, process, deed);
        let recent = self.recent.entry(process).or_default();
        (recent.failure, recent.again) = (index, index);
    }

    pub(super) fn exec(&mut self, event: &Event, exec: &Exec) {
        let process = match (exec.result, exec.continues_as) {
            (Some(Ok(())), Some(leader)) if leader != event.tid => self.becomes_leader(event),
            _ => self.thread_of(event),
        };
        self.pick(process);
        match exec.result {
            None => {}
            Some(Err(errno)) if errno.restart().is_some() => {}
            Some(Err(errno)) => self.exec_failed(event, process, exec, errno),
            // A question, not an exec.
            Some(Ok(())) if only_checks(exec) => {}
            Some(Ok(())) => {
                let command = self.texts.exec(&exec.call);
                self.exec_moment(event, process, Deed::Exec(command));
                if self.counts() {
                    self.tally.execs += 1;
                }
                let node = &mut self.nodes[process.index()];
                node.current = command;
                node.execs = node.execs.saturating_add(1);
                node.marks.clear(Marks::AWAITED);
            }
        }
    }

    fn exec_failed(&mut self, event: &Event, process: NodeId, exec: &Exec, errno: Errno) {
        if self.counts() {
            self.tally.exec_failed(errno);
        }
        let command = self.texts.exec(&exec.call);
        self.exec_moment(event, process, Deed::ExecFailed(command, errno));
    }

    /// An exec or an attempt. What was tried just before, along PATH perhaps,
    /// gives way to it; so does the last exec of a process that has too many.
    fn exec_moment(&mut self, event: &Event, process: NodeId, deed: Deed) {
        self.goes_between(process);
        let recent = self.recent(process);
        let last = recent.exec;
        let full = recent.moments >= MOMENTS;
        let replaces = self
            .moments
            .get(last as usize)
            .is_some_and(|moment| matches!(moment.what, Deed::ExecFailed(..)) || full);
        if replaces {
            let after = self.nodes.len() as u32;
            let moment = &mut self.moments[last as usize];
            moment.after = after;
            moment.at = Halves::of(nanos(event.at));
            moment.by = event.tid;
            moment.what = deed;
            self.pick_moment(last);
            return;
        }
        let index = self.happened(event, process, deed);
        self.recent.entry(process).or_default().exec = index;
    }

    /// Something stands after the last failed creation of a process.
    pub(super) fn goes_between(&mut self, process: NodeId) {
        if let Some(recent) = self.recent.get_mut(&process) {
            recent.again = NONE;
        }
    }

    fn recent(&self, process: NodeId) -> Recent {
        self.recent.get(&process).copied().unwrap_or_default()
    }

    fn happened(&mut self, event: &Event, process: NodeId, what: Deed) -> u32 {
        let index = self.moments.len() as u32;
        self.moments.push(Moment {
            node: process,
            after: self.nodes.len() as u32,
            at: Halves::of(nanos(event.at)),
            count: 1,
            by: event.tid,
            what,
        });
        self.pick_moment(index);
        self.recent.entry(process).or_default().moments += 1;
        index
    }
}

/// Whether an execveat that succeeded only asked (AT_EXECVE_CHECK of
/// linux/fcntl.h): nothing changes then.
fn only_checks(exec: &Exec) -> bool {
    const AT_EXECVE_CHECK: i32 = 0x1_0000;
    exec.call
        .at()
        .is_some_and(|(_, flags)| flags & AT_EXECVE_CHECK != 0)
}
