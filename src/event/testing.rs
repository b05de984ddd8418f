//! Events in a few words, for the tests of everything that eats them.

use std::collections::HashMap;
use std::time::Duration;

use super::{
    Attached, Child, Create, End, Ended, Event, EventKind, Exec, Follow, Followed, Lost, Outcome,
    Start, Stops, Target, Usage, Wait, Wanted,
};
use crate::abi::{Abi, Call, Syscall};
use crate::clone::{CloneFlags, decode};
use crate::exec::{Env, ExecCall, ListEnd, Strings, Text};
use crate::ids::{Comm, Errno, Pid, Signal, Tid};
use crate::memory::Regions;
use crate::waits::{Stored, WaitCall};

/// What pthread_create asks for.
pub(crate) const THREAD: u64 = CloneFlags::VM.0
    | CloneFlags::FS.0
    | CloneFlags::FILES.0
    | CloneFlags::SIGHAND.0
    | CloneFlags::THREAD.0;
/// What posix_spawn asks for.
pub(crate) const SPAWN: u64 = CloneFlags::VM.0 | CloneFlags::VFORK.0;

/// A trace that is made up: each call adds an event, a millisecond after the
/// one before.
pub(crate) struct Story {
    pub(crate) events: Vec<Event>,
    now: Duration,
    groups: HashMap<i32, i32>,
}

/// The start of a trace of `make`.
pub(crate) fn start(stops: Stops) -> Start {
    Start {
        version: "0.1.0".to_owned(),
        wall: Duration::ZERO,
        monotonic: Duration::ZERO,
        target: Target::Command(vec![b"make".to_vec()]),
        abi: Abi::NATIVE,
        stops,
        follow: Follow::All,
        waits: Wanted::No,
        orphans: Wanted::No,
    }
}

impl Story {
    pub(crate) fn new() -> Story {
        let mut story = Story::empty();
        let kind = EventKind::Start(Box::new(start(Stops::Seccomp)));
        story.push(0, "", kind);
        story.now = Duration::ZERO;
        story
    }

    /// The start of a trace with waits, and with who adopts whom.
    pub(crate) fn with_waits() -> Story {
        let mut story = Story::empty();
        let start = Start {
            waits: Wanted::Yes,
            orphans: Wanted::Yes,
            ..start(Stops::Seccomp)
        };
        story.push(0, "", EventKind::Start(Box::new(start)));
        story.now = Duration::ZERO;
        story
    }

    /// Without a start.
    pub(crate) fn empty() -> Story {
        Story {
            events: Vec::new(),
            now: Duration::ZERO,
            groups: HashMap::new(),
        }
    }

    /// The next event comes at this time, in milliseconds.
    pub(crate) fn at(&mut self, ms: u64) -> &mut Story {
        self.now = Duration::from_millis(ms);
        self
    }

    pub(crate) fn push(&mut self, tid: i32, comm: &str, kind: EventKind) -> &mut Story {
        let tgid = self.groups.get(&tid).copied().unwrap_or(tid);
        self.events.push(Event {
            at: self.now,
            tid: Tid(tid),
            tgid: Pid(tgid),
            comm: Comm::new(comm.as_bytes()),
            kind,
        });
        self.now += Duration::from_millis(1);
        self
    }

    fn create(&mut self, tid: i32, nr: u64, args: [u64; 6], outcome: Outcome) -> &mut Story {
        let syscall = Syscall {
            abi: Abi::X86_64,
            nr,
            args,
        };
        let request = decode(syscall, &mut Regions::default(), 32).expect("a creating call");
        let create = Create {
            request,
            outcome,
            latency: None,
            why: Vec::new(),
            retry: None,
        };
        self.push(tid, "", EventKind::Create(Box::new(create)))
    }

    /// clone with these flags, and SIGCHLD unless it is a thread.
    pub(crate) fn clone(&mut self, tid: i32, child: i32, flags: u64) -> &mut Story {
        let thread = flags & CloneFlags::THREAD.0 != 0;
        if thread {
            let group = self.groups.get(&tid).copied().unwrap_or(tid);
            self.groups.insert(child, group);
        } else {
            self.groups.remove(&child);
        }
        let signal = if thread { 0 } else { 17 };
        let stack = if flags & CloneFlags::VM.0 == 0 {
            0
        } else {
            0x7000
        };
        let args = [flags | signal, stack, 0, 0, 0, 0];
        self.create(tid, 56, args, created(child, Followed::Yes))
    }

    /// clone as glibc's fork calls it.
    pub(crate) fn fork(&mut self, tid: i32, child: i32) -> &mut Story {
        let flags = CloneFlags::CHILD_CLEARTID | CloneFlags::CHILD_SETTID;
        self.clone(tid, child, flags.0)
    }

    pub(crate) fn vfork(&mut self, tid: i32, child: i32) -> &mut Story {
        self.groups.remove(&child);
        self.create(tid, 58, [0; 6], created(child, Followed::Yes))
    }

    pub(crate) fn thread(&mut self, tid: i32, child: i32) -> &mut Story {
        self.clone(tid, child, THREAD)
    }

    /// fork(2) itself, of a child that is not followed.
    pub(crate) fn fork_unfollowed(&mut self, tid: i32, child: i32) -> &mut Story {
        self.create(tid, 57, [0; 6], created(child, Followed::NotAsked))
    }

    pub(crate) fn fork_fails(&mut self, tid: i32, errno: i32) -> &mut Story {
        self.create(tid, 57, [0; 6], Outcome::Failed(Errno(errno)))
    }

    pub(crate) fn thread_fails(&mut self, tid: i32, errno: i32) -> &mut Story {
        let args = [THREAD, 0x7000, 0, 0, 0, 0];
        self.create(tid, 56, args, Outcome::Failed(Errno(errno)))
    }

    pub(crate) fn killed_in_fork(&mut self, tid: i32) -> &mut Story {
        self.create(tid, 57, [0; 6], Outcome::Unknown)
    }

    pub(crate) fn exec(&mut self, tid: i32, command: &str) -> &mut Story {
        self.exec_result(tid, command, Some(Ok(())), None)
    }

    pub(crate) fn exec_fails(&mut self, tid: i32, command: &str, errno: i32) -> &mut Story {
        self.exec_result(tid, command, Some(Err(Errno(errno))), None)
    }

    /// An exec by a thread that is not the leader.
    pub(crate) fn exec_by_thread(&mut self, by: i32, leader: i32, command: &str) -> &mut Story {
        self.push(leader, "", EventKind::Superseded { by: Tid(by) });
        self.groups.insert(by, leader);
        self.exec_result(by, command, Some(Ok(())), Some(Tid(leader)));
        self.groups.remove(&by);
        self
    }

    /// The words of `command`, the first one the path.
    pub(crate) fn exec_result(
        &mut self,
        tid: i32,
        command: &str,
        result: Option<Result<(), Errno>>,
        continues_as: Option<Tid>,
    ) -> &mut Story {
        let text = |word: &str| Text::Bytes {
            bytes: word.as_bytes().to_vec(),
            truncated: false,
        };
        let words: Vec<&str> = command.split_ascii_whitespace().collect();
        let exec = Exec {
            call: ExecCall {
                syscall: None,
                call: Call::Execve,
                path: text(words.first().copied().unwrap_or("")),
                argv: Strings::List {
                    items: words.iter().map(|word| text(word)).collect(),
                    end: ListEnd::Complete,
                },
                env: Env {
                    text: None,
                    addr: None,
                    vars: None,
                    unterminated: false,
                },
            },
            result,
            continues_as,
            releases: None,
            latency: None,
            why: Vec::new(),
        };
        let name = words.first().and_then(|word| word.rsplit('/').next());
        let name = name.unwrap_or("").to_owned();
        self.push(tid, &name, EventKind::Exec(Box::new(exec)))
    }

    pub(crate) fn vfork_done(&mut self, tid: i32, child: i32) -> &mut Story {
        let kind = EventKind::VforkDone { child: Tid(child) };
        self.push(tid, "", kind)
    }

    pub(crate) fn exit(&mut self, tid: i32, code: i32) -> &mut Story {
        self.push(tid, "", EventKind::End(End::Exited(code).into()))
    }

    /// Ends with this status, having used so many milliseconds of CPU.
    pub(crate) fn exit_used(&mut self, tid: i32, code: i32, cpu_ms: u64) -> &mut Story {
        let usage = Usage {
            user: Duration::from_millis(cpu_ms),
            system: Duration::ZERO,
            max_rss_kib: 1024,
        };
        let ended = Ended {
            end: End::Exited(code),
            usage: Some(usage),
        };
        self.push(tid, "", EventKind::End(ended))
    }

    pub(crate) fn kill(&mut self, tid: i32, signal: i32) -> &mut Story {
        let end = End::Killed {
            signal: Signal(signal),
            core_dumped: signal == 11,
        };
        self.push(tid, "", EventKind::End(end.into()))
    }

    pub(crate) fn lost(&mut self, tid: i32, lost: Lost) -> &mut Story {
        self.push(tid, "", EventKind::Lost(lost))
    }

    /// wait4 that reaps this child, known by its number; with WNOWAIT it stays.
    pub(crate) fn reaps(&mut self, tid: i32, child: i32, options: u64) -> &mut Story {
        let syscall = Syscall {
            abi: Abi::X86_64,
            nr: 61,
            args: [u64::MAX, 0x1000, options, 0, 0, 0],
        };
        let wait = Wait {
            answer: Some(Ok(i64::from(child))),
            stored: Stored {
                status: Some(0),
                ..Stored::default()
            },
            child: Some(Tid(child)),
            ..Wait::unanswered(WaitCall::of(syscall).expect("a call that waits"))
        };
        self.push(tid, "", EventKind::Wait(Box::new(wait)))
    }

    pub(crate) fn adopted(&mut self, tid: i32, by: i32) -> &mut Story {
        self.push(tid, "", EventKind::Orphaned { by: Pid(by) })
    }

    pub(crate) fn attach(&mut self, tid: i32, tgid: i32, name: &str, parent: i32) -> &mut Story {
        self.found(tid, tgid, name, parent, false)
    }

    pub(crate) fn orphan(&mut self, tid: i32, name: &str, parent: i32) -> &mut Story {
        self.found(tid, tid, name, parent, true)
    }

    fn found(&mut self, tid: i32, tgid: i32, name: &str, parent: i32, orphan: bool) -> &mut Story {
        if tid != tgid {
            self.groups.insert(tid, tgid);
        }
        let attached = Attached {
            parent: Pid(parent),
            own: tid,
            orphan,
        };
        self.push(tid, name, EventKind::Attached(Box::new(attached)))
    }
}

fn created(child: i32, followed: Followed) -> Outcome {
    Outcome::Created(Child {
        tid: Some(Tid(child)),
        returned: child,
        own: child,
        followed,
        parent_tid: None,
        pidfd: None,
    })
}
