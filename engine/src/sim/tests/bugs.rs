//! Mistakes that are made on purpose: the same runs and the same checks must find each of them.

use super::setup;
use crate::sim::experiment::run;
use crate::sim::fault::{Flavour, Plan};
use crate::sim::pipeline::Pipeline;
use crate::sim::sink::Bug;

/// Gives how many points it took to find a mistake.
fn found(bug: Bug) -> Option<(usize, String)> {
    let mut tried = 0;
    for seed in 1..4 {
        let setup = setup(Pipeline::Stateless, seed, Some(bug));
        let clean = run(&setup, &[]);
        for at in 1..=clean.calls {
            for flavour in [
                Flavour::Before,
                Flavour::After,
                Flavour::Slow,
                Flavour::Held,
            ] {
                tried += 1;
                let outcome = run(&setup, &[Plan { at, flavour }]);
                if let Some(wrong) = outcome.wrong.first() {
                    return Some((tried, wrong.clone()));
                }
            }
        }
    }
    None
}

#[test]
fn mistakes_are_found() {
    let bugs = [
        Bug::ShowsEarly,
        Bug::CommitsTwice,
        Bug::ForgetsTokens,
        Bug::SweepsFirst,
        Bug::NoFence,
        Bug::SkipsBatch,
    ];
    for bug in bugs {
        let (tried, wrong) = found(bug).unwrap_or_else(|| panic!("{bug:?} is not found"));
        println!("{bug:?} is found at point {tried}: {wrong}");
    }
}
