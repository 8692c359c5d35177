//! The model of one key: detectors, the tails of their scores, and the policy.

use std::ops::Range;
use std::sync::Arc;

use crate::codec::{Reader, State, Writer};
use crate::config::{Config, Direction};
use crate::detector::{self, Any, Reading};
use crate::error::{Error, Result};
use crate::method::Method;
use crate::policy::{Feedback, Policy};
use crate::tail::Tail;
use crate::told::{self, Told};
use crate::verdict::{Verdict, Verdicts};

/// The version of the bytes of a state.
const VERSION: u8 = 2;
/// Values count as this at most: their squares are still far from the end of floats.
const VALUE_MAX: f64 = 1e30;
/// The surprise of one member of `auto` counts so many powers of ten at most, or a member that knows no bounds would
/// outvote the others.
const MEMBER_SURPRISE_MAX: f64 = 5.0;

/// Joint surprises that differ by less, in powers of ten, are the same.
const JOINT_RESOLUTION: f64 = 0.05;

/// A detector with the distribution of its scores.
#[derive(Debug, Clone)]
struct Lane {
    detector: Any,
    tail: Tail,
    first_column: u8,
    columns: u8,
    /// The score of the row that is judged now; NaN when there is none.
    score: f64,
}

impl Lane {
    fn columns(&self) -> Range<usize> {
        let first = usize::from(self.first_column);
        first..first + usize::from(self.columns)
    }
}

/// What all detectors together say of a row.
#[derive(Debug, Clone, Copy)]
struct Finding {
    p: f64,
    /// The lane that explains it, and what it read.
    lane: usize,
    reading: Reading,
}

/// Judges the rows of one key in order, and learns from them.
///
/// Each row is judged by what came before it alone. The state is bounded: [`Model::state_bytes`] comes to a
/// rest. What a model says depends on its configuration and the rows alone, not on batches, restarts or chance.
#[derive(Debug, Clone)]
pub struct Model {
    config: Arc<Config>,
    policy: Policy,
    told: Told,
    lanes: Box<[Lane]>,
    /// The distribution of the members' joint surprise.
    joint: Option<Box<Tail>>,
    joint_score: f64,
}

impl Model {
    /// A model that has seen nothing.
    pub fn new(config: Arc<Config>) -> Result<Self> {
        config.check()?;
        let made = detector::make(&config);
        let is_joint = config.method == Method::Auto && made.len() > 1;
        let tail = if is_joint { Tail::rough } else { Tail::new };
        let lane = |(detector, columns): (Any, Range<usize>)| Lane {
            tail: tail(config.memory_rows, detector.resolution()),
            detector,
            // At most COLUMNS_MAX.
            first_column: columns.start as u8,
            columns: columns.len() as u8,
            score: f64::NAN,
        };
        let lanes: Box<[Lane]> = made.into_iter().map(lane).collect();
        let joint = is_joint.then(|| Box::new(tail(config.memory_rows, JOINT_RESOLUTION)));
        Ok(Self {
            policy: Policy::new(),
            told: Told::default(),
            lanes,
            joint,
            joint_score: f64::NAN,
            config,
        })
    }

    /// Judges a row and learns from it as the configuration says. A value that is NaN or infinite is missing; times
    /// should not go back.
    pub fn observe(&mut self, time: i64, values: &[f64]) -> Verdict {
        let config = Arc::clone(&self.config);
        let is_warmup = self.policy.see(&config, time);
        let row: Row = Row::new(values, config.columns);
        let finding = self.judge(&config, time, &row);
        if config.exclude.contains(time) {
            return Verdict::nothing(is_warmup);
        }
        let Some(finding) = finding else {
            self.learn(time, &row);
            return Verdict::nothing(is_warmup);
        };
        let values = row.values.get(..config.columns).unwrap_or_default();
        let like = self.told.like(values, config.method.is_of_texts());
        let decision = self
            .policy
            .decide(&config, time, (finding.p, like), is_warmup);
        let mark = match decision.is_anomaly {
            true => told::mark(time, values),
            false => 0,
        };
        if decision.is_anomaly && config.remembers {
            self.told.add(mark, values, finding.reading.expected);
        }
        let risk = self.policy.risk(&config);
        let (lower, upper) = self.bounds(&config, &finding, risk);
        let contribution = if config.columns > 1 {
            self.contribution(&config)
        } else {
            Vec::new()
        };
        if decision.learns {
            self.learn(time, &row);
        }
        let surprise = -finding.p.log10();
        Verdict {
            is_anomaly: decision.is_anomaly,
            is_suppressed: decision.is_suppressed,
            is_warmup,
            mark,
            score: surprise / (surprise - risk.log10()),
            p_value: finding.p,
            expected: finding.reading.expected,
            lower,
            upper,
            direction: finding.reading.side,
            contribution,
        }
    }

    /// Judges a text; [`Method::Rare`] knows what to make of it. A missing one is `None`.
    pub fn observe_text(&mut self, time: i64, text: Option<&str>) -> Verdict {
        let value = text.map_or(f64::NAN, detector::text_as_value);
        self.observe(time, &[value])
    }

    /// Judges rows, given as columns, and adds the verdicts to `out`. It is the same as one by one.
    pub fn observe_batch(&mut self, times: &[i64], columns: &[&[f64]], out: &mut Verdicts) {
        out.reserve(times.len());
        let mut values = vec![f64::NAN; columns.len()];
        for (row, time) in times.iter().enumerate() {
            for (value, column) in values.iter_mut().zip(columns) {
                *value = column.get(row).copied().unwrap_or(f64::NAN);
            }
            out.push(&self.observe(*time, &values));
        }
    }

    /// Follows what someone says, at a time, of an anomaly that the model has told: once, however often it is asked
    /// to, and the last word counts. False if the anomaly is not remembered, or this was taken before. Only a model
    /// that [remembers](Config::remembers) knows its anomalies.
    pub fn feedback(&mut self, mark: u64, feedback: Feedback, at: i64) -> bool {
        let is_new = self.told.answer(mark, feedback, at);
        if is_new {
            self.policy.follow(feedback);
        }
        is_new
    }

    /// Bytes of the state, in memory.
    pub fn state_bytes(&self) -> usize {
        let lane = |lane: &Lane| lane.detector.heap_bytes() + lane.tail.heap_bytes();
        let joint = |tail: &Tail| size_of::<Tail>() + tail.heap_bytes();
        size_of::<Self>()
            + self.told.heap_bytes()
            + self.lanes.len() * size_of::<Lane>()
            + self.lanes.iter().map(lane).sum::<usize>()
            + self.joint.as_deref().map_or(0, joint)
    }

    /// The state as bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u8(VERSION);
        writer.u64(self.config.fingerprint());
        self.policy.save(&mut writer);
        self.told.save(&mut writer);
        for lane in &self.lanes {
            lane.detector.save(&mut writer);
            lane.tail.save(&mut writer);
        }
        if let Some(joint) = &self.joint {
            joint.save(&mut writer);
        }
        writer.into_bytes()
    }

    /// The model that a snapshot was made of. Sensitivity, direction, policy and debounce may have changed since.
    pub fn restore(config: Arc<Config>, snapshot: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(snapshot);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(Error::Version(version));
        }
        let mut model = Self::new(config)?;
        if reader.u64()? != model.config.fingerprint() {
            return Err(Error::OtherConfiguration);
        }
        model.policy.load(&mut reader)?;
        model.told.load(&mut reader)?;
        for lane in &mut model.lanes {
            lane.detector.load(&mut reader)?;
            lane.tail.load(&mut reader)?;
        }
        if let Some(joint) = &mut model.joint {
            joint.load(&mut reader)?;
        }
        if !reader.is_at_end() {
            return Err(Error::Damaged("there are bytes behind its end"));
        }
        Ok(model)
    }

    /// Lets every lane judge; none can say anything, or the joint finding.
    fn judge(&mut self, config: &Config, time: i64, row: &Row) -> Option<Finding> {
        // What no row said must not be learned from the next.
        self.joint_score = f64::NAN;
        let mut best: Option<Finding> = None;
        let (mut sum, mut most, mut count) = (0.0_f64, 0.0_f64, 0);
        for (place, lane) in self.lanes.iter_mut().enumerate() {
            lane.score = f64::NAN;
            let Some(values) = row.of(lane.columns()) else {
                continue;
            };
            let mut reading = lane.detector.judge(time, values);
            if reading.score.is_nan() {
                continue;
            }
            let is_other_side = match config.direction {
                Direction::Both => false,
                Direction::Up => reading.side < 0,
                Direction::Down => reading.side > 0,
            };
            if is_other_side {
                // A certain verdict of the other side is a certain "no".
                reading.score = if reading.score.is_finite() {
                    0.0
                } else {
                    f64::NEG_INFINITY
                };
            }
            lane.score = reading.score;
            let p = lane.tail.p(reading.score);
            let surprise = (-p.log10()).min(MEMBER_SURPRISE_MAX);
            (sum, most, count) = (sum + surprise, most.max(surprise), count + 1);
            let explains = best.is_none_or(|best| {
                p < best.p
                    || (best.reading.expected.is_nan() && !reading.expected.is_nan() && p <= best.p)
            });
            if explains {
                best = Some(Finding {
                    p,
                    lane: place,
                    reading,
                });
            }
        }
        let mut best = best?;
        match &mut self.joint {
            Some(tail) => {
                let score = if config.columns > 1 {
                    most
                } else {
                    sum / f64::from(count)
                };
                self.joint_score = score;
                best.p = tail.p(score);
            }
            // The least of several independent probabilities is small by chance.
            None if count > 1 => {
                best.p = -f64::exp_m1(f64::from(count) * f64::ln_1p(-best.p.min(1.0 - 1e-9)))
            }
            None => {}
        }
        Some(best)
    }

    fn learn(&mut self, time: i64, row: &Row) {
        for lane in &mut self.lanes {
            if let Some(values) = row.of(lane.columns()) {
                lane.detector.learn(time, values);
                lane.tail.add(lane.score);
            }
        }
        if let Some(tail) = &mut self.joint {
            tail.add(self.joint_score);
        }
    }

    /// The values between which a row is no anomaly, as far as the explaining lane has such.
    fn bounds(&mut self, config: &Config, finding: &Finding, risk: f64) -> (f64, f64) {
        let Reading {
            expected, scale, ..
        } = finding.reading;
        if let (Method::Fixed, (low, high)) = (config.method, config.allowed) {
            return (low, high);
        }
        let Some(lane) = self
            .lanes
            .get_mut(finding.lane)
            .filter(|_| scale.is_finite())
        else {
            return (f64::NAN, f64::NAN);
        };
        let Some(threshold) = lane.tail.score(risk) else {
            return (f64::NAN, f64::NAN);
        };
        let width = threshold.max(0.0) * scale;
        match config.direction {
            Direction::Both => (expected - width, expected + width),
            Direction::Up => (f64::NEG_INFINITY, expected + width),
            Direction::Down => (expected - width, f64::INFINITY),
        }
    }

    /// Each column's share of the score: of joint detectors what they blame, of others their surprise.
    fn contribution(&mut self, config: &Config) -> Vec<f64> {
        let mut shares = vec![0.0; config.columns];
        for lane in &mut self.lanes {
            if lane.score.is_nan() {
                continue;
            }
            let surprise = -lane.tail.p(lane.score).log10();
            let mut own = vec![0.0; usize::from(lane.columns)];
            lane.detector.blame(&mut own);
            let total: f64 = own.iter().sum();
            let places = shares.get_mut(lane.columns()).unwrap_or_default();
            for (share, own) in places.iter_mut().zip(own) {
                *share += if total > 0.0 {
                    surprise * own / total
                } else {
                    0.0
                };
            }
        }
        let total: f64 = shares.iter().sum();
        if total > 0.0 {
            shares.iter_mut().for_each(|share| *share /= total);
        }
        shares
    }
}

/// The values of a row, bounded; whether one is missing is known of each.
struct Row {
    values: [f64; crate::config::COLUMNS_MAX],
}

impl Row {
    fn new(values: &[f64], columns: usize) -> Self {
        let mut row = Self {
            values: [f64::NAN; crate::config::COLUMNS_MAX],
        };
        for (place, value) in row.values.iter_mut().zip(values).take(columns) {
            *place = if value.is_finite() {
                value.clamp(-VALUE_MAX, VALUE_MAX)
            } else {
                f64::NAN
            };
        }
        row
    }

    /// Some columns, unless one is missing.
    fn of(&self, columns: Range<usize>) -> Option<&[f64]> {
        let values = self.values.get(columns)?;
        values.iter().all(|value| !value.is_nan()).then_some(values)
    }
}
