//! The tree and the summary of a long trace: so many bytes a process, and no more.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use forktrace::abi::{Abi, Call, Syscall};
use forktrace::clone::{Request, Spec};
use forktrace::config::{
    Destination, Detail, Fold, Glyphs, Look, Shown, Times, View, ViewKind, When, WholeLook,
};
use forktrace::event::{
    Child, Create, End, Ended, Event, EventKind, Exec, Followed, Outcome, Usage,
};
use forktrace::exec::{Env, ExecCall, ListEnd, Strings, Text};
use forktrace::filter::Criteria;
use forktrace::ids::{Comm, Pid, Tid};
use forktrace::tree::Threads;

/// What the tree and the summary may take of memory, for each process.
const BYTES_MAX: usize = 300;
const KINDS: [(&str, ViewKind); 3] = [
    ("tree", ViewKind::Tree),
    ("summary", ViewKind::Summary),
    ("summary-json", ViewKind::SummaryJson),
];

/// How many processes; 333,000 make a log of a million events.
fn processes() -> i32 {
    std::env::var("FORKTRACE_MEMORY_PROCESSES")
        .map_or(30_000, |text| text.parse().expect("a number"))
}

fn text(word: String) -> Text {
    Text::Bytes {
        bytes: word.into_bytes(),
        truncated: false,
    }
}

fn fork(child: i32) -> EventKind {
    EventKind::Create(Box::new(Create {
        request: Request {
            syscall: Syscall {
                abi: Abi::X86_64,
                nr: 57,
                args: [0; 6],
            },
            spec: Spec::Fork,
        },
        outcome: Outcome::Created(Child {
            tid: Some(Tid(child)),
            returned: child,
            own: child,
            followed: Followed::Yes,
            parent_tid: None,
            pidfd: None,
        }),
        latency: None,
    }))
}

/// A compiler: two words of its arguments are its alone.
fn exec(number: i32) -> EventKind {
    let fixed = ["gcc", "-O2", "-Wall", "-Iinclude", "-c", "-o"].map(str::to_owned);
    let own = ["o", "c"].map(|end| format!("src/module{}/file{number}.{end}", number % 100));
    EventKind::Exec(Box::new(Exec {
        call: ExecCall {
            syscall: None,
            call: Call::Execve,
            path: text("/usr/bin/gcc".to_owned()),
            argv: Strings::List {
                items: fixed.into_iter().chain(own).map(text).collect(),
                end: ListEnd::Complete,
            },
            env: Env {
                text: None,
                addr: None,
                vars: None,
                unterminated: false,
            },
        },
        result: Some(Ok(())),
        continues_as: None,
        releases: None,
        latency: None,
    }))
}

fn exit(number: i32) -> EventKind {
    EventKind::End(Ended {
        end: End::Exited(i32::from(number % 1000 == 0)),
        usage: Some(Usage {
            user: Duration::from_micros(number as u64),
            system: Duration::ZERO,
            max_rss_kib: 1,
        }),
    })
}

/// The most memory that this process has had, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<usize>().ok())
        .expect("VmHWM")
        * 1024
}

/// One view of the whole in a process of its own, so that nothing else counts.
#[test]
#[ignore = "run by the other test, in a process of its own"]
fn one_view() {
    let name = std::env::var("FORKTRACE_MEMORY_VIEW").expect("a view");
    let (_, kind) = KINDS
        .into_iter()
        .find(|(word, _)| *word == name)
        .expect("one of them");
    let fold = match std::env::var("FORKTRACE_MEMORY_FOLD").as_deref() {
        Ok("no") => Fold::No,
        _ => Fold::Yes,
    };
    let view = View {
        kind,
        to: Destination::File(PathBuf::from("/dev/null")),
    };
    let look = Look {
        string_limit: 32,
        detail: Detail::Normal,
        color: When::Never,
        times: Times::default(),
        names: Shown::No,
        whole: WholeLook {
            glyphs: Glyphs::Unicode,
            threads: Threads::Counted,
            fold,
            top: None,
        },
    };
    let mut sink = forktrace::view::open(
        &view,
        look,
        &Criteria::default(),
        forktrace::view::Pace::Prompt,
    )
    .expect("a view");
    let mut tell = |at: i32, tid: i32, kind: EventKind| {
        let event = Event {
            at: Duration::from_micros(at as u64),
            tid: Tid(tid),
            tgid: Pid(tid),
            comm: Comm::default(),
            kind,
        };
        sink.event(&event).expect("an event");
    };
    tell(0, 1, exec(0));
    let before = peak();
    for number in 1..=processes() {
        let pid = 2 + number % 30_000;
        tell(number * 3, 1, fork(pid));
        tell(number * 3 + 1, pid, exec(number));
        tell(number * 3 + 2, pid, exit(number));
    }
    sink.finish().expect("an end");
    println!("grown {}", peak() - before);
}

#[test]
fn so_many_bytes_a_process() {
    for (view, fold) in [
        ("tree", "yes"),
        ("tree", "no"),
        ("summary", "yes"),
        ("summary-json", "yes"),
    ] {
        let output = Command::new(std::env::current_exe().expect("this program"))
            .args(["--ignored", "--exact", "one_view", "--nocapture"])
            .env("FORKTRACE_MEMORY_VIEW", view)
            .env("FORKTRACE_MEMORY_FOLD", fold)
            .output()
            .expect("this program again");
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{view}: {out}");
        let (_, rest) = out.split_once("grown ").expect("a number");
        let grown: usize = rest
            .split_whitespace()
            .next()
            .unwrap()
            .parse()
            .expect("a number");
        let each = grown / processes() as usize;
        println!("{view}, folded: {fold}: {each} bytes a process");
        assert!(
            each <= BYTES_MAX,
            "{view}, folded: {fold}: {each} bytes a process"
        );
    }
}
