//! How the tree grows: one event after the other.

use std::time::Duration;

use super::node::{Failure, Fate, FateTag, How, HowId, Marks, NOBODY, Node, NodeId, nanos};
use super::strings::CommandId;
use super::{Live, Threads, Tree};
use crate::clone::{CloneFlags, Kind};
use crate::event::{Create, End, Ended, Event, EventKind, Followed, Lost, Outcome, Target};
use crate::ids::{Comm, Pid, Tid};

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
            EventKind::Superseded { by } => {
                // A leader that had ended is not there again.
                if !self.live.contains_key(by) {
                    self.thread_of(event);
                }
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
            EventKind::Wait(wait) => self.waited(event, wait),
            EventKind::Kill(_) => {}
            EventKind::Tracing | EventKind::MustStay(_) => {}
        }
    }

    /// A thread had its share in the event that comes in; one that is not kept, by
    /// its process.
    pub(super) fn pick_thread(&mut self, tid: Tid) {
        if let Some(live) = self.live.get(&tid) {
            let node = Some(NodeId(live.node)).filter(|_| live.node != NOBODY);
            self.pick(node.unwrap_or(live.process));
        }
    }

    /// The number of a call; the last one where there are too many kinds.
    pub(super) fn how_id(&mut self, how: How) -> HowId {
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
    pub(super) fn grow(
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
    pub(super) fn enter(&mut self, tid: Tid, process: NodeId, node: u32, at: Duration) {
        self.leave(tid, at, Fate::Unseen);
        self.given_away(tid);
        if node == process.0 {
            self.tally.processes.rise(at);
        }
        self.tally.threads.rise(at);
        let live = Live {
            process,
            node,
            born: at,
            counts: false,
        };
        self.live.insert(tid, live);
        self.recent.entry(process).or_default().threads += 1;
    }

    /// A thread is gone, or nothing more is told of it.
    pub(super) fn leave(&mut self, tid: Tid, at: Duration, fate: Fate) -> Option<NodeId> {
        let live = self.live.remove(&tid)?;
        let leads = live.node == live.process.0;
        if let Some(recent) = self.recent.get_mut(&live.process) {
            recent.threads = recent.threads.saturating_sub(1);
            // One that became the leader is back in a moment.
            if recent.threads == 0 && fate != Fate::BecameLeader {
                self.recent.remove(&live.process);
            }
        }
        // What is only no longer shown lives on.
        if fate != Fate::Silenced {
            self.tally.threads.fall();
            if leads {
                self.tally.processes.fall();
            }
        }
        if !leads && fate.ended() && live.counts {
            self.tally.thread_lives.add(at.saturating_sub(live.born));
        }
        let node = self.nodes.get_mut(live.node as usize)?;
        node.set_fate(fate);
        node.ended = nanos(at);
        // Whoever waited for it goes on.
        if fate.ended() {
            node.marks.clear(Marks::AWAITED);
            if leads {
                self.zombie(live.process);
            }
        }
        Some(NodeId(live.node))
    }

    /// The process of the thread that an event is about. One that is not
    /// known yet is taken up: the launched program, or what an incomplete log
    /// leaves out.
    pub(super) fn thread_of(&mut self, event: &Event) -> NodeId {
        match self.live.get(&event.tid) {
            Some(live) => live.process,
            None => self.take_up(event.tid, event.tgid, None, event.comm, event.at),
        }
    }

    /// Takes up a thread, and its process with this parent, where that is not known.
    pub(super) fn take_up(
        &mut self,
        tid: Tid,
        tgid: Pid,
        parent: Option<NodeId>,
        comm: Comm,
        at: Duration,
    ) -> NodeId {
        let leader = Tid::from(tgid);
        let process = match self.live.get(&leader) {
            Some(live) if live.node == live.process.0 => live.process,
            _ => {
                let launched = matches!(
                    &self.start,
                    Some(start) if matches!(start.target, Target::Command(_))
                ) && self.nodes.is_empty();
                let command = self.texts.name(comm.as_bytes());
                let id = self.grow(tgid.0, parent, command, at);
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
                Some(tid) => {
                    let kept = self.new_thread(tid, creator, event.comm, event.at);
                    if let Some(live) = self.live.get_mut(&tid) {
                        live.counts = counts;
                    }
                    kept
                }
                None => {
                    self.nodes[creator.index()].threads += 1;
                    let tid = child.tid.unwrap_or(Tid(child.returned));
                    self.keep_thread(tid, creator, event.comm, event.at)
                }
            }
        } else {
            let pid = child.tid.map_or(child.returned, |tid| tid.0);
            let id = self.grow(pid, Some(creator), command, event.at);
            self.given_away(Tid(pid));
            if let Some(tid) = followed {
                self.enter(tid, id, id.0, event.at);
            }
            if how.flags.has(CloneFlags::VFORK) && followed.is_some() {
                self.nodes[id.index()].marks.set(Marks::AWAITED);
            }
            if how.flags.has(CloneFlags::PARENT) {
                let parent = self.real_parent(creator);
                let parent = parent.map_or(NOBODY, |parent| parent.0);
                self.siblings.insert(id, parent);
            }
            if child.own != pid {
                self.own_pids.insert(id, child.own);
            }
            Some(id)
        };
        self.pick_creation(creator, node);
        if node.is_some() {
            self.goes_between(creator);
        }
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

    fn leader(&self, process: NodeId) -> Option<&Live> {
        let pid = self.node(process).pid;
        self.live
            .get(&Tid(pid))
            .filter(|live| live.node == process.0)
    }

    /// The thread of this event goes on under its leader's tid, and the leader
    /// is gone. The process that they belong to.
    pub(super) fn becomes_leader(&mut self, event: &Event) -> NodeId {
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

    pub(super) fn leader_by_pid(&self, pid: Pid) -> Option<NodeId> {
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
