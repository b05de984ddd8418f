//! Processes that are there without a creation that could be told.

use super::Tree;
use super::node::{Marks, NodeId};
use crate::event::{Attached, Event};
use crate::ids::Pid;

impl Tree {
    pub(super) fn attached(&mut self, event: &Event, attached: &Attached) {
        let mark = match attached.orphan {
            true => Marks::ORPHAN,
            false => Marks::ATTACHED,
        };
        let parent = self.leader_by_pid(attached.parent);
        let parent = parent.filter(|_| attached.parent != event.tgid);
        if Pid::from(event.tid) != event.tgid {
            return self.attached_thread(event, parent, mark, attached.parent);
        }
        // Threads of it came first.
        let known = self.leader_by_pid(event.tgid).filter(|id| {
            let mut marks = self.node(*id).marks;
            marks.clear(Marks::AWAITED);
            marks == Marks::default() || marks == Marks::ATTACHED && mark == Marks::ATTACHED
        });
        let command = self.texts.name(event.comm.as_bytes());
        let id = match known {
            Some(id) => {
                let node = &mut self.nodes[id.index()];
                if node.execs == 0 {
                    // What it was known by was the name of a thread.
                    (node.first, node.current) = (command, command);
                }
                id
            }
            None => {
                let id = self.grow(event.tid.0, parent, command, event.at);
                self.enter(event.tid, id, id.0, event.at);
                id
            }
        };
        self.pick(id);
        self.was_there(id, mark, attached.parent);
        if attached.own != event.tid.0 {
            self.own_pids.insert(id, attached.own);
        }
    }

    /// A thread that is not the first of its process, which may have ended: then its
    /// threads are all there is.
    fn attached_thread(
        &mut self,
        event: &Event,
        parent: Option<NodeId>,
        mark: Marks,
        parent_pid: Pid,
    ) {
        if !self.live.contains_key(&event.tid) {
            let known = self.leader_by_pid(event.tgid).is_some();
            let (tid, tgid, comm) = (event.tid, event.tgid, event.comm);
            let process = self.take_up(tid, tgid, parent, comm, event.at);
            if !known {
                self.was_there(process, mark, parent_pid);
            }
        }
        self.pick_thread(event.tid);
    }

    /// A process was there when it was first heard of, its parent this one.
    fn was_there(&mut self, id: NodeId, mark: Marks, parent: Pid) {
        let node = &mut self.nodes[id.index()];
        node.marks.set(mark);
        if node.parent().is_none() {
            node.creator = parent.0;
        }
    }
}
