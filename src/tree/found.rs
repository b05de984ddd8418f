//! Processes that are there without a creation that could be told.

use super::Tree;
use super::node::Marks;
use crate::event::{Attached, Event};
use crate::ids::Pid;

impl Tree {
    pub(super) fn attached(&mut self, event: &Event, attached: &Attached) {
        let leads = Pid::from(event.tid) == event.tgid;
        let mark = match attached.orphan {
            true => Marks::ORPHAN,
            false => Marks::ATTACHED,
        };
        if !leads {
            if !self.live.contains_key(&event.tid) {
                self.take_up(event.tid, event.tgid, event.comm, event.at);
            }
            self.pick_thread(event.tid);
            return;
        }
        let known = self.leader_by_pid(event.tgid).filter(|id| {
            let marks = self.node(*id).marks;
            marks == Marks::default() || marks == Marks::AWAITED
        });
        let id = match known {
            // Threads of it came first.
            Some(id) => id,
            None => {
                let parent = self.leader_by_pid(attached.parent);
                let parent = parent.filter(|_| attached.parent != event.tgid);
                let command = self.texts.name(event.comm.as_bytes());
                let id = self.grow(event.tid.0, parent, command, event.at);
                self.enter(event.tid, id, id.0, event.at);
                id
            }
        };
        self.pick(id);
        self.nodes[id.index()].marks.set(mark);
        if self.node(id).parent().is_none() {
            self.nodes[id.index()].creator = attached.parent.0;
        }
        if attached.own != event.tid.0 {
            self.own_pids.insert(id, attached.own);
        }
    }
}
