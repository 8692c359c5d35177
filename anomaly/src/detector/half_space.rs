//! Half-space trees (Tan, Ting, Liu, IJCAI 2011): how many rows of the last window fell where this one does.
//!
//! Trees halve the range of values at random columns, without looking at the rows, so that a row costs the
//! depth of the trees and nothing else. Fast for many columns, and coarse.

use super::{Detector, Reading};
use crate::codec::{Reader, State, Writer};
use crate::error::{Error, Result};
use crate::moments::Moments;
use crate::random::mix;

/// Cuts from the root to a leaf.
const DEPTH: u32 = 7;
/// Nodes of a tree, and the one that no path uses.
const NODES: usize = 1 << (DEPTH + 1);
/// Deviations that are as wide as the space that is cut.
const DEVIATIONS: f64 = 8.0;
/// Rows over which the mean and the deviation forget.
const MEMORY: u32 = 5_000;
/// Rows after which what was counted becomes what is compared with.
const WINDOW: u32 = 250;

/// Counts of two windows, in the nodes of all trees.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HalfSpace {
    columns: usize,
    dimensions: usize,
    trees: usize,
    seed: u64,
    shingle: Vec<f32>,
    /// Where the values of each column are: unlike the range of all values, it survives a wild one.
    moments: Vec<Moments>,
    counting: Vec<u16>,
    reference: Vec<u16>,
    rows: u32,
    has_reference: bool,
}

impl HalfSpace {
    /// Trees over `rows` rows of `columns` columns.
    pub(crate) fn new(columns: usize, rows: usize, trees: usize, seed: u64) -> Self {
        Self {
            columns,
            dimensions: columns * rows,
            trees,
            seed,
            shingle: Vec::new(),
            moments: vec![Moments::default(); columns],
            counting: vec![0; trees * NODES],
            reference: vec![0; trees * NODES],
            rows: 0,
            has_reference: false,
        }
    }

    /// The shingle with each column's usual values around 1/2.
    fn scaled(&self) -> Vec<f64> {
        let scale = |(at, value): (usize, &f32)| {
            let moments = self.moments.get(at % self.columns);
            let away = moments.map_or(0.0, |m| (f64::from(*value) - m.mean()) / m.deviation());
            0.5 + away / DEVIATIONS
        };
        self.shingle.iter().enumerate().map(scale).collect()
    }

    /// Calls with the nodes of each tree that a point falls into, and their depths.
    fn walk(&self, point: &[f64], mut visit: impl FnMut(usize, u32)) {
        for tree in 0..self.trees {
            // Each tree's work space is shifted and stretched at random, so that their borders differ.
            let mut bounds: Vec<(f64, f64)> = (0..self.dimensions)
                .map(|dimension| {
                    let bits = mix(self.seed ^ mix((tree * self.dimensions + dimension) as u64));
                    let middle = (bits >> 11) as f64 / (1_u64 << 53) as f64;
                    let reach = 2.0 * middle.max(1.0 - middle);
                    (middle - reach, middle + reach)
                })
                .collect();
            let mut node = 1;
            for depth in 0..=DEPTH {
                visit(tree * NODES + node, depth);
                if depth == DEPTH {
                    break;
                }
                let bits = mix(self.seed ^ mix(!((tree * NODES + node) as u64)));
                let dimension = (bits % self.dimensions as u64) as usize;
                let goes_right = match (bounds.get_mut(dimension), point.get(dimension)) {
                    (Some((low, high)), Some(value)) => {
                        let middle = f64::midpoint(*low, *high);
                        let goes_right = *value > middle;
                        if goes_right {
                            *low = middle
                        } else {
                            *high = middle
                        }
                        goes_right
                    }
                    _ => false,
                };
                node = node * 2 + usize::from(goes_right);
            }
        }
    }
}

impl Detector for HalfSpace {
    fn judge(&mut self, _time: i64, values: &[f64]) -> Reading {
        if self.shingle.len() == self.dimensions {
            self.shingle.copy_within(self.columns.., 0);
            self.shingle.truncate(self.dimensions - self.columns);
        }
        self.shingle
            .extend(values.iter().map(|value| *value as f32));
        if self.shingle.len() < self.dimensions || !self.has_reference {
            return Reading::SILENT;
        }
        let point = self.scaled();
        let mut mass = 0.0;
        self.walk(&point, |node, depth| {
            if depth > 0 {
                let count = self.reference.get(node).copied().unwrap_or(0);
                mass += f64::from(count) * f64::from(1_u32 << depth);
            }
        });
        let full = f64::from(WINDOW) * f64::from((1_u32 << (DEPTH + 1)) - 2) * self.trees as f64;
        // Where all rows fall the mass is `full`, where none falls 0.
        Reading::of(-((mass + 1.0) / (full + 1.0)).ln(), 0)
    }

    fn learn(&mut self, _time: i64, _values: &[f64]) {
        if self.shingle.len() < self.dimensions {
            return;
        }
        let newest = self.shingle.iter().skip(self.dimensions - self.columns);
        for (moments, value) in self.moments.iter_mut().zip(newest) {
            moments.add(f64::from(*value), MEMORY);
        }
        let point = self.scaled();
        let mut counting = std::mem::take(&mut self.counting);
        self.walk(&point, |node, _| {
            if let Some(count) = counting.get_mut(node) {
                *count = count.saturating_add(1);
            }
        });
        self.counting = counting;
        self.rows += 1;
        if self.rows >= WINDOW {
            self.rows = 0;
            self.has_reference = true;
            std::mem::swap(&mut self.counting, &mut self.reference);
            self.counting.iter_mut().for_each(|count| *count = 0);
        }
    }
}

impl State for HalfSpace {
    fn save(&self, to: &mut Writer) {
        to.f32s(&self.shingle);
        self.moments.iter().for_each(|moments| moments.save(to));
        for counts in [&self.counting, &self.reference] {
            let bytes: Vec<u8> = counts
                .iter()
                .flat_map(|count| count.to_le_bytes())
                .collect();
            to.bytes(&bytes);
        }
        to.u32(self.rows);
        to.flag(self.has_reference);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        self.shingle = from.f32s(self.dimensions)?;
        for moments in &mut self.moments {
            moments.load(from)?;
        }
        for counts in [&mut self.counting, &mut self.reference] {
            let bytes = from.bytes(2 * counts.len())?;
            if bytes.len() != 2 * counts.len() {
                return Err(Error::Damaged("counts of a tree are missing"));
            }
            for (count, bytes) in counts.iter_mut().zip(bytes.chunks_exact(2)) {
                *count = bytes.try_into().map_or(0, u16::from_le_bytes);
            }
        }
        self.rows = from.u32()?;
        self.has_reference = from.flag()?;
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        (self.counting.capacity() + self.reference.capacity()) * size_of::<u16>()
            + self.moments.capacity() * size_of::<Moments>()
            + self.shingle.capacity() * size_of::<f32>()
    }
}
