//! A process dies, or is overtaken, at each of its operations in turn.
//!
//! `CRASH_POINTS=10000` sets how many points are tried over all pipelines, `SEED=7` the first seed.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::setup;
use crate::sim::experiment::{Outcome, run};
use crate::sim::fault::{Flavour, Plan};
use crate::sim::pipeline::Pipeline;

/// Points that a run of all tests tries.
const POINTS: u64 = 1_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The faults of one point: sometimes the process that recovers is hit as well.
fn plans(seed: u64, at: u64, flavour: Flavour) -> Vec<Plan> {
    let mut rng = StdRng::seed_from_u64(seed ^ (at << 3) ^ flavour as u64);
    let mut plans = vec![Plan { at, flavour }];
    if rng.random_bool(0.3) {
        let flavours = [
            Flavour::Before,
            Flavour::After,
            Flavour::Lost,
            Flavour::Held,
        ];
        plans.push(Plan {
            at: rng.random_range(1..60),
            flavour: flavours[rng.random_range(0..flavours.len())],
        });
    }
    plans
}

#[derive(Default)]
struct Counts {
    points: BTreeMap<&'static str, u64>,
    in_recovery: u64,
    operations: u64,
    epochs: usize,
    runs: u64,
}

impl Counts {
    fn total(&self) -> u64 {
        self.points.values().sum()
    }

    fn take(&mut self, name: &'static str, outcome: &Outcome) {
        self.runs += 1;
        self.epochs += outcome.epochs;
        if outcome.fired > 0 {
            *self.points.entry(name).or_default() += 1;
            self.in_recovery += outcome.fired as u64 - 1;
        }
    }
}

/// Tries points of a pipeline until there are as many as asked for.
fn points(pipeline: Pipeline) {
    let wanted = number("CRASH_POINTS").unwrap_or(POINTS).div_ceil(4);
    let first = number("SEED").unwrap_or(1);
    let mut counts = Counts::default();
    for seed in first.. {
        let setup = setup(pipeline, seed, None);
        let clean = run(&setup, &[]);
        assert!(
            clean.wrong.is_empty(),
            "{pipeline:?} SEED={seed} without faults: {:#?}",
            clean.wrong
        );
        counts.operations += clean.calls;
        for at in 1..=clean.calls {
            // One of the ways to be overtaken at each point, all of them over the points.
            let overtaken = [Flavour::Slow, Flavour::Lost, Flavour::Held];
            let overtaken = overtaken[usize::try_from(at + seed).unwrap() % 3];
            for (name, flavour) in [
                ("before the call", Flavour::Before),
                ("applied, answer lost", Flavour::After),
                ("overtaken by a new instance", overtaken),
            ] {
                let plans = plans(seed, at, flavour);
                let outcome = run(&setup, &plans);
                assert!(
                    outcome.wrong.is_empty(),
                    "{pipeline:?} SEED={seed} {plans:?} of {} operations: {:#?}",
                    clean.calls,
                    outcome.wrong
                );
                counts.take(name, &outcome);
            }
            if counts.total() >= wanted {
                break;
            }
        }
        if counts.total() >= wanted {
            break;
        }
    }
    println!(
        "{pipeline:?}: {} crash points {:?}, {} more in recovery, {} operations without faults, \
         {} epochs in {} runs",
        counts.total(),
        counts.points,
        counts.in_recovery,
        counts.operations,
        counts.epochs,
        counts.runs,
    );
}

#[test]
fn a_stateless_pipeline_survives_every_crash_point() {
    points(Pipeline::Stateless);
}

#[test]
fn a_window_aggregation_survives_every_crash_point() {
    points(Pipeline::Window);
}

#[test]
fn an_interval_join_survives_every_crash_point() {
    points(Pipeline::Join);
}

#[test]
fn an_updating_view_survives_every_crash_point() {
    points(Pipeline::View);
}

/// The same seed and the same faults give the same run, operation by operation.
#[test]
fn a_run_repeats_exactly() {
    for pipeline in Pipeline::ALL {
        for seed in 1..4 {
            let setup = setup(pipeline, seed, None);
            let plans = plans(seed, 20 + seed * 7, Flavour::Lost);
            let (first, second) = (run(&setup, &plans), run(&setup, &plans));
            assert_eq!(first.trace, second.trace, "{pipeline:?} SEED={seed}");
        }
    }
}
