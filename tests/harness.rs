//! The judges judged: the checks that the other tests rely on must refuse bad traces,
//! and strace's own traces must pass them.

mod common;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};

use common::Mode;
use common::case::Case;
use common::check::check;
use common::fixture::fixture;
use common::program::need;
use common::run::Run;
use common::trace::{Ret, parse_forktrace, parse_line, parse_strace};
use common::tree::{Strictness, render};

const GOOD: &str = "\
# a note
10 execve(\"/bin/sh\", [\"sh\"], 0x7ffc00000000 /* 3 vars */) = 0  # runs sh
10 fork() = 11  # process
11 clone(child_stack=NULL, flags=CLONE_UNTRACED|SIGCHLD) = 12
11 fork() = -1 EAGAIN (Resource temporarily unavailable)
11 +++ exited with 0 +++
10 fork() = 11
11 +++ killed by SIGSEGV (core dumped) +++
10 +++ exited with 0 +++
";

fn verdict(trace: &str) -> Result<(), String> {
    check(&parse_forktrace(trace)?).map(drop)
}

#[test]
fn a_good_trace_passes() {
    let lines = parse_forktrace(GOOD).expect("readable");
    let summary = check(&lines).expect("good");
    assert_eq!(summary.pairs, [(10, 11), (10, 11), (11, 12)]);
    assert_eq!((summary.failed, summary.ended, summary.root), (1, 3, 10));
    assert_eq!(lines[2].comment.as_deref(), Some("process"));
}

#[test]
fn bad_traces_are_refused() {
    let spoilt = [
        ("a lost end", GOOD.replace("11 +++ exited with 0 +++\n", "")),
        (
            "a lost creation",
            GOOD.replacen("10 fork() = 11  # process\n", "", 1),
        ),
        ("a creation after the child's line", {
            GOOD.replacen("10 fork() = 11  # process\n", "", 1)
                .replacen(
                    "11 +++ exited with 0 +++\n",
                    "11 +++ exited with 0 +++\n10 fork() = 11\n",
                    1,
                )
        }),
        (
            "a doubled creation",
            GOOD.replacen("10 fork() = 11\n", "10 fork() = 11\n10 fork() = 11\n", 1),
        ),
        (
            "a doubled end",
            GOOD.replace("10 +++ exited", "11 +++ exited with 0 +++\n10 +++ exited"),
        ),
        (
            "no end of the root",
            GOOD.replace("10 +++ exited with 0 +++\n", ""),
        ),
        (
            "a split call",
            GOOD.replacen("10 fork() = 11\n", "10 fork( <unfinished ...>\n", 1),
        ),
        ("half a line", GOOD.trim_end().to_owned()),
        ("something else", format!("{GOOD}hello\n")),
        ("a line without a tid", format!("{GOOD}fork() = 13\n")),
    ];
    for (what, trace) in spoilt {
        assert_ne!(trace, GOOD, "{what}: not spoilt");
        assert!(verdict(&trace).is_err(), "{what} is not noticed");
    }
}

#[test]
fn a_thread_that_takes_over_is_understood() {
    let trace = |caller: i32, after: &str| {
        format!(
            "10 clone() = 11\n10 +++ superseded by execve in pid 11 +++\n{caller} execve(\"/x\") = 0\n\
             {after} fork() = 12\n12 +++ exited with 0 +++\n10 +++ exited with 0 +++\n"
        )
    };
    assert_eq!(verdict(&trace(11, "10")), Ok(()));
    assert_eq!(verdict(&trace(10, "10")), Ok(()));
    assert!(verdict(&trace(10, "11")).is_err(), "11 is no more");
    assert!(verdict(&trace(12, "10")).is_err(), "another's execve");
}

/// The comparison notices what the check of a single trace can't.
#[test]
fn trees_that_differ_are_told_apart() {
    let tree = |trace: &str, mode, strictness| {
        render(
            &parse_forktrace(trace).expect("readable"),
            mode,
            strictness,
            Path::new("/"),
        )
    };
    let good = "10 fork() = 11\n11 fork() = 12\n12 execve(\"/a\", [\"a\"], 0x7f00000000 /* 1 var */) = 0\n\
                12 +++ exited with 0 +++\n11 fork() = -1 EAGAIN (x)\n11 +++ exited with 1 +++\n10 +++ exited with 2 +++\n";
    let others = [
        (
            "another parent",
            good.replace("11 fork() = 12", "10 fork() = 12"),
        ),
        (
            "another call",
            good.replace("11 fork() = 12", "11 vfork() = 12"),
        ),
        ("another argument", good.replace("[\"a\"]", "[\"b\"]")),
        ("another executor", good.replace("12 execve", "11 execve")),
        (
            "another end",
            good.replace("exited with 1 ", "killed by SIGTERM "),
        ),
    ];
    for strictness in [Strictness::Exact, Strictness::AnyOrder] {
        for mode in Mode::ALL {
            let expected = tree(good, mode, strictness);
            // Other tids, other addresses: the same.
            let renamed = good
                .replace("12", "99")
                .replace("0x7f00000000", "0x7f11111111");
            assert_eq!(tree(&renamed, mode, strictness), expected);
            for (what, trace) in &others {
                assert_ne!(tree(trace, mode, strictness), expected, "{what}, {mode:?}");
            }
            let lost = good.replace("11 fork() = -1 EAGAIN (x)\n", "");
            assert_eq!(
                tree(&lost, mode, strictness) == expected,
                mode == Mode::Event
            );
        }
    }
}

#[test]
fn calls_are_read_whole() {
    let call = |text: &str| {
        parse_line(text)
            .expect("readable")
            .call()
            .expect("a call")
            .clone()
    };
    let exec = call(
        r#"7 execve("/bin/a b", ["x) = 1  # y", "q\"("], 0x7ffc01234567 /* 1 var */) = -1 ENOENT (No such file or directory)"#,
    );
    assert_eq!(
        exec.normal(),
        r#"execve("/bin/a b", ["x) = 1  # y", "q\"("], ADDR /* 1 var */) = -1 ENOENT"#
    );
    let clone = call(
        "7 clone3({flags=CLONE_VM|0x80000000000 /* CLONE_??? */, parent_tid=0x7f0000000000, stack=0x7f0000000000, \
         stack_size=0x800300} => {parent_tid=[5]}, 88) = 4281 (5 in its pid namespace)  # thread",
    );
    assert_eq!(clone.ret, Ret::Value(4281));
    assert_eq!(
        clone.normal(),
        "clone3({flags=CLONE_VM|0x80000000000 /* CLONE_??? */, parent_tid=ADDR, stack=ADDR, stack_size=0x800300} \
         => {parent_tid=[CHILD]}, 88) = CHILD"
    );
    assert_eq!(
        call("7 clone(flags=SIGCHLD, parent_tid=[2]) = 2 /* 99 in strace's PID NS */").ret,
        Ret::Value(99)
    );
}

#[test]
fn strace_calls_in_pieces_are_joined() {
    let text = "\
5  vfork( <unfinished ...>
6  execve(\"/bin/ls\", [\"ls\"], 0x55799eea5a98 /* 35 vars */ <unfinished ...>
5  <... vfork resumed>)              = 6
6  <... execve resumed>)             = 0
6  clone3({flags=CLONE_THREAD} <unfinished ...>
6  <... clone3 resumed> => {parent_tid=[7]}, 88) = 7
7  execve(\"/bin/ls\", [\"ls\"], 0x55799eea5a98 /* 35 vars */ <pid changed to 6 ...>
6  +++ superseded by execve in pid 7 +++
6  <... execve resumed>)             = 0
6  +++ exited with 0 +++
5  +++ exited with 0 +++
";
    let lines = parse_strace(text).expect("readable");
    let calls: Vec<String> = lines
        .iter()
        .filter_map(|line| {
            line.call()
                .map(|call| format!("{} {}", line.tid, call.normal()))
        })
        .collect();
    assert_eq!(
        calls,
        [
            "5 vfork() = CHILD",
            "6 execve(\"/bin/ls\", [\"ls\"], ADDR /* 35 vars */) = 0",
            "6 clone3({flags=CLONE_THREAD} => {parent_tid=[CHILD]}, 88) = CHILD",
            "6 execve(\"/bin/ls\", [\"ls\"], ADDR /* 35 vars */) = 0",
        ]
    );
}

#[test]
fn strace_traces_of_the_fixtures_pass_the_check() {
    let (Some(_), Some(raw), Some(execthread)) =
        (need(["strace"]), fixture("raw"), fixture("execthread"))
    else {
        return;
    };
    for (argv, code) in [(vec![raw, "all".to_owned()], 0), (vec![execthread], 5)] {
        let case = Case::new(&argv).code(code);
        let traced = case.strace(&["-f"]);
        traced.outcome.assert_code(code);
        let summary = traced.check("strace");
        for pair in traced.truth().pairs() {
            assert!(
                summary.pairs.contains(&pair),
                "{pair:?} isn't in strace's trace"
            );
        }
    }
}

#[test]
fn a_hanging_tree_is_killed() {
    let begun = Instant::now();
    // Neither a new session, nor an empty environment, nor a lost parent saves a process.
    let script =
        "trap '' TERM INT HUP; setsid sleep 1000 & env -i sleep 1000 & (sleep 1000 &) ; wait";
    let result = std::panic::catch_unwind(|| {
        Run::new(["sh", "-c", script])
            .timeout(Duration::from_millis(500))
            .run();
    });
    assert!(result.is_err(), "a timeout must fail the test");
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "the output was held open by a survivor"
    );
}

#[test]
fn a_dropped_run_is_killed() {
    let running = Run::new(["sh", "-c", "sleep 1000 & echo ready; wait"]).start();
    let pid = running.pid();
    running.wait_for_out("ready");
    drop(running);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn statuses_and_output_come_through() {
    let outcome = Run::new(["sh", "-c", "echo out; echo err >&2; kill -9 $$"]).run();
    assert_eq!(
        (outcome.out().as_str(), outcome.err().as_str()),
        ("out\n", "err\n")
    );
    assert_eq!(outcome.status.signal(), Some(9));
}
