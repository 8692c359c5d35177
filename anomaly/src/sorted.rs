//! The last values, in order of time and by size: what order statistics are read from. The state is the window alone.

use crate::codec::{Reader, State, Writer};
use crate::error::{Error, Result};
use crate::ring::Ring;

/// A window of finite values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sorted {
    window: Ring,
    values: Vec<f32>,
}

impl Sorted {
    /// An empty window of so many values.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            window: Ring::new(most),
            values: Vec::new(),
        }
    }

    /// The values by size.
    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// The value at a place in the order, 0 behind the last.
    pub(crate) fn at(&self, place: usize) -> f64 {
        self.values.get(place).copied().map_or(0.0, f64::from)
    }

    /// Takes a value in, and lets the oldest go from a full window.
    pub(crate) fn push(&mut self, value: f32) {
        // -0 would be another place in the order, and none when sorted anew.
        let value = value + 0.0;
        self.make_room();
        if let Some(old) = self.window.push(value) {
            let place = self.values.partition_point(|known| *known < old);
            if place < self.values.len() {
                self.values.remove(place);
            }
        }
        let place = self.values.partition_point(|known| *known < value);
        self.values.insert(place, value);
    }

    fn make_room(&mut self) {
        if self.values.capacity() == 0 {
            self.values.reserve_exact(self.window.most());
        }
    }
}

impl State for Sorted {
    fn save(&self, to: &mut Writer) {
        self.window.save(to);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        self.window.load(from)?;
        if self.window.iter().any(|value| !value.is_finite()) {
            return Err(Error::Damaged("a value is not finite"));
        }
        self.make_room();
        self.values.clear();
        self.values.extend(self.window.iter());
        self.values.sort_by(f32::total_cmp);
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        self.window.heap_bytes() + self.values.capacity() * size_of::<f32>()
    }
}
