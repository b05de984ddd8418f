//! How the tree grows: one event after the other.

use std::time::Duration;

use super::node::{
    Deed, Failure, Fate, FateTag, Halves, How, HowId, Marks, Moment, NOBODY, Node, NodeId, nanos,
};
use super::strings::CommandId;
use super::{Live, Threads, Tree};
use crate::clone::{CloneFlags, Kind};
use crate::event::{
    Attached, Create, End, Ended, Event, EventKind, Exec, Followed, Lost, Outcome, Target,
};
use crate::ids::{Comm, Errno, Pid, Tid};

/// No moment.
const NONE: u32 = u32::MAX;
/// How many moments are kept of one process: the first ones, and the last
/// exec and failure.
pub(super) const MOMENTS: u32 = 64;

impl Tree {
    /// Takes in an event.
    pub fn add(&mut self, event: &Event) {
        self.last = self.last.max(event.at);
        match &event.kind {
            EventKind::Start(start) => self.start = Some((**start).clone()),
            EventKind::Create(create) => self.created(event, create),
            EventKind::Exec(exec) => self.exec(event, exec),
            EventKind::VforkDone { child } => {
                if let Some(process) = self.process_of(event.tid) {
                    self.pick(process);
                }
                if let Some(live) = self.live.get(child) {
                    self.nodes[live.process.index()].marks.clear(Marks::AWAITED);
                }
            }
            EventKind::End(ended) => self.ended(event, *ended),
            // The exec that comes next, under the other's former tid, tells more.
            EventKind::Superseded { .. } => {
                self.thread_of(event);
                self.pick_thread(event.tid);
            }
            EventKind::Attached(attached) => self.attached(event, attached),
            EventKind::Lost(lost) => {
                let fate = match lost {
                    Lost::Detached => Fate::Detached,
                    Lost::Silenced => Fate::Silenced,
                };
                self.thread_of(event);
                self.pick_thread(event.tid);
                self.leave(event.tid, event.at, fate);
            }
            EventKind::Orphaned { by } => {
                if let Some(process) = self.process_of(event.tid) {
                    self.adopters.insert(process, *by);
                }
            }
            EventKind::Wait(_) | EventKind::Kill(_) => {}
            EventKind::Tracing | EventKind::MustStay(_) => {}
        }
    }

    /// A thread had its share in the event that comes in; one that is not kept, by
    /// its process.
    fn pick_thread(&mut self, tid: Tid) {
        if let Some(live) = self.live.get(&tid) {
            let node = Some(NodeId(live.node)).filter(|_| live.node != NOBODY);
            self.pick(node.unwrap_or(live.process));
        }
    }

    /// The number of a call; the last one where there are too many kinds.
    fn how_id(&mut self, how: How) -> HowId {
        if let Some(id) = self.how_ids.get(&how) {
            return *id;
        }
        let Ok(next) = u16::try_from(self.hows.len()) else {
            return HowId(u16::MAX);
        };
        self.hows.push(how);
        self.how_ids.insert(how, HowId(next));
        HowId(next)
    }

    /// Adds a node and returns its number.
    fn grow(
        &mut self,
        pid: i32,
        parent: Option<NodeId>,
        command: CommandId,
        at: Duration,
    ) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(Node {
            pid,
            creator: 0,
            parent: parent.map_or(NOBODY, |parent| parent.0),
            depth: parent.map_or(0, |parent| self.node(parent).depth + 1),
            code: 0,
            born: nanos(at),
            ended: nanos(at),
            cpu: 0,
            first: command,
            current: command,
            execs: 0,
            threads: 0,
            how: 0,
            fate: FateTag::Alive,
            marks: Marks::default(),
        });
        id
    }

    /// A thread comes to life. One of that tid that is still known ended
    /// unseen.
    fn enter(&mut self, tid: Tid, process: NodeId, node: u32, at: Duration) {
        self.leave(tid, at, Fate::Unseen);
        if node == process.0 {
            self.tally.processes.rise(at);
        }
        self.tally.threads.rise(at);
        let live = Live {
            process,
            node,
            born: at,
            counts: self.counts_creation(),
            last_exec: NONE,
            last_failure: NONE,
            moments: 0,
        };
        self.live.insert(tid, live);
    }

    /// A thread is gone, or nothing more is told of it.
    fn leave(&mut self, tid: Tid, at: Duration, fate: Fate) -> Option<NodeId> {
        let live = self.live.remove(&tid)?;
        self.tally.threads.fall();
        if live.node == live.process.0 {
            self.tally.processes.fall();
        } else if fate.ended() && live.counts {
            self.tally.thread_lives.add(at.saturating_sub(live.born));
        }
        let node = self.nodes.get_mut(live.node as usize)?;
        node.set_fate(fate);
        node.ended = nanos(at);
        // Whoever waited for it goes on.
        if fate.ended() {
            node.marks.clear(Marks::AWAITED);
        }
        Some(NodeId(live.node))
    }

    /// The process of the thread that an event is about. One that is not
    /// known yet is taken up: the launched program, or what an incomplete log
    /// leaves out.
    fn thread_of(&mut self, event: &Event) -> NodeId {
        match self.live.get(&event.tid) {
            Some(live) => live.process,
            None => self.take_up(event.tid, event.tgid, event.comm, event.at),
        }
    }

    fn take_up(&mut self, tid: Tid, tgid: Pid, comm: Comm, at: Duration) -> NodeId {
        let leader = Tid::from(tgid);
        let process = match self.live.get(&leader) {
            Some(live) if live.node == live.process.0 => live.process,
            _ => {
                let launched = matches!(
                    &self.start,
                    Some(start) if matches!(start.target, Target::Command(_))
                ) && self.nodes.is_empty();
                let command = self.texts.name(comm.as_bytes());
                let id = self.grow(tgid.0, None, command, at);
                if launched {
                    self.nodes[id.index()].marks.set(Marks::LAUNCHED);
                }
                self.enter(leader, id, id.0, at);
                id
            }
        };
        if tid != leader {
            self.new_thread(tid, process, comm, at);
        }
        process
    }

    /// A thread of a process that is not its first; its node, if kept.
    fn new_thread(
        &mut self,
        tid: Tid,
        process: NodeId,
        comm: Comm,
        at: Duration,
    ) -> Option<NodeId> {
        self.nodes[process.index()].threads += 1;
        let kept = self.keep_thread(tid, process, comm, at);
        self.enter(tid, process, kept.map_or(NOBODY, |node| node.0), at);
        kept
    }

    fn keep_thread(
        &mut self,
        tid: Tid,
        process: NodeId,
        comm: Comm,
        at: Duration,
    ) -> Option<NodeId> {
        (self.threads == Threads::Kept).then(|| {
            let name = self.texts.name(comm.as_bytes());
            let id = self.grow(tid.0, Some(process), name, at);
            self.nodes[id.index()].marks.set(Marks::THREAD);
            id
        })
    }

    fn created(&mut self, event: &Event, create: &Create) {
        let creator = self.thread_of(event);
        let how = How::of(&create.request);
        let child = match &create.outcome {
            Outcome::Created(child) => child,
            Outcome::Failed(errno) if errno.restart().is_some() => return self.pick(creator),
            Outcome::Failed(errno) => {
                return self.create_failed(event, creator, how, Failure::Errno(*errno));
            }
            Outcome::Unknown => {
                return self.create_failed(event, creator, how, Failure::CallerKilled);
            }
            Outcome::Skipped(_) => {
                return self.create_failed(event, creator, how, Failure::Skipped);
            }
        };
        let counts = self.counts_creation();
        if counts {
            self.tally.created(&how, event.at);
        }
        let command = self.node(creator).current;
        let followed = child.tid.filter(|_| child.followed == Followed::Yes);
        let node = if how.kind == Kind::Thread {
            if counts {
                self.tally.thread_by(self.texts.program(command));
            }
            match followed {
                Some(tid) => self.new_thread(tid, creator, event.comm, event.at),
                None => {
                    self.nodes[creator.index()].threads += 1;
                    let tid = child.tid.unwrap_or(Tid(child.returned));
                    self.keep_thread(tid, creator, event.comm, event.at)
                }
            }
        } else {
            let pid = child.tid.map_or(child.returned, |tid| tid.0);
            let id = self.grow(pid, Some(creator), command, event.at);
            if let Some(tid) = followed {
                self.enter(tid, id, id.0, event.at);
            }
            if how.flags.has(CloneFlags::VFORK) && followed.is_some() {
                self.nodes[id.index()].marks.set(Marks::AWAITED);
            }
            if child.own != pid {
                self.own_pids.insert(id, child.own);
            }
            Some(id)
        };
        self.pick_creation(creator, node);
        let how = self.how_id(how);
        let Some(node) = node.map(|id| &mut self.nodes[id.index()]) else {
            return;
        };
        node.how = how.0;
        node.creator = event.tid.0;
        node.marks.set(Marks::CREATED);
        if child.tid.is_none() {
            node.marks.set(Marks::FOREIGN_PID);
        }
        match child.followed {
            Followed::Yes => {}
            Followed::NotAsked => node.set_fate(Fate::NotFollowed),
            Followed::Untraced | Followed::Stranded => node.set_fate(Fate::Untraced),
        }
    }

    /// A creating call that created nothing; the same again and again counts
    /// up.
    fn create_failed(&mut self, event: &Event, process: NodeId, how: How, failure: Failure) {
        self.see_failure();
        self.pick(process);
        if self.counts() {
            self.tally.failed(&how, failure);
        }
        let deed = Deed::CreateFailed(self.how_id(how), failure);
        let leader = self.leader(process);
        let last = leader.map_or(NONE, |live| live.last_failure);
        let full = leader.is_some_and(|live| live.moments >= MOMENTS);
        if let Some(moment) = self.moments.get_mut(last as usize)
            && (moment.what == deed || full)
        {
            if moment.what != deed
                && let Deed::CreateFailed(_, failure) = &mut moment.what
            {
                *failure = Failure::Various;
            }
            moment.count = moment.count.saturating_add(1);
            moment.at = Halves::of(nanos(event.at));
            return;
        }
        let index = self.happened(event, process, deed);
        if let Some(live) = self.leader_mut(process) {
            live.last_failure = index;
        }
    }

    fn exec(&mut self, event: &Event, exec: &Exec) {
        let process = match (exec.result, exec.continues_as) {
            (Some(Ok(())), Some(leader)) if leader != event.tid => self.becomes_leader(event),
            _ => self.thread_of(event),
        };
        self.pick(process);
        match exec.result {
            None => {}
            Some(Err(errno)) if errno.restart().is_some() => {}
            Some(Err(errno)) => self.exec_failed(event, process, exec, errno),
            // A question, not an exec.
            Some(Ok(())) if only_checks(exec) => {}
            Some(Ok(())) => {
                let command = self.texts.exec(&exec.call);
                self.exec_moment(event, process, Deed::Exec(command));
                if self.counts() {
                    self.tally.execs += 1;
                }
                let node = &mut self.nodes[process.index()];
                node.current = command;
                node.execs = node.execs.saturating_add(1);
                node.marks.clear(Marks::AWAITED);
            }
        }
    }

    fn exec_failed(&mut self, event: &Event, process: NodeId, exec: &Exec, errno: Errno) {
        if self.counts() {
            self.tally.exec_failed(errno);
        }
        let command = self.texts.exec(&exec.call);
        self.exec_moment(event, process, Deed::ExecFailed(command, errno));
    }

    /// An exec or an attempt. What was tried just before, along PATH perhaps,
    /// gives way to it; so does the last exec of a process that has too many.
    fn exec_moment(&mut self, event: &Event, process: NodeId, deed: Deed) {
        let leader = self.leader(process);
        let last = leader.map_or(NONE, |live| live.last_exec);
        let full = leader.is_some_and(|live| live.moments >= MOMENTS);
        let replaces = self
            .moments
            .get(last as usize)
            .is_some_and(|moment| matches!(moment.what, Deed::ExecFailed(..)) || full);
        if replaces {
            let after = self.nodes.len() as u32;
            let moment = &mut self.moments[last as usize];
            moment.after = after;
            moment.at = Halves::of(nanos(event.at));
            moment.by = event.tid;
            moment.what = deed;
            self.pick_moment(last);
            return;
        }
        let index = self.happened(event, process, deed);
        if let Some(live) = self.leader_mut(process) {
            live.last_exec = index;
        }
    }

    fn happened(&mut self, event: &Event, process: NodeId, what: Deed) -> u32 {
        let index = self.moments.len() as u32;
        self.moments.push(Moment {
            node: process,
            after: self.nodes.len() as u32,
            at: Halves::of(nanos(event.at)),
            count: 1,
            by: event.tid,
            what,
        });
        self.pick_moment(index);
        if let Some(live) = self.leader_mut(process) {
            live.moments += 1;
        }
        index
    }

    fn leader(&self, process: NodeId) -> Option<&Live> {
        let pid = self.node(process).pid;
        self.live
            .get(&Tid(pid))
            .filter(|live| live.node == process.0)
    }

    fn leader_mut(&mut self, process: NodeId) -> Option<&mut Live> {
        let pid = self.node(process).pid;
        self.live
            .get_mut(&Tid(pid))
            .filter(|live| live.node == process.0)
    }

    /// The thread of this event goes on under its leader's tid, and the leader
    /// is gone. The process that they belong to.
    fn becomes_leader(&mut self, event: &Event) -> NodeId {
        let process = self.thread_of(event);
        let leads = self.leader_by_pid(Pid::from(event.tid)).is_some();
        if !leads {
            self.leave(event.tid, event.at, Fate::BecameLeader);
        }
        if self.leader(process).is_none() {
            self.nodes[process.index()].set_fate(Fate::Alive);
            let leader = Tid(self.node(process).pid);
            self.enter(leader, process, process.0, event.at);
        }
        process
    }

    fn attached(&mut self, event: &Event, attached: &Attached) {
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

    fn leader_by_pid(&self, pid: Pid) -> Option<NodeId> {
        let live = self.live.get(&Tid::from(pid))?;
        (live.node == live.process.0).then_some(live.process)
    }

    fn ended(&mut self, event: &Event, ended: Ended) {
        self.thread_of(event);
        self.pick_thread(event.tid);
        let fate = match ended.end {
            End::Exited(code) => Fate::Exited(code),
            End::Killed {
                signal,
                core_dumped,
            } => Fate::Killed {
                signal,
                core_dumped,
            },
        };
        if let (Some(id), Some(usage)) = (self.leave(event.tid, event.at, fate), ended.usage) {
            self.nodes[id.index()].set_usage(usage);
        }
    }
}

/// Whether an execveat that succeeded only asked (AT_EXECVE_CHECK of
/// linux/fcntl.h): nothing changes then.
fn only_checks(exec: &Exec) -> bool {
    const AT_EXECVE_CHECK: i32 = 0x1_0000;
    exec.call
        .at()
        .is_some_and(|(_, flags)| flags & AT_EXECVE_CHECK != 0)
}
