//! Attaching to what runs already: nothing that is there or comes later is missed or
//! told twice, and what was attached to goes on as if nobody had come.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::Write;
use std::process::Stdio;

use common::attachment::{Attachment, Left};
use common::case::text;
use common::fixture::{Truth, fixture};
use common::proc::{eventually, state, threads, tracer};
use common::program::{need, need_root};
use common::run::{Outcome, Run, Running, forktrace};
use common::trace::Event;
use common::{Mode, rounds};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A program that runs, with pipes to it and from it.
fn target(argv: &[&str]) -> Running {
    Run::new(argv)
        .stdio(Stdio::piped(), Stdio::piped(), Stdio::piped())
        .start()
}

fn send(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).expect("kill");
}

/// The pairs of those lines of truth that begin with a word.
fn told(out: &str, word: &str) -> Vec<(i32, i32)> {
    let mut pairs: Vec<_> = out
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (words[0] == word).then(|| {
                let tid = |n: usize| words[n].parse().expect("a tid");
                (tid(2), tid(3))
            })
        })
        .collect();
    pairs.sort_unstable();
    pairs
}

/// A crowd of threads, attached to while more are made, traced until its end.
fn crowd(threads_at_first: usize, forks: bool, mode: Mode) -> (Outcome, Left) {
    let Some(program) = fixture("crowd") else {
        panic!("no crowd");
    };
    let number = threads_at_first.to_string();
    let mut running = target(&[&program, &number, "400", if forks { "1" } else { "0" }]);
    let mut input = running.stdin();
    running.wait_for_out("ready\n");
    let pid = running.pid();
    let id = pid.to_string();
    let mut options = vec![mode.option(), "-p", &id];
    if forks {
        options.push("-f");
    }
    let attachment = Attachment::start(&options);
    attachment.wait_until_traced(pid);
    input.write_all(b"s").expect("the program reads");
    running.wait_for_out("sync\n");
    input.write_all(b"e").expect("the program reads");
    let outcome = running.finish();
    outcome.assert_code(0);
    (outcome, attachment.finish())
}

#[track_caller]
fn assert_crowd(what: &str, pid: i32, out: &str, left: &Left) {
    left.outcome.assert_code(0);
    let summary = left.check(what);
    let attached: BTreeSet<i32> = summary.attached.iter().copied().collect();
    assert!(attached.contains(&pid), "{what}: the leader");
    // The fixture's lines are those of the whole time: each creation in the trace is one.
    let (stays, before, made) = (told(out, "stays"), told(out, "before"), told(out, "made"));
    let mut counts: BTreeMap<(i32, i32), i32> = BTreeMap::new();
    for pair in &summary.pairs {
        *counts.entry(*pair).or_default() += 1;
    }
    let mut lost = Vec::new();
    for pair in &stays {
        let created = counts.get(pair).copied().unwrap_or(0);
        let found = i32::from(attached.contains(&pair.1));
        if found + created.min(1) != 1 {
            lost.push((*pair, found, created));
        }
    }
    assert!(
        lost.is_empty(),
        "{what}: of {} that stay: (pair, attached, created) {:?}",
        stays.len(),
        &lost[..lost.len().min(5)]
    );
    let missing: Vec<_> = made
        .iter()
        .filter(|pair| !counts.contains_key(pair))
        .collect();
    assert!(missing.is_empty(), "{what}: not in the trace: {missing:?}");
    // The four creators themselves were made by the leader and say nothing of that.
    let truth: BTreeSet<_> = stays.iter().chain(&before).chain(&made).collect();
    let invented: Vec<_> = counts
        .keys()
        .filter(|pair| !truth.contains(pair) && pair.0 != pid)
        .collect();
    assert!(invented.is_empty(), "{what}: invented {invented:?}");
}

#[test]
fn four_thousand_threads_while_others_are_made() {
    const WAYS: [(bool, Mode); 3] = [
        (false, Mode::Event),
        (true, Mode::Event),
        (true, Mode::Syscall),
    ];
    for round in 0..rounds() {
        // The full crowd once, in all ways; then smaller ones, which differ in when
        // threads are made, in one way after the other.
        let (threads, ways) = match round {
            0 => (4000, &WAYS[..]),
            _ => (400, &WAYS[round % 3..=round % 3]),
        };
        for (forks, mode) in ways {
            let (outcome, left) = crowd(threads, *forks, *mode);
            let what = format!("round {round} {mode:?} forks {forks}");
            assert!(told(&outcome.out(), "stays").len() >= threads);
            assert_crowd(&what, outcome.pid, &outcome.out(), &left);
            let note = left.text.starts_with("# --stops=event: ");
            assert_eq!(note, *mode == Mode::Event, "{what}");
        }
    }
}

/// Without -f the threads of the process are followed, its children are not.
#[test]
fn children_without_f_are_named_only() {
    let Some(program) = fixture("counter") else {
        return;
    };
    let mut running = target(&[&program]);
    let mut input = running.stdin();
    running.wait_for_out("made ");
    let pid = running.pid();
    let attachment = Attachment::start(&["-p", &pid.to_string()]);
    attachment.wait_for_trace("clone(");
    input.write_all(b"e").expect("the program reads");
    let out = running.finish().out();
    let left = attachment.finish();
    left.outcome.assert_code(0);
    assert!(left.lines.iter().all(|line| [0, pid].contains(&line.tid)));
    assert_contiguous("-p", &created(&left), &Truth::parse(&out));
}

/// In the order of their lines.
fn created(left: &Left) -> Vec<(i32, i32)> {
    left.lines
        .iter()
        .filter_map(|line| Some((line.tid, line.created()?)))
        .collect()
}

/// From the first that was seen to the last, none is missing.
#[track_caller]
fn assert_contiguous(what: &str, seen: &[(i32, i32)], truth: &Truth) {
    let all: Vec<(i32, i32)> = truth.made.iter().map(|m| (m.parent, m.child)).collect();
    assert!(!seen.is_empty(), "{what}: nothing was seen");
    assert!(
        all.windows(seen.len()).any(|window| window == seen),
        "{what}: {seen:?} isn't a piece of the truth"
    );
}

const RESULT: &str = "result lost 0 disordered 0 odd 0 wrong 0 SIGCHLD lost 0\n";

#[test]
fn fifty_times_attached_and_left() {
    let Some(program) = fixture("counter") else {
        return;
    };
    for mode in [Mode::Event, Mode::Syscall] {
        let mut running = target(&[&program]);
        let mut input = running.stdin();
        let pid = running.pid();
        running.wait_for_out("made ");
        let mut pieces = Vec::new();
        for round in 0..50 {
            let attachment = Attachment::start(&["-f", mode.option(), "-p", &pid.to_string()]);
            attachment.wait_for_trace("clone(");
            let signal = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP][round % 3];
            let left = attachment.leave(signal);
            assert_eq!(tracer(pid), 0, "{mode:?} round {round}");
            assert!(
                left.text.contains(&format!("{pid} +++ detached +++")),
                "{mode:?} round {round}: {}",
                left.text
            );
            left.check(&format!("{mode:?} round {round}"));
            pieces.push(created(&left));
        }
        input.write_all(b"e").expect("the program reads");
        let outcome = running.finish();
        let out = outcome.assert_code(0).out();
        assert!(out.ends_with(RESULT), "{mode:?}: {:?}", out.lines().last());
        let truth = Truth::parse(&out);
        for (round, piece) in pieces.iter().enumerate() {
            assert_contiguous(&format!("{mode:?} round {round}"), piece, &truth);
        }
    }
}

/// As it ends without any tracer: the measure for the one above.
#[test]
fn the_counter_counts_right() {
    let Some(program) = fixture("counter") else {
        return;
    };
    let mut running = target(&[&program]);
    let mut input = running.stdin();
    running.wait_for_out("made ");
    input.write_all(b"e").expect("the program reads");
    assert!(running.finish().assert_code(0).out().ends_with(RESULT));
}

/// Stopped before, while and after: only SIGCONT makes it run.
#[test]
fn a_stopped_process_stays_stopped() {
    for mode in [Mode::Event, Mode::Syscall] {
        for leaves_by in [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGKILL,
        ] {
            let running = target(&["sh", "-c", "kill -STOP $$; (true); echo resumed"]);
            let pid = running.pid();
            eventually("it stops itself", || state(pid) == 'T');
            let attachment = Attachment::start(&["-f", mode.option(), "-p", &pid.to_string()]);
            attachment.wait_until_traced(pid);
            attachment.wait_for_trace("attached");
            eventually("it is stopped", || matches!(state(pid), 'T' | 't'));
            let left = attachment.leave(leaves_by);
            eventually("nobody traces it", || tracer(pid) == 0);
            eventually("stopped after", || state(pid) == 'T');
            assert_eq!(created(&left), [], "{mode:?}: it ran");
            send(pid, Signal::SIGCONT);
            assert_eq!(running.finish().assert_code(0).out(), "resumed\n");

            // And while traced: SIGCONT resumes, and what follows is seen.
            let running = target(&["sh", "-c", "kill -STOP $$; (true); echo resumed"]);
            let pid = running.pid();
            eventually("it stops itself", || state(pid) == 'T');
            let attachment = Attachment::start(&["-f", mode.option(), "-p", &pid.to_string()]);
            attachment.wait_until_traced(pid);
            send(pid, Signal::SIGCONT);
            assert_eq!(running.finish().assert_code(0).out(), "resumed\n");
            let left = attachment.finish();
            left.outcome.assert_code(0);
            assert_eq!(created(&left).len(), 1, "{mode:?}: {}", left.text);
        }
    }
}

#[test]
fn lists_of_processes() {
    let mut running: Vec<Running> = (0..3)
        .map(|_| target(&["sh", "-c", "echo here; read line; (true); exit 0"]))
        .collect();
    for one in &running {
        one.wait_for_out("here\n");
    }
    let pids: Vec<i32> = running.iter().map(Running::pid).collect();
    let list = format!("{},{}", pids[0], pids[1]);
    let attachment = Attachment::start(&["-f", "-p", &list, "-p", &pids[2].to_string()]);
    for (one, pid) in running.iter_mut().zip(&pids) {
        attachment.wait_until_traced(*pid);
        drop(one.stdin());
    }
    for one in running {
        one.finish().assert_code(0);
    }
    let left = attachment.finish();
    left.outcome.assert_code(0);
    let summary = left.check("a list");
    assert_eq!(summary.attached, pids);
    let mut parents: Vec<i32> = summary.pairs.iter().map(|(parent, _)| *parent).collect();
    parents.sort_unstable();
    let mut sorted = pids.clone();
    sorted.sort_unstable();
    assert_eq!(parents, sorted);
    assert_eq!(summary.ended, 6);
    let own = std::process::id().cast_signed();
    for line in &left.lines {
        if let Event::Attached { comm, parent, .. } = &line.event {
            assert_eq!((comm.as_str(), *parent), ("sh", Some(own)), "{}", line.text);
        }
    }
}

/// A shell, its child, and the child's: all three, or without --descendants the first.
#[test]
fn descendants() {
    const SCRIPT: &str =
        "sh -c 'sh -c \"echo here; read line; (true); exit 0\"; exit 0'; (true); exit 0";
    for options in [&["-f", "--descendants"][..], &["--descendants"], &["-f"]] {
        let mut running = target(&["sh", "-c", SCRIPT]);
        running.wait_for_out("here\n");
        let pid = running.pid();
        let attachment = Attachment::start(&[options, &["-p", &pid.to_string()]].concat());
        attachment.wait_until_traced(pid);
        let all = options.contains(&"--descendants");
        if all {
            eventually("three are attached to", || {
                attachment.trace().matches("attached: \"sh\"").count() == 3
            });
        }
        drop(running.stdin());
        running.finish().assert_code(0);
        let left = attachment.finish();
        left.outcome.assert_code(0);
        let attached = left
            .lines
            .iter()
            .filter(|line| matches!(line.event, Event::Attached { .. }))
            .count();
        assert_eq!(attached, if all { 3 } else { 1 }, "{}", left.text);
        assert_eq!(
            created(&left).len(),
            if all { 2 } else { 1 },
            "{}",
            left.text
        );
    }
}

/// One line that says why, and status 1.
#[track_caller]
fn assert_refused(run: Run, why: &str) {
    let outcome = run.run();
    outcome.assert_code(1);
    let err = outcome.err();
    assert!(
        err.starts_with("forktrace: ") && err.lines().count() == 1 && err.contains(why),
        "{why}: {err:?}"
    );
    assert_eq!(outcome.out(), "");
}

#[test]
fn what_cannot_be_attached_to() {
    let attach = |pid: &str| Run::new([forktrace().as_os_str(), "-p".as_ref(), pid.as_ref()]);
    // Above any pid_max.
    assert_refused(attach("4194305"), "No such process");
    assert_refused(attach("0"), "0");
    assert_refused(attach("-1"), "-1");
    assert_refused(attach("1x"), "1x");
    assert_refused(attach(""), "");
    let script = "exec \"$0\" -p $$";
    let binary = forktrace();
    let itself = [
        "sh".as_ref(),
        "-c".as_ref(),
        script.as_ref(),
        binary.as_os_str(),
    ];
    assert_refused(Run::new(itself), "itself");
    // A zombie: it has ended, and its parent doesn't ask.
    let mut ended = std::process::Command::new("true").spawn().expect("true");
    let pid = ended.id().cast_signed();
    eventually("it is a zombie", || state(pid) == 'Z');
    assert_refused(attach(&pid.to_string()), "ended");
    ended.wait().expect("wait");
    if let Some([strace]) = need(["strace"]) {
        let victim = target(&["sleep", "1000"]);
        let id = victim.pid().to_string();
        let _other = target(&[&strace, "-o", "/dev/null", "-p", &id]);
        eventually("strace traces it", || tracer(victim.pid()) != 0);
        assert_refused(attach(&id), "traced already");
    }
}

/// A thread's number stands for its process, which is said; and each is taken once.
#[test]
fn a_thread_that_is_no_leader() {
    let Some(program) = fixture("crowd") else {
        return;
    };
    let mut running = target(&[&program, "3", "4", "0"]);
    let mut input = running.stdin();
    running.wait_for_out("ready\n");
    let pid = running.pid();
    let thread = threads(pid).into_iter().find(|tid| *tid != pid);
    let thread = thread.expect("a crowd").to_string();
    let list = format!("{thread},{pid},{pid}");
    let attachment = Attachment::start(&["-p", &list]);
    attachment.wait_until_traced(pid);
    input.write_all(b"se").expect("the program reads");
    let out = running.finish().assert_code(0).out();
    let left = attachment.finish();
    assert_crowd("by a thread", pid, &out, &left);
    let leader = format!("{pid} +++ attached: ");
    assert_eq!(left.text.matches(&leader).count(), 1, "{}", left.text);
    assert_eq!(
        left.outcome.err(),
        format!(
            "forktrace: -p {thread}: that is a thread of process {pid}, and stands for all of it\n"
        )
    );
}

/// In a pid namespace of its own with the /proc of another: the numbers there are others'.
#[test]
fn where_proc_is_another_namespaces() {
    if !need_root() {
        return;
    }
    let Some([unshare]) = need(["unshare"]) else {
        return;
    };
    let binary = forktrace();
    let words: [&OsStr; 8] = [
        unshare.as_ref(),
        "--pid".as_ref(),
        "--fork".as_ref(),
        "--kill-child".as_ref(),
        "sh".as_ref(),
        "-c".as_ref(),
        "sleep 1000 & \"$0\" -p $!; status=$?; kill $!; exit $status".as_ref(),
        binary.as_os_str(),
    ];
    assert_refused(Run::new(words), "/proc is not that of this pid namespace");
}

/// What stands in the way is not that there is no such process.
#[test]
fn without_descriptors() {
    let victim = target(&["sleep", "1000"]);
    let id = victim.pid().to_string();
    let binary = text(&forktrace());
    for options in [&["-p", &id][..], &["--descendants", "-p", &id]] {
        let limited = ["sh", "-c", "ulimit -n 4; exec \"$@\"", "sh", &binary];
        assert_refused(
            Run::new([&limited[..], options].concat()),
            "Too many open files; raise the limit on open files (ulimit -n)",
        );
    }
    assert_eq!(tracer(victim.pid()), 0);
}

#[test]
fn a_kernel_thread() {
    if !need_root() {
        return;
    }
    // kthreadd, except in containers.
    if std::fs::read("/proc/2/comm").is_ok_and(|comm| comm == b"kthreadd\n") {
        let run = Run::new([forktrace().as_os_str(), "-p".as_ref(), "2".as_ref()]);
        assert_refused(run, "cannot attach to 2: a kernel thread can't be traced");
    } else {
        common::program::skip("a kernel thread in /proc");
    }
}

#[test]
fn another_users_process() {
    if !need_root() {
        return;
    }
    let Some([setpriv]) = need(["setpriv"]) else {
        return;
    };
    let victim = target(&["sleep", "1000"]);
    let id = victim.pid().to_string();
    let directory = common::run::OpenScratch::new();
    let binary = directory.copy(&forktrace(), 0o755);
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let words = [&[setpriv.as_str()][..], &nobody, &[&binary, "-p", &id]].concat();
    assert_refused(Run::new(words).cwd("/".as_ref()), "CAP_SYS_PTRACE");
    assert_eq!(state(victim.pid()), 'S');
}

/// One refused among others: a notice, and the others are traced.
#[test]
fn some_cannot_be_attached_to() {
    let mut running = target(&["sh", "-c", "echo here; read line; (true); exit 0"]);
    running.wait_for_out("here\n");
    let list = format!("4194305,{}", running.pid());
    let attachment = Attachment::start(&["-f", "-p", &list]);
    attachment.wait_until_traced(running.pid());
    drop(running.stdin());
    running.finish().assert_code(0);
    let left = attachment.finish();
    left.outcome.assert_code(0);
    assert_eq!(created(&left).len(), 1);
    let err = left.outcome.err();
    assert!(err.contains("4194305") && err.lines().count() == 1, "{err}");
}

/// No signal kills what was attached to; all of its threads are free afterwards.
#[test]
fn however_forktrace_ends_they_run_on() {
    let Some(program) = fixture("crowd") else {
        return;
    };
    for mode in [Mode::Event, Mode::Syscall] {
        for signal in [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGKILL,
        ] {
            let mut running = target(&[&program, "50", "8", "1"]);
            let mut input = running.stdin();
            running.wait_for_out("ready\n");
            let pid = running.pid();
            let attachment = Attachment::start(&["-f", mode.option(), "-p", &pid.to_string()]);
            attachment.wait_until_traced(pid);
            attachment.leave(signal);
            eventually("nobody traces any of them", || {
                threads(pid).iter().all(|tid| tracer(*tid) == 0)
            });
            input.write_all(b"s").expect("the program reads");
            running.wait_for_out("sync\n");
            input.write_all(b"e").expect("the program reads");
            let outcome = running.finish();
            assert_eq!(told(&outcome.assert_code(0).out(), "made").len(), 800);
        }
    }
}
