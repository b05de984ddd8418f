//! Job control: a shell that waits for forktrace sees it stop and continue as it would
//! see the program, by whatever signal, whoever continues it, and never stuck.

mod common;

use std::fs::File;
use std::io::Write;
use std::process::Stdio;

use common::Mode;
use common::case::text;
use common::fixture::fixture;
use common::proc::{eventually, state, status, stays_stopped};
use common::program::need;
use common::run::{Run, Scratch, forktrace};
use common::session::Session;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// A shell on a terminal of its own, at its first prompt.
fn shell() -> Option<Session> {
    let [bash, _] = need(["bash", "setsid"])?;
    let mut session = Session::start(&[&bash, "--norc", "--noprofile", "-i"]);
    session.first_prompt();
    Some(session)
}

/// A command line: forktrace with these options, without a trace.
fn traced(options: &str, command: &str) -> String {
    let binary = text(&forktrace());
    format!("{binary} {options} -o /dev/null -- {command}")
}

/// Types a line whose echo may be wrapped by the line editor.
fn line(session: &mut Session, line: &str) {
    session.expect("prompt> ");
    session.keys(&format!("{line}\n"));
}

/// Waits in the shell for a job that reads in the background. One that stops while the
/// shell takes it for running, and brings it to the front, stays stopped; untraced too.
const STOPPED_BY_READING: &str =
    "until jobs -l | grep -q 'tty input'; do :; done; echo stopped by read''ing";

/// The way of each mode, and without -f.
const WAYS: [&str; 4] = [
    "-f --stops=seccomp",
    "-f --stops=event",
    "-f --stops=syscall",
    "--stops=event",
];

/// On Ctrl-Z the program cleans up and stops itself by SIGSTOP.
#[test]
fn a_program_that_cleans_up_before_it_stops() {
    let Some(program) = fixture("stopper") else {
        return;
    };
    for way in WAYS {
        let Some(mut session) = shell() else {
            return;
        };
        let command = traced(way, &format!("{program} cleanup"));
        line(&mut session, &format!("{command}; echo st''atus $?"));
        session.expect_number("ready ");
        for _ in 0..2 {
            session.key_to_job("\x1a");
            session.expect("cleaned up");
            session.expect_stopped();
            session.expect("status 147");
            session.command("jobs -l", "Stopped (signal)");
            session.command("fg; echo fg''status $?", "back");
            session.keys("f\n");
            session.expect("forked");
            session.key_to_job("\x1a");
            session.expect("cleaned up");
            session.expect_stopped();
            session.expect("fgstatus 147");
            session.command("bg", "back");
            // It reads, which stops it anew.
            session.keys(&format!("{STOPPED_BY_READING}; fg; echo st''atus $?\n"));
            session.expect("stopped by reading");
        }
        session.keys("q\n");
        session.expect("status 9");
        line(&mut session, "exit");
        session.running.finish().assert_code(0);
    }
}

/// A shell under forktrace is a process group of its own, and suspends only that.
#[test]
fn a_traced_shell_suspends_itself() {
    let (Some([bash]), Some(_)) = (need(["bash"]), need(["sleep"])) else {
        return;
    };
    for way in WAYS {
        let Some(mut session) = shell() else {
            return;
        };
        let inner = traced(way, &format!("{bash} --norc --noprofile -i"));
        line(&mut session, &format!("PS1='inner> ' {inner}"));
        session.expect("inner> ");
        session.keys("sleep 1000 &\n");
        for _ in 0..2 {
            session.expect("inner> ");
            session.keys("suspend\n");
            session.expect("Stopped");
            session.command("jobs -l", "Stopped (signal)");
            session.command("fg", "inner> ");
            session.keys("kill -0 $! && echo still''there\n");
            session.expect("stillthere");
        }
        session.expect("inner> ");
        session.keys("kill $!; wait; exit 3\n");
        session.command("echo st''atus $?", "status 3");
        line(&mut session, "exit");
        session.running.finish().assert_code(0);
    }
}

/// Stopped by itself, and continued by its shell or by its pid alone.
#[test]
fn a_program_that_stops_itself() {
    let Some(program) = fixture("stopper") else {
        return;
    };
    for way in WAYS {
        let Some(mut session) = shell() else {
            return;
        };
        let command = traced(way, &format!("{program} itself"));
        for alone in [false, true] {
            line(&mut session, &command);
            let pid = session.expect_number("ready ");
            session.expect("Stopped");
            session.command("jobs -l", "Stopped (signal)");
            if alone {
                kill(Pid::from_raw(pid), Signal::SIGCONT).expect("kill");
                session.expect("back");
                session.keys(&format!("{STOPPED_BY_READING}; fg\n"));
                session.expect("stopped by reading");
            } else {
                session.command("fg", "back");
            }
            session.keys("f\n");
            session.expect("forked");
            session.keys("q\n");
            session.command("echo st''atus $?", "status 9");
        }
        // Killed while it is stopped.
        line(&mut session, &command);
        let pid = session.expect_number("ready ");
        session.expect("Stopped");
        let tracer = status(pid, "PPid").and_then(|pid| pid.parse().ok());
        let tracer: i32 = tracer.expect("a parent");
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill");
        eventually("forktrace ends too", || state(tracer) == ' ');
        session.command("wait %1; echo st''atus $?", "status 137");
        line(&mut session, "exit");
        session.running.finish().assert_code(0);
    }
}

/// What touches the terminal from the background is stopped until it is in front.
#[test]
fn a_background_job_that_wants_the_terminal() {
    let Some(_) = need(["stty", "cat"]) else {
        return;
    };
    for way in WAYS {
        let Some(mut session) = shell() else {
            return;
        };
        line(&mut session, &format!("{} &", traced(way, "stty sane")));
        let tracer = session.expect_number("[1] ");
        eventually("it is stopped", || stays_stopped(tracer));
        session.command("jobs -l", "Stopped (tty output)");
        session.command("fg; echo st''atus $?", "status 0");
        line(&mut session, &format!("{} &", traced(way, "cat")));
        let tracer = session.expect_number("[1] ");
        eventually("it is stopped", || stays_stopped(tracer));
        session.command("jobs -l", "Stopped (tty input)");
        session.command("fg; echo st''atus $?", "cat\r\n");
        session.key_to_job("word\n");
        session.expect("word\r\nword");
        session.keys("\x04");
        session.expect("status 0");
        line(&mut session, "exit");
        session.running.finish().assert_code(0);
    }
}

/// A program that forktrace let go of is still the one that the shell waits for.
#[test]
fn a_program_that_was_let_go_of() {
    let Some(program) = fixture("stopper") else {
        return;
    };
    let binary = text(&forktrace());
    let on_exec = format!(
        "{binary} -f --stops=event --detach-on=exec -o /dev/null -- sh -c 'exec {program} cleanup'"
    );
    let full = |stops| format!("{binary} -f --stops={stops} -o /dev/full -- {program} cleanup");
    for command in [on_exec, full("event"), full("syscall"), full("seccomp")] {
        let Some(mut session) = shell() else {
            return;
        };
        line(&mut session, &command);
        session.expect_number("ready ");
        session.keys("f\n");
        session.expect("forked");
        for _ in 0..2 {
            session.key_to_job("\x1a");
            session.expect("cleaned up");
            session.expect_stopped();
            session.command("jobs -l", "Stopped (signal)");
            session.command("fg", "back");
            session.keys("f\n");
            session.expect("forked");
        }
        session.keys("q\n");
        session.command("echo st''atus $?", "status 9");
        line(&mut session, "exit");
        session.running.finish().assert_code(0);
    }
}

/// SIGCONT right behind the stop, again and again: whatever comes first of forktrace's
/// stop and that, both go on.
#[test]
fn a_stop_that_is_taken_back_at_once() {
    let Some(program) = fixture("stopper") else {
        return;
    };
    for mode in Mode::ALL {
        for signal in [Signal::SIGTSTP, Signal::SIGSTOP] {
            let binary = text(&forktrace());
            let words = [&binary, "-f", mode.option(), "-o", "/dev/null", "--"];
            let mut running = Run::new([&words[..], &[&program, "lines"]].concat())
                .stdio(Stdio::piped(), Stdio::piped(), Stdio::piped())
                .start();
            let mut stdin = running.stdin();
            running.wait_for_out("ready ");
            let group = Pid::from_raw(running.pid());
            let mut forked = String::new();
            for round in 0..100 {
                // While it forks, and a different while after.
                stdin.write_all(b"f").expect("a pipe");
                for _ in 0..round % 25 {
                    state(group.as_raw());
                }
                killpg(group, signal).expect("killpg");
                for _ in 0..round % 10 {
                    state(group.as_raw());
                }
                killpg(group, Signal::SIGCONT).expect("killpg");
                forked.push_str("forked\n");
                running.wait_for_out(&forked);
            }
            stdin.write_all(b"q").expect("a pipe");
            running.finish().assert_code(9);
        }
    }
}

/// The number on the line that begins with a word.
fn number(text: &str, word: &str) -> i32 {
    let line = text.lines().find_map(|line| line.strip_prefix(word));
    line.and_then(|line| line.parse().ok()).expect("a number")
}

/// No terminal: forktrace stops only with all that it traces, and whoever of them is
/// continued is heard.
#[test]
fn a_part_that_is_continued_alone() {
    let Some(program) = fixture("stopper") else {
        return;
    };
    for mode in Mode::ALL {
        let scratch = Scratch::new();
        let file = text(&scratch.file("trace"));
        let binary = text(&forktrace());
        let words = [&binary, "-f", mode.option(), "-o", &file, "--"];
        let running = Run::new([&words[..], &[&program, "both"]].concat()).start();
        let out = running.wait_for_out("ready ");
        let child = number(&out, "child ");
        let root = number(&out, "ready ");
        eventually("forktrace stops with both", || stays_stopped(running.pid()));
        kill(Pid::from_raw(child), Signal::SIGCONT).expect("kill");
        running.wait_for_out("forked");
        // The child has ended: nothing runs again.
        eventually("forktrace stops again", || {
            state(child) == 'Z' && stays_stopped(running.pid())
        });
        assert!(stays_stopped(root), "{mode:?}: it runs");
        kill(Pid::from_raw(root), Signal::SIGCONT).expect("kill");
        let outcome = running.finish();
        assert!(outcome.assert_code(9).out().ends_with("back\n"));
        let trace = std::fs::read_to_string(&file).expect("trace");
        assert_eq!(trace.matches("clone(").count(), 2, "{mode:?}: {trace}");
    }
}

/// No terminal, and a child that runs on: forktrace serves it. Who continues forktrace
/// continues the program.
#[test]
fn a_program_that_stops_alone_does_not_hold_up_its_children() {
    let Some(program) = fixture("stopper") else {
        return;
    };
    for mode in Mode::ALL {
        let binary = text(&forktrace());
        let words = [&binary, "-f", mode.option(), "-o", "/dev/null", "--"];
        let mut running = Run::new([&words[..], &[&program, "alone"]].concat())
            .stdio(Stdio::piped(), Stdio::piped(), Stdio::piped())
            .start();
        let mut stdin: File = std::os::fd::OwnedFd::from(running.stdin()).into();
        let out = running.wait_for_out("ready ");
        let root = number(&out, "ready ");
        eventually("the program is stopped", || stays_stopped(root));
        stdin.write_all(b"f").expect("a pipe");
        running.wait_for_out("forked");
        assert!(stays_stopped(root), "{mode:?}: it runs");
        running.signal(Signal::SIGCONT);
        running.wait_for_out("back");
        stdin.write_all(b"q").expect("a pipe");
        running.finish().assert_code(9);
    }
}
