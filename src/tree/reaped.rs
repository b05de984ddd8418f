//! Who was waited for, where waits are told: of each process that ended it is kept
//! until somebody reaps it, or its pid is given away.

use super::Tree;
use super::node::{Fate, Marks, NodeId};
use crate::event::{Event, Wait, Wanted};
use crate::ids::{Errno, Pid, Tid};
use crate::waits::Change;

impl Tree {
    /// Whether the trace tells who waited for whom.
    pub fn waits_told(&self) -> bool {
        let start = self.start.as_ref();
        start.is_some_and(|start| start.waits == Wanted::Yes)
    }

    /// Whether a process ended and nobody waited for it, though its parent could have:
    /// that is in the trace, and was not killed. Known only where waits are told.
    pub fn unreaped(&self, id: NodeId) -> bool {
        let pid = self.node(id).pid();
        let parent = self.real_parent(id).filter(|parent| {
            let fate = self.node(*parent).fate();
            matches!(fate, Fate::Alive | Fate::Exited(_)) && !self.vague.contains(parent)
        });
        parent.is_some() && self.zombies.get(&pid) == Some(&id)
    }

    /// A call that waits returned.
    pub(super) fn waited(&mut self, event: &Event, wait: &Wait) {
        // A child was reaped all the same: only then is the answer stored
        // (kernel_wait4, kernel/exit.c).
        if wait.answer == Some(Err(Errno::EFAULT))
            && let Some(caller) = self.process_of(event.tid)
        {
            self.vague.insert(caller);
        }
        let Some(told) = wait.told() else {
            return;
        };
        let ends = matches!(told.change, Change::Ended(_) | Change::Unknown);
        if told.kept || !ends {
            return;
        }
        match (wait.child, self.process_of(event.tid)) {
            (Some(child), _) => {
                self.zombies.remove(&Pid::from(child));
            }
            // Which of its children that was nobody knows.
            (None, Some(caller)) => {
                self.vague.insert(caller);
            }
            (None, None) => {}
        }
    }

    /// A process ended, and is a zombie from now on. That of a parent that is gone, or
    /// that another one took over, is for somebody to reap who may not be seen.
    pub(super) fn zombie(&mut self, id: NodeId) {
        let parent = self.real_parent(id).map(|parent| self.node(parent).fate());
        let waited_for = parent == Some(Fate::Alive) && !self.adopters.contains_key(&id);
        if self.waits_told() && waited_for && self.node(id).marks.has(Marks::CREATED) {
            self.zombies.insert(self.node(id).pid(), id);
        }
    }

    /// A tid is given away: whoever had it was reaped, unseen.
    pub(super) fn given_away(&mut self, tid: Tid) {
        self.zombies.remove(&Pid::from(tid));
    }
}
