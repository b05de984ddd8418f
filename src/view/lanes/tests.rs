//! Pictures of traces that are made up, as they stand on the page.

use std::time::Duration;

use proptest::prelude::*;

use super::row::Row;
use super::*;
use crate::abi::{Abi, Call, Syscall};
use crate::clone::{CloneFlags, decode};
use crate::config::When;
use crate::event::{
    Attached, Child, Create, End, EventKind, Exec, Follow, Followed, Kill, Lost, Outcome, Start,
    Stops, Wait, Wanted,
};
use crate::exec::{Env, ExecCall, ListEnd, Strings, Text};
use crate::filter::pattern::Pattern;
use crate::filter::{Ancestor, Criteria};
use crate::ids::{Comm, Errno, Pid, Signal, Tid};
use crate::memory::Regions;
use crate::view::style::palette;
use crate::waits::{KillCall, Stored, WaitCall};

const FORK: u64 = 17;
const VFORK: u64 = CloneFlags::VM.0 | CloneFlags::VFORK.0 | 17;
const THREAD: u64 = CloneFlags::VM.0
    | CloneFlags::FS.0
    | CloneFlags::FILES.0
    | CloneFlags::SIGHAND.0
    | CloneFlags::THREAD.0;

/// A trace, an event each millisecond.
struct Story {
    events: Vec<Event>,
    now: Duration,
    comm: &'static [u8],
}

impl Story {
    fn new() -> Story {
        let mut story = Story {
            events: Vec::new(),
            now: Duration::ZERO,
            comm: b"py\x1b",
        };
        story.start(Wanted::Yes);
        story
    }

    fn start(&mut self, waits: Wanted) {
        let start = Start {
            version: String::new(),
            wall: Duration::ZERO,
            monotonic: Duration::ZERO,
            target: crate::event::Target::Processes(Vec::new()),
            abi: Abi::NATIVE,
            stops: Stops::Seccomp,
            follow: Follow::All,
            waits,
            orphans: waits,
        };
        self.push(0, 0, EventKind::Start(Box::new(start)));
    }

    fn push(&mut self, tid: i32, tgid: i32, kind: EventKind) -> &mut Story {
        self.events.push(Event {
            at: self.now,
            tid: Tid(tid),
            tgid: Pid(tgid),
            comm: Comm::new(self.comm),
            kind,
        });
        self.now += Duration::from_millis(1);
        self
    }

    /// What follows is done by threads of this name.
    fn named(&mut self, comm: &'static str) -> &mut Story {
        self.comm = comm.as_bytes();
        self
    }

    fn later(&mut self, ms: u64) -> &mut Story {
        self.now += Duration::from_millis(ms);
        self
    }

    fn clone(&mut self, pid: i32, child: i32, flags: u64, followed: Followed) -> &mut Story {
        let outcome = Outcome::Created(Child {
            tid: Some(Tid(child)),
            returned: child,
            own: child,
            followed,
            parent_tid: None,
            pidfd: None,
        });
        self.outcome(pid, flags, outcome)
    }

    fn outcome(&mut self, pid: i32, flags: u64, outcome: Outcome) -> &mut Story {
        let syscall = Syscall {
            abi: Abi::X86_64,
            nr: 56,
            args: [flags, 0, 0, 0, 0, 0],
        };
        let create = Create {
            request: decode(syscall, &mut Regions::default(), 32).unwrap(),
            outcome,
            latency: None,
            why: Vec::new(),
            retry: None,
        };
        self.push(pid, pid, EventKind::Create(Box::new(create)))
    }

    fn fork(&mut self, pid: i32, child: i32) -> &mut Story {
        self.clone(pid, child, FORK, Followed::Yes)
    }

    fn exec_result(
        &mut self,
        pid: i32,
        command: &str,
        result: Option<Result<(), Errno>>,
    ) -> &mut Story {
        let text = |word: &str| Text::Bytes {
            bytes: word.as_bytes().to_vec(),
            truncated: false,
        };
        let words: Vec<&str> = command.split(' ').collect();
        let exec = Exec {
            call: ExecCall {
                syscall: None,
                call: Call::Execve,
                path: text(words[0]),
                argv: Strings::List {
                    items: words.iter().map(|word| text(word)).collect(),
                    end: ListEnd::Complete,
                },
                env: Env {
                    addr: None,
                    vars: None,
                    unterminated: false,
                    text: None,
                },
            },
            result,
            continues_as: None,
            releases: None,
            latency: None,
            why: Vec::new(),
        };
        self.push(pid, pid, EventKind::Exec(Box::new(exec)))
    }

    fn exec(&mut self, pid: i32, command: &str) -> &mut Story {
        self.exec_result(pid, command, Some(Ok(())))
    }

    fn end(&mut self, pid: i32, end: End) -> &mut Story {
        self.push(pid, pid, EventKind::End(end.into()))
    }

    fn exit(&mut self, pid: i32, status: i32) -> &mut Story {
        self.end(pid, End::Exited(status))
    }

    fn killed(&mut self, pid: i32, signal: i32) -> &mut Story {
        self.end(
            pid,
            End::Killed {
                signal: Signal(signal),
                core_dumped: false,
            },
        )
    }

    /// wait4 with this status word.
    fn wait(
        &mut self,
        pid: i32,
        answer: Option<Result<i64, i32>>,
        options: u64,
        status: i32,
    ) -> &mut Story {
        let syscall = Syscall {
            abi: Abi::X86_64,
            nr: 61,
            args: [u64::MAX, 0x1000, options, 0, 0, 0],
        };
        let wait = Wait {
            answer: answer.map(|answer| answer.map_err(Errno)),
            stored: Stored {
                status: Some(status),
                ..Stored::default()
            },
            latency: Some(Duration::from_millis(3)),
            ..Wait::unanswered(WaitCall::of(syscall).unwrap())
        };
        self.push(pid, pid, EventKind::Wait(Box::new(wait)))
    }

    fn reap(&mut self, pid: i32, child: i32) -> &mut Story {
        self.wait(pid, Some(Ok(i64::from(child))), 0, 0)
    }

    fn kill(
        &mut self,
        pid: i32,
        to: i32,
        signal: u64,
        answer: Option<Result<i64, i32>>,
    ) -> &mut Story {
        let syscall = Syscall {
            abi: Abi::X86_64,
            nr: 62,
            args: [to as u64, signal, 0, 0, 0, 0],
        };
        let kill = Kill {
            call: KillCall::decode(syscall, &mut Regions::default()).unwrap(),
            target: (to > 0).then_some(Tid(to)),
            answer: answer.map(|answer| answer.map_err(Errno)),
            latency: None,
        };
        self.push(pid, pid, EventKind::Kill(Box::new(kill)))
    }

    fn orphaned(&mut self, pid: i32, by: i32) -> &mut Story {
        self.push(pid, pid, EventKind::Orphaned { by: Pid(by) })
    }

    fn on(&self, width: usize, glyphs: Glyphs, color: When, detail: Detail) -> String {
        let page = Page {
            width,
            glyphs,
            palette: palette(color, false),
        };
        self.drawn(page, Lanes::new(page.lanes(), detail, None))
    }

    fn drawn(&self, page: Page, mut lanes: Lanes) -> String {
        let mut out = String::new();
        let mut draw = |rows: Vec<Row>| {
            for row in rows {
                page.draw(&mut out, &row);
            }
        };
        for event in &self.events {
            draw(lanes.event(event));
        }
        draw(lanes.finish());
        out
    }

    /// Without the legend.
    fn picture(&self) -> String {
        self.on(80, Glyphs::Unicode, When::Never, Detail::Quiet)
    }

    /// The same of the processes that a filter chooses.
    fn picture_of(&self, criteria: Criteria) -> String {
        let page = Page {
            width: 80,
            glyphs: Glyphs::Unicode,
            palette: palette(When::Never, false),
        };
        let filter = Some(Filter::new(criteria));
        self.drawn(page, Lanes::new(page.lanes(), Detail::Quiet, filter))
    }
}

fn pipeline() -> Story {
    let mut story = Story::new();
    story
        .exec(10, "/bin/sh -c ls|sort")
        .fork(10, 11)
        .fork(10, 12)
        .exec(12, "/usr/bin/sort")
        .exec(11, "/bin/ls")
        .exit(11, 0)
        .later(10)
        .reap(10, 11)
        .killed(12, 13)
        .reap(10, 12)
        .exit(10, 3);
    story
}

#[test]
fn a_pipeline() {
    assert_eq!(
        pipeline().picture(),
        "    1.000  ●           10 runs sh -c \"ls|sort\"
    2.000  ├──╮        10 sh forks 11
    3.000  ├──┼──╮     10 sh forks 12
    4.000  │  │  ◆     12 sh execs sort
    5.000  │  ◆  │     11 sh execs ls
    6.000  │  ■  │     11 ls exits with 0
   17.000  ├──╯  │     10 sh reaps 11, zombie 11 ms, waited 3.0 ms
   18.000  │     ✖     12 sort is killed by SIGPIPE
   19.000  ├─────╯     10 sh reaps 12, zombie 1.0 ms, waited 3.0 ms
   20.000  ■           10 sh exits with 3
"
    );
}

#[test]
fn the_same_in_ascii_with_the_legend() {
    assert_eq!(
        pipeline().on(80, Glyphs::Ascii, When::Never, Detail::Normal),
        "# ms  +-. creates  * execs  # exits  X killed  : zombie  +-' reaps  +-> signals
    1.000  o           10 runs sh -c \"ls|sort\"
    2.000  +--.        10 sh forks 11
    3.000  +--+--.     10 sh forks 12
    4.000  |  |  *     12 sh execs sort
    5.000  |  *  |     11 sh execs ls
    6.000  |  #  |     11 ls exits with 0
   17.000  +--'  |     10 sh reaps 11, zombie 11 ms, waited 3.0 ms
   18.000  |     X     12 sort is killed by SIGPIPE
   19.000  +-----'     10 sh reaps 12, zombie 1.0 ms, waited 3.0 ms
   20.000  #           10 sh exits with 3
"
    );
}

/// Of one child: what others do to it is told without lanes of theirs.
#[test]
fn outsiders_have_no_lanes() {
    let mut story = Story::new();
    story
        .exec(10, "sh")
        .fork(10, 11)
        .fork(11, 12)
        .fork(10, 13)
        .exec_result(13, "/bin/ps", Some(Err(Errno::ENOENT)))
        .clone(13, 14, THREAD, Followed::Yes)
        .exec(12, "ls")
        .kill(13, 12, 15, Some(Ok(0)))
        .kill(13, 10, 15, Some(Ok(0)))
        .killed(12, 15)
        .reap(11, 12)
        .exit(13, 0)
        .reap(10, 13)
        .exit(11, 0)
        .reap(10, 11)
        .exit(10, 0);
    let below = |pid| Criteria {
        below: vec![Ancestor::Pid(Pid(pid))],
        ..Criteria::default()
    };
    assert_eq!(
        story.picture_of(below(11)),
        "    3.000  ●           11 sh forks 12
    7.000  ◆           12 sh execs ls
    8.000  ◇           13 sh sends SIGTERM to 12 ls
   10.000  ✖           12 ls is killed by SIGTERM
   11.000  ◇           11 sh reaps 12, zombie 1.0 ms, waited 3.0 ms
"
    );
    assert_eq!(story.picture_of(below(12)), "");
    assert_eq!(story.picture_of(below(1)), "");
    let mut pids = Criteria {
        pids: vec![11, 14],
        ..Criteria::default()
    };
    let of_two = "    2.000  ●           10 sh forks 11
    3.000  ◇           11 sh forks 12
    6.000  │  ≡        13 sh: 1 more thread, 2 now
    8.000  │  ◇        13 sh sends SIGTERM to 12 ls
    9.000  │  ◇        13 sh sends SIGTERM to 10 sh
   11.000  ◇  │        11 sh reaps 12, waited 3.0 ms
   12.000  │  ■        13 sh exits with 0
   13.000  │  ◇        10 sh reaps 13, zombie 1.0 ms, waited 3.0 ms
   14.000  ■           11 sh exits with 0
   15.000  ◇           10 sh reaps 11, zombie 1.0 ms, waited 3.0 ms
";
    assert_eq!(story.picture_of(pids.clone()), of_two);
    // All of them: the picture is the whole one.
    pids.pids = vec![10, 11, 12, 13];
    assert_eq!(story.picture_of(pids), story.picture());
}

/// A process is in the picture from the event that chooses it to its end.
#[test]
fn lanes_by_name_and_depth() {
    let mut story = Story::new();
    story
        .named("make")
        .exec(10, "make")
        .fork(10, 11)
        .named("cc")
        .exec(11, "cc")
        .fork(11, 12)
        .named("as")
        .exec(12, "as")
        .exit(12, 0)
        .named("cc")
        .reap(11, 12)
        .exit(11, 0)
        .named("make")
        .reap(10, 11)
        .exit(10, 0);
    let by_name = |name: &str| Criteria {
        names: vec![Pattern::new(name.as_bytes()).unwrap()],
        ..Criteria::default()
    };
    assert_eq!(
        story.picture_of(by_name("cc")),
        "    3.000  ●           11 make execs cc
    4.000  ├──╮        11 cc forks 12
    5.000  │  ◆        12 cc execs as
    6.000  │  ■        12 as exits with 0
    7.000  ├──╯        11 cc reaps 12, zombie 1.0 ms, waited 3.0 ms
    8.000  ■           11 cc exits with 0
    9.000  ◇           10 make reaps 11, zombie 1.0 ms, waited 3.0 ms
"
    );
    let depth = |most| Criteria {
        depth: Some(most),
        ..Criteria::default()
    };
    assert_eq!(
        story.picture_of(depth(1)),
        "    1.000  ●           10 runs make
    2.000  ├──╮        10 make forks 11
    3.000  │  ◆        11 make execs cc
    4.000  │  ◇        11 cc forks 12
    7.000  │  ◇        11 cc reaps 12, waited 3.0 ms
    8.000  │  ■        11 cc exits with 0
    9.000  ├──╯        10 make reaps 11, zombie 1.0 ms, waited 3.0 ms
   10.000  ■           10 make exits with 0
"
    );
    assert_eq!(story.picture_of(depth(2)), story.picture());
    assert_eq!(story.picture_of(by_name("*")), story.picture());
}

/// Zombies of a hidden parent end with it, or where it has no child left to wait for.
#[test]
fn zombies_of_outsiders_end() {
    let mut story = Story::new();
    story
        .exec(10, "sh")
        .fork(10, 11)
        .fork(10, 12)
        .exit(11, 0)
        .wait(10, Some(Err(libc::ECHILD)), 0, 0)
        .exit(12, 0)
        .exit(10, 0);
    let children = Criteria {
        pids: vec![11, 12],
        ..Criteria::default()
    };
    assert_eq!(
        story.picture_of(children),
        "    2.000  ●           10 sh forks 11
    3.000  │  ●        10 sh forks 12
    4.000  ■  │        11 sh exits with 0
    5.000  ◇  │        10 sh can't wait: ECHILD; gone: 11
    6.000     ■        12 sh exits with 0
    7.000     ◇        10 sh exits with 0; never reaped 12
"
    );
}

/// A free column is taken again; a child may come to stand left of its parent.
#[test]
fn columns_are_used_again() {
    let mut story = Story::new();
    story
        .exec(10, "sh")
        .fork(10, 11)
        .fork(10, 12)
        .exit(11, 0)
        .fork(12, 13)
        .reap(10, 11)
        .fork(12, 14)
        .kill(12, 14, 15, Some(Ok(0)))
        .kill(14, 13, 9, Some(Ok(0)))
        .killed(14, 15)
        .reap(12, 14);
    assert_eq!(
        story.picture(),
        "    1.000  ●           10 runs sh
    2.000  ├──╮        10 sh forks 11
    3.000  ├──┼──╮     10 sh forks 12
    4.000  │  ■  │     11 sh exits with 0
    5.000  │  ╎  ├──╮  12 sh forks 13
    6.000  ├──╯  │  │  10 sh reaps 11, zombie 2.0 ms, waited 3.0 ms
    7.000  │  ╭──┤  │  12 sh forks 14
    8.000  │  ◀──┤  │  12 sh sends SIGTERM to 14 sh
    9.000  │  ├──┼──▶  14 sh sends SIGKILL to 13 sh
   10.000  │  ✖  │  │  14 sh is killed by SIGTERM
   11.000  │  ╰──┤  │  12 sh reaps 14, zombie 1.0 ms, waited 3.0 ms
"
    );
}

#[test]
fn an_orphan_goes_to_a_subreaper_or_to_init() {
    let mut story = Story::new();
    story
        .exec(10, "sh")
        .fork(10, 11)
        .fork(11, 12)
        .fork(11, 13)
        .exit(11, 0)
        .orphaned(12, 10)
        .orphaned(13, 1)
        .reap(10, 11)
        .exit(12, 0)
        .exit(13, 0)
        .reap(10, 12)
        .exit(10, 0);
    assert_eq!(
        story.picture(),
        "    1.000  ●           10 runs sh
    2.000  ├──╮        10 sh forks 11
    3.000  │  ├──╮     11 sh forks 12
    4.000  │  ├──┼──╮  11 sh forks 13
    5.000  │  ■  │  │  11 sh exits with 0; orphans: 12, 13
    6.000  ◀──┼──┤  │  12 sh, an orphan, is 10's now
    7.000  │  ╎  │  ◇  13 sh, an orphan, is init's now
    8.000  ├──╯  │  │  10 sh reaps 11, zombie 3.0 ms, waited 3.0 ms
    9.000  │     ■  │  12 sh exits with 0
   10.000  │     ╎  ■  13 sh exits with 0; left to init
   11.000  ├─────╯     10 sh reaps 12, zombie 2.0 ms, waited 3.0 ms
   12.000  ■           10 sh exits with 0
"
    );
}

#[test]
fn who_is_never_reaped() {
    let mut story = Story::new();
    story
        .exec(10, "sh")
        .fork(10, 11)
        .fork(10, 12)
        .exit(11, 0)
        // The kernel reaped it: its parent ignores SIGCHLD.
        .exit(12, 0)
        .wait(10, Some(Err(libc::ECHILD)), 0, 0)
        .fork(10, 13)
        .exit(13, 1)
        .exit(10, 0);
    assert_eq!(
        story.picture(),
        "    1.000  ●           10 runs sh
    2.000  ├──╮        10 sh forks 11
    3.000  ├──┼──╮     10 sh forks 12
    4.000  │  ■  │     11 sh exits with 0
    5.000  │  ╎  ■     12 sh exits with 0
    6.000  ✗  ╎  ╎     10 sh can't wait: ECHILD; gone: 11, 12
    7.000  ├──╮        10 sh forks 13
    8.000  │  ■        13 sh exits with 1
    9.000  ■  ╎        10 sh exits with 0; never reaped 13
"
    );
}

#[test]
fn vfork_suspends() {
    let mut story = Story::new();
    story.exec(10, "make").clone(10, 11, VFORK, Followed::Yes);
    for _ in 0..3 {
        story.exec_result(11, "/some/where/cc", Some(Err(Errno::ENOENT)));
    }
    story
        .push(10, 10, EventKind::VforkDone { child: Tid(11) })
        .exec(11, "/usr/bin/cc -c a.c")
        .exit(11, 0)
        .reap(10, 11)
        .clone(10, 12, VFORK, Followed::Yes)
        .exec_result(12, "/nowhere", Some(Err(Errno::ENOENT)))
        .exec_result(12, "/nowhere", Some(Err(Errno::EACCES)))
        .push(10, 10, EventKind::VforkDone { child: Tid(12) })
        .exit(12, 127);
    assert_eq!(
        story.picture(),
        "    1.000  ●           10 runs make
    2.000  ├──╮        10 make vforks 11 and waits
    7.000  │  ◆        11 make execs cc -c a.c; 10 goes on
    8.000  │  ■        11 cc exits with 0
    9.000  ├──╯        10 make reaps 11, zombie 1.0 ms, waited 3.0 ms
   10.000  ├──╮        10 make vforks 12 and waits
   12.000  │  ✗        12 make can't exec nowhere: EACCES (2 tries)
   14.000  │  ■        12 make exits with 127; 10 goes on
"
    );
    // Suspended while its child is at it.
    let mut story = Story::new();
    story
        .exec(10, "make")
        .clone(10, 11, VFORK, Followed::Yes)
        .fork(11, 12);
    assert_eq!(
        story.picture().lines().last(),
        Some("    3.000  ·  ├──╮     11 make forks 12")
    );
}

#[test]
fn threads_are_counted() {
    let mut story = Story::new();
    story.exec(10, "py").clone(10, 11, THREAD, Followed::Yes);
    story.clone(10, 12, THREAD, Followed::Yes);
    story.push(11, 10, EventKind::End(End::Exited(0).into()));
    story.fork(10, 13);
    story.push(12, 10, EventKind::End(End::Exited(0).into()));
    story.fork(10, 14);
    story.clone(14, 15, THREAD, Followed::Yes);
    story.clone(14, 16, THREAD, Followed::Yes);
    story.fork(10, 17);
    // All at once, by exit_group.
    story.push(15, 14, EventKind::End(End::Exited(0).into()));
    story.push(16, 14, EventKind::End(End::Exited(0).into()));
    story.exit(14, 0);
    assert_eq!(
        story.picture(),
        "    1.000  ●           10 runs py
    4.000  ≡           10 py: 2 threads begin, 1 end, 2 now
    5.000  ├──╮        10 py forks 13
    6.000  ≡  │        10 py: 1 thread ends, 1 left
    7.000  ├──┼──╮     10 py forks 14
    9.000  │  │  ≡     14 py: 2 more threads, 3 now
   10.000  ├──┼──┼──╮  10 py forks 17
   13.000  │  │  ■  │  14 py exits with 0
"
    );
}

#[test]
fn calls_that_fail_and_those_without_a_partner() {
    let mut story = Story::new();
    story
        .exec(10, "sh")
        .outcome(10, FORK, Outcome::Failed(Errno::EAGAIN))
        .outcome(10, FORK, Outcome::Failed(Errno(513)))
        .clone(10, 11, FORK, Followed::NotAsked)
        .reap(10, 11)
        .wait(10, Some(Ok(0)), 1, 0)
        .wait(10, Some(Err(512)), 0, 0)
        .wait(10, Some(Err(libc::EINVAL)), 0, 0)
        .fork(10, 12)
        .wait(10, Some(Ok(12)), 2, 0x137f)
        .wait(10, Some(Ok(12)), 8, 0xffff)
        .kill(10, 12, 0, Some(Ok(0)))
        .kill(10, 12, 99, Some(Err(libc::EINVAL)))
        .kill(10, 0, 15, Some(Ok(0)))
        .kill(10, -1, 15, Some(Ok(0)))
        .kill(10, -7, 15, Some(Ok(0)))
        .kill(10, 99, 15, Some(Ok(0)))
        .exit(12, 0)
        .wait(10, Some(Ok(12)), crate::waits::WNOWAIT, 0)
        .wait(10, None, 0, 0)
        .kill(10, 10, 9, None)
        .killed(10, 9);
    assert_eq!(
        story.picture(),
        "    1.000  ●           10 runs sh
    2.000  ✗           10 sh can't create: EAGAIN
    4.000  ◇           10 sh forks 11, which is not followed
    5.000  ◇           10 sh reaps 11, waited 3.0 ms
    7.000  ✗           10 sh: a signal ends its wait
    8.000  ✗           10 sh can't wait: EINVAL
    9.000  ├──╮        10 sh forks 12
   10.000  ◀──┤        10 sh is told: 12 stopped, SIGSTOP
   11.000  ◀──┤        10 sh is told: 12 continued
   13.000  ✗  │        10 sh can't send 12 sh 99: EINVAL
   14.000  ◇  │        10 sh sends SIGTERM to its group
   15.000  ◇  │        10 sh sends SIGTERM to everyone
   16.000  ◇  │        10 sh sends SIGTERM to group 7
   17.000  ◇  │        10 sh sends SIGTERM to 99
   18.000  │  ■        12 sh exits with 0
   19.000  ◀──┤        10 sh is told: 12 a zombie, and stays it
   21.000  ◇  ╎        10 sh sends SIGKILL to itself
   22.000  ✖  ╎        10 sh is killed by SIGKILL; never reaped 12
"
    );
}

#[test]
fn what_was_there_before_and_what_is_let_go() {
    let mut story = Story::new();
    let attached = |orphan| {
        EventKind::Attached(Box::new(Attached {
            parent: Pid(1),
            own: 0,
            orphan,
        }))
    };
    story.push(10, 10, attached(false));
    story.push(11, 10, attached(false));
    story.push(12, 12, attached(true));
    story.later(1500).fork(10, 13);
    story.push(12, 12, EventKind::Lost(Lost::Detached));
    story.push(13, 13, EventKind::Lost(Lost::Silenced));
    assert_eq!(
        story.picture(),
        "    1.000  ●           10 \"py\\33\" is attached to
    2.000  ≡           10 \"py\\33\": 1 more thread, 2 now
    3.000  │  ◇        12 \"py\\33\" is there; its creator was killed
        ⋮  │  │        1.5 s
 1504.000  ├──┼──╮     10 \"py\\33\" forks 13
 1505.000  │  ◇  │     12 \"py\\33\" is let go
 1506.000  │     ◇     13 \"py\\33\" is no longer shown
"
    );
}

/// Each end looks at the children of that process, not at all there are.
#[test]
fn a_chain_that_ends_link_by_link() {
    const LENGTH: i32 = 100_000;
    let mut story = Story::new();
    story.exec(1, "deep");
    for pid in 1..LENGTH {
        story.fork(pid, pid + 1);
    }
    for pid in 1..=LENGTH {
        story.exit(pid, 0);
    }
    let mut lanes = Lanes::new(20, Detail::Normal, None);
    let rows = story.events.iter().flat_map(|event| lanes.event(event));
    let orphans =
        |row: &Row| matches!(row, Row::Lanes { words, .. } if words.contains("orphans: "));
    assert_eq!(rows.filter(orphans).count(), LENGTH as usize - 1);
}

/// A thread may be told before its leader: it is counted all the same.
#[test]
fn threads_that_come_before_their_leader_are_counted() {
    let mut story = Story::new();
    let attached = || {
        EventKind::Attached(Box::new(Attached {
            parent: Pid(1),
            own: 0,
            orphan: false,
        }))
    };
    for tid in [8, 9, 10, 11] {
        story.push(tid, 10, attached());
    }
    story.push(8, 10, EventKind::End(End::Exited(0).into()));
    let shown = story.picture();
    assert!(shown.contains(": 2 more threads, 3 now"), "{shown}");
    assert!(shown.contains(": 1 threads begin, 1 end, 3 now"), "{shown}");
}

/// More than there are lanes for; the rest comes in as lanes are free.
#[test]
fn too_many_are_counted() {
    let mut story = Story::new();
    story.exec(10, "sh");
    for child in 11..15 {
        story.fork(10, child);
    }
    story
        .exit(14, 0)
        .exit(11, 0)
        .reap(10, 11)
        .exec(13, "true")
        .fork(10, 15)
        .exit(13, 0)
        // A zombie makes room.
        .fork(10, 16)
        .reap(10, 13);
    let narrow = story.on(54, Glyphs::Unicode, When::Never, Detail::Quiet);
    assert_eq!(
        narrow,
        "    1.000  ●        10 runs sh
    2.000  ├──╮     10 sh forks 11
# more processes than lanes: +N counts the rest; a wi…
    3.000  ├──┼──╮1  10 sh forks 12
    4.000  ├──┼──╮2  10 sh forks 13
    5.000  ├──┼──╮3  10 sh forks 14
    6.000  │  │  ■3  14 sh exits with 0
    7.000  │  ■  +2  11 sh exits with 0
    8.000  ├──╯  +2  10 sh reaps 11, zombie 1.0 ms, w…
    9.000  │  ◆  +1  13 sh execs true
   10.000  ├──┼──╮2  10 sh forks 15
   11.000  │  ■  +2  13 true exits with 0
   12.000  ├──╮  +2  10 sh forks 16
   13.000  ◇  │  +2  10 sh reaps 13, waited 3.0 ms
"
    );
}

#[test]
fn a_trace_without_waits_shows_no_zombies() {
    let mut story = Story::new();
    story.events.clear();
    story.start(Wanted::No);
    story.exec(10, "sh").fork(10, 11).exit(11, 0).fork(10, 12);
    assert_eq!(
        story.picture(),
        "# traced without --waits: no signals, and nobody knows who reaps whom
    2.000  ●           10 runs sh
    3.000  ├──╮        10 sh forks 11
    4.000  │  ■        11 sh exits with 0
    5.000  ├──╮        10 sh forks 12
"
    );
}

#[test]
fn coloured_it_is_the_same_picture() {
    let story = pipeline();
    let coloured = story.on(80, Glyphs::Unicode, When::Always, Detail::Normal);
    assert!(coloured.contains('\x1b'));
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some(start) = rest.find('\x1b') {
        plain.push_str(&rest[..start]);
        let end = start + rest[start..].find('m').unwrap() + 1;
        rest = &rest[end..];
    }
    plain.push_str(rest);
    // Blanks at the end may stand in a colour.
    let trimmed: String = plain
        .lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect();
    let expected = story.on(80, Glyphs::Unicode, When::Never, Detail::Normal);
    assert_eq!(trimmed, expected);
}

#[test]
fn the_legend_fits_the_narrowest_usual_terminal() {
    let legend = Story::new().on(80, Glyphs::Unicode, When::Never, Detail::Normal);
    assert!(!legend.contains('…'), "{legend}");
}

/// One thing that may happen to one of a few processes, sensible or not.
fn happens(story: &mut Story, what: u8, a: i32, b: i32, number: i32) {
    let answer = Some(Ok(i64::from(b)));
    match what {
        0 | 1 => story.fork(a, b),
        2 => story.clone(a, b, VFORK, Followed::Yes),
        3 => story.clone(a, b, THREAD, Followed::Yes),
        4 => story.exec(a, "/bin/x y z"),
        5 => story.exec_result(a, "/bin/x", Some(Err(Errno(number.rem_euclid(200))))),
        6 => story.exit(a, number & 0xff),
        7 => story.killed(a, number),
        8 | 9 => story.wait(a, answer, 0, 0),
        10 => story.wait(a, answer, number as u64, number),
        11 => story.wait(a, Some(Err(libc::ECHILD)), 0, 0),
        12 => story.kill(a, b, number.rem_euclid(70) as u64, Some(Ok(0))),
        13 => story.kill(a, number, 9, None),
        14 => story.orphaned(a, b),
        15 => story.push(b, a, EventKind::End(End::Exited(0).into())),
        16 => story.push(a, b, EventKind::VforkDone { child: Tid(a) }),
        17 => story.push(a, a, EventKind::Lost(Lost::Detached)),
        18 => story.push(a, b, EventKind::Superseded { by: Tid(b) }),
        19 => story.clone(a, b, FORK | CloneFlags::PARENT.0, Followed::Yes),
        _ => story.later(2000),
    };
}

proptest! {
    /// Whatever comes in whatever order: no panic, and no line wider than the page.
    #[test]
    fn any_events_make_a_picture(
        events in prop::collection::vec((0u8..21, 1i32..12, 1i32..12, any::<i32>()), 0..80),
        width in 1usize..200,
    ) {
        let mut story = Story::new();
        for (what, a, b, number) in events {
            happens(&mut story, what, a, b, number);
        }
        for glyphs in [Glyphs::Unicode, Glyphs::Ascii] {
            let picture = story.on(width, glyphs, When::Never, Detail::Normal);
            // The lanes themselves need some.
            let most = width.max(21);
            for line in picture.lines() {
                prop_assert!(line.chars().count() <= most, "{line}");
                prop_assert!(glyphs == Glyphs::Unicode || line.is_ascii(), "{line}");
            }
        }
    }
}
