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
            let first = [
                Flavour::Before,
                Flavour::After,
                Flavour::Slow,
                Flavour::Held,
            ];
            let first = first.map(|flavour| vec![Plan { at, flavour }]);
            // Some mistakes are made only by a process that goes on with another one's work.
            let halfway = Plan {
                at: clean.calls / 2,
                flavour: Flavour::Before,
            };
            let flavour = Flavour::Held;
            let second = vec![halfway, Plan { at, flavour }];
            for plans in first.into_iter().chain([second]) {
                tried += 1;
                let outcome = run(&setup, &plans);
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
        Bug::SweepsNewer,
        Bug::SkipsBatch,
    ];
    for bug in bugs {
        let (tried, wrong) = found(bug).unwrap_or_else(|| panic!("{bug:?} is not found"));
        println!("{bug:?} is found at point {tried}: {wrong}");
    }
}
