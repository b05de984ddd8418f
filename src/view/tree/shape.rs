//! What makes two processes look the same: program, creation, end, and the
//! shapes of all below. Pids, times and arguments don't count.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::tree::Tree;
use crate::tree::node::{Deed, NodeId};
use crate::tree::outline::{Item, Outline};

/// The shape of each node.
#[derive(Debug)]
pub(super) struct Shapes(Vec<u64>);

impl Shapes {
    /// Those of all of a tree.
    pub(super) fn new(tree: &Tree, outline: &Outline) -> Shapes {
        let mut shapes = vec![0; tree.len()];
        // Children before their parents.
        for id in tree.ids().rev() {
            shapes[id.index()] = shape(tree, outline, id, &shapes);
        }
        Shapes(shapes)
    }

    /// That of a node.
    pub(super) fn of(&self, id: NodeId) -> u64 {
        self.0[id.index()]
    }
}

fn shape(tree: &Tree, outline: &Outline, id: NodeId, shapes: &[u64]) -> u64 {
    let node = tree.node(id);
    let mut hash = DefaultHasher::new();
    let program = |command| tree.texts().program(command);
    (node.is_thread(), program(node.first())).hash(&mut hash);
    // Of what is there for others only the command is said.
    let picked = tree.is_picked(id);
    picked.hash(&mut hash);
    if picked {
        (tree.origin(id), node.fate()).hash(&mut hash);
        (node.awaited(), node.threads() > 0).hash(&mut hash);
        (tree.outlived_parent(id), tree.adopter(id)).hash(&mut hash);
        tree.unreaped(id).hash(&mut hash);
        node.pid_is_foreign().hash(&mut hash);
    }
    // Between two execs the order of children doesn't count: those of make -j
    // come as they come.
    let mut below = 0_u64;
    for item in outline.items(tree, id) {
        let part = match item {
            Item::Child(child) => spread(&shapes[child.index()]),
            Item::Moment(moment) => match moment.what {
                Deed::Exec(command) => {
                    (below, program(command)).hash(&mut hash);
                    below = 0;
                    continue;
                }
                Deed::ExecFailed(command, errno) => spread(&(program(command), errno)),
                Deed::CreateFailed(how, failure) => spread(&(how, failure)),
            },
        };
        below = below.wrapping_add(part);
    }
    below.hash(&mut hash);
    hash.finish()
}

/// A number that looks like chance, to be added up.
fn spread(value: &impl Hash) -> u64 {
    let mut hash = DefaultHasher::new();
    value.hash(&mut hash);
    hash.finish()
}
