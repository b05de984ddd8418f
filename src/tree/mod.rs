//! The process tree: a fold over events. Each process once, where it was
//! created, with what it became and how it ended; pids may be used again, and
//! whatever comes in is survived. Threads are counted, and kept only if asked
//! for.
//!
//! It is built while events come and asked at any time; memory is some 100 bytes
//! a process, and its command, where that is new (see [`strings`]).

mod deeds;
mod found;
mod grow;
pub mod node;
pub mod outline;
mod picks;
mod reaped;
pub mod strings;
pub mod tally;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::clone::Kind;
use crate::event::{Start, Wanted};
use crate::ids::{Pid, Tid};
pub use picks::Seen;

use deeds::Recent;
use node::{Fate, How, HowId, Marks, Moment, NOBODY, Node, NodeId, Origin};
use picks::Picks;
use strings::Texts;
use tally::Tally;

/// Whether threads are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// They are counted.
    Counted,
    /// Each is a node, a child of its process.
    Kept,
}

/// A process tree.
#[derive(Debug)]
pub struct Tree {
    threads: Threads,
    start: Option<Start>,
    nodes: Vec<Node>,
    moments: Vec<Moment>,
    live: HashMap<Tid, Live>,
    /// What processes of which a thread lives did last.
    recent: HashMap<NodeId, Recent>,
    /// Pids that children have in a namespace of their own.
    own_pids: HashMap<NodeId, i32>,
    /// Whose children those are that were made siblings of their creators
    /// (CLONE_PARENT).
    siblings: HashMap<NodeId, u32>,
    /// Who took over those that outlived their parents, where that was told.
    adopters: HashMap<NodeId, Pid>,
    /// Processes that ended and that nobody waited for yet, where waits are told.
    zombies: HashMap<Pid, NodeId>,
    /// Processes that waited for children which can't be told from each other.
    vague: HashSet<NodeId>,
    texts: Texts,
    hows: Vec<How>,
    how_ids: HashMap<How, HowId>,
    tally: Tally,
    last: Duration,
    /// What a filter picks, if there is one.
    picks: Option<Box<Picks>>,
}

/// A living thread.
#[derive(Debug, Clone, Copy)]
struct Live {
    /// Its process.
    process: NodeId,
    /// Its own node: that of the process, for the first thread; none for a
    /// thread that is not kept.
    node: u32,
    /// When it was born.
    born: Duration,
    /// Whether its lifetime counts: its creation was seen, and counts.
    counts: bool,
}

impl Tree {
    /// An empty tree.
    pub fn new(threads: Threads) -> Tree {
        Tree {
            threads,
            start: None,
            nodes: Vec::new(),
            moments: Vec::new(),
            live: HashMap::new(),
            recent: HashMap::new(),
            own_pids: HashMap::new(),
            siblings: HashMap::new(),
            adopters: HashMap::new(),
            zombies: HashMap::new(),
            vague: HashSet::new(),
            texts: Texts::default(),
            hows: Vec::new(),
            how_ids: HashMap::new(),
            tally: Tally::default(),
            last: Duration::ZERO,
            picks: None,
        }
    }

    /// The first event, once it came.
    pub fn start(&self) -> Option<&Start> {
        self.start.as_ref()
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// All, in the order of their births: parents before their children.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        let ids = (0..).map(NodeId);
        ids.zip(&self.nodes)
    }

    /// Their numbers.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..self.nodes.len() as u32).map(NodeId)
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The living process that a thread belongs to.
    pub fn process_of(&self, tid: Tid) -> Option<NodeId> {
        self.live.get(&tid).map(|live| live.process)
    }

    /// Whether a node is a descendant of another, or that one itself.
    pub fn is_below(&self, id: NodeId, ancestor: NodeId) -> bool {
        let mut at = Some(id);
        // A parent's number is smaller than its child's.
        while let Some(node) = at.filter(|node| *node > ancestor) {
            at = self.node(node).parent();
        }
        at == Some(ancestor)
    }

    /// Where a node comes from.
    pub fn origin(&self, id: NodeId) -> Origin {
        let node = self.node(id);
        match node.marks {
            marks if marks.has(Marks::CREATED) => Origin::Created(self.hows[usize::from(node.how)]),
            marks if marks.has(Marks::LAUNCHED) => Origin::Launched,
            marks if marks.has(Marks::ORPHAN) => Origin::Orphan,
            marks if marks.has(Marks::ATTACHED) => Origin::Attached,
            _ => Origin::Unknown,
        }
    }

    /// What a node that was created is.
    pub fn kind(&self, id: NodeId) -> Option<Kind> {
        match self.origin(id) {
            Origin::Created(how) => Some(how.kind),
            _ => None,
        }
    }

    /// The process that gets a process's exit signal, if it is in the tree:
    /// the one that created it, but for CLONE_PARENT.
    pub fn real_parent(&self, id: NodeId) -> Option<NodeId> {
        match self.siblings.get(&id) {
            Some(parent) => Some(NodeId(*parent)).filter(|_| *parent != NOBODY),
            None => self.node(id).parent(),
        }
    }

    /// Whether a process lived on when the one that it was a child of had ended: then
    /// init or a subreaper took it over. That is told, but for those that ended before
    /// anybody could look: of these the times of both ends say it, but where the parent
    /// was killed. Those that are killed together end in any order.
    pub fn outlived_parent(&self, id: NodeId) -> bool {
        if self.adopters.contains_key(&id) {
            return true;
        }
        let node = self.node(id);
        let told = self.orphans_told() && node.marks.has(Marks::CREATED);
        let Some(parent) = self.real_parent(id).filter(|_| !node.is_thread()) else {
            return false;
        };
        let parent = self.node(parent);
        let seen = !matches!(
            node.fate(),
            Fate::NotFollowed | Fate::Untraced | Fate::Unseen
        );
        let killed = matches!(parent.fate(), Fate::Killed { .. });
        let by_times = parent.fate().ended() && !(told && killed);
        seen && by_times && (!node.fate().ended() || parent.ended < node.ended)
    }

    /// Whether the trace tells who took over those that outlived their parents.
    pub fn orphans_told(&self) -> bool {
        let told = |start: &Start| start.orphans == Wanted::Yes;
        !self.adopters.is_empty() || self.start.as_ref().is_some_and(told)
    }

    /// Who took it over when its parent ended, at last: init or a subreaper, 0 for
    /// one outside of the tracer's pid namespace. Known where it was told.
    pub fn adopter(&self, id: NodeId) -> Option<Pid> {
        self.adopters.get(&id).copied()
    }

    /// The parent of one that was there already, or was taken over, where that
    /// is not in the tree.
    pub fn parent_outside(&self, id: NodeId) -> Option<Pid> {
        let node = self.node(id);
        let told = node.parent().is_none()
            && (node.marks.has(Marks::ATTACHED) || node.marks.has(Marks::ORPHAN));
        told.then_some(Pid(node.creator))
    }

    /// Its pid in a pid namespace of its own, where that is another.
    pub fn own_pid(&self, id: NodeId) -> Option<i32> {
        self.own_pids.get(&id).copied()
    }

    /// What processes did apart from creating children, in order.
    pub fn moments(&self) -> &[Moment] {
        &self.moments
    }

    /// A call that failed.
    pub fn how(&self, id: HowId) -> &How {
        &self.hows[usize::from(id.0)]
    }

    /// The words of all commands.
    pub fn texts(&self) -> &Texts {
        &self.texts
    }

    /// What was counted; behind a filter, of what it kept, but for how many lived
    /// at once.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// When the last event was, since the start of tracing.
    pub fn last(&self) -> Duration {
        self.last
    }
}
