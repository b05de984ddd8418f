//! Each call into the kernel made to fail, at each of its first uses, once or from then
//! on, and its tracee killed just before it: forktrace goes on with a true trace, or ends
//! with one line that says why. It never hangs, and leaves nobody stopped.
//!
//! The faults are those of `FORKTRACE_FAULT` in `src/ptrace/sys.rs`.

mod common;

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use common::case::text;
use common::check::check;
use common::fixture::{Truth, fixture};
use common::proc::{eventually, state, tracer};
use common::run::{Outcome, Run, Scratch, forktrace};
use common::trace::{Line, parse_forktrace};

/// What an error of a call means to forktrace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Means {
    /// The end of tracing, in those of the ways that make the call.
    End(&'static str),
    /// Less is known, and nothing lost.
    Less,
}
use Means::{End, Less};

/// Name, `FORKTRACE_FAULT`'s name, and what it means that it fails: the letters are those
/// of the ways below.
const CALLS: [(&str, &str, Means); 14] = [
    ("CONT", "7", End("sed")),
    ("GETREGS", "12", End("ed")),
    ("SETREGS", "13", End("s")),
    ("DETACH", "17", End("d")),
    ("SYSCALL", "24", End("sy")),
    ("GETEVENTMSG", "16897", End("seyd")),
    ("GETSIGINFO", "16898", Less),
    ("SEIZE", "16902", End("seyd")),
    ("INTERRUPT", "16903", End("seyd")),
    ("LISTEN", "16904", End("sey")),
    ("GET_SYSCALL_INFO", "16910", End("sy")),
    ("waitpid", "wait", End("seyd")),
    ("process_vm_readv", "readv", Less),
    ("/proc", "proc", Less),
];
const WAYS: [(&str, &[&str]); 4] = [
    ("s", &["-f", "--stops=seccomp"]),
    ("e", &["-f", "--stops=event"]),
    ("y", &["-f", "--stops=syscall"]),
    ("d", &["-f", "--stops=event", "--detach-on=exec"]),
];
const ERRORS: [(&str, &str); 3] = [("ESRCH", "3"), ("EPERM", "1"), ("EIO", "5")];
/// How many creations the fixture's `everything` reports.
const MADE: usize = 13;

/// One fault in one way to trace.
#[derive(Debug, Clone)]
struct Plan {
    way: &'static str,
    options: &'static [&'static str],
    call: &'static str,
    means: Means,
    which: String,
    how: &'static str,
    fault: String,
}

impl Plan {
    fn name(&self) -> String {
        let Plan {
            call, which, how, ..
        } = self;
        format!("{call} {which} {how} {}", self.options[1..].join(" "))
    }

    /// Whether the fault is certain to end tracing: there is a first of each call.
    fn must_end(&self) -> bool {
        matches!(self.means, End(ways) if ways.contains(self.way))
            && self.which.trim_end_matches('+') == "1"
    }
}

fn plans(which: &[String], hows: &[(&'static str, &'static str)]) -> Vec<Plan> {
    let mut plans = Vec::new();
    for (call, number, means) in CALLS {
        for (way, options) in WAYS {
            for which in which {
                for (how, errno) in hows {
                    plans.push(Plan {
                        way,
                        options,
                        call,
                        means,
                        which: which.clone(),
                        how,
                        fault: format!("{number}:{which}:{errno}"),
                    });
                }
            }
        }
    }
    plans
}

/// Every creation of a trace, whole or not.
fn created(lines: &[Line]) -> Vec<(i32, i32)> {
    lines
        .iter()
        .filter_map(|line| Some((line.tid, line.created()?)))
        .collect()
}

/// Nothing doubled and nothing given to the wrong parent. `killed`: whoever was killed may
/// have created one more than it could report.
fn sound(pairs: &[(i32, i32)], truth: &Truth, killed: bool) -> Result<(), String> {
    let parents: HashMap<i32, i32> = truth.made.iter().map(|m| (m.child, m.parent)).collect();
    let mut unknown: HashMap<i32, i32> = HashMap::new();
    let mut seen: HashMap<i32, i32> = HashMap::new();
    for (parent, child) in pairs {
        if seen.insert(*child, *parent).is_some() {
            return Err(format!("{child} is there twice"));
        }
        match parents.get(child) {
            Some(true_parent) if true_parent == parent => {}
            Some(other) => return Err(format!("{child} is {other}'s, not {parent}'s")),
            None => *unknown.entry(*parent).or_default() += 1,
        }
    }
    match unknown.iter().find(|(_, count)| !killed || **count > 1) {
        Some((parent, count)) => Err(format!("{count} of {parent} that it didn't make")),
        None => Ok(()),
    }
}

/// One line by forktrace, and it tells what comes of the program.
fn said_once(err: &str) -> bool {
    let mut lines = err.lines().filter(|line| line.starts_with("forktrace: "));
    matches!((lines.next(), lines.next()), (Some(line), None) if line.len() > "forktrace: ".len())
}

/// The truth as far as the way of tracing shows it.
fn visible(mut truth: Truth, options: &[&str]) -> Truth {
    truth.made.retain(|made| match made.case.as_str() {
        "untraced" => !options.contains(&"--stops=event"),
        "below" => options.contains(&"--stops=seccomp"),
        _ => true,
    });
    truth
}

/// Whether the trace is whole and true.
fn complete(plan: &Plan, trace: &str, truth: &Truth, killed: bool) -> Result<(), String> {
    let lines = parse_forktrace(trace)?;
    let summary = check(&lines)?;
    sound(&summary.pairs, truth, killed)?;
    let lost = |pair: &&(i32, i32)| !summary.pairs.contains(pair);
    let told = truth.pairs();
    match told.iter().find(lost) {
        Some(pair) if plan.way != "d" => Err(format!("lost {pair:?}")),
        _ => Ok(()),
    }
}

/// What is wrong with a run in which a call failed, in words.
fn judge_failure(plan: &Plan, outcome: &Outcome, trace: &str) -> Result<(), String> {
    let err = outcome.err();
    let truth = Truth::parse(&outcome.out());
    let made = truth.made.len();
    let truth = visible(truth, plan.options);
    if outcome.status.code() != Some(1) {
        if outcome.status.code() != Some(5) || made != MADE {
            return Err(format!("{:?}, {made} made", outcome.status));
        }
        if plan.must_end() {
            return Err("goes on".to_owned());
        }
        // Less may be known, which may be said.
        let may_say = err.is_empty() || (plan.means == Less && said_once(&err));
        if !may_say {
            return Err(format!("says {err:?}"));
        }
        return complete(plan, trace, &truth, false);
    }
    if plan.means == Less {
        return Err(format!("ends: {err}"));
    }
    if err.lines().count() != 1 || !said_once(&err) {
        return Err(format!("says {err:?}"));
    }
    // What could run on has run to its end.
    let started = !["SEIZE", "INTERRUPT"].contains(&plan.call);
    if started && plan.way != "s" && made != MADE {
        return Err(format!("only {made} made"));
    }
    sound(&created(&parse_forktrace(trace)?), &truth, plan.way == "s")
}

/// The same where a tracee was killed.
fn judge_kill(plan: &Plan, outcome: &Outcome, trace: &str) -> Result<(), String> {
    let err = outcome.err();
    if err.contains("forktrace: ") {
        return Err(format!("says {err:?}"));
    }
    let truth = visible(Truth::parse(&outcome.out()), plan.options);
    complete(plan, trace, &truth, true)
}

type Judge = fn(&Plan, &Outcome, &str) -> Result<(), String>;

/// Runs the fixture with each of the faults, two at a time.
fn run_all(plans: Vec<Plan>, judge: Judge) {
    let Some(program) = fixture("hard") else {
        return;
    };
    let plans = Mutex::new(plans);
    let faults: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    // Enough to see what is wrong, where something is.
    let enough = || faults.lock().expect("lock").len() >= 8;
    let next = || plans.lock().expect("lock").pop().filter(|_| !enough());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let scratch = Scratch::new();
                let file = text(&scratch.file("trace"));
                let binary = text(&forktrace());
                while let Some(plan) = next() {
                    let _ = std::fs::remove_file(&file);
                    let words = [&[binary.as_str(), "-o", &file], plan.options, &["--"]].concat();
                    let running = Run::new([&words[..], &[&program, "everything"]].concat())
                        .env("FORKTRACE_FAULT", &plan.fault)
                        .timeout(Duration::from_secs(10))
                        .start();
                    let verdict = running.try_finish().and_then(|outcome| {
                        let trace = std::fs::read_to_string(&file).unwrap_or_default();
                        let verdict = match &outcome {
                            _ if outcome.err().contains("internal error") => {
                                Err(format!("a panic: {}", outcome.err()))
                            }
                            _ if !outcome.left.is_empty() => {
                                Err(format!("left over: {:?}", outcome.left))
                            }
                            _ => judge(&plan, &outcome, &trace),
                        };
                        verdict.map_err(|error| format!("{error}\n{}\n{trace}", outcome.out()))
                    });
                    if let Err(error) = verdict {
                        faults.lock().expect("lock").insert(plan.name(), error);
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().expect("lock");
    let names: String = faults.keys().map(|name| format!("{name}\n")).collect();
    let first = faults.first_key_value();
    assert!(
        faults.is_empty(),
        "{} runs went wrong:\n{names}first: {first:?}",
        faults.len()
    );
}

fn numbers(list: impl IntoIterator<Item = usize>, suffix: &str) -> Vec<String> {
    list.into_iter().map(|n| format!("{n}{suffix}")).collect()
}

#[test]
fn each_call_fails_once() {
    let nth = numbers([1, 2, 3, 4, 6, 8, 11, 14, 18], "");
    run_all(plans(&nth, &ERRORS), judge_failure);
}

#[test]
fn each_call_fails_for_good() {
    let from = numbers([1, 2, 4, 9, 16], "+");
    run_all(plans(&from, &ERRORS), judge_failure);
}

/// ESRCH as it comes in earnest: the tracee is killed just before the call.
#[test]
fn each_call_to_a_tracee_that_was_killed() {
    let mut plans = plans(&numbers(1..=24, ""), &[("kill", "kill")]);
    // Those have no tracee; and one that was not yet seized can't be told of.
    plans.retain(|plan| !["SEIZE", "waitpid", "/proc"].contains(&plan.call));
    plans.retain(|plan| plan.call != "INTERRUPT" || plan.which != "1");
    run_all(plans, judge_kill);
}

/// An error in forktrace itself: one line, and what needs no tracer runs on.
#[test]
fn a_panic() {
    let Some(program) = fixture("hard") else {
        return;
    };
    for (way, options) in WAYS {
        for nth in [1, 2, 9, 20] {
            let binary = text(&forktrace());
            let words = [
                &[binary.as_str(), "-o", "/dev/null"],
                options,
                &["--", &program],
            ]
            .concat();
            let outcome = Run::new([&words[..], &["everything"]].concat())
                .env("FORKTRACE_FAULT", &format!("panic:{nth}:0"))
                .timeout(Duration::from_secs(10))
                .run();
            outcome.assert_code(1);
            assert!(
                said_once(&outcome.err()) && outcome.err().contains("internal error"),
                "{way} {nth}: {}",
                outcome.err()
            );
            let made = Truth::parse(&outcome.out()).made.len();
            assert_eq!(made == MADE, way != "s", "{way} {nth}: {made} made");
            assert_eq!(outcome.left, [] as [i32; 0], "{way} {nth}");
        }
    }
}

/// The same of an attachment: whatever fails, and however often, the process runs on to
/// its end.
#[test]
fn each_call_of_an_attachment_fails() {
    let Some(program) = fixture("hard") else {
        return;
    };
    // The letters of the ways, but attached.
    let calls: [(&str, &str, Means); 13] = [
        ("CONT", "7", End("e")),
        ("GETREGS", "12", End("e")),
        ("DETACH", "17", Less),
        ("SYSCALL", "24", End("y")),
        ("GETEVENTMSG", "16897", End("ey")),
        ("GETSIGINFO", "16898", Less),
        ("SEIZE", "16902", End("ey")),
        ("INTERRUPT", "16903", End("y")),
        ("LISTEN", "16904", End("ey")),
        ("GET_SYSCALL_INFO", "16910", End("y")),
        ("waitpid", "wait", End("ey")),
        ("process_vm_readv", "readv", Less),
        ("/proc", "proc", Less),
    ];
    for (way, mode) in [("e", "--stops=event"), ("y", "--stops=syscall")] {
        for (name, number, means) in calls {
            for (error, errno) in ERRORS {
                for which in ["1", "2", "5", "1+", "4+"] {
                    let what = format!("{name} {which} {error} {mode}");
                    let scratch = Scratch::new();
                    let file = text(&scratch.file("trace"));
                    let mut target = Run::new([&program, "waits_for_everything"])
                        .stdio(Stdio::piped(), Stdio::piped(), Stdio::piped())
                        .timeout(Duration::from_secs(20))
                        .start();
                    target.wait_for_out("ready ");
                    let pid = target.pid();
                    let binary = text(&forktrace());
                    let id = pid.to_string();
                    let tracing = Run::new([&binary, "-f", mode, "-o", &file, "-p", &id])
                        .env("FORKTRACE_FAULT", &format!("{number}:{which}:{errno}"))
                        .timeout(Duration::from_secs(10))
                        .start();
                    eventually("it is traced, or won't be", || {
                        tracer(pid) == tracing.pid() || state(tracing.pid()) == 'Z'
                    });
                    drop(target.stdin());
                    let outcome = target.finish();
                    let told = Truth::parse(&outcome.out());
                    assert_eq!(outcome.status.code(), Some(5), "{what}: {outcome:?}");
                    assert_eq!(told.made.len(), MADE + 1, "{what}: {outcome:?}");
                    assert_eq!(outcome.left, [] as [i32; 0], "{what}: {outcome:?}");
                    let traced = tracing
                        .try_finish()
                        .unwrap_or_else(|error| panic!("{what}: {error}"));
                    let trace = std::fs::read_to_string(&file).unwrap_or_default();
                    let told = visible(told, &[mode]);
                    let whole = parse_forktrace(&trace).and_then(|lines| {
                        sound(&created(&lines), &told, false)?;
                        check(&lines)
                    });
                    let must_end =
                        which.starts_with('1') && matches!(means, End(ways) if ways.contains(way));
                    let good = match (traced.status.code(), &whole) {
                        // All but the one that was there before.
                        (Some(0), Ok(summary)) => {
                            !must_end && summary.pairs.len() == told.made.len() - 1
                        }
                        (Some(1), _) => said_once(&traced.err()),
                        _ => false,
                    };
                    assert!(
                        good,
                        "{what}: {:?} {whole:?}\n{}{trace}",
                        traced.status,
                        traced.err()
                    );
                }
            }
        }
    }
}

/// Some threads of a process can't be traced: that is said, once, and the others are.
#[test]
fn threads_that_cannot_be_attached_to() {
    let Some(program) = fixture("crowd") else {
        return;
    };
    for mode in ["--stops=event", "--stops=syscall"] {
        let scratch = Scratch::new();
        let file = text(&scratch.file("trace"));
        let mut target = Run::new([&program, "3", "0", "0"])
            .stdio(Stdio::piped(), Stdio::piped(), Stdio::piped())
            .start();
        target.wait_for_out("ready");
        let pid = target.pid();
        let binary = text(&forktrace());
        let id = pid.to_string();
        let tracing = Run::new([&binary, mode, "-o", &file, "-p", &id])
            .env("FORKTRACE_FAULT", "16902:2+:1")
            .start();
        tracing.wait_for_err("not to its thread");
        let mut input = target.stdin();
        input.write_all(b"se").expect("the program reads");
        drop(input);
        target.finish().assert_code(0);
        let traced = tracing.finish();
        traced.assert_code(0);
        assert!(said_once(&traced.err()), "{mode}: {}", traced.err());
        let trace = std::fs::read_to_string(&file).expect("trace");
        let summary = check(&parse_forktrace(&trace).expect("a trace"))
            .unwrap_or_else(|error| panic!("{mode}: {error}\n{trace}"));
        assert_eq!(summary.attached, [pid], "{mode}: {trace}");
    }
}
