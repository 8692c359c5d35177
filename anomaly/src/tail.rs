//! Turns scores of any kind into tail probabilities: peaks over a threshold, whose excesses follow a
//! generalized Pareto distribution (SPOT, Siffer et al., KDD 2017), fitted by moments.
//!
//! Peaks are kept in blocks. A block holds its highest scores; when it is full, its threshold rises to
//! their median and the lower half goes. So no quantile has to be guessed and a block is exact about
//! how many of its scores were above its threshold. After so many scores the current block becomes the
//! previous one and the one before is forgotten: what is judged is judged by the last one to two blocks,
//! and drift is followed. Both blocks together are some hundred floats.

use crate::codec::{Reader, State, Writer};
use crate::error::{Error, Result};

/// Peaks of a block: the fit by moments gains little from more, and a key with 2 blocks stays at half a KB.
const PEAKS_MAX: usize = 64;
/// Fewer peaks than these say nothing of a tail's shape: an exponential tail is assumed.
const PEAKS_FOR_SHAPE: usize = 16;
/// Scores before the first probability below [`EARLY_P_MIN`].
const SCORES_MIN: u32 = 32;
/// The least probability as long as there are fewer scores.
const EARLY_P_MIN: f64 = 0.01;
/// As many peaks of an exponential tail are assumed beside those that are there, when their shape is told: few
/// peaks often look as if the tail ended behind the last one, and what is beyond would then be impossible.
const PEAKS_ASSUMED: f64 = 32.0;
/// The least shape: the tail ends four scales above its threshold at the earliest.
const SHAPE_MIN: f64 = -0.25;
/// Scores of a block at most: half of its peaks are then 0.4 % of them.
const BLOCK_SCORES_MAX: u32 = 8_000;
/// The share of scores above the quantile that is followed between the mean and the peaks.
const UPPER_SHARE: f64 = 0.05;
/// How far the quantile moves with a score, as a share of the distance between mean and peaks.
const UPPER_STEP: f64 = 0.02;
/// The least probability that is told: beyond, the fit is an extrapolation and floats end.
pub(crate) const P_MIN: f64 = 1e-12;

/// The highest scores of a stretch.
#[derive(Debug, Clone, PartialEq)]
struct Block {
    peaks: Vec<f32>,
    /// Scores at or below it are counted only; -infinity as long as all are peaks.
    threshold: f32,
    scores: u32,
}

impl Default for Block {
    fn default() -> Self {
        Self {
            peaks: Vec::new(),
            threshold: f32::NEG_INFINITY,
            scores: 0,
        }
    }
}

impl Block {
    fn add(&mut self, score: f32) {
        self.scores += 1;
        if score <= self.threshold {
            return;
        }
        if self.peaks.len() == PEAKS_MAX {
            self.rise();
            if score <= self.threshold {
                return;
            }
        }
        self.peaks.push(score);
    }

    /// Lets the lower half of the peaks go. Equal ones go together, so that the count above the
    /// threshold stays exact; a block of equal scores keeps none.
    fn rise(&mut self) {
        let middle = PEAKS_MAX / 2;
        self.peaks.select_nth_unstable_by(middle, f32::total_cmp);
        self.threshold = self.peaks.get(middle).copied().unwrap_or(self.threshold);
        let threshold = self.threshold;
        self.peaks.retain(|peak| *peak > threshold);
    }
}

/// A generalized Pareto tail: where it starts, how likely that is, and how it falls.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Fit {
    threshold: f64,
    /// Peaks above the threshold.
    above: f64,
    /// The probability of a score above the threshold.
    share: f64,
    shape: f64,
    scale: f64,
}

impl Fit {
    fn p(&self, score: f64) -> f64 {
        let excess = (score - self.threshold) / self.scale;
        let survival = if self.shape.abs() < 1e-6 {
            (-excess).exp()
        } else {
            let base = 1.0 + self.shape * excess;
            if base <= 0.0 {
                0.0
            } else {
                base.powf(-1.0 / self.shape)
            }
        };
        self.share * survival
    }

    /// The score whose probability is `p`.
    fn score(&self, p: f64) -> f64 {
        let ratio = p / self.share;
        let excess = if self.shape.abs() < 1e-6 {
            -ratio.ln()
        } else {
            (ratio.powf(-self.shape) - 1.0) / self.shape
        };
        self.threshold + self.scale * excess.max(0.0)
    }
}

/// The distribution of a detector's scores, as far as its upper tail goes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tail {
    now: Block,
    before: Block,
    /// Scores of a block.
    block_scores: u32,
    /// Scores that differ by less are the same.
    resolution: f64,
    /// Mean of the scores, for the body of the distribution.
    mean: f64,
    /// Whether a quantile below the peaks is followed. Without, common probabilities are rough, and moderate scores
    /// count little beside high ones, which is what votes want.
    is_fine: bool,
    /// About 5 % of the scores are above.
    upper: f64,
    fit: Option<Fit>,
    is_stale: bool,
}

impl Tail {
    /// Forgets over `memory` scores, or fewer: see [`BLOCK_SCORES_MAX`].
    pub(crate) fn new(memory: u32, resolution: f64) -> Self {
        Self {
            now: Block::default(),
            before: Block::default(),
            block_scores: (memory / 2).clamp(PEAKS_MAX as u32 * 2, BLOCK_SCORES_MAX),
            resolution,
            mean: 0.0,
            is_fine: true,
            upper: 0.0,
            fit: None,
            is_stale: true,
        }
    }

    /// One that knows the mean and the peaks only.
    pub(crate) fn rough(memory: u32, resolution: f64) -> Self {
        Self {
            is_fine: false,
            ..Self::new(memory, resolution)
        }
    }

    /// The probability of a score at least so high, among those learned.
    pub(crate) fn p(&mut self, score: f64) -> f64 {
        if !score.is_finite() {
            return if score > 0.0 { P_MIN } else { 1.0 };
        }
        let scores = self.now.scores.saturating_add(self.before.scores);
        if scores == 0 {
            return 1.0;
        }
        let Some(fit) = self.fitted() else {
            return 1.0;
        };
        if score <= fit.threshold {
            return self.body(&fit, score);
        }
        let least = if scores < SCORES_MIN {
            EARLY_P_MIN
        } else {
            P_MIN
        };
        fit.p(score).clamp(least, 1.0)
    }

    /// The lower end of the tail's scores, as places and the probabilities to exceed them: the mean, where half
    /// of the scores are assumed, a quantile that is followed, and the threshold of the peaks.
    fn anchors(&self, fit: &Fit) -> [(f64, f64); 3] {
        let last = (fit.threshold, fit.share.min(0.5));
        if !self.is_fine {
            return [(self.mean.min(last.0), 0.5), last, last];
        }
        // With few scores all above their upper quarter are peaks.
        let upper = self.upper.clamp(self.mean.min(last.0), last.0);
        [
            (self.mean.min(last.0), 0.5),
            (upper, UPPER_SHARE.max(last.1)),
            last,
        ]
    }

    /// Between two anchors the logarithm of the probability is a straight line.
    fn body(&self, fit: &Fit, score: f64) -> f64 {
        let anchors = self.anchors(fit);
        if score <= anchors[0].0 {
            return 1.0;
        }
        for pair in anchors.windows(2) {
            if let [(from, p), (to, q)] = *pair
                && score <= to
            {
                return p * (q / p).powf((score - from) / (to - from));
            }
        }
        fit.share
    }

    /// The score from which on probabilities are below `p`.
    pub(crate) fn score(&mut self, p: f64) -> Option<f64> {
        let fit = self.fitted()?;
        if p >= fit.share {
            return Some(self.body_score(&fit, p));
        }
        Some(fit.score(p))
    }

    /// The other way round.
    fn body_score(&self, fit: &Fit, probability: f64) -> f64 {
        for pair in self.anchors(fit).windows(2) {
            if let [(from, p), (to, q)] = *pair
                && probability >= q
                && q < p
            {
                return from + (to - from) * ((probability / p).ln() / (q / p).ln()).max(0.0);
            }
        }
        fit.threshold
    }

    /// Learns a score.
    pub(crate) fn add(&mut self, score: f64) {
        if !score.is_finite() {
            return;
        }
        let scores = f64::from(self.now.scores.saturating_add(self.before.scores));
        let step = 1.0 / (scores + 1.0).min(f64::from(self.block_scores));
        self.mean += (score - self.mean) * step;
        let top = f64::from(self.now.threshold.max(self.before.threshold));
        if top.is_finite() {
            let width = (top - self.mean).max(0.0) * step.max(UPPER_STEP);
            let above = if score > self.upper { 1.0 } else { 0.0 };
            // It is looked for between the mean and the peaks.
            let moved = self.upper + width * (above - UPPER_SHARE);
            self.upper = moved.clamp(self.mean.min(top), top);
        }
        let peaks = self.now.peaks.len();
        let threshold = self.now.threshold;
        self.now.add(score as f32);
        self.is_stale |= self.now.peaks.len() != peaks || self.now.threshold != threshold;
        if self.now.scores >= self.block_scores {
            self.before = std::mem::take(&mut self.now);
            self.is_stale = true;
        }
    }

    fn fitted(&mut self) -> Option<Fit> {
        if self.is_stale {
            self.fit = self.made();
            self.is_stale = false;
        }
        let scores = f64::from(self.now.scores.saturating_add(self.before.scores));
        let fit = self.fit.as_mut()?;
        // As if one more had been seen, so that nothing is impossible.
        fit.share = (fit.above + 1.0) / (scores + 1.0);
        Some(*fit)
    }

    fn peaks(&self, threshold: f32) -> impl Iterator<Item = f32> + '_ {
        let all = self.now.peaks.iter().chain(&self.before.peaks);
        all.copied().filter(move |peak| *peak > threshold)
    }

    fn made(&self) -> Option<Fit> {
        let mut threshold = f32::NEG_INFINITY;
        for block in [&self.now, &self.before] {
            threshold = threshold.max(block.threshold);
        }
        if threshold == f32::NEG_INFINITY {
            // All scores are peaks still: the upper quarter is the tail.
            let mut all: Vec<f32> = self.peaks(threshold).collect();
            let place = (all.len() * 3 / 4).min(all.len().checked_sub(1)?);
            let (_, quarter, _) = all.select_nth_unstable_by(place, f32::total_cmp);
            threshold = *quarter;
        }
        let (mut count, mut sum, mut squares) = (0.0_f64, 0.0_f64, 0.0_f64);
        for peak in self.peaks(threshold) {
            let excess = f64::from(peak) - f64::from(threshold);
            count += 1.0;
            sum += excess;
            squares += excess * excess;
        }
        let mean = if count > 0.0 { sum / count } else { 0.0 };
        // What is above a constant is above it by any measure; a scale of nothing would divide by 0.
        let floor = (f64::from(threshold).abs() * 1e-6)
            .max(1e-9)
            .max(self.resolution);
        let variance = if count > 1.0 {
            (squares / count - mean * mean).max(0.0)
        } else {
            0.0
        };
        if (count as usize) < PEAKS_FOR_SHAPE || variance <= floor * floor {
            let scale = mean.max(floor);
            return Some(Fit {
                threshold: f64::from(threshold),
                above: count,
                share: 1.0,
                shape: 0.0,
                scale,
            });
        }
        let ratio = mean * mean / variance;
        let shape = 0.5 * (1.0 - ratio) * count / (count + PEAKS_ASSUMED);
        let shape = shape.max(SHAPE_MIN);
        // With the shape held, the scale keeps the mean of the excesses.
        let scale = (mean * (1.0 - shape)).max(floor);
        Some(Fit {
            threshold: f64::from(threshold),
            above: count,
            share: 1.0,
            shape,
            scale,
        })
    }
}

impl State for Block {
    fn save(&self, to: &mut Writer) {
        to.f32s(&self.peaks);
        to.f32(self.threshold);
        to.u32(self.scores);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        self.peaks = from.f32s(PEAKS_MAX)?;
        self.threshold = from.f32()?;
        self.scores = from.u32()?;
        if self.peaks.iter().any(|peak| !peak.is_finite()) {
            return Err(Error::Damaged("a peak is not finite"));
        }
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        self.peaks.capacity() * size_of::<f32>()
    }
}

impl State for Tail {
    fn save(&self, to: &mut Writer) {
        self.now.save(to);
        self.before.save(to);
        to.f64(self.mean);
        to.f64(self.upper);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        self.now.load(from)?;
        self.before.load(from)?;
        self.mean = from.f64()?;
        self.upper = from.f64()?;
        self.fit = None;
        self.is_stale = true;
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        self.now.heap_bytes() + self.before.heap_bytes()
    }
}
