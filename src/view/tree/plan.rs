//! What is drawn below a process, or below many of one shape at once: children
//! and deeds in order, those of one shape together.

use std::collections::HashMap;
use std::iter::Peekable;

use super::shape::Shapes;
use crate::config::Fold;
use crate::ids::Errno;
use crate::tree::Tree;
use crate::tree::node::{Deed, Failure, HowId, Moment, NodeId};
use crate::tree::outline::{Item, Outline};
use crate::tree::strings::{CommandId, WordId};

/// So many children of one shape are folded.
pub(super) const FOLD_FROM: usize = 4;

/// Nodes that are drawn as one: all of one shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Members {
    /// Just one.
    One(NodeId),
    /// Several.
    Many(Vec<NodeId>),
}

impl Members {
    /// All of them; the first one stands for all.
    pub(super) fn all(&self) -> &[NodeId] {
        match self {
            Members::One(id) => std::slice::from_ref(id),
            Members::Many(ids) => ids,
        }
    }

    fn push(&mut self, id: NodeId) {
        match self {
            Members::One(first) => *self = Members::Many(vec![*first, id]),
            Members::Many(ids) => ids.push(id),
        }
    }
}

/// Something to draw.
#[derive(Debug)]
pub(super) enum Entry<'a> {
    /// Processes or threads, with all below them.
    Group(Members),
    /// An exec that is not the first thing that they did; of each one.
    Exec(Vec<&'a Moment>),
    /// Execs that failed.
    ExecFailed(CommandId, Errno, u64),
    /// Creations that failed.
    CreateFailed(HowId, Failure, u64),
}

/// What a process was at first: the exec that came before all else.
pub(super) fn first_exec(tree: &Tree, outline: &Outline, id: NodeId) -> Option<CommandId> {
    match outline.items(tree, id).next() {
        Some(Item::Moment(moment)) => match moment.what {
            Deed::Exec(command) => Some(command),
            _ => None,
        },
        _ => None,
    }
}

/// How many there are of each shape, between two execs.
type Counts = HashMap<(usize, u64), usize>;

/// What is drawn side by side, one after the other: there may be millions.
pub(super) type Entries<'a> = Peekable<Box<dyn Iterator<Item = Entry<'a>> + 'a>>;

/// Says what is drawn side by side.
#[derive(Clone, Copy)]
pub(super) struct Planner<'a> {
    pub(super) tree: &'a Tree,
    pub(super) outline: &'a Outline,
    /// The shapes by which children are folded, if they are.
    pub(super) shapes: Option<&'a Shapes>,
}

impl<'a> Planner<'a> {
    /// Those that nobody created.
    pub(super) fn roots(self) -> Entries<'a> {
        let roots = self.outline.roots();
        if self.shapes.is_none() {
            let each = roots.iter().map(|id| alone(Item::Child(*id)));
            return entries(each);
        }
        let mut slots = Slots::default();
        let mut counts = HashMap::new();
        for id in roots {
            *counts.entry((0, self.shape(*id))).or_default() += 1;
        }
        for id in roots {
            self.place(&mut slots, *id, self.folds(*id, 0, &counts));
        }
        entries(slots.entries.into_iter())
    }

    /// What stands below these, all of one shape.
    pub(super) fn below(self, members: &Members) -> Entries<'a> {
        match (members, self.shapes) {
            (Members::One(id), None) => entries(self.items(*id).map(|(_, item)| alone(item))),
            _ => entries(self.folded(members).into_iter()),
        }
    }

    /// The same, folded: of several all that looks the same, of one what there
    /// is much of.
    fn folded(self, members: &Members) -> Vec<Entry<'a>> {
        let mut segments: Vec<Slots<'a>> = Vec::new();
        for id in members.all() {
            let counts = match members {
                Members::One(_) => self.counts(*id),
                Members::Many(_) => HashMap::new(),
            };
            for (segment, item) in self.items(*id) {
                if segments.len() <= segment {
                    segments.resize_with(segment + 1, Slots::default);
                }
                let slots = &mut segments[segment];
                match (item, members) {
                    (Item::Child(child), Members::Many(_)) => self.place(slots, child, Fold::Yes),
                    (Item::Child(child), Members::One(_)) => {
                        self.place(slots, child, self.folds(child, segment, &counts));
                    }
                    (item @ Item::Moment(_), Members::One(_)) => slots.entries.push(alone(item)),
                    (Item::Moment(moment), Members::Many(_)) => self.deed(slots, moment),
                }
            }
        }
        segments
            .into_iter()
            .flat_map(|slots| slots.entries)
            .collect()
    }

    /// What a process did after it became what it was at first, each with the
    /// number of execs before it.
    fn items(self, id: NodeId) -> impl Iterator<Item = (usize, Item<'a>)> + 'a {
        let first = first_exec(self.tree, self.outline, id).is_some();
        let mut segment = 0;
        let items = self.outline.items(self.tree, id);
        items.skip(usize::from(first)).map(move |item| {
            if let Item::Moment(moment) = item
                && matches!(moment.what, Deed::Exec(_))
            {
                segment += 1;
            }
            (segment, item)
        })
    }

    /// How many children of each shape a process has between two execs.
    fn counts(self, id: NodeId) -> Counts {
        let mut counts = HashMap::new();
        for (segment, item) in self.items(id) {
            if let Item::Child(child) = item {
                *counts.entry((segment, self.shape(child))).or_default() += 1;
            }
        }
        counts
    }

    fn shape(self, id: NodeId) -> u64 {
        self.shapes.map_or(0, |shapes| shapes.of(id))
    }

    /// Whether a child is folded into those of its shape. Threads are there
    /// only if asked for: then each.
    fn folds(self, child: NodeId, segment: usize, counts: &Counts) -> Fold {
        let many = counts
            .get(&(segment, self.shape(child)))
            .is_some_and(|count| *count >= FOLD_FROM);
        match many && !self.tree.node(child).is_thread() {
            true => Fold::Yes,
            false => Fold::No,
        }
    }

    /// Puts a child to those of its shape, if it is folded.
    fn place(self, slots: &mut Slots<'a>, child: NodeId, fold: Fold) {
        match fold {
            Fold::No => slots.entries.push(Entry::Group(Members::One(child))),
            Fold::Yes => slots.put(
                Key::Shape(self.shape(child)),
                |entry| {
                    if let Entry::Group(members) = entry {
                        members.push(child);
                    }
                },
                || Entry::Group(Members::One(child)),
            ),
        }
    }

    /// Puts a deed to the same ones of others.
    fn deed(self, slots: &mut Slots<'a>, moment: &'a Moment) {
        let count = u64::from(moment.count);
        match moment.what {
            Deed::Exec(_) => slots.put(
                Key::Exec,
                |entry| {
                    if let Entry::Exec(moments) = entry {
                        moments.push(moment);
                    }
                },
                || Entry::Exec(vec![moment]),
            ),
            Deed::ExecFailed(command, errno) => slots.put(
                Key::ExecFailed(self.tree.texts().program(command), errno),
                |entry| {
                    if let Entry::ExecFailed(_, _, sum) = entry {
                        *sum += count;
                    }
                },
                || Entry::ExecFailed(command, errno, count),
            ),
            Deed::CreateFailed(how, failure) => slots.put(
                Key::CreateFailed(how, failure),
                |entry| {
                    if let Entry::CreateFailed(_, _, sum) = entry {
                        *sum += count;
                    }
                },
                || Entry::CreateFailed(how, failure, count),
            ),
        }
    }
}

fn entries<'a>(all: impl Iterator<Item = Entry<'a>> + 'a) -> Entries<'a> {
    let all: Box<dyn Iterator<Item = Entry<'a>> + 'a> = Box::new(all);
    all.peekable()
}

/// Something that is not folded.
fn alone(item: Item<'_>) -> Entry<'_> {
    match item {
        Item::Child(child) => Entry::Group(Members::One(child)),
        Item::Moment(moment) => match moment.what {
            Deed::Exec(_) => Entry::Exec(vec![moment]),
            Deed::ExecFailed(command, errno) => {
                Entry::ExecFailed(command, errno, u64::from(moment.count))
            }
            Deed::CreateFailed(how, failure) => {
                Entry::CreateFailed(how, failure, u64::from(moment.count))
            }
        },
    }
}

/// Entries between two execs, in the order of their first ones.
#[derive(Default)]
struct Slots<'a> {
    entries: Vec<Entry<'a>>,
    index: HashMap<Key, usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Exec,
    Shape(u64),
    ExecFailed(WordId, Errno),
    CreateFailed(HowId, Failure),
}

impl<'a> Slots<'a> {
    fn put(&mut self, key: Key, add: impl FnOnce(&mut Entry<'a>), new: impl FnOnce() -> Entry<'a>) {
        match self.index.get(&key) {
            Some(at) => add(&mut self.entries[*at]),
            None => {
                self.index.insert(key, self.entries.len());
                self.entries.push(new());
            }
        }
    }
}
