//! A log of a build that never was: as many events as one likes, the same each time.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use forktrace::abi::{Abi, Syscall};
use forktrace::clone::{Request, Spec};
use forktrace::event::{
    Child, Create, End, Ended, Event, EventKind, Exec, Follow, Followed, Outcome, Start, Stops,
    Target, Usage, Wanted,
};
use forktrace::exec::{Env, ExecCall, ListEnd, Strings, Text};
use forktrace::ids::{Comm, Pid, Tid};
use forktrace::log::Writer;

const MAKE: i32 = 1;

/// Writes a log of at least so many events: make has a shell for each file, and that
/// has a compiler. Says how many there are.
///
/// # Errors
/// As write(2).
pub(crate) fn write(path: &Path, least: u64) -> std::io::Result<u64> {
    let mut log = Log {
        file: BufWriter::new(File::create(path)?),
        writer: Writer::default(),
        line: Vec::new(),
        events: 0,
    };
    log.event(MAKE, "make", EventKind::Start(Box::new(start())))?;
    log.event(MAKE, "make", exec("/usr/bin/make", &["make", "-j8"]))?;
    let mut file = 0;
    while log.events + 1 < least {
        file += 1;
        // Numbers come again, as pids do.
        let shell = 2 + file * 2 % 30_000;
        let compiler = shell + 1;
        let [object, source] =
            ["o", "c"].map(|end| format!("src/part{}/file{file}.{end}", file % 100));
        let words = [
            "gcc",
            "-O2",
            "-Wall",
            "-Iinclude",
            "-c",
            "-o",
            &object,
            &source,
        ];
        log.event(MAKE, "make", fork(shell))?;
        log.event(
            shell,
            "sh",
            exec("/bin/sh", &["/bin/sh", "-c", &words.join(" ")]),
        )?;
        log.event(shell, "sh", fork(compiler))?;
        log.event(compiler, "gcc", exec("/usr/bin/gcc", &words))?;
        log.event(compiler, "gcc", exit(file))?;
        log.event(shell, "sh", exit(file))?;
    }
    log.event(MAKE, "make", exit(1))?;
    log.line.clear();
    log.writer.end(&mut log.line)?;
    log.file.write_all(&log.line)?;
    log.file.flush()?;
    Ok(log.events)
}

struct Log {
    file: BufWriter<File>,
    writer: Writer,
    line: Vec<u8>,
    events: u64,
}

impl Log {
    fn event(&mut self, process: i32, comm: &str, kind: EventKind) -> std::io::Result<()> {
        let event = Event {
            at: Duration::from_micros(self.events * 100),
            tid: Tid(process),
            tgid: Pid(process),
            comm: Comm::new(comm.as_bytes()),
            kind,
        };
        self.events += 1;
        self.line.clear();
        self.writer.event(&mut self.line, &event)?;
        self.file.write_all(&self.line)
    }
}

fn start() -> Start {
    Start {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        wall: Duration::from_secs(1_700_000_000),
        monotonic: Duration::ZERO,
        target: Target::Command(vec![b"make".to_vec(), b"-j8".to_vec()]),
        abi: Abi::X86_64,
        stops: Stops::Seccomp,
        follow: Follow::All,
        waits: Wanted::No,
        orphans: Wanted::No,
    }
}

fn syscall(nr: u64) -> Syscall {
    Syscall {
        abi: Abi::X86_64,
        nr,
        args: [0x7fff_0000_1000; 6],
    }
}

fn fork(child: i32) -> EventKind {
    EventKind::Create(Box::new(Create {
        request: Request {
            syscall: syscall(57),
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
        latency: Some(Duration::from_micros(90)),
        why: Vec::new(),
        retry: None,
    }))
}

fn exec(path: &str, argv: &[&str]) -> EventKind {
    let text = |word: &str| Text::Bytes {
        bytes: word.as_bytes().to_vec(),
        truncated: false,
    };
    let syscall = syscall(59);
    EventKind::Exec(Box::new(Exec {
        call: ExecCall {
            syscall: Some(syscall),
            call: forktrace::abi::Call::Execve,
            path: text(path),
            argv: Strings::List {
                items: argv.iter().map(|word| text(word)).collect(),
                end: ListEnd::Complete,
            },
            env: Env {
                text: None,
                addr: Some(syscall.args[2]),
                vars: Some(30),
                unterminated: false,
            },
        },
        result: Some(Ok(())),
        continues_as: None,
        releases: None,
        latency: Some(Duration::from_micros(300)),
        why: Vec::new(),
    }))
}

/// One file in a thousand doesn't compile.
fn exit(file: i32) -> EventKind {
    EventKind::End(Ended {
        end: End::Exited(i32::from(file % 1000 == 0)),
        usage: Some(Usage {
            user: Duration::from_micros(file.unsigned_abs().into()),
            system: Duration::from_micros(100),
            max_rss_kib: 2_000,
        }),
    })
}
