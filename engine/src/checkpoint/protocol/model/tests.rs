//! Exhausts the model, and proves that it finds mistakes.

use stateright::{Checker, Model};

use super::{Bounds, Bug, NOT_ABORTED, NOT_LOST, ONCE};

const SMALL: Bounds = Bounds {
    rows: [1, 1],
    epochs: 3,
    starts: 2,
    hold_commits: false,
    bug: None,
};

/// Every reachable state: the checks hold, and what should be possible is.
fn exhaust(bounds: Bounds) {
    let checker = bounds.checker().threads(2).spawn_bfs().join();
    println!(
        "{bounds:?}: {} states, {} unique, depth {}",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth()
    );
    assert!(checker.is_done(), "the state space was not exhausted");
    checker.assert_properties();
}

/// The model finds the mistake, as one of these.
fn finds(bug: Bug, properties: &[&'static str]) {
    let bounds = Bounds {
        bug: Some(bug),
        ..SMALL
    };
    let wanted = stateright::HasDiscoveries::AnyFailures;
    let checker = bounds
        .checker()
        .threads(2)
        .finish_when(wanted)
        .spawn_bfs()
        .join();
    let found: Vec<&str> = properties
        .iter()
        .copied()
        .filter(|property| checker.discovery(property).is_some())
        .collect();
    println!("{bug:?}: {found:?} after {} states", checker.state_count());
    assert!(!found.is_empty(), "{bug:?} was not found");
}

#[test]
fn holds_in_every_state() {
    exhaust(SMALL);
}

/// What a write does that arrives after its place was collected and taken again needs four.
#[test]
fn holds_in_every_state_of_four_epochs() {
    exhaust(Bounds {
        rows: [1, 0],
        epochs: 4,
        ..SMALL
    });
}

#[test]
fn holds_in_every_state_of_three_instances() {
    exhaust(Bounds {
        rows: [1, 0],
        starts: 3,
        ..SMALL
    });
}

#[test]
fn holds_in_every_state_when_commits_are_held() {
    exhaust(Bounds {
        hold_commits: true,
        ..SMALL
    });
}

#[test]
fn finds_a_missing_fence() {
    finds(Bug::NoFence, &[ONCE, NOT_LOST]);
}

#[test]
fn finds_an_early_commit() {
    finds(Bug::CommitEarly, &[ONCE, NOT_LOST]);
}

#[test]
fn finds_an_abort_in_doubt() {
    finds(Bug::AbortUnknown, &[NOT_ABORTED]);
}

#[test]
fn finds_a_forgetful_fence() {
    finds(Bug::FenceForgets, &[NOT_LOST]);
}

#[test]
fn finds_a_write_to_a_collected_place() {
    finds(Bug::NoLook, &[ONCE, NOT_LOST]);
}
