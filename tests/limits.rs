//! What is followed no further, what forktrace does as a process in the background, and
//! what its own death means.

mod common;

use std::process::Stdio;

use common::Mode;
use common::case::{Case, Traced, text};
use common::check::check;
use common::fixture::{Truth, fixture};
use common::proc::{eventually, state, tracer};
use common::run::{Run, Running, Scratch, forktrace};
use common::trace::{Event, parse_forktrace};
use nix::sys::signal::Signal;

fn generations(options: &[&str], mode: Mode) -> Option<(Traced, Truth)> {
    let program = fixture("hard")?;
    let case = Case::new([program.as_str(), "generations"]);
    let traced = case.forktrace(&[&["-f", mode.option()], options].concat());
    traced.outcome.assert_code(0);
    assert_eq!(traced.outcome.left, [] as [i32; 0], "{options:?} {mode:?}");
    let truth = traced.truth();
    assert_eq!(
        truth.made.len(),
        8,
        "{options:?} {mode:?}: the program itself"
    );
    Some((traced, truth))
}

/// N generations: those in it are shown with all their creations, nobody below is.
#[test]
fn max_depth() {
    for mode in Mode::ALL {
        for depth in 0..6_usize {
            let number = depth.to_string();
            let Some((traced, truth)) = generations(&["--max-depth", &number], mode) else {
                return;
            };
            let mut chain = vec![
                traced
                    .lines
                    .iter()
                    .find(|l| l.tid != 0)
                    .map_or(0, |l| l.tid),
            ];
            while let Some(next) = truth
                .made
                .iter()
                .find(|made| made.case == "generation" && chain.last() == Some(&made.parent))
            {
                chain.push(next.child);
            }
            assert_eq!(chain.len(), 5);
            let shown = &chain[..(depth + 1).min(5)];
            let mut expected: Vec<(i32, i32)> = truth.pairs();
            expected.retain(|pair| shown.contains(&pair.0));
            let mut seen: Vec<(i32, i32)> = traced
                .lines
                .iter()
                .filter_map(|line| Some((line.tid, line.created()?)))
                .collect();
            seen.sort_unstable();
            assert_eq!(seen, expected, "{mode:?} {depth}: {}", traced.text);
        }
    }
}

/// A process that execs is shown until then, and what it does after isn't.
#[test]
fn detach_on_exec() {
    for mode in Mode::ALL {
        let Some((traced, truth)) = generations(&["--detach-on=exec"], mode) else {
            return;
        };
        // The root, its child, and that one's, which execs.
        let below = |parent: i32| {
            let child =
                |made: &&common::fixture::Made| made.case == "generation" && made.parent == parent;
            truth.made.iter().find(child).expect("a generation").clone()
        };
        let root = traced
            .lines
            .iter()
            .find(|l| l.tid != 0)
            .map_or(0, |l| l.tid);
        let second = below(root).child;
        let first = below(second);
        let mut seen: Vec<(i32, i32)> = traced
            .lines
            .iter()
            .filter_map(|line| Some((line.tid, line.created()?)))
            .collect();
        seen.sort_unstable();
        let mut expected = truth.pairs();
        expected.retain(|pair| [root, second].contains(&pair.0));
        assert_eq!(seen, expected, "{mode:?}: {}", traced.text);
        let line = |event: &dyn Fn(&Event) -> bool| {
            let mine = |l: &&common::trace::Line| l.tid == first.child && event(&l.event);
            traced.lines.iter().filter(mine).count()
        };
        assert_eq!(
            line(&|e| matches!(e, Event::Call(call) if call.executes())),
            1
        );
        assert_eq!(
            line(&|e| *e == Event::Detached),
            1,
            "{mode:?}: {}",
            traced.text
        );
        assert_eq!(line(&|e| matches!(e, Event::Exited(_))), 0, "{mode:?}");
        check(&traced.lines).unwrap_or_else(|error| panic!("{mode:?}: {error}\n{}", traced.text));
    }
}

/// When the program has ended, nothing more is told; without a filter forktrace is gone.
#[test]
fn detach_on_exit_of_root() {
    let Some(program) = fixture("hard") else {
        return;
    };
    for mode in Mode::ALL {
        let scratch = Scratch::new();
        let file = text(&scratch.file("trace"));
        let mut running = launched(
            &["-f", mode.option(), "--detach-on=exit-of-root"],
            &file,
            &[&program, "lives_on"],
        );
        let input = running.stdin();
        running.wait_for_out("waiting ");
        let me = running.pid();
        if mode == Mode::Seccomp {
            eventually("the program's end is told", || {
                std::fs::read_to_string(&file).is_ok_and(|t| t.contains("+++ no longer shown +++"))
            });
            assert!(state(me) != 'Z', "it must stay for the filter's sake");
        } else {
            eventually("forktrace is gone", || state(me) == 'Z');
        }
        drop(input);
        let outcome = running.finish();
        outcome.assert_code(3);
        assert!(outcome.out().contains("lived on\n"), "{mode:?}");
        let trace = std::fs::read_to_string(&file).expect("trace");
        let summary = check(&parse_forktrace(&trace).expect("a trace"))
            .unwrap_or_else(|error| panic!("{mode:?}: {error}\n{trace}"));
        assert_eq!(summary.pairs.len(), 1, "{mode:?}: {trace}");
        assert_eq!(summary.detached, 1, "{mode:?}: {trace}");
    }
}

fn launched(options: &[&str], file: &str, program: &[&str]) -> Running {
    let binary = text(&forktrace());
    let words = [&[binary.as_str(), "-o", file], options, &["--"], program].concat();
    Run::new(words)
        .stdio(Stdio::piped(), Stdio::piped(), Stdio::piped())
        .start()
}

/// With -D the program is its starter's own child; forktrace is out of the way.
#[test]
fn daemonized() {
    let Some(program) = fixture("hard") else {
        return;
    };
    for mode in Mode::ALL {
        let scratch = Scratch::new();
        let file = text(&scratch.file("trace"));
        let mut running = launched(&["-D", "-f", mode.option()], &file, &[&program, "waits"]);
        let out = running.wait_for_out("ready ");
        let parent = std::process::id().cast_signed();
        let pid = running.pid();
        // forktrace's own process became the program.
        assert!(
            out.contains(&format!("made early {pid} ")),
            "{mode:?}: {out}"
        );
        let status = |tid, name| common::proc::status(tid, name).unwrap_or_default();
        assert_eq!(status(pid, "PPid"), parent.to_string(), "{mode:?}");
        let tracer = tracer(pid);
        assert!(tracer > 0, "{mode:?}: not traced");
        assert_ne!(
            status(tracer, "PPid"),
            pid.to_string(),
            "{mode:?}: a grandchild"
        );
        assert!(
            common::proc::group(tracer).contains(&tracer),
            "{mode:?}: a group of its own"
        );
        drop(running.stdin());
        let status = running.wait();
        assert_eq!(status.code(), Some(8), "{mode:?}");
        eventually("the tracer ends", || matches!(state(tracer), ' ' | 'Z'));
        let outcome = running.finish();
        let trace = std::fs::read_to_string(&file).expect("trace");
        let summary = check(&parse_forktrace(&trace).expect("a trace"))
            .unwrap_or_else(|error| panic!("{mode:?}: {error}\n{trace}"));
        assert_eq!(
            summary.pairs,
            Truth::parse(&outcome.out()).pairs(),
            "{mode:?}: {trace}"
        );
        assert_eq!(summary.root, pid, "{mode:?}");
        assert_eq!(outcome.left, [] as [i32; 0], "{mode:?}");
    }
}

/// Killed, forktrace takes along only those that couldn't live without it.
#[test]
fn sigkill_of_forktrace() {
    let Some(program) = fixture("hard") else {
        return;
    };
    for mode in Mode::ALL {
        let scratch = Scratch::new();
        let file = text(&scratch.file("trace"));
        let mut running = launched(&["-f", mode.option()], &file, &[&program, "waits"]);
        let out = running.wait_for_out("ready ");
        let pid = Truth::parse(&out).made[0].parent;
        let input = running.stdin();
        running.signal(Signal::SIGKILL);
        running.wait();
        if mode == Mode::Seccomp {
            eventually("it ends", || matches!(state(pid), ' ' | 'Z'));
        } else {
            assert_eq!(tracer(pid), 0, "{mode:?}");
        }
        drop(input);
        let outcome = running.finish();
        let lived = outcome.out().contains("lived on\n");
        assert_eq!(lived, mode != Mode::Seccomp, "{mode:?}: {}", outcome.out());
        assert_eq!(outcome.left, [] as [i32; 0], "{mode:?}");
    }
}

/// The program has ended, others live: a signal makes forktrace leave them.
#[test]
fn a_signal_after_the_programs_end() {
    let Some(program) = fixture("hard") else {
        return;
    };
    for mode in Mode::ALL {
        let scratch = Scratch::new();
        let file = text(&scratch.file("trace"));
        let mut running = launched(&["-f", mode.option()], &file, &[&program, "lives_on"]);
        let input = running.stdin();
        running.wait_for_out("waiting ");
        eventually("the program's end is told", || {
            std::fs::read_to_string(&file).is_ok_and(|t| t.contains("+++ exited with 3 +++"))
        });
        running.signal(Signal::SIGTERM);
        if mode == Mode::Seccomp {
            running.wait_for_err("once more ends them");
            running.signal(Signal::SIGTERM);
        }
        let me = running.pid();
        eventually("forktrace is gone", || state(me) == 'Z');
        drop(input);
        let outcome = running.finish();
        let lived = outcome.out().contains("lived on\n");
        assert_eq!(lived, mode != Mode::Seccomp, "{mode:?}: {}", outcome.out());
        let trace = std::fs::read_to_string(&file).expect("trace");
        let summary = check(&parse_forktrace(&trace).expect("a trace"))
            .unwrap_or_else(|error| panic!("{mode:?}: {error}\n{trace}"));
        // Killed, or let go: told in either case.
        let expected = if mode == Mode::Seccomp {
            (2, 0)
        } else {
            (1, 1)
        };
        let seen = (summary.ended, summary.detached);
        assert_eq!(seen, expected, "{mode:?}: {trace}");
    }
}

/// What was let go of is still the program: forktrace ends when it does, as it does,
/// however long nothing is heard of it.
#[test]
fn a_program_that_was_let_go_of_is_waited_for() {
    let binary = text(&forktrace());
    let quiet = "(exit 0); sleep 1.5; exit 3";
    for (options, program) in [
        (
            &["--stops=event", "--detach-on=exec", "-o", "/dev/null"][..],
            "exec",
        ),
        (&["--stops=event", "-o", "/dev/full"], ""),
        (&["--stops=seccomp", "-o", "/dev/full"], ""),
        (&["--stops=syscall", "-o", "/dev/full"], ""),
    ] {
        let words = [&[&binary[..], "-f"], options, &["--", "/bin/sh", "-c"]].concat();
        let script = match program {
            "exec" => format!("exec /bin/sh -c '{quiet}'"),
            _ => quiet.to_owned(),
        };
        let outcome = Run::new([&words[..], &[&script]].concat()).run();
        assert_eq!(outcome.status.code(), Some(3), "{options:?}: {outcome:?}");
    }
}
