//! Several seasons: what the shorter ones add is taken away before a detector of the longest sees a value.
//!
//! A season of a week has few slots for an hour, and each is seen once a week. So the week alone blurs what happens
//! at a minute of each day, and learns it slowly, while the day alone knows no weekend. A layer knows of each slot of
//! its season how far its values were from the mean of the season before, whatever the longer seasons made of that mean.

use super::{Any, Detector, Reading};
use crate::codec::{Reader, State, Writer};
use crate::error::Result;

/// Slots of a season.
const SLOTS: usize = 288;
/// The least step with which a slot learns: some twenty seasons count.
const STEP_MIN: f64 = 0.05;

/// One season.
#[derive(Debug, Clone, PartialEq)]
struct Layer {
    length: i64,
    /// The number of the season that goes on, with the sum and the count of its rows.
    season: i64,
    sum: f64,
    rows: u32,
    /// The mean of the season before; NaN in the first one.
    mean: f64,
    /// Seasons that have a mean.
    seasons: u32,
    /// What a slot adds; NaN as long as it was not seen.
    slots: Vec<f32>,
}

impl Layer {
    fn new(length: i64) -> Self {
        Self {
            length,
            season: i64::MIN,
            sum: 0.0,
            rows: 0,
            mean: f64::NAN,
            seasons: 0,
            slots: vec![f32::NAN; SLOTS],
        }
    }

    fn slot(&self, time: i64) -> usize {
        let place = i128::from(time.rem_euclid(self.length)) * SLOTS as i128;
        // Less than SLOTS.
        (place / i128::from(self.length)) as usize
    }

    /// What the season adds at a time; NaN while that is not known.
    fn adds(&self, time: i64) -> f64 {
        let slot = self.slots.get(self.slot(time)).copied();
        slot.map_or(f64::NAN, f64::from)
    }

    fn learn(&mut self, time: i64, value: f64) {
        let season = time.div_euclid(self.length);
        if season != self.season {
            if self.rows > 0 {
                self.mean = self.sum / f64::from(self.rows);
                self.seasons = self.seasons.saturating_add(1);
            }
            (self.season, self.sum, self.rows) = (season, 0.0, 0);
        }
        self.sum += value;
        self.rows = self.rows.saturating_add(1);
        let (slot, now) = (self.slot(time), value - self.mean);
        let step = (1.0 / f64::from(self.seasons.max(1))).max(STEP_MIN);
        if let Some(place) = self.slots.get_mut(slot).filter(|_| !now.is_nan()) {
            let before = f64::from(*place);
            *place = match before.is_nan() {
                true => now,
                false => before + (now - before) * step,
            } as f32;
        }
    }
}

/// The layers, from the shortest season on, and the detector of what is left.
#[derive(Debug, Clone)]
pub(crate) struct Layers {
    layers: Vec<Layer>,
    inner: Any,
}

impl Layers {
    /// Nothing has been seen.
    pub(crate) fn new(shorter: &[i64], inner: Any) -> Self {
        let layers = shorter.iter().map(|length| Layer::new(*length)).collect();
        Self { layers, inner }
    }

    /// What all layers add; `None` while one of them does not know.
    fn adds(&self, time: i64) -> Option<f64> {
        let sum: f64 = self.layers.iter().map(|layer| layer.adds(time)).sum();
        (!sum.is_nan()).then_some(sum)
    }
}

impl Detector for Layers {
    fn judge(&mut self, time: i64, values: &[f64]) -> Reading {
        match (self.adds(time), values.first()) {
            (Some(adds), Some(value)) => {
                let reading = self.inner.judge(time, &[value - adds]);
                Reading {
                    expected: reading.expected + adds,
                    ..reading
                }
            }
            _ => Reading::SILENT,
        }
    }

    fn learn(&mut self, time: i64, values: &[f64]) {
        let Some(value) = values.first().copied() else {
            return;
        };
        if let Some(adds) = self.adds(time) {
            self.inner.learn(time, &[value - adds]);
        }
        let mut left = value;
        for layer in &mut self.layers {
            let adds = layer.adds(time);
            layer.learn(time, left);
            left -= if adds.is_nan() { 0.0 } else { adds };
        }
    }
}

impl State for Layers {
    fn save(&self, to: &mut Writer) {
        for layer in &self.layers {
            to.i64(layer.season);
            to.f64(layer.sum);
            to.u32(layer.rows);
            to.f64(layer.mean);
            to.u32(layer.seasons);
            to.f32s(&layer.slots);
        }
        self.inner.save(to);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        for layer in &mut self.layers {
            layer.season = from.i64()?;
            layer.sum = from.f64()?;
            layer.rows = from.u32()?;
            layer.mean = from.f64()?;
            layer.seasons = from.u32()?;
            layer.slots = from.f32s(SLOTS)?;
            layer.slots.resize(SLOTS, f32::NAN);
        }
        self.inner.load(from)
    }

    fn heap_bytes(&self) -> usize {
        let slots = |layer: &Layer| size_of::<Layer>() + layer.slots.capacity() * size_of::<f32>();
        self.layers.iter().map(slots).sum::<usize>() + self.inner.heap_bytes()
    }
}
