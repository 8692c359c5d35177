//! Mahalanobis' distance of a row from the mean of the rows before, in their covariance: columns that move together are
//! one, and a row that breaks their relation is far out though each value is usual.

use super::{Detector, Reading, side};
use crate::codec::{Reader, State, Writer};
use crate::error::Result;
use crate::moments::floor;

/// Rows before the first score, beside some for each column.
const ROWS_MIN: u32 = 16;
/// What is added to each variance, as a share of it: columns that are sums of others have no inverse without.
const RIDGE: f64 = 1e-6;
/// A row that is further out than so many times the usual distance counts as one that is so far.
const CLIP: f64 = 4.0;

/// Mean and covariance that forget.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mahalanobis {
    memory: u32,
    rows: u32,
    mean: Vec<f64>,
    /// Row by row, all of it.
    covariance: Vec<f64>,
    /// The last row's distance, and each column's part of its square; not part of the state.
    last: f64,
    blame: Vec<f64>,
}

impl Mahalanobis {
    /// Rows of so many columns; forgets over so many rows.
    pub(crate) fn new(columns: usize, memory: u32) -> Self {
        Self {
            memory,
            rows: 0,
            mean: vec![0.0; columns],
            covariance: vec![0.0; columns * columns],
            last: f64::NAN,
            blame: Vec::new(),
        }
    }

    fn columns(&self) -> usize {
        self.mean.len()
    }

    fn variance(&self, column: usize) -> f64 {
        let found = self.covariance.get(column * (self.columns() + 1));
        let mean = self.mean.get(column).copied().unwrap_or_default();
        found.copied().unwrap_or_default().max(floor(mean).powi(2))
    }

    /// Solves `correlation * x = away` by Cholesky's factors, all in deviations of the columns.
    fn solve(&self, away: &[f64]) -> Option<Vec<f64>> {
        let count = self.columns();
        let units: Vec<f64> = (0..count).map(|at| self.variance(at).sqrt()).collect();
        let mut factor = vec![0.0; count * count];
        for row in 0..count {
            for column in 0..=row {
                let own = self.covariance[row * count + column] / (units[row] * units[column]);
                let own = if row == column { 1.0 + RIDGE } else { own };
                let known: f64 = (0..column)
                    .map(|at| factor[row * count + at] * factor[column * count + at])
                    .sum();
                factor[row * count + column] = match row == column {
                    true => (own - known).max(RIDGE).sqrt(),
                    false => (own - known) / factor[column * count + column],
                };
            }
        }
        let mut solved = away.to_vec();
        for row in 0..count {
            let known: f64 = (0..row)
                .map(|at| factor[row * count + at] * solved[at])
                .sum();
            solved[row] = (solved[row] - known) / factor[row * count + row];
        }
        for row in (0..count).rev() {
            let known: f64 = (row + 1..count)
                .map(|at| factor[at * count + row] * solved[at])
                .sum();
            solved[row] = (solved[row] - known) / factor[row * count + row];
        }
        solved
            .iter()
            .all(|value| value.is_finite())
            .then_some(solved)
    }

    fn is_ready(&self) -> bool {
        // At most COLUMNS_MAX.
        self.rows >= ROWS_MIN + 4 * self.columns() as u32
    }
}

impl Detector for Mahalanobis {
    fn judge(&mut self, _time: i64, values: &[f64]) -> Reading {
        self.last = f64::NAN;
        if !self.is_ready() {
            return Reading::SILENT;
        }
        let pairs = values.iter().zip(&self.mean).enumerate();
        let away: Vec<f64> = pairs
            .map(|(at, (value, mean))| (value - mean) / self.variance(at).sqrt())
            .collect();
        let Some(solved) = self.solve(&away) else {
            return Reading::SILENT;
        };
        self.blame.clear();
        self.blame
            .extend(solved.iter().zip(&away).map(|(a, b)| (a * b).max(0.0)));
        self.last = solved
            .iter()
            .zip(&away)
            .map(|(a, b)| a * b)
            .sum::<f64>()
            .max(0.0)
            .sqrt();
        let (value, mean) = (values.first().copied(), self.mean.first().copied());
        let (value, mean) = (value.unwrap_or_default(), mean.unwrap_or_default());
        if self.columns() == 1 {
            return Reading::away(value, mean, self.variance(0).sqrt());
        }
        Reading {
            score: self.last,
            expected: mean,
            scale: f64::NAN,
            side: side(value - mean),
        }
    }

    fn learn(&mut self, _time: i64, values: &[f64]) {
        self.rows = self.rows.saturating_add(1);
        let step = 1.0 / f64::from(self.rows.min(self.memory.max(1)));
        // The square of a usual distance is the number of columns.
        let usual = (self.columns() as f64).sqrt();
        let share = match self.last > CLIP * usual {
            true => CLIP * usual / self.last,
            false => 1.0,
        };
        let pairs = values.iter().zip(&self.mean);
        let away: Vec<f64> = pairs.map(|(value, mean)| (value - mean) * share).collect();
        for (mean, away) in self.mean.iter_mut().zip(&away) {
            *mean += away * step;
        }
        let count = away.len();
        for (row, one) in away.iter().enumerate() {
            for (column, other) in away.iter().enumerate() {
                if let Some(cell) = self.covariance.get_mut(row * count + column) {
                    *cell = (1.0 - step) * (*cell + step * one * other);
                }
            }
        }
    }

    fn blame(&self, shares: &mut [f64]) {
        for (share, own) in shares.iter_mut().zip(&self.blame) {
            *share += own;
        }
    }
}

impl State for Mahalanobis {
    fn save(&self, to: &mut Writer) {
        to.u32(self.rows);
        to.f64s(&self.mean);
        to.f64s(&self.covariance);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        self.rows = from.u32()?;
        for own in [&mut self.mean, &mut self.covariance] {
            let values = from.f64s(own.len())?;
            if values.len() != own.len() {
                return Err(crate::error::Error::Damaged(
                    "a covariance is of other columns",
                ));
            }
            *own = values;
        }
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        let lists = [&self.mean, &self.covariance, &self.blame];
        lists
            .into_iter()
            .map(|list| list.capacity() * size_of::<f64>())
            .sum()
    }
}
