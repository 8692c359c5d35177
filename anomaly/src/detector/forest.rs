//! A random cut forest: trees over samples of the past, each point a row or some rows in a row.
//!
//! A point that random cuts would divide from the samples soon is far out. Each tree holds a sample that forgets;
//! what a column has of the score is what its dimensions have of the cuts.

use super::tree::Tree;
use super::{Detector, Reading};
use crate::codec::{Reader, State, Writer};
use crate::error::{Error, Result};
use crate::random::Random;

/// Points before the first score.
const POINTS_MIN: u64 = 32;
/// How many times its size a sample looks back at least.
const REACH: u64 = 4;

/// A tree and the leaves of its sample.
#[derive(Debug, Clone, PartialEq)]
struct Sampled {
    tree: Tree,
    leaves: Vec<u16>,
}

/// Trees that score together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Forest {
    columns: usize,
    dimensions: usize,
    samples: usize,
    reach: u64,
    shingle: Vec<f32>,
    trees: Vec<Sampled>,
    seen: u64,
    random: Random,
    /// What each dimension had of the last score, above and below; not part of the state.
    shares: Vec<[f64; 2]>,
}

impl Forest {
    /// Trees over `rows` rows of `columns` columns, each with so many samples.
    pub(crate) fn new(
        columns: usize,
        rows: usize,
        trees: usize,
        samples: usize,
        memory: u32,
        seed: u64,
    ) -> Self {
        let dimensions = columns * rows;
        let empty = Sampled {
            tree: Tree::new(dimensions),
            leaves: Vec::new(),
        };
        Self {
            columns,
            dimensions,
            samples,
            reach: u64::from(memory).max(REACH * samples as u64),
            shingle: Vec::new(),
            trees: vec![empty; trees],
            seen: 0,
            random: Random::new(seed),
            shares: vec![[0.0; 2]; dimensions],
        }
    }

    fn advance(&mut self, values: &[f64]) {
        if self.shingle.len() == self.dimensions {
            self.shingle.copy_within(self.columns.., 0);
            self.shingle.truncate(self.dimensions - self.columns);
        } else if self.shingle.is_empty() {
            self.shingle.reserve_exact(self.dimensions);
        }
        self.shingle
            .extend(values.iter().map(|value| *value as f32));
    }
}

impl Detector for Forest {
    const RESOLUTION: f64 = 0.01;

    fn judge(&mut self, _time: i64, values: &[f64]) -> Reading {
        self.advance(values);
        if self.shingle.len() < self.dimensions || self.seen < POINTS_MIN {
            return Reading::SILENT;
        }
        self.shares.iter_mut().for_each(|share| *share = [0.0; 2]);
        let scores = self
            .trees
            .iter()
            .map(|sampled| sampled.tree.score(&self.shingle, &mut self.shares));
        let score = scores.sum::<f64>() / self.trees.len() as f64;
        // The newest row says on which side it is out.
        let newest = self.shares.iter().skip(self.dimensions - self.columns);
        let above: f64 = newest.map(|[above, below]| above - below).sum();
        Reading::of(
            score,
            if self.columns == 1 {
                super::side(above)
            } else {
                0
            },
        )
    }

    fn learn(&mut self, _time: i64, _values: &[f64]) {
        if self.shingle.len() < self.dimensions {
            return;
        }
        self.seen += 1;
        let among = self.seen.min(self.reach);
        for sampled in &mut self.trees {
            if sampled.leaves.len() < self.samples {
                if sampled.leaves.is_empty() {
                    sampled.leaves.reserve_exact(self.samples);
                    sampled.tree.reserve(self.samples);
                }
                let leaf = sampled.tree.insert(&self.shingle, &mut self.random);
                sampled.leaves.push(leaf);
                continue;
            }
            let place = self.random.below(among) as usize;
            if let Some(leaf) = sampled.leaves.get_mut(place) {
                sampled.tree.remove(*leaf);
                *leaf = sampled.tree.insert(&self.shingle, &mut self.random);
            }
        }
    }

    fn blame(&self, shares: &mut [f64]) {
        for (dimension, [above, below]) in self.shares.iter().enumerate() {
            if let Some(share) = shares.get_mut(dimension % self.columns) {
                *share += above + below;
            }
        }
    }
}

impl State for Forest {
    fn save(&self, to: &mut Writer) {
        to.f32s(&self.shingle);
        to.u64(self.seen);
        self.random.save(to);
        for sampled in &self.trees {
            sampled.tree.save(to);
            to.length(sampled.leaves.len());
            sampled.leaves.iter().for_each(|leaf| to.u16(*leaf));
        }
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        self.shingle = from.f32s(self.dimensions)?;
        if !self.shingle.len().is_multiple_of(self.columns) {
            return Err(Error::Damaged("a point is cut off"));
        }
        self.seen = from.u64()?;
        self.random.load(from)?;
        for sampled in &mut self.trees {
            sampled.tree.load(from)?;
            let leaves = from.length(self.samples)?;
            sampled.leaves = Vec::with_capacity(self.samples);
            for _ in 0..leaves {
                sampled.leaves.push(from.u16()?);
            }
        }
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        let trees = self.trees.iter().map(|sampled| {
            sampled.tree.heap_bytes() + sampled.leaves.capacity() * size_of::<u16>()
        });
        trees.sum::<usize>()
            + self.trees.capacity() * size_of::<Sampled>()
            + self.shingle.capacity() * size_of::<f32>()
            + self.shares.capacity() * size_of::<[f64; 2]>()
    }
}
