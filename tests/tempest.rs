//! Storms with known truth, round after round: parallel forks, processes killed while they
//! create, processes stopped and continued. `FORKTRACE_STORM_ROUNDS` says how often.

mod common;

use std::collections::BTreeMap;

use common::Mode;
use common::case::{Case, Traced};
use common::check::Summary;
use common::fixture::fixture;

fn rounds() -> usize {
    std::env::var("FORKTRACE_STORM_ROUNDS").map_or(2, |text| text.parse().expect("a number"))
}

/// How often each pair is there.
fn counted(pairs: &[(i32, i32)]) -> BTreeMap<(i32, i32), usize> {
    let mut counts = BTreeMap::new();
    for pair in pairs {
        *counts.entry(*pair).or_default() += 1;
    }
    counts
}

/// Everything that truth knows is in the trace, with its parent; each end is there; no
/// process is left. `all`: nobody was killed before noting what was created.
#[track_caller]
fn judge(what: &str, traced: &Traced, summary: &Summary, all: bool) {
    let truth = counted(&traced.truth().pairs());
    let trace = counted(&summary.pairs);
    // Whose creator was killed in the call may be told of only as being there.
    let found = |child: i32| !all && summary.attached.contains(&child);
    let lost: Vec<_> = truth
        .keys()
        .filter(|pair| !trace.contains_key(pair) && !found(pair.1))
        .collect();
    assert!(
        lost.is_empty(),
        "{what}: {} lost of {}: {:?}",
        lost.len(),
        truth.len(),
        &lost[..lost.len().min(5)]
    );
    let invented: Vec<_> = trace.keys().filter(|p| !truth.contains_key(p)).collect();
    if all {
        assert_eq!(summary.attached, [] as [i32; 0], "{what}: born of nobody");
        assert!(invented.is_empty(), "{what}: invented {invented:?}");
    } else {
        // Killed before a word: few, and each with a parent that there was.
        let few = truth.len() / 4;
        assert!(invented.len() <= few, "{what}: {} unknown", invented.len());
    }
    let known = summary.pairs.len() + summary.attached.len() + 1;
    assert_eq!(summary.ended, known, "{what}: ends");
    assert_eq!(traced.outcome.left, [] as [i32; 0], "{what}: left over");
}

fn storm(kind: &str, workers: usize, children: usize, all: bool) {
    let Some(program) = fixture("tempest") else {
        return;
    };
    for round in 0..rounds() {
        // Each mode in turn; all of them in the first rounds.
        for mode in Mode::ALL {
            if round >= 2 && round % 3 != mode as usize {
                continue;
            }
            let seed = format!("{}", round + 1);
            let words = [&workers.to_string(), &children.to_string(), kind, &seed];
            let case = Case::new([&[program.as_str()], &words[..]].concat()).timeout(120);
            let (traced, summary) = case.follow(mode);
            judge(
                &format!("{kind} round {round} {mode:?}"),
                &traced,
                &summary,
                all,
            );
        }
    }
}

#[test]
fn killed_while_they_fork() {
    storm("kill", 16, 40, false);
}

#[test]
fn stopped_and_continued_while_they_fork() {
    storm("stop", 8, 40, true);
}

#[test]
fn fifty_processes_fork_in_parallel() {
    let Some(program) = fixture("storm") else {
        return;
    };
    for round in 0..rounds() {
        for mode in Mode::ALL {
            if round > 0 && round % 3 != mode as usize {
                continue;
            }
            let case = Case::new([program.as_str(), "20000", "50"]).timeout(150);
            let (traced, summary) = case.follow(mode);
            let truth = traced.truth().pairs();
            assert_eq!(truth.len(), 20_050, "the fixture itself");
            assert!(
                summary.pairs == truth,
                "{mode:?} round {round}: creations differ"
            );
            judge(&format!("round {round} {mode:?}"), &traced, &summary, true);
        }
    }
}
