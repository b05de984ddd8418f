//! A long log, read and shown: the tree and the summary take so many bytes a process, and no more,
//! the text none; and each shows all of it.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::run::Scratch;
use forktrace::abi::{Abi, Call, Syscall};
use forktrace::clone::{Request, Spec};
use forktrace::config::{
    Destination, Detail, Fold, Glyphs, Look, Shown, Times, View, ViewKind, When, WholeLook,
};
use forktrace::event::{
    Child, Create, End, Ended, Event, EventKind, Exec, Follow, Followed, Outcome, Start, Stops,
    Target, Usage, Wanted,
};
use forktrace::exec::{Env, ExecCall, ListEnd, Strings, Text};
use forktrace::filter::Criteria;
use forktrace::ids::{Comm, Pid, Tid};
use forktrace::log::AtEnd;
use forktrace::replay::Replay;
use forktrace::tree::Threads;
use forktrace::view::Pace;

/// What the tree and the summary may take of memory, for each process.
const BYTES_MAX: usize = 300;
/// And the text of the whole, however long: of a log of some 30 MB, or more.
const TEXT_MAX: usize = 1024 * 1024;

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
        why: Vec::new(),
        retry: None,
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
        why: Vec::new(),
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

const VIEWS: [(&str, ViewKind, Fold); 5] = [
    ("text", ViewKind::Text, Fold::Yes),
    ("tree", ViewKind::Tree, Fold::Yes),
    ("unfolded", ViewKind::Tree, Fold::No),
    ("summary", ViewKind::Summary, Fold::Yes),
    ("summary-json", ViewKind::SummaryJson, Fold::Yes),
];

fn look(fold: Fold) -> Look {
    Look {
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
    }
}

/// Who creates whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// One creates all.
    Wide,
    /// Each creates the next one.
    Chain,
}

/// Writes a log of so many processes, three events each.
fn write_log(path: &Path, processes: i32, shape: Shape) {
    let view = View {
        kind: ViewKind::Json,
        to: Destination::File(path.to_owned()),
    };
    let criteria = Criteria::default();
    let mut sink =
        forktrace::view::open(&view, look(Fold::Yes), &criteria, Pace::Collected).expect("a log");
    let mut tell = |at: i32, tid: i32, kind: EventKind| {
        let event = Event {
            at: Duration::from_micros(at as u64),
            tid: Tid(tid),
            tgid: Pid(tid),
            comm: Comm::new(b"gcc"),
            kind,
        };
        sink.event(&event).expect("an event");
    };
    let start = Start {
        version: "0.1.0".to_owned(),
        wall: Duration::ZERO,
        monotonic: Duration::ZERO,
        target: Target::Command(vec![b"make".to_vec()]),
        abi: Abi::X86_64,
        stops: Stops::Seccomp,
        follow: Follow::All,
        waits: Wanted::No,
        orphans: Wanted::No,
    };
    tell(0, 1, EventKind::Start(Box::new(start)));
    tell(0, 1, exec(0));
    for number in 1..=processes {
        let (creator, pid, ends) = match shape {
            Shape::Wide => (1, 2 + number % 30_000, 2 + number % 30_000),
            Shape::Chain => (number, number + 1, number),
        };
        tell(number * 3, creator, fork(pid));
        tell(number * 3 + 1, pid, exec(number));
        tell(number * 3 + 2, ends, exit(number));
    }
    sink.finish().expect("an end");
}

/// Shows a log as `forktrace view` does.
fn show(log: &Path, kind: ViewKind, fold: Fold, to: &Path) {
    let replay = Replay {
        log: log.to_owned(),
        at_end: AtEnd::Stop,
        views: vec![View {
            kind,
            to: Destination::File(to.to_owned()),
        }],
        look: look(fold),
        filter: Criteria::default(),
    };
    let mut said = Vec::new();
    let replayed = forktrace::replay::replay(&replay, &mut |line| said.push(line.to_owned()));
    assert_eq!(replayed.expect("a log").faults, 0);
    assert_eq!(said, Vec::<String>::new());
}

/// For measuring by hand: `forktrace view` of this log.
#[test]
#[ignore = "writes a long log to FORKTRACE_MEMORY_LOG"]
fn a_log() {
    let path = std::env::var_os("FORKTRACE_MEMORY_LOG").expect("a path");
    write_log(Path::new(&path), processes(), Shape::Wide);
}

/// One view of the whole in a process of its own, so that nothing else counts.
#[test]
#[ignore = "run by the other test, in a process of its own"]
fn one_view() {
    let name = std::env::var("FORKTRACE_MEMORY_VIEW").expect("a view");
    let scratch = PathBuf::from(std::env::var_os("FORKTRACE_MEMORY_SCRATCH").expect("a directory"));
    let (_, kind, fold) = VIEWS
        .into_iter()
        .find(|(word, ..)| *word == name)
        .expect("one of them");
    show(&scratch.join("short"), kind, fold, &scratch.join("out"));
    let before = peak();
    let log = std::env::var("FORKTRACE_MEMORY_SHAPE").expect("a log");
    show(&scratch.join(&log), kind, fold, &scratch.join(name));
    println!("grown {}", peak() - before);
}

/// How many bytes of memory a view takes of a long log.
fn grown(view: &str, log: &str, scratch: &Path) -> usize {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--ignored", "--exact", "one_view", "--nocapture"])
        .env("FORKTRACE_MEMORY_VIEW", view)
        .env("FORKTRACE_MEMORY_SHAPE", log)
        .env("FORKTRACE_MEMORY_SCRATCH", scratch)
        .output()
        .expect("this program again");
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{view}: {out}");
    let (_, rest) = out.split_once("grown ").expect("a number");
    let number = rest.split_whitespace().next();
    number.and_then(|word| word.parse().ok()).expect("a number")
}

#[test]
fn a_long_log_is_shown_whole_in_little_memory() {
    let scratch = Scratch::new();
    let directory = scratch.file(".");
    write_log(&directory.join("short"), 1, Shape::Wide);
    write_log(&directory.join("long"), processes(), Shape::Wide);
    let count = processes() as usize;
    for (view, kind, _) in VIEWS {
        let grown = grown(view, "long", &directory);
        println!("{view}: {} bytes a process", grown / count);
        let most = match kind {
            ViewKind::Text => TEXT_MAX,
            _ => BYTES_MAX * count,
        };
        assert!(grown <= most, "{view}: {} bytes a process", grown / count);
    }
    let shown = |view: &str| std::fs::read_to_string(directory.join(view)).expect("what it shows");
    let lines = |view: &str| shown(view).lines().count();
    assert_eq!(lines("text"), 1 + 3 * count);
    assert_eq!(lines("unfolded"), 1 + count);
    let (failed, went) = (count / 1000, count - count / 1000);
    let tree = shown("tree");
    let counts: Vec<&str> = tree.split('×').skip(1).collect();
    let counts: Vec<&str> = counts
        .iter()
        .filter_map(|text| text.split(' ').next())
        .collect();
    assert_eq!(counts, [went.to_string(), failed.to_string()], "{tree}");
    assert!(shown("summary").contains(&format!("created   {count} processes, 0 threads")));
    let json: serde_json::Value = serde_json::from_str(&shown("summary-json")).expect("JSON");
    assert_eq!(json["processes_created"], count);
    assert_eq!(json["by_executed_program"][0]["count"], count + 1);
}

/// Nor does it take more where each process creates the next one, and all is drawn.
#[test]
fn a_chain_takes_no_more_than_a_crowd() {
    let scratch = Scratch::new();
    let directory = scratch.file(".");
    write_log(&directory.join("short"), 1, Shape::Wide);
    write_log(&directory.join("chain"), processes(), Shape::Chain);
    let count = processes() as usize;
    for (view, kind, _) in VIEWS {
        if kind == ViewKind::Text {
            continue;
        }
        let grown = grown(view, "chain", &directory);
        println!("{view}: {} bytes a process of a chain", grown / count);
        assert!(
            grown <= BYTES_MAX * count,
            "{view}: {} bytes a process of a chain",
            grown / count
        );
    }
    for view in ["tree", "unfolded"] {
        let shown = std::fs::read_to_string(directory.join(view)).expect("a tree");
        assert_eq!(shown.lines().count(), 1 + count, "{view}");
    }
}
