//! Each call into the kernel made to fail, at each of its first uses: forktrace recovers,
//! or ends with a message; it never hangs, and leaves nobody stopped.

mod common;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use common::case::text;
use common::check::check;
use common::fixture::{Truth, fixture};
use common::proc::{eventually, state, tracer};
use common::run::{Outcome, Run, Scratch, forktrace};
use common::trace::parse_forktrace;

/// Names and the numbers of the ptrace requests.
const CALLS: [(&str, &str); 12] = [
    ("CONT", "7"),
    ("GETREGS", "12"),
    ("SETREGS", "13"),
    ("DETACH", "17"),
    ("SYSCALL", "24"),
    ("GETEVENTMSG", "16897"),
    ("GETSIGINFO", "16898"),
    ("SEIZE", "16902"),
    ("INTERRUPT", "16903"),
    ("LISTEN", "16904"),
    ("GET_SYSCALL_INFO", "16910"),
    ("wait", "wait"),
];
const WAYS: [&[&str]; 4] = [
    &["-f", "--stops=seccomp"],
    &["-f", "--stops=event"],
    &["-f", "--stops=syscall"],
    &["-f", "--stops=event", "--detach-on=exec"],
];
const ERRORS: [(&str, &str); 3] = [("ESRCH", "3"), ("EPERM", "1"), ("EIO", "5")];
const FIRST: usize = 12;

/// What is wrong with a run, in words.
fn judge(outcome: &Outcome, trace: &str, options: &[&str]) -> Result<(), String> {
    let err = outcome.err();
    if err.contains("internal error") || err.contains("panicked") {
        return Err(format!("a panic: {err}"));
    }
    if !outcome.left.is_empty() {
        return Err(format!("left over: {:?}, {err}", outcome.left));
    }
    let told = Truth::parse(&outcome.out());
    let made = told.made.len();
    let mut told = told;
    // What CLONE_UNTRACED hides, but for the mode that takes it out.
    told.made.retain(|made| match made.case.as_str() {
        "untraced" => !options.contains(&"--stops=event"),
        "below" => options.contains(&"--stops=seccomp"),
        _ => true,
    });
    let detaches = options.contains(&"--detach-on=exec");
    let complete = || -> Result<(), String> {
        let lines = parse_forktrace(trace)?;
        let summary = check(&lines)?;
        match detaches || summary.pairs == told.pairs() {
            true => Ok(()),
            false => Err(format!(
                "{:?}, the truth is {:?}",
                summary.pairs,
                told.pairs()
            )),
        }
    };
    let ran = outcome.status.code() == Some(5) && made == 11;
    match complete() {
        Ok(()) if ran => Ok(()),
        // Given up: with one line that says why.
        _ if outcome.status.code() == Some(1)
            && err.lines().count() == 1
            && err.starts_with("forktrace: ") =>
        {
            Ok(())
        }
        other => Err(format!("{:?} {other:?}, {err:?}\n{trace}", outcome.status)),
    }
}

#[test]
fn each_call_fails_once() {
    let Some(program) = fixture("hard") else {
        return;
    };
    let mut plans = Vec::new();
    for ((name, number), options) in CALLS.iter().flat_map(|c| WAYS.map(|w| (c, w))) {
        // A way without such calls is no test of them.
        if *name == "DETACH" && options.len() < 3 {
            continue;
        }
        for (error, errno) in ERRORS {
            for nth in 1..=FIRST {
                plans.push((
                    format!("{name} {nth} {error} {}", options[1..].join(" ")),
                    format!("{number}:{nth}:{errno}"),
                    options,
                ));
            }
        }
    }
    plans.reverse();
    let plans = Mutex::new(plans);
    let faults: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let scratch = Scratch::new();
                let file = text(&scratch.file("trace"));
                loop {
                    let Some((what, plan, options)) = plans.lock().expect("lock").pop() else {
                        return;
                    };
                    let _ = std::fs::remove_file(&file);
                    let binary = text(&forktrace());
                    let words = [&[binary.as_str(), "-o", &file], options, &["--"]].concat();
                    let running = Run::new([&words[..], &[&program, "everything"]].concat())
                        .env("FORKTRACE_FAULT", &plan)
                        .timeout(Duration::from_secs(10))
                        .start();
                    let verdict = running.try_finish().and_then(|outcome| {
                        let trace = std::fs::read_to_string(&file).unwrap_or_default();
                        judge(&outcome, &trace, options)
                    });
                    if let Err(error) = verdict {
                        faults.lock().expect("lock").insert(what, error);
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().expect("lock");
    let text: String = faults.iter().map(|(w, e)| format!("{w}: {e}\n")).collect();
    assert!(
        faults.is_empty(),
        "{} runs went wrong:\n{text}",
        faults.len()
    );
}

/// The same of an attachment: whatever fails, the process runs on to its end.
#[test]
fn each_call_of_an_attachment_fails_once() {
    let Some(program) = fixture("hard") else {
        return;
    };
    for mode in ["--stops=event", "--stops=syscall"] {
        for (name, number) in CALLS {
            for (error, errno) in ERRORS {
                for nth in 1..=2 {
                    let what = format!("{name} {nth} {error} {mode}");
                    let mut target = Run::new([&program, "waits"])
                        .stdio(Stdio::piped(), Stdio::piped(), Stdio::piped())
                        .start();
                    target.wait_for_out("ready ");
                    let pid = target.pid();
                    let binary = text(&forktrace());
                    let id = pid.to_string();
                    let tracing = Run::new([&binary, "-f", mode, "-p", &id])
                        .env("FORKTRACE_FAULT", &format!("{number}:{nth}:{errno}"))
                        .timeout(Duration::from_secs(10))
                        .start();
                    eventually("it is traced, or won't be", || {
                        tracer(pid) == tracing.pid() || state(tracing.pid()) == 'Z'
                    });
                    drop(target.stdin());
                    let outcome = target.finish();
                    assert_eq!(outcome.status.code(), Some(8), "{what}: {outcome:?}");
                    let traced = tracing
                        .try_finish()
                        .unwrap_or_else(|e| panic!("{what}: {e}"));
                    let err = traced.err();
                    let told = Truth::parse(&outcome.out());
                    let whole = parse_forktrace(&err).and_then(|lines| check(&lines));
                    let good = match (traced.status.code(), &whole) {
                        (Some(0), Ok(summary)) => summary.pairs == told.pairs()[1..],
                        (Some(1), _) => err.lines().any(|line| line.starts_with("forktrace: ")),
                        _ => false,
                    };
                    assert!(good, "{what}: {:?} {whole:?}\n{err}", traced.status);
                }
            }
        }
    }
}
