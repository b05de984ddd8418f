//! Storms with known truth, round after round: parallel forks, processes killed while they
//! create, processes stopped and continued. `FORKTRACE_STORM_ROUNDS` says how often.

mod common;

use std::collections::BTreeMap;

use common::case::{Case, Traced};
use common::check::Summary;
use common::fixture::fixture;
use common::{Mode, rounds};

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
        for mode in Mode::of_round(round) {
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
        // The full size once: what matters in the others is that they differ.
        let forks = if round == 0 { 20_000 } else { 4_000 };
        for mode in Mode::of_round(round) {
            let case = Case::new([program.as_str(), &forks.to_string(), "50"]).timeout(150);
            let (traced, summary) = case.follow(mode);
            let truth = traced.truth().pairs();
            assert_eq!(truth.len(), forks + 50, "the fixture itself");
            assert!(
                summary.pairs == truth,
                "{mode:?} round {round}: creations differ"
            );
            judge(&format!("round {round} {mode:?}"), &traced, &summary, true);
        }
    }
}
