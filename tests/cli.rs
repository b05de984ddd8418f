//! The command line as a user meets it: errors, exit statuses, where the trace goes,
//! what happens when it can't go there, signals, colours.

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode as FileMode;
use nix::unistd::Pid;

use common::Mode;
use common::case::text;
use common::check::check;
use common::fixture::fixture;
use common::program::{need, need_root};
use common::run::{Outcome, Run, Scratch, Stream, forktrace, until_unread};
use common::trace::{Event, parse_forktrace, parse_line};

const WAYS: [&[&str]; 5] = [
    &["--stops=syscall"],
    &["--stops=event"],
    &["-f", "--stops=seccomp"],
    &["-f", "--stops=event"],
    &["-f", "--stops=syscall"],
];

fn traced(words: &[&str]) -> Run {
    Run::new([text(&forktrace()).as_str()].iter().chain(words))
}

/// An error of forktrace's own: one line, its name first, nothing on standard output.
#[track_caller]
fn assert_error(outcome: &Outcome, code: i32) {
    outcome.assert_code(code);
    let message = outcome.err();
    assert!(
        message.starts_with("forktrace: ") && message.len() > 15,
        "{message:?}"
    );
    assert_eq!(message.matches('\n').count(), 1, "{message:?}");
    assert!(
        message.ends_with('\n') && !message.contains('\u{1b}'),
        "{message:?}"
    );
    assert_eq!(outcome.out(), "");
}

#[test]
fn command_not_found() {
    for way in WAYS {
        assert_error(
            &traced(&[way, &["--", "no-such-command-at-all"]].concat()).run(),
            127,
        );
        assert_error(
            &traced(&[way, &["--", "/nonexistent/program"]].concat()).run(),
            127,
        );
    }
    // What is in the name must not reach the terminal as it is.
    assert_error(&traced(&["\u{1b}[31mred\nline"]).run(), 127);
}

#[test]
fn command_not_executable() {
    let scratch = Scratch::new();
    let plain = text(&scratch.write("plain", "text\n"));
    for way in WAYS {
        assert_error(&traced(&[way, &["--", &plain]].concat()).run(), 126);
        assert_error(&traced(&[way, &["--", "/"]].concat()).run(), 126);
    }
}

/// A script without an interpreter line: a shell's, as execvp has it.
#[test]
fn a_script_without_an_interpreter_line() {
    let scratch = Scratch::new();
    let script = scratch.write("script", "echo \"$1\"; (true); exit 5\n");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    for way in WAYS {
        let outcome = traced(&[way, &["--", &text(&script), "word"]].concat()).run();
        assert_eq!(outcome.assert_code(5).out(), "word\n", "{way:?}");
    }
}

#[test]
fn trace_file_that_cannot_be_opened() {
    for way in WAYS {
        for file in ["/nonexistent/directory/trace", "/", "/proc/trace"] {
            // Nothing may have run: it would print.
            assert_error(
                &traced(&[way, &["-o", file, "--", "echo", "it ran"]].concat()).run(),
                1,
            );
        }
    }
}

#[test]
fn seccomp_needs_f() {
    assert_error(&traced(&["--stops=seccomp", "echo", "it ran"]).run(), 1);
}

/// The filter is there where it was asked for, and nowhere else.
#[test]
fn auto_means_seccomp_with_f_and_syscall_without() {
    let filter = |words: &[&str]| {
        let program = [
            "--",
            "sh",
            "-c",
            "while read k v; do test $k = Seccomp: && echo $v; done </proc/self/status",
        ];
        let native: i32 = Run::new(&program[1..])
            .run()
            .out()
            .trim()
            .parse()
            .expect("a number");
        let outcome = traced(&[words, &["-o", "/dev/null"], &program].concat()).run();
        outcome.out().trim().parse::<i32>().expect("a number") != native
    };
    assert!(
        filter(&["-f"]) && filter(&["-f", "--stops=auto"]) && filter(&["-f", "--stops=seccomp"])
    );
    assert!(!filter(&[]) && !filter(&["--stops=auto"]) && !filter(&["--stops=syscall"]));
    assert!(
        !filter(&["--stops=event"])
            && !filter(&["-f", "--stops=event"])
            && !filter(&["-f", "--stops=syscall"])
    );
}

#[test]
fn usage_errors() {
    for words in [
        &[][..],
        &["--no-such-option", "true"],
        &["--stops=never", "true"],
        &["-s", "many", "true"],
        &["-o"],
    ] {
        let outcome = traced(words).run();
        outcome.assert_code(1);
        assert!(
            !outcome.stderr.is_empty() && outcome.stdout.is_empty(),
            "{words:?}: {outcome:?}"
        );
    }
}

/// Options that say nothing without another are refused, not ignored.
#[test]
fn options_that_need_another() {
    for (words, needed) in [
        (&["--descendants", "true"][..], "-p"),
        (&["--max-depth", "1", "true"], "--follow-forks"),
        (&["--stops=seccomp", "true"], "-f"),
    ] {
        let outcome = traced(words).run();
        outcome.assert_code(1);
        let error = String::from_utf8_lossy(&outcome.stderr);
        assert!(error.contains(needed), "{words:?}: {error}");
        assert!(!error.contains(":;"), "{words:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{words:?}: {error}");
    }
}

#[test]
fn help_and_version() {
    for option in ["--help", "-h", "--version", "-V"] {
        let outcome = traced(&[option]).run();
        outcome.assert_code(0);
        assert!(
            outcome.out().contains("forktrace"),
            "{option}: {}",
            outcome.out()
        );
        assert_eq!(outcome.err(), "");
    }
}

/// Options end at the command: what follows is its own.
#[test]
fn options_of_the_command_are_not_ours() {
    for words in [
        &["sh", "-c", "echo $0 $1", "-f", "-o"][..],
        &["--", "sh", "-c", "echo $0 $1", "-f", "-o"],
    ] {
        assert_eq!(traced(words).run().assert_code(0).out(), "-f -o\n");
    }
}

/// Subcommands are subcommands as the first word only: programs of their names run.
#[test]
fn programs_named_like_subcommands_run() {
    let scratch = Scratch::new();
    for name in ["explain", "help"] {
        let script = scratch.write(name, "#!/bin/sh\necho $0 $1\n");
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        for words in [
            &["--", name, "fork"][..],
            &["-f", name, "fork"],
            &["-o", "/dev/null", name, "fork"],
            &[&text(&script), "fork"],
        ] {
            let mut run = traced(words);
            let path = format!("{}:/usr/bin:/bin", text(scratch.path()));
            run.command.env("PATH", path);
            let outcome = run.run();
            assert_eq!(
                outcome.assert_code(0).out(),
                format!("{} fork\n", text(&script)),
                "{words:?}"
            );
        }
        assert!(!traced(&[name, "fork"]).run().out().contains("+++"));
    }
}

#[test]
fn subcommands_have_help_and_one_line_errors() {
    for words in [
        &["explain", "--help"][..],
        &["explain", "-h"],
        &["help", "explain"],
    ] {
        let outcome = traced(words).run();
        let help = outcome.assert_code(0).out();
        assert!(help.contains("forktrace explain"), "{words:?}: {help}");
        assert_eq!(outcome.err(), "");
    }
    assert!(
        traced(&["--help"])
            .run()
            .out()
            .contains("\n  explain   Explain")
    );
    for (words, advice) in [
        (
            &["explain", "--no-such-option"][..],
            "see forktrace explain --help\n",
        ),
        (&["help", "nothing"], "see forktrace --help\n"),
        (&["explain", "nothing-known"], "the text of a call\n"),
    ] {
        let outcome = traced(words).run();
        assert_error(&outcome, 1);
        assert!(outcome.err().ends_with(advice), "{}", outcome.err());
    }
    traced(&["explain"]).run().assert_code(1);
}

#[test]
fn the_trace_goes_to_standard_error() {
    for way in WAYS {
        let outcome =
            traced(&[way, &["--", "sh", "-c", "(true); echo out; echo err >&2"]].concat()).run();
        outcome.assert_code(0);
        assert_eq!(outcome.out(), "out\n");
        let err = outcome.err();
        let (own, trace): (Vec<&str>, Vec<&str>) = err.lines().partition(|line| *line == "err");
        assert_eq!(own.len(), 1);
        assert!(
            trace.iter().all(|line| parse_line(line).is_some()),
            "{trace:?}"
        );
        assert!(
            trace
                .iter()
                .any(|line| line.contains("clone(") || line.contains("fork(")),
            "{trace:?}"
        );
    }
}

#[test]
fn dash_is_standard_output() {
    for way in WAYS {
        let outcome =
            traced(&[way, &["-o", "-", "--", "sh", "-c", "(true); echo err >&2"]].concat()).run();
        outcome.assert_code(0);
        assert_eq!(outcome.err(), "err\n");
        let lines = parse_forktrace(&outcome.out()).expect("a trace");
        assert!(
            lines.iter().any(|line| line.created().is_some()),
            "{}",
            outcome.out()
        );
    }
}

#[test]
fn the_trace_goes_to_a_fifo() {
    let scratch = Scratch::new();
    let fifo = scratch.file("fifo");
    nix::unistd::mkfifo(&fifo, FileMode::from_bits_truncate(0o600)).expect("mkfifo");
    for way in WAYS {
        let reader = Run::new(["cat", &text(&fifo)]).start();
        traced(&[way, &["-o", &text(&fifo), "--", "sh", "-c", "(true)"]].concat())
            .run()
            .assert_code(0);
        let trace = reader.finish().out();
        assert!(
            parse_forktrace(&trace)
                .expect("a trace")
                .iter()
                .any(|line| line.created().is_some()),
            "{trace}"
        );
    }
}

#[test]
fn an_existing_trace_file_is_replaced() {
    let scratch = Scratch::new();
    let file = text(&scratch.write("trace", &"old\n".repeat(1000)));
    traced(&["-o", &file, "true"]).run().assert_code(0);
    let trace = std::fs::read_to_string(&file).expect("trace");
    assert!(!trace.contains("old"), "{trace}");
}

/// The program's own output goes to the same file: neither overwrites the other, nor what
/// stood there before.
#[test]
fn the_file_that_the_program_writes_to() {
    let (one, two) = ("one ".repeat(100), "two ".repeat(100));
    let inner = format!("echo {one}; (true); echo {two} >&2; (true); exit 4");
    let binary = text(&forktrace());
    for way in WAYS {
        for redirection in ["> both 2>&1", ">> both 2>&1", "2> both >&2"] {
            let scratch = Scratch::new();
            let words = format!(
                "{{ echo before; '{binary}' {} -o both -- sh -c '{inner}'; }} {redirection}",
                way.join(" ")
            );
            let outcome = Run::new(["sh", "-c", &words]).cwd(scratch.path()).run();
            outcome.assert_code(4);
            let both = std::fs::read_to_string(scratch.file("both")).expect("both");
            let (lines, own): (Vec<&str>, Vec<&str>) = both
                .lines()
                .partition(|line| line.starts_with(|c: char| c.is_ascii_digit()));
            // The shells take trailing spaces away.
            let own: Vec<&str> = own
                .into_iter()
                .filter(|line| !line.starts_with('#'))
                .collect();
            assert_eq!(
                own,
                ["before", one.trim(), two.trim()],
                "{way:?} {redirection}"
            );
            let trace = lines.join("\n") + "\n";
            let parsed = parse_forktrace(&trace).expect("a trace");
            let created = parsed.iter().filter_map(|line| line.created()).count();
            assert_eq!(created, 2, "{way:?} {redirection}: {both}");
            assert!(
                trace.contains("execve(") && trace.contains("+++ exited with 4 +++"),
                "{way:?} {redirection}: {both}"
            );
        }
    }
}

/// A full disk: said once, and the program is not disturbed.
#[test]
fn a_trace_that_cannot_be_written() {
    for way in WAYS {
        for (script, code) in [
            ("(true); (true); echo finished", 1),
            ("(true); echo finished; exit 3", 3),
        ] {
            let outcome =
                traced(&[way, &["-o", "/dev/full", "--", "sh", "-c", script]].concat()).run();
            outcome.assert_code(code);
            assert_eq!(outcome.out(), "finished\n");
            let message = outcome.err();
            assert!(
                message.starts_with("forktrace: ") && message.matches('\n').count() == 1,
                "{way:?} {message:?}"
            );
            assert!(message.contains("No space left"), "{message:?}");
        }
    }
}

/// `forktrace ... 2>&1 | head -1`: no word about it, and the program is not disturbed.
#[test]
fn a_reader_that_goes_away() {
    for way in WAYS {
        for (script, code) in [("", 141), ("exit 3", 3)] {
            let script = format!("(true); read x; (true); (true); (true); echo finished; {script}");
            let (reader, writer) = std::io::pipe().expect("pipe");
            let (gate, mut opener) = std::io::pipe().expect("pipe");
            let watch = writer.try_clone().expect("a copy");
            let running = traced(&[way, &["--", "sh", "-c", &script]].concat())
                .stdio(Stdio::from(gate), Stdio::piped(), Stdio::from(writer))
                .start();
            let mut first = String::new();
            BufReader::new(reader)
                .read_line(&mut first)
                .expect("a first line");
            assert!(parse_line(first.trim_end()).is_some(), "{first:?}");
            // The reader is gone now; the program goes on.
            until_unread(&watch);
            opener.write_all(b"go\n").expect("the program waits");
            drop(opener);
            let outcome = running.finish();
            assert_eq!(outcome.out(), "finished\n", "{way:?}");
            outcome.assert_code(code);
        }
    }
}

#[test]
fn a_reader_of_standard_output_that_goes_away() {
    let (reader, writer) = std::io::pipe().expect("pipe");
    drop(reader);
    until_unread(&writer);
    let outcome = traced(&[
        "-f",
        "-o",
        "-",
        "--",
        "sh",
        "-c",
        "(true); (true); echo finished >&2",
    ])
    .stdio(Stdio::null(), Stdio::from(writer), Stdio::piped())
    .run();
    outcome.assert_code(141);
    assert_eq!(outcome.err(), "finished\n");
}

#[test]
fn sigterm_reaches_the_program() {
    let Some(program) = fixture("signals") else {
        return;
    };
    for way in WAYS {
        let running = traced(&[way, &["--", &program]].concat()).start();
        running.wait_for_out("ready ");
        running.signal(Signal::SIGTERM);
        let outcome = running.finish();
        outcome.assert_code(100 + 15);
        assert!(outcome.out().contains("made fork "), "{}", outcome.out());
        // The child that it made afterwards is in the trace.
        assert!(
            outcome.err().contains("clone("),
            "{way:?}: {}",
            outcome.err()
        );
    }
}

/// Also where no timer is to be had, because no signal may be queued.
#[test]
fn sigterm_reaches_the_program_without_a_timer() {
    if need(["bash"]).is_none() {
        return;
    }
    let limited = "ulimit -i 0; exec \"$0\" -f -q -o /dev/null -- \"$@\"";
    // Nothing else happens that forktrace would be told of.
    let program = "echo ready; exec cat";
    let tracer = text(&forktrace());
    let words = ["bash", "-c", limited, &tracer, "sh", "-c", program];
    let mut running = Run::new(words)
        .stdio(Stdio::piped(), Stdio::piped(), Stdio::piped())
        .timeout(Duration::from_secs(10))
        .start();
    let _held_open = running.stdin();
    running.wait_for_out("ready");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.finish().status.signal(), Some(15));
}

#[test]
fn sigterm_ends_a_program_without_a_handler() {
    for way in WAYS {
        let running =
            traced(&[way, &["--", "sh", "-c", "echo ready; exec sleep 1000"]].concat()).start();
        running.wait_for_out("ready");
        running.signal(Signal::SIGTERM);
        let outcome = running.finish();
        assert_eq!(outcome.status.signal(), Some(15), "{way:?}: {outcome:?}");
        assert!(
            outcome.err().contains("+++ killed by SIGTERM +++"),
            "{way:?}: {}",
            outcome.err()
        );
    }
}

/// Ctrl-C on a terminal goes to the whole foreground group: forktrace must outlive it.
#[test]
fn control_c_reaches_the_program() {
    let (Some(program), Some(_)) = (fixture("signals"), need(["setsid"])) else {
        return;
    };
    let scratch = Scratch::new();
    for way in WAYS {
        let (mut keyboard, screen, slave) = terminal();
        let file = text(&scratch.file("trace"));
        let binary = text(&forktrace());
        let words = [
            &["setsid", "--ctty", "--wait", &binary],
            way,
            &["-o", &file, "--", &program],
        ]
        .concat();
        let running = Run::new(words)
            .stdio(copy(&slave), copy(&slave), Stdio::from(slave))
            .start();
        let mut screen = Stream::read(Some(screen));
        assert!(screen.wait_for("ready ").contains("ready "), "{way:?}");
        keyboard.write_all(b"\x03").expect("a key");
        running.finish().assert_code(100 + 2);
        drop(keyboard);
        let shown = String::from_utf8_lossy(&screen.finish()).into_owned();
        assert!(shown.contains("made fork "), "{way:?}: {shown}");
        let trace = std::fs::read_to_string(&file).expect("trace");
        assert!(
            trace.contains("clone(") && trace.contains("+++ exited with 102 +++"),
            "{way:?}: {trace}"
        );
    }
}

/// Ctrl-Z stops the program, not forktrace's view of it; it goes on when told to.
#[test]
fn a_stopped_program_goes_on() {
    let Some(program) = fixture("signals") else {
        return;
    };
    for way in WAYS {
        let running = traced(&[way, &["--", &program]].concat()).start();
        let out = running.wait_for_out("ready ");
        let out = if out.contains('\n') {
            out
        } else {
            running.wait_for_out("\n")
        };
        let pid = out
            .trim()
            .trim_start_matches("ready ")
            .parse()
            .map(Pid::from_raw)
            .expect("a pid");
        kill(pid, Signal::SIGSTOP).expect("kill");
        kill(pid, Signal::SIGUSR1).expect("kill");
        kill(pid, Signal::SIGCONT).expect("kill");
        running.finish().assert_code(100 + 10);
    }
}

/// A group-stop lasts until SIGCONT: a tracer that resumes the stopped one breaks it.
#[test]
fn a_stopped_program_stays_stopped() {
    let Some([python]) = need(["python3"]) else {
        return;
    };
    let program = "\
import os, select, signal
reader, writer = os.pipe()
pid = os.fork()
if pid == 0:
    os.kill(os.getpid(), signal.SIGSTOP)
    os.write(writer, b'x')
    os._exit(0)
print(os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1]))
print(select.select([reader], [], [], 0.3)[0])
os.kill(pid, signal.SIGCONT)
print(os.read(reader, 1), os.waitpid(pid, 0)[1])
";
    for way in WAYS {
        let outcome = traced(&[way, &["--", &python, "-S", "-c", program]].concat()).run();
        outcome.assert_code(0);
        assert_eq!(outcome.out(), "True\n[]\nb'x' 0\n", "{way:?}");
    }
}

#[test]
fn output_of_children_that_outlive_the_program() {
    let Some(program) = fixture("signals") else {
        return;
    };
    for way in WAYS {
        let outcome = traced(&[way, &["--", &program, "leave"]].concat()).run();
        outcome.assert_code(0);
        assert!(
            outcome.out().ends_with("written after the program's end\n"),
            "{way:?}: {}",
            outcome.out()
        );
    }
}

/// Killed itself, forktrace takes the tree along where it was told to.
#[test]
fn kill_on_exit() {
    let Some(program) = fixture("signals") else {
        return;
    };
    for way in WAYS {
        let running = traced(&[way, &["--kill-on-exit", "--", &program]].concat()).start();
        running.wait_for_out("ready ");
        running.signal(Signal::SIGKILL);
        // Output ends only when the last holder is dead: this would time out otherwise.
        let outcome = running.finish();
        assert_eq!(outcome.status.signal(), Some(9));
        assert!(!outcome.out().contains("made"), "{}", outcome.out());
    }
}

/// Killed itself, an event tracer leaves the program as it was.
#[test]
fn a_killed_event_tracer_leaves_the_program_running() {
    let Some(program) = fixture("signals") else {
        return;
    };
    for way in [&["-f", "--stops=event"][..], &["--stops=event"]] {
        let mut running = traced(&[way, &["--", &program]].concat()).start();
        let out = running.wait_for_out("\n");
        let pid = out
            .trim()
            .trim_start_matches("ready ")
            .parse()
            .map(Pid::from_raw)
            .expect("a pid");
        running.signal(Signal::SIGKILL);
        running.wait();
        kill(pid, Signal::SIGUSR2).expect("the program lives");
        let outcome = running.finish();
        assert!(
            outcome.out().contains("made fork "),
            "{way:?}: {}",
            outcome.out()
        );
    }
}

#[test]
fn colours() {
    let script = "(true)";
    let coloured = |run: Run| run.run().stderr.contains(&0x1b);
    let start = |words: &[&str]| traced(&[words, &["--", "sh", "-c", script]].concat());
    assert!(!coloured(start(&[])), "into a pipe");
    assert!(!coloured(start(&["--color=auto"])), "auto, into a pipe");
    assert!(coloured(start(&["--color=always"])), "always");
    assert!(!coloured(start(&["--color=never"])), "never");
    assert!(
        coloured(start(&[]).env("CLICOLOR_FORCE", "1")),
        "CLICOLOR_FORCE=1"
    );
    assert!(
        !coloured(start(&[]).env("CLICOLOR_FORCE", "0")),
        "CLICOLOR_FORCE=0"
    );
    assert!(
        !coloured(start(&["--color=never"]).env("CLICOLOR_FORCE", "1")),
        "the option goes before"
    );
    assert!(
        coloured(start(&["--color=always"]).env("NO_COLOR", "1")),
        "the option goes before"
    );
    let on_terminal = |run: Run| {
        let (keyboard, screen, slave) = terminal();
        let mut screen = Stream::read(Some(screen));
        run.stdio(Stdio::null(), Stdio::null(), Stdio::from(slave))
            .run()
            .assert_code(0);
        drop(keyboard);
        screen.finish().contains(&0x1b)
    };
    assert!(on_terminal(start(&[])), "on a terminal");
    assert!(
        !on_terminal(start(&[]).env("NO_COLOR", "1")),
        "NO_COLOR=1 on a terminal"
    );
    assert!(
        on_terminal(start(&[]).env("NO_COLOR", "")),
        "an empty NO_COLOR means nothing"
    );
    assert!(!on_terminal(start(&[]).env("TERM", "dumb")), "TERM=dumb");
    assert!(
        !on_terminal(start(&["--color=never"])),
        "never, on a terminal"
    );
}

/// Colours change no letter.
#[test]
fn colours_are_only_colours() {
    let text_of = |option: &str| {
        let outcome = traced(&["-f", option, "--", "sh", "-c", "(true)"]).run();
        let mut plain = String::new();
        let mut rest = outcome.err();
        while let Some(start) = rest.find("\u{1b}[") {
            plain.push_str(&rest[..start]);
            let end = rest[start..].find('m').expect("the end of a colour");
            rest = rest[start + end + 1..].to_owned();
        }
        plain + &rest
    };
    let shape = |text: &str| {
        let lines = parse_forktrace(text).expect("a trace");
        check(&lines).expect("a good trace");
        lines
            .iter()
            .map(|line| match &line.event {
                Event::Call(call) => call.normal(),
                other => format!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(
        shape(&text_of("--color=always")),
        shape(&text_of("--color=never"))
    );
}

#[test]
fn escape_sequences_are_never_passed_on() {
    let scratch = Scratch::new();
    let evil = "\u{1b}]0;title\u{7}\u{9b}31m\r\n\u{202e}";
    for way in WAYS {
        for color in ["--color=never", "--color=always"] {
            let script = "(/bin/true \"$1\"); (exec -a \"$1\" /bin/true) 2>/dev/null; \"/nonexistent/$1\" 2>/dev/null; exec /bin/true \"$1\"";
            let outcome = traced(
                &[
                    way,
                    &[color, "-s", "1000", "--", "sh", "-c", script, "sh", evil],
                ]
                .concat(),
            )
            .cwd(scratch.path())
            .run();
            let trace = outcome.err();
            assert!(trace.contains("title"), "{trace}");
            let raw =
                trace.contains("\u{1b}]") || trace.contains(['\u{7}', '\u{9b}', '\r', '\u{202e}']);
            assert!(!raw, "{way:?} {color}: {trace:?}");
            if color == "--color=never" {
                assert!(!trace.contains('\u{1b}'), "{way:?}: {trace:?}");
                assert!(
                    trace.lines().all(|line| parse_line(line).is_some()),
                    "{way:?}: {trace}"
                );
            }
        }
    }
}

/// The same lengths as strace's, by default and by choice.
#[test]
fn long_strings_are_shortened_as_strace_does() {
    let Some(_) = need(["strace"]) else { return };
    let scratch = Scratch::new();
    let long = "abcdefghijklmnopqrstuvwxyz0123456789\u{1}2\n";
    let many: Vec<String> = (0..60).map(|n| format!("argument {n}")).collect();
    let mut command = vec!["/bin/true", long, &long[..32], &long[..33], ""];
    command.extend(many.iter().map(String::as_str));
    let file = text(&scratch.file("trace"));
    for size in [
        &[][..],
        &["-s", "4"],
        &["-s", "0"],
        &["-s", "100"],
        &["-s", "36"],
    ] {
        let first = |tracer: &[&str]| {
            Run::new([tracer, &["-o", &file], size, &["--"], &command].concat())
                .run()
                .assert_code(0);
            let trace = std::fs::read_to_string(&file).expect("trace");
            let line = trace
                .lines()
                .find(|line| line.contains("execve("))
                .expect("an execve")
                .to_owned();
            parse_line(&line)
                .expect("readable")
                .call()
                .expect("a call")
                .normal()
        };
        let strace = first(&["strace", "-f"]);
        let binary = text(&forktrace());
        assert_eq!(first(&[&binary, "--stops=syscall"]), strace, "{size:?}");
        assert_eq!(first(&[&binary, "-f"]), strace, "{size:?}");
    }
}

/// Set-user-id programs lose their power under any tracer without privileges; forktrace
/// run by root leaves it.
#[test]
fn a_program_of_another_user() {
    if !need_root() {
        return;
    }
    let Some(_) = need(["setpriv"]) else { return };
    let words = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "id",
        "-u",
    ];
    for way in WAYS {
        let outcome = traced(&[way, &["-o", "/dev/null", "--"], &words].concat()).run();
        assert_eq!(outcome.assert_code(0).out(), "65534\n", "{way:?}");
    }
    // And forktrace itself without privileges: seccomp needs no_new_privs then.
    for mode in Mode::ALL {
        let binary = text(&forktrace());
        let mut run = words[..4].to_vec();
        let scratch = std::env::temp_dir();
        run.extend([
            binary.as_str(),
            "-f",
            mode.option(),
            "--",
            "sh",
            "-c",
            "(true); id -u",
        ]);
        let outcome = Run::new(run).cwd(&scratch).run();
        if matches!(outcome.status.code(), Some(126 | 127)) && outcome.err().starts_with("setpriv:")
        {
            // The build directory isn't open to others: then this can't be tried.
            let _ = writeln!(
                std::io::stderr(),
                "note: {binary} can't be run by another user here"
            );
            return;
        }
        assert_eq!(outcome.assert_code(0).out(), "65534\n", "{mode:?}");
        let trace = outcome.err();
        check(&parse_forktrace(&trace).expect("a trace"))
            .unwrap_or_else(|error| panic!("{mode:?}: {error}\n{trace}"));
    }
}

/// A number without a user says nothing of groups.
#[test]
fn a_user_that_is_not_in_the_database() {
    if !need_root() {
        return;
    }
    for (user, words) in [
        (
            "54321",
            "no user of this number; to run with bare numbers: ",
        ),
        ("nobody-of-that-name", "there is no such user"),
    ] {
        let outcome = traced(&["-u", user, "--", "true"]).run();
        outcome.assert_code(1);
        let err = outcome.err();
        assert!(err.contains(words) && err.lines().count() == 1, "{err}");
    }
}

/// A terminal: its keyboard, its screen, and the end that programs get.
fn terminal() -> (File, File, OwnedFd) {
    let pair = nix::pty::openpty(None, None).expect("a terminal");
    let keyboard = File::from(pair.master);
    let screen = keyboard.try_clone().expect("dup");
    (keyboard, screen, pair.slave)
}

fn copy(fd: &OwnedFd) -> Stdio {
    Stdio::from(fd.try_clone().expect("dup"))
}
