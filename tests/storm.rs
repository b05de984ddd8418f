//! Very many creations at once: none may be lost, doubled or given to another parent.

mod common;

use common::Mode;
use common::case::Case;
use common::fixture::{Truth, fixture};

const MANY: usize = 20_000;

fn storm(argv: &[&str], extra: usize) {
    let case = Case::new(argv).timeout(150);
    for mode in Mode::ALL {
        let (traced, summary) = case.follow(mode);
        let truth = traced.truth();
        assert_eq!(truth.made.len(), MANY + extra, "the fixture itself");
        // Sorted lists, not sets: what is there twice must be there twice.
        assert!(
            summary.pairs == truth.pairs(),
            "{mode:?}: {}",
            difference(&summary.pairs, &truth)
        );
        assert_eq!(summary.ended, MANY + extra + 1, "{mode:?}");
    }
}

fn difference(pairs: &[(i32, i32)], truth: &Truth) -> String {
    let told = truth.pairs();
    let lost: Vec<_> = told
        .iter()
        .filter(|pair| pairs.binary_search(pair).is_err())
        .take(5)
        .collect();
    let invented: Vec<_> = pairs
        .iter()
        .filter(|pair| told.binary_search(pair).is_err())
        .take(5)
        .collect();
    format!(
        "{} in the trace, {} in truth; lost {lost:?}, invented {invented:?}",
        pairs.len(),
        told.len()
    )
}

#[test]
fn many_forks_by_parallel_processes() {
    let Some(program) = fixture("storm") else {
        return;
    };
    storm(&[&program, &MANY.to_string(), "4"], 4);
}

#[test]
fn many_threads() {
    let Some(program) = fixture("threads") else {
        return;
    };
    storm(&[&program, &MANY.to_string()], 0);
}

/// Without -f the children are nobody's business, and the program's own are all there.
#[test]
fn many_forks_without_f() {
    let Some(program) = fixture("storm") else {
        return;
    };
    let case = Case::new([program.as_str(), "2000", "60"]);
    for mode in [Mode::Syscall, Mode::Event] {
        let traced = case.forktrace(&[mode.option()]);
        traced.outcome.assert_code(0);
        let truth = traced.truth();
        let mut workers: Vec<i32> = truth
            .made
            .iter()
            .filter(|made| made.case == "worker")
            .map(|made| made.child)
            .collect();
        let mut seen: Vec<i32> = traced
            .lines
            .iter()
            .filter_map(|line| line.created())
            .collect();
        workers.sort_unstable();
        seen.sort_unstable();
        assert_eq!(seen, workers, "{mode:?}");
    }
}
