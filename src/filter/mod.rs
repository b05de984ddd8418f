//! Which events are shown. A filter narrows what is shown, never what is
//! traced: it sees every event, so that it knows who made whom.
//!
//! The rule: an event belongs to the thread that it happened to, which is the
//! one at the start of its line, and a creation to the child too. A filter
//! selects events by what they are and whom they belong to, each by itself: the
//! end of a process may be shown where its creation is not.

mod family;
pub mod pattern;
#[cfg(test)]
mod tests;

use crate::abi::Call;
use crate::clone::{CloneFlags, Kind, Request, Spec};
use crate::event::{Create, End, Event, EventKind, Exec, Outcome, Wanted};
use crate::ids::{Errno, Pid};
use family::{Family, Member};
use pattern::Pattern;

/// What is asked for. Each field that is not empty narrows; the values within
/// one are alternatives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Criteria {
    /// What happened.
    pub only: Vec<Happening>,
    /// How it went.
    pub went: Option<Went>,
    /// By which call.
    pub calls: Vec<Call>,
    /// A creation with all of these flags in effect.
    pub flags: Vec<CloneFlags>,
    /// The thread's name, as the event has it.
    pub names: Vec<Pattern>,
    /// The process, or the thread.
    pub pids: Vec<i32>,
    /// Processes that it descends from.
    pub below: Vec<Ancestor>,
    /// The most generations of processes between it and the first.
    pub depth: Option<u32>,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// A creating call, whatever it asks for.
    Creations,
    /// A creating call for a thread.
    Threads,
    /// A creating call for a process, also one in vfork.
    Processes,
    /// A creating call for a process that borrows its parent's memory, and that
    /// parent's going on.
    Vforks,
    /// An exec call.
    Execs,
    /// An end, by exit, signal or another thread's exec.
    Exits,
    /// An end by signal.
    Kills,
    /// A call that waits for children.
    Waits,
    /// A call that sends a signal.
    Signals,
    /// A thread was found running, or let go.
    Attaches,
}

/// How it went. Neither: calls that were interrupted to be started again, and
/// those that their caller did not survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Went {
    /// A call returned an error or was refused, or an end was another than exit
    /// with status 0.
    Failed,
    /// A call succeeded, or an end was exit with status 0.
    Ok,
}

/// Whose descendants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ancestor {
    /// This process's, or thread's.
    Pid(Pid),
    /// Those of threads that had such a name when they created.
    Name(Pattern),
}

impl Criteria {
    /// Whether they narrow anything.
    pub fn any(&self) -> bool {
        *self != Criteria::default()
    }

    /// Whether they choose processes, whatever these do.
    pub fn by_process(&self) -> bool {
        !self.names.is_empty()
            || !self.pids.is_empty()
            || !self.below.is_empty()
            || self.depth.is_some()
    }

    /// Whether events must carry the names of threads.
    pub fn names(&self) -> Wanted {
        let by_name = |ancestor: &Ancestor| matches!(ancestor, Ancestor::Name(_));
        match !self.names.is_empty() || self.below.iter().any(by_name) {
            true => Wanted::Yes,
            false => Wanted::No,
        }
    }

    fn is_ancestor(&self, event: &Event) -> bool {
        self.below.iter().any(|ancestor| match ancestor {
            Ancestor::Pid(pid) => *pid == event.tgid || *pid == Pid::from(event.tid),
            Ancestor::Name(name) => name.matches(event.comm),
        })
    }

    fn is_ancestor_pid(&self, pid: Pid) -> bool {
        self.below.contains(&Ancestor::Pid(pid))
    }
}

/// How much of an event is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kept {
    /// Nothing.
    #[default]
    Not,
    /// The event, but not the child that it made: that is too many generations
    /// below the first process.
    Caller,
    /// All of it.
    Whole,
}

/// Which processes of an event are chosen, by criteria on processes alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen {
    /// The one that it happened to.
    pub own: bool,
    /// The one that it created, under the name that this is born with.
    pub child: bool,
}

/// Selects from a stream of events.
#[derive(Debug, Clone)]
pub struct Filter {
    criteria: Criteria,
    family: Family,
}

impl Filter {
    /// A filter for a stream from its start on.
    pub fn new(criteria: Criteria) -> Filter {
        Filter {
            criteria,
            family: Family::default(),
        }
    }

    /// Whether an event is to be shown. Has to be asked for every event of the
    /// stream, in order. What is said of the trace itself is always shown.
    pub fn keeps(&mut self, event: &Event) -> bool {
        self.keep(event) != Kept::Not
    }

    /// How much of an event is to be shown; to be asked as
    /// [`keeps`](Filter::keeps), in its place.
    pub fn keep(&mut self, event: &Event) -> Kept {
        match event.kind {
            EventKind::Start(_) | EventKind::Tracing | EventKind::MustStay(_) => {
                return Kept::Whole;
            }
            _ => {}
        }
        // Before anything else: the family must miss no event.
        let criteria = &self.criteria;
        let by_kin = match criteria.below.is_empty() && criteria.depth.is_none() {
            true => Kept::Whole,
            false => {
                let seen = self.family.see(event, criteria);
                let child = seen.child.map(|child| criteria.accepts(&child));
                match (criteria.accepts(&seen.own), child) {
                    (_, Some(true)) | (true, None) => Kept::Whole,
                    (true, Some(false)) => Kept::Caller,
                    (false, _) => Kept::Not,
                }
            }
        };
        match by_kin != Kept::Not && self.is_asked_for(event) {
            true => by_kin,
            false => Kept::Not,
        }
    }

    /// Which processes of an event are chosen, for views that show processes and
    /// not events: what it is, and how it went, doesn't matter. To be asked as
    /// [`keeps`](Filter::keeps), in its place. `None` of what is about no process.
    pub fn choose(&mut self, event: &Event) -> Option<Chosen> {
        match event.kind {
            EventKind::Start(_) | EventKind::Tracing | EventKind::MustStay(_) => return None,
            _ => {}
        }
        let criteria = &self.criteria;
        let seen = self.family.see(event, criteria);
        let named = any(&criteria.names, |name| name.matches(event.comm));
        let numbered = |number: i32| any(&criteria.pids, |pid| *pid == number);
        let mut own = (numbered(event.tgid.0) || numbered(event.tid.0)) && {
            named && criteria.accepts(&seen.own)
        };
        let mut child = false;
        if let (Some(create), Some(born)) = (creation(&event.kind), seen.child) {
            let tid = create.child().and_then(|child| child.tid);
            child = tid.is_some_and(|tid| numbered(tid.0)) && named && criteria.accepts(&born);
            if create.request.kind() == Kind::Thread {
                own |= child;
            }
        }
        Some(Chosen { own, child })
    }

    /// Whether an event is one of those asked for, by itself.
    fn is_asked_for(&self, event: &Event) -> bool {
        let criteria = &self.criteria;
        any(&criteria.only, |only| only.is(&event.kind))
            && criteria
                .went
                .is_none_or(|asked| went(&event.kind) == Some(asked))
            && any(&criteria.calls, |asked| call(&event.kind) == Some(*asked))
            && any(&criteria.flags, |asked| {
                creation(&event.kind).is_some_and(|create| create.request.flags().has(*asked))
            })
            && any(&criteria.names, |name| name.matches(event.comm))
            && any(&criteria.pids, |pid| is_about(event, *pid))
    }
}

impl Criteria {
    fn accepts(&self, member: &Member) -> bool {
        (self.below.is_empty() || member.below)
            && self.depth.is_none_or(|most| member.depth <= most)
    }
}

/// Whether one of the values fits; where none is given, all do.
fn any<T>(values: &[T], fits: impl Fn(&T) -> bool) -> bool {
    values.is_empty() || values.iter().any(fits)
}

fn creation(kind: &EventKind) -> Option<&Create> {
    match kind {
        EventKind::Create(create) => Some(create),
        _ => None,
    }
}

/// Whether an event belongs to a process or thread.
fn is_about(event: &Event, pid: i32) -> bool {
    let child = creation(&event.kind)
        .and_then(Create::child)
        .and_then(|child| child.tid);
    event.tgid.0 == pid || event.tid.0 == pid || child.is_some_and(|tid| tid.0 == pid)
}

impl Happening {
    fn is(self, kind: &EventKind) -> bool {
        // Of a call whose arguments can't be read nobody knows.
        let asks = |create: &Create, fits: fn(Kind) -> bool| {
            create.request.is_decoded() && fits(create.request.kind())
        };
        match (self, kind) {
            (Happening::Creations, EventKind::Create(_)) => true,
            (Happening::Threads, EventKind::Create(create)) => {
                asks(create, |kind| kind == Kind::Thread)
            }
            (Happening::Processes, EventKind::Create(create)) => {
                asks(create, |kind| kind != Kind::Thread)
            }
            (Happening::Vforks, EventKind::Create(create)) => {
                asks(create, |kind| kind == Kind::Vfork)
            }
            (Happening::Vforks, EventKind::VforkDone { .. }) => true,
            (Happening::Execs, EventKind::Exec(_)) => true,
            (Happening::Exits, EventKind::End(_) | EventKind::Superseded { .. }) => true,
            (Happening::Kills, EventKind::End(ended)) => matches!(ended.end, End::Killed { .. }),
            (Happening::Waits, EventKind::Wait(_)) => true,
            (Happening::Signals, EventKind::Kill(_)) => true,
            (Happening::Attaches, EventKind::Attached(_) | EventKind::Lost(_)) => true,
            _ => false,
        }
    }
}

/// How it went, where that can be said.
fn went(kind: &EventKind) -> Option<Went> {
    match kind {
        EventKind::Create(create) => match create.outcome {
            Outcome::Created(_) => Some(Went::Ok),
            Outcome::Failed(errno) if errno.restart().is_some() => None,
            Outcome::Failed(_) | Outcome::Skipped(_) => Some(Went::Failed),
            Outcome::Unknown => None,
        },
        EventKind::Exec(exec) => match exec.result {
            Some(Ok(())) => Some(Went::Ok),
            Some(Err(errno)) if errno.restart().is_some() => None,
            Some(Err(_)) => Some(Went::Failed),
            None => None,
        },
        EventKind::Wait(wait) => answered(wait.answer?),
        EventKind::Kill(kill) => answered(kill.answer?),
        EventKind::End(ended) => match ended.end {
            End::Exited(0) => Some(Went::Ok),
            End::Exited(_) | End::Killed { .. } => Some(Went::Failed),
        },
        _ => None,
    }
}

fn answered(answer: Result<i64, Errno>) -> Option<Went> {
    match answer {
        Ok(_) => Some(Went::Ok),
        Err(errno) if errno.restart().is_some() => None,
        Err(_) => Some(Went::Failed),
    }
}

fn call(kind: &EventKind) -> Option<Call> {
    match kind {
        EventKind::Create(create) => Some(creating(&create.request)),
        EventKind::Exec(exec) => Some(executing(exec)),
        EventKind::Wait(wait) => wait.call.syscall.call(),
        EventKind::Kill(kill) => kill.call.syscall.call(),
        _ => None,
    }
}

fn creating(request: &Request) -> Call {
    match request.spec {
        Spec::Fork => Call::Fork,
        Spec::Vfork => Call::Vfork,
        Spec::Clone(_) => Call::Clone,
        Spec::Clone3(_) => Call::Clone3,
    }
}

fn executing(exec: &Exec) -> Call {
    exec.call.call
}
