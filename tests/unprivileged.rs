//! Without root: attaching and launching as an ordinary user and in a user namespace.

mod common;

use std::path::Path;
use std::process::Stdio;

use common::Mode;
use common::check::check;
use common::fixture::{Truth, fixture};
use common::proc::{eventually, threads, tracer};
use common::program::{need, need_root};
use common::run::{OpenScratch, Run, forktrace};
use common::trace::parse_forktrace;

/// The words that make a command run as nobody, or with a user namespace of its own.
fn ways() -> Option<[Vec<String>; 2]> {
    let [setpriv, unshare] = need(["setpriv", "unshare"])?;
    if !need_root() {
        return None;
    }
    let nobody = [&setpriv, "--reuid=65534", "--regid=65534", "--clear-groups"];
    let namespace = [&unshare, "--user", "--map-root-user"];
    Some([
        nobody.map(str::to_owned).to_vec(),
        nobody
            .iter()
            .chain(&namespace)
            .map(|&w| w.to_owned())
            .collect(),
    ])
}

#[test]
fn launching() {
    let (Some(ways), Some(program)) = (ways(), fixture("hard")) else {
        return;
    };
    let directory = OpenScratch::new();
    let binary = directory.copy(&forktrace(), 0o755);
    let program = directory.copy(Path::new(&program), 0o755);
    for way in ways {
        for mode in Mode::ALL {
            let words = [&binary, "-f", mode.option(), "--", &program, "everything"];
            let outcome = Run::new(way.iter().map(String::as_str).chain(words))
                .cwd(Path::new("/"))
                .run();
            outcome.assert_code(5);
            let trace = outcome.err();
            let summary = check(&parse_forktrace(&trace).expect("a trace"))
                .unwrap_or_else(|error| panic!("{way:?} {mode:?}: {error}\n{trace}"));
            let mut truth = Truth::parse(&outcome.out());
            truth.made.retain(|made| match made.case.as_str() {
                "untraced" => mode != Mode::Event,
                "below" => mode == Mode::Seccomp,
                _ => true,
            });
            assert_eq!(summary.pairs, truth.pairs(), "{way:?} {mode:?}");
            assert_eq!(outcome.left, [] as [i32; 0], "{way:?} {mode:?}");
        }
    }
}

/// One's own processes, without privileges. (With a Yama that allows it.)
#[test]
fn attaching() {
    let (Some(ways), Some(program)) = (ways(), fixture("hard")) else {
        return;
    };
    let yama = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
    if yama.is_ok_and(|scope| scope.trim() != "0") {
        return common::program::skip("kernel.yama.ptrace_scope=0");
    }
    let directory = OpenScratch::new();
    let binary = directory.copy(&forktrace(), 0o755);
    let program = directory.copy(Path::new(&program), 0o755);
    // Both as nobody; in a namespace of its own nobody else can be traced.
    let nobody = &ways[0];
    for mode in [Mode::Event, Mode::Syscall] {
        let start = |words: &[&str]| {
            Run::new(
                nobody
                    .iter()
                    .map(String::as_str)
                    .chain(words.iter().copied()),
            )
            .cwd(Path::new("/"))
            .stdio(Stdio::piped(), Stdio::piped(), Stdio::piped())
            .start()
        };
        let mut target = start(&[&program, "waits"]);
        target.wait_for_out("ready ");
        let pid = target.pid();
        let tracing = start(&[&binary, "-f", mode.option(), "-p", &pid.to_string()]);
        eventually("it is traced", || {
            threads(pid).iter().all(|tid| tracer(*tid) == tracing.pid())
        });
        drop(target.stdin());
        target.finish().assert_code(8);
        let outcome = tracing.finish();
        outcome.assert_code(0);
        let lines = parse_forktrace(&outcome.err()).expect("a trace");
        let summary = check(&lines).expect("whole");
        assert_eq!(summary.pairs.len(), 3, "{mode:?}: {}", outcome.err());
        assert_eq!(summary.attached, [pid], "{mode:?}");
    }
}
