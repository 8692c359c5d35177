//! Seasonal hybrid ESD (Vallis et al., 2014): the generalized test for outliers, by median and median absolute deviation,
//! over what [`super::stl`] leaves of the last rows. Rows that are further out than the newest are taken away first, so that
//! they don't hide it.

use super::stl::Stl;
use super::{Detector, Reading};
use crate::codec::{Reader, State, Writer};
use crate::config::Season;
use crate::error::{Error, Result};
use crate::moments::floor;
use crate::ring::Ring;

/// Rows that are tested together.
const ROWS: usize = 256;
/// Rows before the first score.
const ROWS_MIN: usize = 24;
/// The share of them that may be outliers: a tenth.
const OUTLIERS: usize = 10;
/// Median absolute deviations of a standard deviation, for a normal distribution.
const MAD_TO_DEVIATION: f64 = 1.4826;

/// What is left of the last rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Esd {
    stl: Stl,
    left: Ring,
    /// What is left of the row that was judged last; not part of the state.
    now: f64,
}

impl Esd {
    /// Nothing has been seen.
    pub(crate) fn new(season: Season) -> Self {
        Self {
            stl: Stl::new(season),
            left: Ring::new(ROWS),
            now: f64::NAN,
        }
    }

    /// The distance of the newest from the median in deviations, over what the test asks for; and the deviation.
    fn test(&self) -> Option<(f64, f64, f64)> {
        let mut left: Vec<f64> = self.left.iter().map(f64::from).collect();
        if left.len() < ROWS_MIN {
            return None;
        }
        left.push(self.now);
        left.sort_unstable_by(f64::total_cmp);
        let most = left.len() / OUTLIERS;
        let (mut low, mut high) = (0, left.len());
        for taken in 0..=most {
            let rest = left.get(low..high)?;
            let (median, deviation) = center(rest)?;
            let (first, last) = (rest.first()?, rest.last()?);
            let farther = if median - first > last - median {
                *first
            } else {
                *last
            };
            if farther == self.now || taken == most {
                let away = (self.now - median).abs() / deviation;
                return Some((away / critical(rest.len()), median, deviation));
            }
            // The farthest is at one of the ends.
            if farther == *first {
                low += 1;
            } else {
                high -= 1;
            }
        }
        None
    }
}

/// Median and median absolute deviation of sorted values.
fn center(sorted: &[f64]) -> Option<(f64, f64)> {
    let median = *sorted.get(sorted.len() / 2)?;
    let mut away: Vec<f64> = sorted.iter().map(|value| (value - median).abs()).collect();
    let middle = away.len() / 2;
    let (_, mad, _) = away.select_nth_unstable_by(middle, f64::total_cmp);
    let spread = (sorted.get(sorted.len() * 9 / 10)? - sorted.get(sorted.len() / 10)?) / 2.56;
    let deviation = *mad * MAD_TO_DEVIATION;
    Some((
        median,
        deviation.max(spread * 0.25).max(floor(median)).max(1e-9),
    ))
}

/// The greatest distance of so many normal values at a level of 5 %, in deviations (Rosner, 1983).
fn critical(count: usize) -> f64 {
    let count = count as f64;
    // The normal quantile of 1 - 0.05 / (2 n), by the expansion of the tail for small probabilities; then Student's.
    let root = (-2.0 * (0.05 / (2.0 * count)).ln()).sqrt();
    let top = 2.515_517 + 0.802_853 * root + 0.010_328 * root * root;
    let bottom = 1.0 + 1.432_788 * root + 0.189_269 * root * root + 0.001_308 * root.powi(3);
    let normal = root - top / bottom;
    let (third, fifth) = (normal.powi(3), normal.powi(5));
    let freedom = count - 2.0;
    let student = normal
        + (third + normal) / (4.0 * freedom)
        + (5.0 * fifth + 16.0 * third + 3.0 * normal) / (96.0 * freedom * freedom);
    (count - 1.0) * student / ((freedom + student * student) * count).sqrt()
}

impl Detector for Esd {
    fn judge(&mut self, time: i64, values: &[f64]) -> Reading {
        let by_season = self.stl.judge(time, values);
        self.now = f64::NAN;
        let (Some(value), false) = (values.first(), by_season.expected.is_nan()) else {
            return Reading::SILENT;
        };
        // As it will be kept: else it would not be found among the others.
        self.now = f64::from((value - by_season.expected) as f32);
        match self.test() {
            Some((score, median, deviation)) => {
                let expected = by_season.expected + median;
                Reading {
                    score,
                    expected,
                    scale: deviation * critical(ROWS),
                    side: super::side(value - expected),
                }
            }
            None => Reading::SILENT,
        }
    }

    fn learn(&mut self, time: i64, values: &[f64]) {
        self.stl.learn(time, values);
        if self.now.is_finite() {
            self.left.push(self.now as f32);
        }
    }
}

impl State for Esd {
    fn save(&self, to: &mut Writer) {
        self.stl.save(to);
        self.left.save(to);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        self.stl.load(from)?;
        self.left.load(from)?;
        match self.left.iter().all(f32::is_finite) {
            true => Ok(()),
            false => Err(Error::Damaged("a value is not finite")),
        }
    }

    fn heap_bytes(&self) -> usize {
        self.stl.heap_bytes() + self.left.heap_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_asks_for_what_the_tables_say() {
        // Rosner, 1983: 25 values 2.82, 50 values 3.13, 100 values 3.38, 250 values 3.67; Student's quantile is a little
        // larger.
        for (count, expected) in [(25, 2.82), (50, 3.13), (100, 3.38), (250, 3.67)] {
            assert!(
                (critical(count) - expected).abs() < 0.2,
                "{count}: {}",
                critical(count)
            );
        }
    }

    #[test]
    fn outliers_do_not_hide_each_other() {
        let mut esd = Esd::new(Season::None);
        let mut random = crate::random::Random::new(2);
        for _ in 0..200 {
            esd.left.push(random.share() as f32);
        }
        for _ in 0..15 {
            esd.left.push(50.0);
        }
        esd.now = 20.0;
        let (score, median, _) = esd.test().unwrap();
        assert!(
            score > 5.0 && (0.0..1.0).contains(&median),
            "{score} {median}"
        );
        esd.now = 0.5;
        assert!(esd.test().unwrap().0 < 1.0);
    }
}
