//! What holds for every detector, on made series whose anomalies are known.

use std::sync::Arc;

use crate::random::Random;
use crate::{Config, Method, Model, Verdict};

mod detection;
mod false_alarms;
mod policy;
mod seasons;
mod state;

/// Detectors of numbers that need no bounds.
fn methods() -> impl Iterator<Item = Method> {
    Method::all().filter(|method| !matches!(method, Method::Fixed | Method::Rare))
}

/// A configuration whose alarms are not debounced, one row in a hundred.
fn plain(method: Method) -> Config {
    Config {
        debounce_rows: 0,
        sensitivity: 0.99,
        ..Config::new(method)
    }
}

fn model(config: Config) -> Model {
    Model::new(Arc::new(config)).unwrap()
}

/// Verdicts of all rows, a minute apart.
fn judge(config: Config, values: &[f64]) -> Vec<Verdict> {
    let mut model = model(config);
    let rows = values.iter().enumerate();
    rows.map(|(row, value)| model.observe(row as i64 * 60, &[*value]))
        .collect()
}

/// Values of a normal distribution with mean 0 and deviation 1.
fn gaussian(seed: u64, count: usize) -> Vec<f64> {
    let mut random = Random::new(seed);
    let one = |random: &mut Random| {
        let (size, turn) = (random.share().max(1e-300), random.share());
        (-2.0 * size.ln()).sqrt() * (turn * std::f64::consts::TAU).cos()
    };
    (0..count).map(|_| one(&mut random)).collect()
}

/// Values between 0 and 1.
fn uniform(seed: u64, count: usize) -> Vec<f64> {
    let mut random = Random::new(seed);
    (0..count).map(|_| random.share()).collect()
}

/// Values whose tail falls with the third power.
fn heavy(seed: u64, count: usize) -> Vec<f64> {
    let values = uniform(seed, count).into_iter();
    values
        .map(|share| (1.0 - share).max(1e-12).powf(-1.0 / 3.0))
        .collect()
}
