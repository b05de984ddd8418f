//! What a filter picks of a tree. The tree grows by every event, so that it stays
//! true; what is picked is written down beside it, and counted.

use super::Tree;
use super::node::NodeId;
use crate::event::Event;
use crate::filter::Kept;

/// What was picked of a tree so far.
#[derive(Debug, Default)]
pub(super) struct Picks {
    /// What became of the event that comes in.
    now: Kept,
    nodes: Vec<Pick>,
    /// For each moment whether its event was picked.
    moments: Vec<bool>,
    all: Seen,
}

/// What was seen, picked or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Children that were created, threads with them.
    pub creations: u64,
    /// Creating calls that created nothing.
    pub failures: u64,
}

/// What was picked of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Pick(u8);

impl Pick {
    /// One of its events.
    const EVENT: u8 = 1;
    /// Its creation.
    const CREATION: u8 = 2;
    /// One below it.
    const BELOW: u8 = 4;
    /// It created a process, picked or not.
    const PARENT: u8 = 8;

    fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }
}

impl Tree {
    /// Takes in an event of which a filter kept so much. All of the events of a
    /// tree come in so, or none.
    pub fn add_filtered(&mut self, event: &Event, kept: Kept) {
        self.picks.get_or_insert_default().now = kept;
        self.add(event);
    }

    /// Whether a filter picks from it.
    pub fn is_filtered(&self) -> bool {
        self.picks.is_some()
    }

    /// What was seen, picked or not; `None` without a filter, where that is what
    /// was counted.
    pub fn seen(&self) -> Option<Seen> {
        self.picks.as_ref().map(|picks| picks.all)
    }

    /// Whether an event of a node was picked: its creation, its end, or anything
    /// that it did.
    pub fn is_picked(&self, id: NodeId) -> bool {
        self.pick_of(id, Pick::EVENT)
    }

    /// Whether the creation of a node was picked.
    pub fn creation_is_picked(&self, id: NodeId) -> bool {
        self.pick_of(id, Pick::CREATION)
    }

    /// Whether a node is picked, or one that descends from it.
    pub fn is_shown(&self, id: NodeId) -> bool {
        self.pick_of(id, Pick::EVENT | Pick::BELOW)
    }

    /// Whether the event of a moment was picked, by the moment's place.
    pub fn moment_is_picked(&self, index: usize) -> bool {
        match &self.picks {
            None => true,
            Some(picks) => picks.moments.get(index).copied().unwrap_or(false),
        }
    }

    /// Whether a process created others, be they picked or not; `None` without a
    /// filter.
    pub(super) fn created_any(&self, id: NodeId) -> Option<bool> {
        let picks = self.picks.as_ref()?;
        Some(picks.of(id).has(Pick::PARENT))
    }

    fn pick_of(&self, id: NodeId, bits: u8) -> bool {
        match &self.picks {
            None => true,
            Some(picks) => picks.of(id).has(bits),
        }
    }

    /// Whether what comes in counts.
    pub(super) fn counts(&self) -> bool {
        self.picks
            .as_ref()
            .is_none_or(|picks| picks.now != Kept::Not)
    }

    /// Whether a child that comes in counts.
    pub(super) fn counts_creation(&self) -> bool {
        self.picks
            .as_ref()
            .is_none_or(|picks| picks.now == Kept::Whole)
    }

    /// A node had its share in the event that comes in.
    pub(super) fn pick(&mut self, id: NodeId) {
        if self.picks.is_some() && self.counts() {
            self.mark(id, Pick::EVENT);
        }
    }

    /// A call created a child: the node, or of a thread that is not kept its
    /// process's.
    pub(super) fn pick_creation(&mut self, creator: NodeId, child: Option<NodeId>) {
        let Some(picks) = &mut self.picks else {
            return;
        };
        picks.all.creations += 1;
        let now = picks.now;
        if child.is_some_and(|child| !self.node(child).is_thread()) {
            picks_mut(&mut self.picks).set(creator, Pick::PARENT);
        }
        match (now, child) {
            (Kept::Not, _) => {}
            (Kept::Whole, Some(child)) => self.mark(child, Pick::EVENT | Pick::CREATION),
            (Kept::Whole, None) => self.mark(creator, Pick::EVENT),
            (Kept::Caller, _) => self.mark(creator, Pick::EVENT),
        }
    }

    /// A creating call created nothing.
    pub(super) fn see_failure(&mut self) {
        if let Some(picks) = &mut self.picks {
            picks.all.failures += 1;
        }
    }

    /// The event that comes in is this moment now.
    pub(super) fn pick_moment(&mut self, index: u32) {
        let counts = self.counts();
        if let Some(picks) = &mut self.picks {
            let index = index as usize;
            if picks.moments.len() <= index {
                picks.moments.resize(index + 1, false);
            }
            picks.moments[index] = counts;
        }
    }

    fn mark(&mut self, id: NodeId, bits: u8) {
        let mut above = self.node(id).parent();
        let picks = picks_mut(&mut self.picks);
        picks.set(id, bits);
        while let Some(id) = above.filter(|id| !picks.of(*id).has(Pick::BELOW)) {
            picks.set(id, Pick::BELOW);
            above = self.nodes[id.index()].parent();
        }
    }
}

/// Only called where there are some.
fn picks_mut(picks: &mut Option<Box<Picks>>) -> &mut Picks {
    picks.get_or_insert_default()
}

impl Picks {
    fn of(&self, id: NodeId) -> Pick {
        self.nodes.get(id.index()).copied().unwrap_or_default()
    }

    fn set(&mut self, id: NodeId, bits: u8) {
        if self.nodes.len() <= id.index() {
            self.nodes.resize(id.index() + 1, Pick::default());
        }
        self.nodes[id.index()].0 |= bits;
    }
}
