//! Who descends from whom, as far as filters ask: a few bytes for each living
//! thread. It is written down at a birth and forgotten at the end, so that a
//! pid that is used again is somebody else.

use rustc_hash::FxHashMap;

use super::Criteria;
use crate::clone::Kind;
use crate::event::{Attached, Event, EventKind, Followed};
use crate::ids::{Pid, Tid};

/// What is known of a thread's descent; all threads of a process have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Member {
    /// Generations of processes between the first one and this.
    pub(super) depth: u32,
    /// Whether its process descends from one that is asked for.
    pub(super) below: bool,
    /// Whether it was one that is asked for when it was last heard of.
    ancestor: bool,
}

/// The living.
#[derive(Debug, Clone, Default)]
pub(super) struct Family {
    members: FxHashMap<Tid, Member>,
}

/// The member that an event happened to, and the child that it made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) own: Member,
    pub(super) child: Option<Member>,
}

impl Family {
    /// Takes notice of an event.
    pub(super) fn see(&mut self, event: &Event, criteria: &Criteria) -> Seen {
        let tid = self.goes_on_as(event);
        let known = self.members.get(&tid).copied();
        let mut own = known.unwrap_or_else(|| self.appears(event, criteria));
        own.ancestor = criteria.is_ancestor(event);
        let mut child = None;
        match &event.kind {
            EventKind::End(_) | EventKind::Lost(_) => {
                self.members.remove(&tid);
                return Seen { own, child };
            }
            EventKind::Superseded { by } => {
                // From here on that thread is the leader.
                let heir = self.members.remove(by).unwrap_or(own);
                self.members.insert(tid, heir);
                return Seen { own, child };
            }
            EventKind::Create(create) => {
                if let Some(made) = create.child() {
                    let born = match create.request.kind() {
                        Kind::Thread => own,
                        _ => own.parent_of(),
                    };
                    child = Some(born);
                    if let (Some(tid), Followed::Yes) = (made.tid, made.followed) {
                        self.members.insert(tid, born);
                    }
                }
            }
            _ => {}
        }
        self.members.insert(tid, own);
        Seen { own, child }
    }

    /// The tid under which the thread of an event is known from now on: exec
    /// gives the caller its leader's.
    fn goes_on_as(&mut self, event: &Event) -> Tid {
        let EventKind::Exec(exec) = &event.kind else {
            return event.tid;
        };
        let Some(leader) = exec.continues_as else {
            return event.tid;
        };
        // Where the leader was known it was superseded, and that is done.
        if let Some(member) = self.members.remove(&event.tid) {
            self.members.insert(leader, member);
        }
        leader
    }

    /// A thread whose creation was not told.
    fn appears(&self, event: &Event, criteria: &Criteria) -> Member {
        if Pid::from(event.tid) != event.tgid
            && let Some(leader) = self.members.get(&event.tgid.into())
        {
            return *leader;
        }
        let EventKind::Attached(attached) = &event.kind else {
            return Member::default();
        };
        self.found(attached, criteria)
    }

    /// A process that was found running: below its parent, if that is known.
    fn found(&self, attached: &Attached, criteria: &Criteria) -> Member {
        let asked_for = criteria.is_ancestor_pid(attached.parent);
        match self.members.get(&attached.parent.into()) {
            Some(parent) => parent.parent_of(),
            None => Member {
                below: asked_for,
                ..Member::default()
            },
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }
}

impl Member {
    /// What a process created by this one is.
    fn parent_of(self) -> Member {
        Member {
            depth: self.depth.saturating_add(1),
            below: self.below || self.ancestor,
            ancestor: false,
        }
    }
}
