//! How far out a row is in the tails of its columns, by the empirical distributions of the last rows: ECOD (Li et al., 2022)
//! and COPOD (Li et al., 2020), which have no parameters. Both add up the surprise of each column; they differ in how the
//! tails are put together.

use super::{Detector, Reading};
use crate::codec::{Reader, State, Writer};
use crate::error::{Error, Result};
use crate::ring::Ring;

/// Rows of the distributions.
const ROWS: usize = 512;
/// Rows before the first score.
const ROWS_MIN: usize = 32;
/// Below this neither tail is the longer one: hundreds of rows of a symmetric distribution are seldom more askew.
const SKEWED: f64 = 0.2;

/// How the surprise in both tails becomes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The greatest of all left tails, of all right tails, and of the longer tail of each column.
    Ecod,
    /// The longer tail of each column, or the mean of both tails if it is more, column by column.
    Copod,
}

/// The last values of a column.
#[derive(Debug, Clone, PartialEq)]
struct Column {
    window: Ring,
    sorted: Vec<f32>,
}

/// How seldom values of a column are as low, as high, and as far on the side of its longer tail.
#[derive(Debug, Clone, Copy, Default)]
struct Surprise {
    left: f64,
    right: f64,
    longer: f64,
    side: i8,
}

/// The distributions of the columns.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tails {
    rule: Rule,
    columns: Vec<Column>,
    /// The last row's surprise per column; not part of the state.
    blame: Vec<f64>,
}

impl Column {
    fn new() -> Self {
        Self {
            window: Ring::new(ROWS),
            sorted: Vec::new(),
        }
    }

    fn surprise(&self, value: f64) -> Surprise {
        let count = self.sorted.len() as f64 + 1.0;
        let below = self
            .sorted
            .partition_point(|known| f64::from(*known) < value);
        let up_to = self
            .sorted
            .partition_point(|known| f64::from(*known) <= value);
        // The row itself counts, so that nothing is impossible.
        let left = -((up_to as f64 + 1.0) / count).ln();
        let right = -(((self.sorted.len() - below) as f64 + 1.0) / count).ln();
        let longer = match self.skew() {
            skew if skew > SKEWED => right,
            skew if skew < -SKEWED => left,
            _ => left.max(right),
        };
        Surprise {
            left,
            right,
            longer,
            side: i8::from(right > left) - i8::from(left > right),
        }
    }

    /// How much longer the right tail is than the left one, from -1 to 1, by deciles: one wild value does not turn it.
    fn skew(&self) -> f64 {
        let at = |place: usize| f64::from(self.sorted.get(place).copied().unwrap_or_default());
        let count = self.sorted.len();
        let (low, middle, high) = (at(count / 10), at(count / 2), at(count * 9 / 10));
        match high > low {
            true => ((high - middle) - (middle - low)) / (high - low),
            false => 0.0,
        }
    }

    fn add(&mut self, value: f32) {
        if self.sorted.is_empty() {
            self.sorted.reserve_exact(ROWS);
        }
        if let Some(old) = self.window.push(value) {
            let place = self.sorted.partition_point(|known| *known < old);
            if place < self.sorted.len() {
                self.sorted.remove(place);
            }
        }
        let place = self.sorted.partition_point(|known| *known < value);
        self.sorted.insert(place, value);
    }
}

impl Tails {
    /// Rows of so many columns.
    pub(crate) fn new(rule: Rule, columns: usize) -> Self {
        Self {
            rule,
            columns: vec![Column::new(); columns],
            blame: Vec::new(),
        }
    }
}

impl Detector for Tails {
    fn judge(&mut self, _time: i64, values: &[f64]) -> Reading {
        let ready = self
            .columns
            .first()
            .is_some_and(|c| c.sorted.len() >= ROWS_MIN);
        if !ready {
            return Reading::SILENT;
        }
        let pairs = self.columns.iter().zip(values);
        let all: Vec<Surprise> = pairs
            .map(|(c, value)| c.surprise(f64::from(*value as f32)))
            .collect();
        let sum = |of: fn(&Surprise) -> f64| all.iter().map(of).sum::<f64>();
        let both = |s: &Surprise| s.longer.max((s.left + s.right) / 2.0);
        self.blame.clear();
        let score = match self.rule {
            Rule::Ecod => {
                self.blame.extend(all.iter().map(|s| s.left.max(s.right)));
                sum(|s| s.left).max(sum(|s| s.right)).max(sum(|s| s.longer))
            }
            Rule::Copod => {
                self.blame.extend(all.iter().map(both));
                sum(both)
            }
        };
        Reading::of(score, all.first().map_or(0, |first| first.side))
    }

    fn learn(&mut self, _time: i64, values: &[f64]) {
        for (column, value) in self.columns.iter_mut().zip(values) {
            // -0 would be another place in the order, and none when sorted anew.
            column.add(*value as f32 + 0.0);
        }
    }

    fn blame(&self, shares: &mut [f64]) {
        for (share, own) in shares.iter_mut().zip(&self.blame) {
            *share += own;
        }
    }
}

impl State for Tails {
    fn save(&self, to: &mut Writer) {
        self.columns
            .iter()
            .for_each(|column| column.window.save(to));
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        for column in &mut self.columns {
            column.window.load(from)?;
            if column.window.iter().any(|value| !value.is_finite()) {
                return Err(Error::Damaged("a value is not finite"));
            }
            column.sorted.clear();
            column.sorted.reserve_exact(ROWS);
            column.sorted.extend(column.window.iter());
            column.sorted.sort_by(f32::total_cmp);
        }
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        let column = |c: &Column| c.window.heap_bytes() + c.sorted.capacity() * size_of::<f32>();
        self.columns.iter().map(column).sum::<usize>()
            + self.columns.capacity() * size_of::<Column>()
            + self.blame.capacity() * size_of::<f64>()
    }
}
