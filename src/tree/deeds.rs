//! What processes do apart from creating children, as the tree keeps it: execs, and
//! calls that failed; of one process not more than so many.

use super::node::{Deed, Failure, Halves, How, Marks, Moment, NodeId, nanos};
use super::{Live, Tree};
use crate::event::{Event, Exec};
use crate::ids::{Errno, Tid};

/// No moment.
pub(super) const NONE: u32 = u32::MAX;
/// How many moments are kept of one process: the first ones, and the last
/// exec and failure.
pub(super) const MOMENTS: u32 = 64;

impl Tree {
    /// A creating call that created nothing; the same again and again counts
    /// up.
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
        let leader = self.leader(process);
        let last = leader.map_or(NONE, |live| live.last_failure);
        let full = leader.is_some_and(|live| live.moments >= MOMENTS);
        if let Some(moment) = self.moments.get_mut(last as usize)
            && (moment.what == deed || full)
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
        if let Some(live) = self.leader_mut(process) {
            live.last_failure = index;
        }
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
        let leader = self.leader(process);
        let last = leader.map_or(NONE, |live| live.last_exec);
        let full = leader.is_some_and(|live| live.moments >= MOMENTS);
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
        if let Some(live) = self.leader_mut(process) {
            live.last_exec = index;
        }
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
        if let Some(live) = self.leader_mut(process) {
            live.moments += 1;
        }
        index
    }

    pub(super) fn leader(&self, process: NodeId) -> Option<&Live> {
        let pid = self.node(process).pid;
        self.live
            .get(&Tid(pid))
            .filter(|live| live.node == process.0)
    }

    fn leader_mut(&mut self, process: NodeId) -> Option<&mut Live> {
        let pid = self.node(process).pid;
        self.live
            .get_mut(&Tid(pid))
            .filter(|live| live.node == process.0)
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
