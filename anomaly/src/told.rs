//! The anomalies of a key that were told last, and what people have said of them: so that what is said is taken once,
//! and that rows like those that are known to be normal, or to be wrong, are known again.

use crate::codec::{Reader, State, Writer};
use crate::config::COLUMNS_MAX;
use crate::error::{Error, Result};
use crate::policy::Feedback;
use crate::random::mix;

/// Anomalies that are remembered: people answer late, but not after so many more.
const TOLD_MAX: usize = 32;
/// Those of them with an answer stay longest, and are at most so many.
const ANSWERED_MAX: usize = 16;
/// A row is like another one when it differs by this share of how far that one was from what was expected.
const LIKE: f64 = 0.1;

/// Anomalies, the oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Told {
    kept: Vec<Anomaly>,
}

/// An anomaly that was told.
#[derive(Debug, Clone, PartialEq)]
struct Anomaly {
    mark: u64,
    values: Box<[f64]>,
    /// How far the first value was from what was expected; NaN when nothing was.
    away: f64,
    answer: Option<(Feedback, i64)>,
}

/// A number by which an anomaly of a key is known: the same for the same row in each run.
pub(crate) fn mark(time: i64, values: &[f64]) -> u64 {
    let bits = values.iter().map(|value| value.to_bits());
    // Times are small numbers of which only the last bits differ.
    bits.fold(mix(time as u64), |hash, bits| mix(hash ^ bits))
}

impl Told {
    /// Remembers an anomaly.
    pub(crate) fn add(&mut self, mark: u64, values: &[f64], expected: f64) {
        let away = values
            .first()
            .map_or(f64::NAN, |value| (value - expected).abs());
        if self.kept.len() >= TOLD_MAX {
            let answered = |anomaly: &Anomaly| anomaly.answer.is_some();
            let many = self.kept.iter().filter(|a| answered(a)).count() > ANSWERED_MAX;
            let oldest = self.kept.iter().position(|a| answered(a) == many);
            self.kept.remove(oldest.unwrap_or(0));
        }
        self.kept.push(Anomaly {
            mark,
            values: values.into(),
            away,
            answer: None,
        });
    }

    /// Takes what was said of an anomaly at a time; false if it is not remembered, or this or something later was
    /// taken before.
    pub(crate) fn answer(&mut self, mark: u64, feedback: Feedback, at: i64) -> bool {
        let known = self.kept.iter_mut().rev().find(|known| known.mark == mark);
        let Some(anomaly) = known.filter(|a| a.answer.is_none_or(|(_, then)| then < at)) else {
            return false;
        };
        anomaly.answer = Some((feedback, at));
        true
    }

    /// What was said of an anomaly that a row is like, the last word first; texts are alike if they are equal.
    pub(crate) fn like(&self, values: &[f64], is_text: bool) -> Option<Feedback> {
        let answered = self.kept.iter().filter_map(|a| Some((a.answer?, a)));
        let like = answered.filter(|(_, anomaly)| anomaly.is_like(values, is_text));
        let last = like.max_by_key(|((_, at), _)| *at);
        last.map(|((feedback, _), _)| feedback)
    }
}

impl Anomaly {
    fn is_like(&self, values: &[f64], is_text: bool) -> bool {
        let pairs = self.values.iter().zip(values).enumerate();
        pairs.into_iter().all(|(column, (known, value))| {
            if known.is_nan() || value.is_nan() || is_text {
                return known.to_bits() == value.to_bits();
            }
            let far = match column {
                0 if !self.away.is_nan() => self.away,
                _ => known.abs(),
            };
            (known - value).abs() <= LIKE * far
        })
    }
}

impl State for Told {
    fn save(&self, to: &mut Writer) {
        to.length(self.kept.len());
        for anomaly in &self.kept {
            to.u64(anomaly.mark);
            to.f64s(&anomaly.values);
            to.f64(anomaly.away);
            let (feedback, at) = match anomaly.answer {
                Some((feedback, at)) => (feedback.number(), at),
                None => (0, 0),
            };
            to.u8(feedback);
            to.i64(at);
        }
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        let count = from.length(TOLD_MAX)?;
        self.kept.clear();
        for _ in 0..count {
            let (mark, values) = (from.u64()?, from.f64s(COLUMNS_MAX)?);
            let (away, feedback, at) = (from.f64()?, from.u8()?, from.i64()?);
            let answer = match feedback {
                0 => None,
                number => {
                    let known = Feedback::of_number(number);
                    Some((known.ok_or(Error::Damaged("an unknown answer"))?, at))
                }
            };
            self.kept.push(Anomaly {
                mark,
                values: values.into(),
                away,
                answer,
            });
        }
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        let values = self.kept.iter().map(|a| size_of_val(&*a.values));
        self.kept.capacity() * size_of::<Anomaly>() + values.sum::<usize>()
    }
}
