//! What is run: every crash point, every pair of parallelisms, and seeded mistakes.

mod bugs;
mod points;
mod rescale;

use super::data::Size;
use super::pipeline::Pipeline;
use super::sink::Bug;
use super::world::Setup;

fn setup(pipeline: Pipeline, seed: u64, bug: Option<Bug>) -> Setup {
    let size = Size {
        splits: 3,
        batches: 4,
        rows: 5,
    };
    Setup {
        pipeline,
        seed,
        size,
        bug,
    }
}
