//! How far out a row is in the tails of its columns, by the empirical distributions of the last rows: ECOD (Li et al., 2022)
//! and COPOD (Li et al., 2020), which have no parameters. Both add up the surprise of each column; they differ in how the
//! tails are put together.

use super::{Detector, Reading};
use crate::codec::{Reader, State, Writer};
use crate::error::Result;
use crate::sorted::Sorted;

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
    /// The last values of each.
    columns: Vec<Sorted>,
    /// The last row's surprise per column; not part of the state.
    blame: Vec<f64>,
}

impl Surprise {
    fn of(value: f64, known: &Sorted) -> Self {
        let values = known.values();
        let count = values.len() as f64 + 1.0;
        let below = values.partition_point(|known| f64::from(*known) < value);
        let up_to = values.partition_point(|known| f64::from(*known) <= value);
        // The row itself counts, so that nothing is impossible.
        let left = -((up_to as f64 + 1.0) / count).ln();
        let right = -(((values.len() - below) as f64 + 1.0) / count).ln();
        let longer = match skew(known) {
            skew if skew > SKEWED => right,
            skew if skew < -SKEWED => left,
            _ => left.max(right),
        };
        Self {
            left,
            right,
            longer,
            side: i8::from(right > left) - i8::from(left > right),
        }
    }
}

/// How much longer the right tail is than the left one, from -1 to 1, by deciles: one wild value does not turn it.
fn skew(known: &Sorted) -> f64 {
    let count = known.len();
    let (low, middle, high) = (
        known.at(count / 10),
        known.at(count / 2),
        known.at(count * 9 / 10),
    );
    match high > low {
        true => ((high - middle) - (middle - low)) / (high - low),
        false => 0.0,
    }
}

impl Tails {
    /// Rows of so many columns.
    pub(crate) fn new(rule: Rule, columns: usize) -> Self {
        Self {
            rule,
            columns: vec![Sorted::new(ROWS); columns],
            blame: Vec::new(),
        }
    }
}

impl Detector for Tails {
    fn judge(&mut self, _time: i64, values: &[f64]) -> Reading {
        if self.columns.first().is_none_or(|c| c.len() < ROWS_MIN) {
            return Reading::SILENT;
        }
        let pairs = self.columns.iter().zip(values);
        let all: Vec<Surprise> = pairs
            .map(|(known, value)| Surprise::of(f64::from(*value as f32), known))
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
            column.push(*value as f32);
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
        self.columns.iter().for_each(|column| column.save(to));
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        self.columns
            .iter_mut()
            .try_for_each(|column| column.load(from))
    }

    fn heap_bytes(&self) -> usize {
        self.columns.iter().map(State::heap_bytes).sum::<usize>()
            + self.columns.capacity() * size_of::<Sorted>()
            + self.blame.capacity() * size_of::<f64>()
    }
}
