//! Who is whose child, kept where it is told who adopts orphans; and which number a
//! thread has in which pid namespace, kept where waits are told. A wait and a signal
//! name processes by their numbers in the caller's namespace; here these become
//! forktrace's own.

use super::*;
use crate::waits::{KillCall, Target};

/// Family ties and numbers.
#[derive(Debug, Default)]
pub(super) struct Kin {
    parents: FxHashMap<Pid, Pid>,
    children: FxHashMap<Pid, FxHashSet<Pid>>,
    /// The pid namespaces of threads, but of those in the tracer's own. A
    /// namespace is known by its init.
    inside: FxHashMap<Tid, Tid>,
    /// The namespace around each, but where that is the tracer's own.
    around: FxHashMap<Tid, Tid>,
    /// Where the children of a thread are born that called unshare.
    below: FxHashMap<Tid, Tid>,
    /// Numbers in namespaces, each until it is used anew.
    numbers: FxHashMap<(Tid, i32), Tid>,
}

impl Kin {
    /// A process and its parent, if that is traced or known.
    pub(super) fn add(&mut self, child: Pid, parent: Option<Pid>) {
        if let Some(parent) = parent {
            self.parents.insert(child, parent);
            self.children.entry(parent).or_default().insert(child);
        }
    }

    /// A process is gone: its children, which have another parent now.
    fn remove(&mut self, gone: Pid) -> Vec<Pid> {
        if let Some(parent) = self.parents.remove(&gone)
            && let Some(siblings) = self.children.get_mut(&parent)
        {
            siblings.remove(&gone);
        }
        let orphans = self.children.remove(&gone).unwrap_or_default();
        let mut orphans: Vec<Pid> = orphans.into_iter().collect();
        orphans.sort_unstable();
        orphans
    }

    /// A child, whose numbers from the tracer's namespace down to its own are
    /// `tids` (not looked up where all are the tracer's), and its creator, `level`
    /// namespaces down.
    pub(super) fn number(&mut self, creator: Tid, child: Tid, level: u8, tids: &[i32]) {
        let level = usize::from(level);
        let Some(depth) = tids.len().checked_sub(1) else {
            return;
        };
        let outer = self.inside.get(&creator).copied();
        let own = match (depth.checked_sub(level), tids[depth]) {
            (Some(0), _) => outer,
            (Some(1), 1) => {
                self.below.insert(creator, child);
                Some(child)
            }
            (Some(1), _) => self.below.get(&creator).copied(),
            _ => None,
        };
        let Some(own) = own else {
            return;
        };
        self.inside.insert(child, own);
        if let (true, Some(outer)) = (own == child, outer) {
            self.around.insert(own, outer);
        }
        let mut space = Some(own);
        for number in tids.iter().rev() {
            let Some(this) = space else {
                break;
            };
            self.numbers.insert((this, *number), child);
            space = self.around.get(&this).copied();
        }
    }

    /// A thread is gone; with an init goes its namespace.
    fn forget(&mut self, tid: Tid) {
        self.below.remove(&tid);
        if self.inside.remove(&tid) == Some(tid) {
            self.numbers.retain(|(space, _), _| *space != tid);
            self.around.remove(&tid);
        }
    }

    #[cfg(test)]
    pub(super) fn numbers(&self) -> impl Iterator<Item = (Tid, i32)> {
        self.numbers.keys().copied()
    }

    /// Whom a thread, `level` namespaces down, means by a number.
    pub(super) fn meant(&self, caller: Tid, level: u8, number: i32) -> Option<Tid> {
        match (level, self.inside.get(&caller)) {
            _ if number <= 0 => None,
            (0, _) => Some(Tid(number)),
            (_, Some(space)) => self.numbers.get(&(*space, number)).copied(),
            (_, None) => None,
        }
    }
}

impl Machine {
    /// The one that a signal is for, where it is for one.
    pub(super) fn target_of<P: Probe>(
        &self,
        caller: Tid,
        call: &KillCall,
        probe: &mut P,
    ) -> Option<Tid> {
        let level = self.tasks.get(&caller)?.ns_level;
        let meant = |number| self.kin.meant(caller, level, number);
        match call.target() {
            Target::Process(pid) => meant(pid.0),
            Target::Thread(_, thread) => meant(thread),
            Target::Pidfd(fd) => probe.behind_pidfd(caller, fd).map(Tid::from),
            Target::OwnGroup | Target::Group(_) | Target::Everyone => None,
        }
    }

    /// A thread is gone, whose end was told. Where it was the last of its process,
    /// that one's children have another parent by now: the kernel gives them one
    /// before it lets the end be seen.
    pub(super) fn leave_kin<P: Probe>(&mut self, who: Who, probe: &mut P, output: &mut Output) {
        self.kin.forget(who.tid);
        if Pid::from(who.tid) != who.tgid {
            return;
        }
        for orphan in self.kin.remove(who.tgid) {
            let tid = Tid::from(orphan);
            let Some(child) = self.tasks.get(&tid).map(|task| task.who(tid)) else {
                continue;
            };
            // Ended meanwhile: then nobody can say any more.
            let Some((_, by)) = probe.family(tid) else {
                continue;
            };
            self.kin.add(orphan, Some(by));
            self.tell(output, child, EventKind::Orphaned { by });
        }
    }
}
