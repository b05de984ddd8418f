//! The views of the whole trace, live: the tree has each creation of a fixture once, below
//! its creator, and the summary counts what there was.

mod common;

use common::Mode;
use common::fixture::{Truth, fixture};
use common::program::need;
use common::run::{Outcome, Run, Scratch, forktrace, shortened};
use serde_json::Value;

/// A run whose trace is shown in one form, in a file.
fn shown(mode: Mode, options: &[&str], argv: &[&str]) -> (Outcome, String) {
    let scratch = Scratch::new();
    let file = scratch.file("shown");
    let binary = forktrace();
    let words = ["-f", mode.option(), "-o"].map(std::ffi::OsStr::new);
    let mut run = vec![binary.as_os_str()];
    run.extend(words);
    run.push(file.as_os_str());
    run.extend(options.iter().map(std::ffi::OsStr::new));
    run.push("--".as_ref());
    run.extend(argv.iter().map(std::ffi::OsStr::new));
    let outcome = Run::new(run)
        .timeout(std::time::Duration::from_secs(150))
        .cwd(scratch.path())
        .run();
    let text = std::fs::read_to_string(&file).expect("what is shown");
    (outcome, text)
}

/// Creator and child of each process and thread of a tree that shows them all.
fn pairs(tree: &str) -> Vec<(i32, i32)> {
    let mut pairs = Vec::new();
    // The processes above a line, by their level.
    let mut above: Vec<i32> = Vec::new();
    for line in tree.lines().filter(|line| !line.starts_with("# ")) {
        let guide = |c: char| "│├└─ ".contains(c);
        let rest = line.trim_start_matches(guide);
        let level = (line.chars().count() - rest.chars().count()) / 3;
        above.truncate(level);
        let (lead, facts) = rest.split_once("  # ").unwrap_or((rest, ""));
        let task = match lead.split_once(' ') {
            Some(("thread", tid)) => tid.parse().ok(),
            Some((pid, _)) => pid.parse().ok(),
            None => None,
        };
        let Some(task) = task else {
            let deed = [
                "exec ",
                "fork failed",
                "thread failed",
                "vfork failed",
                "clone",
            ];
            assert!(deed.iter().any(|word| lead.starts_with(word)), "{line}");
            continue;
        };
        let by = facts
            .split(", ")
            .find_map(|fact| fact.strip_prefix("by thread "));
        let by = by.map(|tid| tid.parse().expect("a tid"));
        if let Some(parent) = above.last() {
            pairs.push((by.unwrap_or(*parent), task));
        }
        above.push(task);
    }
    pairs.sort_unstable();
    pairs
}

/// What the tracer can know: CLONE_UNTRACED raises no event.
fn visible(outcome: &Outcome, mode: Mode) -> Truth {
    let mut truth = Truth::parse(&outcome.out());
    if mode == Mode::Event {
        truth.made.retain(|made| made.case != "clone_untraced");
    }
    truth
}

const WHOLE: [&str; 4] = ["--as", "tree", "--threads", "--no-fold"];

/// Tree and summary of a fixture, in each mode.
fn agrees_with_truth(argv: &[&str], code: i32) {
    for mode in Mode::ALL {
        let (outcome, tree) = shown(mode, &WHOLE, argv);
        outcome.assert_code(code);
        let truth = visible(&outcome, mode);
        let told = truth.pairs();
        let found = pairs(&tree);
        assert!(
            found == told,
            "{mode:?}: creations differ\n{}",
            shortened(&tree)
        );

        let (outcome, json) = shown(mode, &["--as", "summary-json"], argv);
        outcome.assert_code(code);
        let truth = visible(&outcome, mode);
        let summary: Value = serde_json::from_str(&json).expect("a JSON document");
        let number = |field: &str| summary[field].as_u64().expect(field) as usize;
        let sum = |rows: &str, field: &str| -> usize {
            let rows = summary[rows].as_array().expect(rows).iter();
            rows.map(|row| row[field].as_u64().expect(field) as usize)
                .sum()
        };
        let created = number("processes_created") + number("threads_created");
        assert_eq!(created, truth.made.len(), "{mode:?}\n{json}");
        assert_eq!(sum("by_kind", "count"), created, "{mode:?}\n{json}");
        assert_eq!(sum("by_call", "count"), created, "{mode:?}\n{json}");
        let by_program =
            sum("by_creating_program", "processes") + sum("by_creating_program", "threads");
        assert_eq!(by_program, created, "{mode:?}\n{json}");
        match mode {
            Mode::Event => assert!(summary["creations_failed"].is_null()),
            _ => {
                let failed = truth.failed.len();
                assert_eq!(number("creations_failed"), failed, "{mode:?}\n{json}");
                assert_eq!(sum("failures", "count"), failed, "{mode:?}\n{json}");
            }
        }
        assert_eq!(summary["alive_at_end"], serde_json::json!([]), "{mode:?}");
    }
}

#[test]
fn a_storm_of_forks() {
    let Some(storm) = fixture("storm") else {
        return;
    };
    agrees_with_truth(&[&storm, "20000", "4"], 0);
}

#[test]
fn a_storm_of_threads() {
    let Some(threads) = fixture("threads") else {
        return;
    };
    agrees_with_truth(&[&threads, "20000"], 0);
}

/// The same, folded: two lines tell of 20,000 processes.
#[test]
fn a_storm_folds() {
    let Some(storm) = fixture("storm") else {
        return;
    };
    let (outcome, tree) = shown(Mode::Seccomp, &["--as", "tree"], &[&storm, "20000", "4"]);
    outcome.assert_code(0);
    let lines: Vec<&str> = tree.lines().collect();
    assert_eq!(lines.len(), 3, "{}", shortened(&tree));
    assert!(
        lines[1].starts_with("└─ (storm-") && lines[1].contains(" ×4  # fork, "),
        "{tree}"
    );
    assert!(lines[2].starts_with("   └─ (storm-") && lines[2].contains(" ×20000  # fork, "));
    let (outcome, tree) = shown(
        Mode::Seccomp,
        &["--as", "tree", "--ascii"],
        &[&storm, "40", "4"],
    );
    outcome.assert_code(0);
    assert!(
        tree.is_ascii() && tree.contains("\n   `- (storm-"),
        "{tree}"
    );
}

#[test]
fn every_way_of_creating() {
    let Some(raw) = fixture("raw") else { return };
    agrees_with_truth(&[&raw, "all"], 0);
}

#[test]
fn execs_by_threads_that_are_not_the_leader() {
    let Some(hard) = fixture("hard") else { return };
    agrees_with_truth(&[&hard, "exec_loop", "100"], 0);
    agrees_with_truth(&[&hard, "exec_leader_gone"], 5);
    agrees_with_truth(&[&hard, "exec_leader_in_vfork"], 5);
}

/// Orphans stand where they were created, and it is said that they are.
#[test]
fn processes_that_outlive_their_parents() {
    let Some(orphan) = fixture("orphan") else {
        return;
    };
    agrees_with_truth(&[&orphan], 7);
    let (outcome, tree) = shown(Mode::Seccomp, &["--as", "tree"], &[&orphan]);
    let truth = Truth::parse(&outcome.out());
    let child_of = |case: &str| {
        let made = truth.made.iter().find(|made| made.case == case);
        made.expect(case).child
    };
    for (case, outlived) in [
        ("child", true),
        ("grandchild", true),
        ("late", true),
        ("last", false),
    ] {
        let pid = child_of(case);
        let line = tree.lines().find(|line| line.contains(&format!(" {pid} ")));
        let line = line.unwrap_or_else(|| panic!("{case} is not in the tree\n{tree}"));
        assert_eq!(
            line.contains("outlived its parent"),
            outlived,
            "{case}\n{tree}"
        );
    }
}

/// A zombie that its parent looked at and left, beside one that it reaped.
#[test]
fn a_child_that_nobody_waits_for() {
    let Some([python]) = need(["python3"]) else {
        return;
    };
    let program = "import os
pids = []
for status in 3, 4:
    pids.append(os.fork())
    if pids[-1] == 0: os._exit(status)
os.waitid(os.P_PID, pids[0], os.WEXITED | os.WNOWAIT)
os.waitpid(pids[1], 0)";
    let argv = [python.as_str(), "-c", program];
    for mode in [Mode::Seccomp, Mode::Syscall] {
        let (outcome, tree) = shown(mode, &["--as", "tree", "--waits"], &argv);
        outcome.assert_code(0);
        let line = |status: &str| tree.lines().find(|line| line.contains(status));
        let [left, reaped] = ["# exited with 3, ", "# exited with 4, "].map(line);
        assert!(
            left.is_some_and(|line| line.contains(", never waited for")),
            "{tree}"
        );
        assert!(
            reaped.is_some_and(|line| !line.contains("waited")),
            "{tree}"
        );
        let options = ["--as", "summary-json", "--waits"];
        let (outcome, json) = shown(mode, &options, &argv);
        outcome.assert_code(0);
        let summary: Value = serde_json::from_str(&json).expect("a JSON document");
        assert_eq!(summary["unreaped"], 1, "{mode:?}\n{json}");
        assert_eq!(summary["unreaped_processes"][0]["exit_status"], 3, "{json}");
        assert_eq!(summary["adopted_by"], serde_json::json!([]), "{json}");
    }
}

/// What a shell becomes stands after what it created.
#[test]
fn a_shell_that_becomes_another_program() {
    let argv = [
        "sh",
        "-c",
        "/bin/true a & /bin/true b & wait; exec /bin/sleep 0",
    ];
    for mode in Mode::ALL {
        let (outcome, tree) = shown(mode, &["--as", "tree", "-s", "64"], &argv);
        outcome.assert_code(0);
        let tree = tree.trim_start_matches(|c| c != '\n' && tree.starts_with('#'));
        let heads: Vec<&str> = tree
            .lines()
            .filter(|line| !line.is_empty())
            .map(|line| line.split("  # ").next().unwrap_or(line))
            .map(|line| line.trim_start_matches(|c: char| !c.is_ascii_alphabetic() && c != '/'))
            .collect();
        assert_eq!(
            heads,
            [
                "sh -c '/bin/true a & /bin/true b & wait; exec /bin/sleep 0'",
                "/bin/true a",
                "/bin/true b",
                "exec /bin/sleep 0"
            ],
            "{mode:?}\n{tree}"
        );
    }
}

/// Detached half-way, what was seen is shown.
#[test]
fn what_was_seen_until_then_is_shown() {
    let argv = ["sh", "-c", "/bin/true a; /bin/true b"];
    let options = ["--as", "tree", "--detach-on=exec"];
    let (outcome, tree) = shown(Mode::Event, &options, &argv);
    outcome.assert_code(0);
    let detached = tree
        .lines()
        .filter(|line| line.contains("# detached, "))
        .count();
    assert_eq!(detached, 2, "{tree}");
}

/// No program, no tree; and its exit status is what it always is.
#[test]
fn nothing_is_shown_of_what_never_ran() {
    for view in ["tree", "summary", "summary-json"] {
        let (outcome, text) = shown(Mode::Seccomp, &["--as", view], &["/nonexistent/program"]);
        outcome.assert_code(127);
        assert_eq!(text, "", "{view}");
    }
}
