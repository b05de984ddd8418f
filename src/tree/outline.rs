//! What stands below each process, in order: an index over a finished tree, or
//! over what a filter shows of it. It costs eight bytes a process and four a
//! moment.

use super::Tree;
use super::node::{Deed, Moment, NodeId};

/// Children and moments of each process.
#[derive(Debug)]
pub struct Outline {
    /// Where the children of each begin among the children of all.
    children_at: Vec<u32>,
    children: Vec<NodeId>,
    moments_at: Vec<u32>,
    moments: Vec<u32>,
    roots: Vec<NodeId>,
}

/// Something below a process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Item<'a> {
    /// A child that it created, or (where threads are kept) a thread.
    Child(NodeId),
    /// Something else that it did.
    Moment(&'a Moment),
}

impl Outline {
    /// The outline of a tree as it is now.
    pub fn new(tree: &Tree) -> Outline {
        let parent = |id: NodeId| {
            let parent = tree.node(id).parent().filter(|_| tree.is_shown(id));
            parent.map(NodeId::index)
        };
        let ids = 0..tree.len() as u32;
        let (children_at, children) = group(tree.len(), ids, |id| parent(NodeId(id)));
        let all = 0..tree.moments().len() as u32;
        let of = |index: u32| {
            let moment = &tree.moments()[index as usize];
            shows(tree, moment).then(|| moment.node().index())
        };
        let (moments_at, mut moments) = group(tree.len(), all, of);
        // One that was replaced stands where the first one stood.
        for pair in moments_at.windows(2) {
            moments[pair[0] as usize..pair[1] as usize].sort_by_key(|index| {
                let moment = &tree.moments()[*index as usize];
                (moment.after, moment.at())
            });
        }
        Outline {
            children_at,
            children: children.into_iter().map(NodeId).collect(),
            moments_at,
            moments,
            roots: tree
                .nodes()
                .filter(|(id, node)| node.parent().is_none() && tree.is_shown(*id))
                .map(|(id, _)| id)
                .collect(),
        }
    }

    /// Those that nobody in the tree created.
    pub fn roots(&self) -> &[NodeId] {
        &self.roots
    }

    /// What a process created, in order.
    pub fn children(&self, id: NodeId) -> &[NodeId] {
        let (start, end) = range(&self.children_at, id);
        &self.children[start..end]
    }

    /// Whether a process created others, be they shown or not.
    pub fn created_any(&self, tree: &Tree, id: NodeId) -> bool {
        let process = |child: &NodeId| !tree.node(*child).is_thread();
        tree.created_any(id)
            .unwrap_or_else(|| self.children(id).iter().any(process))
    }

    /// What else it did, in order.
    pub fn moments<'a>(&'a self, tree: &'a Tree, id: NodeId) -> impl Iterator<Item = &'a Moment> {
        self.moments_with_place(tree, id).map(|(_, moment)| moment)
    }

    /// The same, each with its place among those of the tree.
    pub fn moments_with_place<'a>(
        &'a self,
        tree: &'a Tree,
        id: NodeId,
    ) -> impl Iterator<Item = (usize, &'a Moment)> {
        let (start, end) = range(&self.moments_at, id);
        let places = self.moments[start..end].iter();
        places.map(|place| (*place as usize, &tree.moments()[*place as usize]))
    }

    /// Both, in order.
    pub fn items<'a>(&'a self, tree: &'a Tree, id: NodeId) -> impl Iterator<Item = Item<'a>> {
        let mut children = self.children(id).iter().peekable();
        let mut moments = self.moments(tree, id).peekable();
        std::iter::from_fn(move || {
            let moment_first = match (children.peek(), moments.peek()) {
                (Some(child), Some(moment)) => moment.after <= child.0,
                (None, Some(_)) => true,
                (_, None) => false,
            };
            match moment_first {
                true => moments.next().map(Item::Moment),
                false => children.next().map(|child| Item::Child(*child)),
            }
        })
    }
}

/// Whether a moment stands below its process: of one that is there only for what
/// descends from it just what it was.
fn shows(tree: &Tree, moment: &Moment) -> bool {
    let node = moment.node();
    tree.is_picked(node) || tree.is_shown(node) && matches!(moment.what, Deed::Exec(_))
}

fn range(starts: &[u32], id: NodeId) -> (usize, usize) {
    let at = |index: usize| starts[index] as usize;
    (at(id.index()), at(id.index() + 1))
}

/// Sorts numbers by the group that each belongs to, keeping their order: where
/// each group begins, and the numbers.
fn group(
    groups: usize,
    numbers: std::ops::Range<u32>,
    of: impl Fn(u32) -> Option<usize>,
) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0; groups + 1];
    for number in numbers.clone() {
        if let Some(group) = of(number) {
            starts[group + 1] += 1;
        }
    }
    for index in 0..groups {
        starts[index + 1] += starts[index];
    }
    let mut sorted = vec![0; starts[groups] as usize];
    // Each start moves to the next group's, and back after.
    for number in numbers {
        if let Some(group) = of(number) {
            sorted[starts[group] as usize] = number;
            starts[group] += 1;
        }
    }
    starts.rotate_right(1);
    starts[0] = 0;
    (starts, sorted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_keep_their_order() {
        let of = |number: u32| [Some(2), None, Some(0), Some(2), Some(0)][number as usize];
        let (starts, sorted) = group(3, 0..5, of);
        assert_eq!(starts, [0, 2, 2, 4]);
        assert_eq!(sorted, [2, 4, 0, 3]);
        assert_eq!(group(0, 0..0, |_| None), (vec![0], vec![]));
    }
}
