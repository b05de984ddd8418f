//! Waits and signals: told only where they are asked for, to the letter of strace, with
//! the results that the program itself saw.

mod common;

use std::process::Stdio;

use common::Mode;
use common::case::{Case, Traced, text};
use common::fixture::{fixture, i386_fixture};
use common::program::{need, need_root};
use common::run::{Run, Scratch, forktrace};
use common::trace::{Event, Line, Ret};

/// The modes that see calls return.
const MODES: [Mode; 2] = [Mode::Seccomp, Mode::Syscall];

const TRACE: &str = "trace=fork,vfork,clone,clone3,execve,execveat,wait4,waitpid,waitid,kill,tkill,\
                     tgkill,rt_sigqueueinfo,rt_tgsigqueueinfo,pidfd_send_signal";

fn is_asked_for(name: &str) -> bool {
    name.starts_with("wait") || name.contains("kill") || name.contains("sig")
}

/// The waits and signals of a trace, each with who called.
fn calls(lines: &[Line]) -> Vec<(i32, &common::trace::Call)> {
    lines
        .iter()
        .filter_map(|line| Some((line.tid, line.call()?)))
        .filter(|(_, call)| is_asked_for(&call.name))
        .collect()
}

fn tracer(words: &[&str]) -> Run {
    Run::new([text(&forktrace()).as_str()].iter().chain(words))
}

/// What the fixture saw itself: name, result, error number.
fn truth(traced: &Traced) -> Vec<(String, i32, i32)> {
    let out = traced.outcome.out();
    out.lines()
        .filter_map(|line| line.strip_prefix("call "))
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |index: usize| words[index].parse().expect("a number");
            (words[0].to_owned(), number(1), number(2))
        })
        .collect()
}

/// Pids by the order of their births, CPU times masked: what differs between runs.
fn normal(lines: &[Line], tid: i32) -> Vec<String> {
    let mut pids = vec![tid];
    pids.extend(lines.iter().filter_map(Line::created));
    let name = |word: &str| {
        let pid: i32 = word.parse().ok()?;
        let index = pids.iter().position(|known| *known == pid)?;
        Some(format!("PID{index}"))
    };
    let masked = |text: &str| {
        let (mut out, mut word) = (String::new(), String::new());
        for c in text.chars().chain([' ']) {
            if c.is_alphanumeric() {
                word.push(c);
                continue;
            }
            let time = out.ends_with("tv_usec=") || out.ends_with("tv_sec=");
            let time = time && !word.is_empty();
            let address = word.strip_prefix("0x").is_some_and(|hex| hex.len() > 6);
            // A pid that stands in a timer's or a fault's place.
            let known = name(&word);
            out.push_str(match &known {
                _ if time => "TIME",
                Some(pid) => pid,
                None if address && !out.ends_with("si_ptr=") => "ADDR",
                None => &word,
            });
            word.clear();
            out.push(c);
        }
        out
    };
    calls(lines)
        .into_iter()
        // A SIGCHLD in between is chance.
        .filter(|(caller, call)| *caller == tid && call.ret != Ret::Restarted)
        .map(|(_, call)| {
            let result = match &call.ret {
                Ret::Value(value) => value.to_string(),
                Ret::Error(error) => format!("-1 {error}"),
                Ret::Restarted | Ret::Unknown => "?".to_owned(),
            };
            masked(&format!("{}({}) = {result}", call.name, call.args))
        })
        .collect()
}

/// Runs a fixture under strace and in each mode; its own view of each call, the texts of
/// strace and those of forktrace must agree.
#[track_caller]
fn compare(case: &Case, at_least: usize) {
    let strace = case.strace(&["-f", "-e", TRACE]);
    let root = strace.lines[0].tid;
    let expected = normal(&strace.lines, root);
    assert!(expected.len() >= at_least, "{expected:#?}");
    for mode in MODES {
        let traced = case.record(&["-f", "--waits", mode.option()]);
        let summary = traced.check(&format!("{mode:?}"));
        let told = normal(&traced.lines, summary.root);
        for (index, (ours, theirs)) in told.iter().zip(&expected).enumerate() {
            assert_eq!(ours, theirs, "{mode:?}: call {index}");
        }
        assert_eq!(told.len(), expected.len(), "{mode:?}");
        let seen: Vec<_> = calls(&traced.lines)
            .into_iter()
            .filter(|(tid, call)| *tid == summary.root && call.ret != Ret::Restarted)
            .map(|(_, call)| (call.name.clone(), call.ret.clone()))
            .collect();
        let truth = truth(&traced);
        assert_eq!(seen.len(), truth.len(), "{mode:?}: {seen:?}\n{truth:?}");
        for ((name, ret), (real_name, result, errno)) in seen.iter().zip(&truth) {
            assert_eq!(name, real_name);
            match ret {
                Ret::Value(value) => assert_eq!((value, &0), (result, errno), "{name}"),
                Ret::Error(error) => {
                    let known = nix::errno::Errno::from_raw(*errno);
                    assert_eq!(error, &format!("{known:?}"), "{name}");
                }
                other => panic!("{name}: {other:?}"),
            }
        }
        for line in &traced.lines {
            if line.call().is_some_and(|call| is_asked_for(&call.name)) {
                let words = line.comment.as_ref().is_some_and(|words| words.len() > 5);
                assert!(words, "{mode:?}: no meaning: {}", line.text);
            }
        }
    }
}

#[test]
fn every_call_like_strace_and_as_the_program_saw_it() {
    let (Some(_), Some(waits)) = (need(["strace"]), fixture("waits")) else {
        return;
    };
    compare(&Case::new([waits.as_str()]), 80);
}

#[test]
fn i386_calls_like_strace_and_as_the_program_saw_it() {
    let (Some(_), Some(waits)) = (need(["strace"]), i386_fixture("waits386")) else {
        return;
    };
    if Run::new([waits.as_str()]).run().status.code() != Some(9) {
        return common::program::skip("a kernel that runs i386 programs");
    }
    compare(&Case::new([waits.as_str()]).code(9), 28);
}

/// A signal comes while the program waits: without SA_RESTART the wait fails, with it the
/// kernel waits again and the program learns nothing.
#[test]
fn interrupted_waits() {
    let Some(waits) = fixture("waits") else {
        return;
    };
    let case = Case::new([waits.as_str(), "interrupt"]);
    for mode in MODES {
        let traced = case.record(&["-f", "--waits", mode.option()]);
        let root = traced.check(&format!("{mode:?}")).root;
        let rets: Vec<_> = calls(&traced.lines)
            .into_iter()
            .filter(|(tid, _)| *tid == root)
            .map(|(_, call)| (call.name.as_str(), call.ret.clone()))
            .collect();
        let children: Vec<i32> = traced.lines.iter().filter_map(Line::created).collect();
        assert_eq!(
            rets,
            [
                ("wait4", Ret::Restarted),
                ("wait4", Ret::Value(children[0])),
                ("waitid", Ret::Restarted),
                ("waitid", Ret::Value(0)),
            ],
            "{mode:?}: {}",
            traced.text
        );
        assert_eq!(
            truth(&traced),
            [
                ("wait4".to_owned(), -1, libc::EINTR),
                ("wait4".to_owned(), children[0], 0),
                ("waitid".to_owned(), 0, 0),
            ]
        );
        let kills = format!("kill({root}, SIGUSR1) = 0  # SIGUSR1 to process {root}\n");
        assert_eq!(traced.text.matches(&kills).count(), 2, "{}", traced.text);
    }
}

/// The inner shell kills the outer one, which waits for it.
#[test]
fn a_caller_that_is_killed_in_its_wait() {
    let Some([sh]) = need(["sh"]) else { return };
    let case = Case::new([sh.as_str(), "-c", "sh -c 'kill -9 $PPID'; :"]);
    for mode in MODES {
        let traced = case.record(&["-f", "--waits", mode.option()]);
        let summary = traced.check(&format!("{mode:?}"));
        let outer = summary.root;
        let inner = summary.pairs[0].1;
        let told = calls(&traced.lines);
        let wait = told.iter().find(|(tid, _)| *tid == outer).expect("a wait");
        assert_eq!(wait.1.ret, Ret::Unknown, "{}", traced.text);
        let kill = told.iter().find(|(tid, _)| *tid == inner).expect("a kill");
        assert_eq!(kill.1.args, format!("{outer}, SIGKILL"));
        assert_eq!(kill.1.ret, Ret::Value(0));
        // Both are there before the last of either.
        let end = |tid| {
            let ends = |line: &Line| matches!(line.event, Event::Exited(_) | Event::Killed(_));
            let position = |line: &Line| line.tid == tid && ends(line);
            traced.lines.iter().position(position).expect("an end")
        };
        assert!(end(outer) > 0 && end(inner) > 0);
    }
}

#[test]
fn nothing_of_it_unless_asked_for() {
    let Some(waits) = fixture("waits") else {
        return;
    };
    let case = Case::new([waits.as_str()]);
    for mode in Mode::ALL {
        let (traced, _) = case.follow(mode);
        let told = calls(&traced.lines);
        assert!(told.is_empty(), "{mode:?}: {told:?}");
        assert!(!traced.text.contains("orphaned"));
    }
}

/// A log knows who adopts orphans without being asked, and so do trees, live and read
/// from it; the text has no line more for it.
#[test]
fn the_tree_names_who_adopts_orphans() {
    let Some(orphan) = fixture("orphan") else {
        return;
    };
    let dir = Scratch::new();
    let path = |name: &str| dir.file(name).display().to_string();
    for mode in Mode::ALL {
        let views = format!("--as=tree:{},json:{}", path("tree"), path("log"));
        let outcome = tracer(&["-f", &views, mode.option(), "--", &orphan]).run();
        // The program's end is what decides, whatever its orphans do.
        outcome.assert_code(7);
        let live = std::fs::read_to_string(path("tree")).unwrap();
        // The grandchild and the late one live on, and create; the child may have ended
        // by the time that its parent's end is told.
        let adopted = live.matches("outlived its parent, adopted by ").count();
        assert!((2..=3).contains(&adopted), "{live}");
        let read = tracer(&["view", &path("log"), "--as=tree"]).run();
        assert_eq!(read.out(), live);
        let text = tracer(&["view", &path("log")]).run();
        assert!(!text.out().contains("orphaned"), "{}", text.out());
    }
}

#[test]
fn waits_need_calls_to_be_seen() {
    for words in [
        &["--waits", "--stops=event", "--", "true"][..],
        &["-f", "--waits", "-p", "1"],
        &["-f", "--waits", "-p", "1", "--stops=event"],
    ] {
        let outcome = tracer(words).run();
        outcome.assert_code(1);
        let err = outcome.err();
        assert!(
            err.starts_with("forktrace: --waits (and --as lanes) needs to see system calls return")
                && err.contains("--stops=syscall")
                && err.lines().count() == 1,
            "{err}"
        );
    }
}

#[test]
fn without_f_the_launched_thread_only() {
    let Some([sh]) = need(["sh"]) else { return };
    let case = Case::new([sh.as_str(), "-c", "(exit 3) & wait $!; kill -9 $$"]);
    let traced = case.forktrace(&["--waits"]);
    let tids: Vec<i32> = traced.lines.iter().map(|line| line.tid).collect();
    assert!(tids.iter().all(|tid| *tid == tids[0]), "{}", traced.text);
    let told = calls(&traced.lines);
    let child = traced
        .lines
        .iter()
        .find_map(Line::created)
        .expect("a child");
    assert!(
        told.iter().any(|(_, call)| call.ret == Ret::Value(child)),
        "{}",
        traced.text
    );
    let (_, last) = told.last().expect("a kill");
    assert_eq!((last.name.as_str(), &last.ret), ("kill", &Ret::Unknown));
}

/// Attached to while it waits: its wait is told when it returns.
#[test]
fn a_wait_that_began_before_forktrace_came() {
    let Some([sh]) = need(["sh"]) else { return };
    let mut program = Run::new([sh.as_str(), "-c", "echo ready; head -c1; :"])
        .stdio(Stdio::piped(), Stdio::piped(), Stdio::piped())
        .start();
    program.wait_for_out("ready");
    let pid = program.pid().to_string();
    let tracer = tracer(&["-f", "--waits", "--stops=syscall", "-p", &pid]).start();
    tracer.wait_for_err("+++ attached: \"sh\"");
    drop(program.stdin());
    program.finish().assert_code(0);
    let err = tracer.finish().err();
    let reaped =
        format!("\n{pid} wait4(-1, [{{WIFEXITED(s) && WEXITSTATUS(s) == 0}}], 0, NULL) = ");
    assert!(err.contains(&reaped), "{err}");
    assert!(err.contains("  # reaps "), "{err}");
}

/// The shell ends and leaves a child behind, which sees it gone only in a call that
/// forktrace has to let through after it heard of that end.
#[test]
fn orphans_are_told_with_their_new_parent() {
    let Some([sh]) = need(["sh"]) else { return };
    let case = Case::new([
        sh.as_str(),
        "-c",
        "while kill -0 $$; do :; done 2>/dev/null &",
    ]);
    for mode in MODES {
        let traced = case.record(&["-f", "--waits", mode.option()]);
        let summary = traced.check(&format!("{mode:?}"));
        let orphans: Vec<&Line> = traced
            .lines
            .iter()
            .filter(|line| matches!(line.event, Event::Orphaned(_)))
            .collect();
        assert_eq!(orphans.len(), 1, "{}", traced.text);
        let child = summary.pairs[0].1;
        assert_eq!(orphans[0].tid, child);
        assert_ne!(orphans[0].event, Event::Orphaned(summary.root));
        assert!(
            orphans[0]
                .comment
                .as_ref()
                .is_some_and(|words| words.contains("reaps it"))
        );
    }
}

/// In a pid namespace of its own a shell's children have other numbers for it.
#[test]
fn numbers_in_an_inner_pid_namespace() {
    let Some([unshare, sh]) = need(["unshare", "sh"]) else {
        return;
    };
    if !need_root() {
        return;
    }
    let program = "sh -c 'exit 3'; sh -c 'kill -TERM $$'; sleep 100 & kill $!; wait $!; :";
    let case = Case::new([&unshare, "--fork", "--pid", &sh, "-c", program]);
    for mode in MODES {
        let traced = case.record(&["-f", "--waits", mode.option()]);
        let summary = traced.check(&format!("{mode:?}"));
        let init = summary.pairs[0].1;
        let children: Vec<i32> = summary
            .pairs
            .iter()
            .filter(|(parent, _)| *parent == init)
            .map(|(_, child)| *child)
            .collect();
        let text = &traced.text;
        for (index, (child, how)) in children
            .iter()
            .zip([
                "exited with 3",
                "was killed by SIGTERM",
                "was killed by SIGTERM",
            ])
            .enumerate()
        {
            let inner = index + 2;
            let reaps = format!(
                " = {child} ({inner} in the caller's pid namespace)  # reaps {child} ({inner} in \
                 the caller's pid namespace), which {how}\n"
            );
            assert!(text.contains(&reaps), "{mode:?}: no {reaps}\n{text}");
        }
        let kill = format!(
            "{init} kill(4, SIGTERM) = 0  # SIGTERM to process {} (4 in the caller's pid \
             namespace)\n",
            children[2]
        );
        assert!(text.contains(&kill), "{mode:?}: no {kill}\n{text}");
        // To unshare itself, which is outside, init has forktrace's own number.
        let outer = format!(" = {init}  # reaps {init}, which exited with 0\n");
        assert!(text.contains(&outer), "{mode:?}: {text}");
    }
}
