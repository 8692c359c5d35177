//! The last values of a series, a bounded number of them.

use crate::codec::{Reader, State, Writer};
use crate::error::{Error, Result};

/// A ring of floats; what is pushed into a full one takes the place of the oldest.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ring {
    values: Vec<f32>,
    most: usize,
    /// Where the next value goes once the ring is full.
    next: usize,
}

impl Ring {
    /// Holds at most `most` values.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            values: Vec::new(),
            most: most.max(1),
            next: 0,
        }
    }

    /// The values that it holds at most.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Whether the next value takes the place of another.
    pub(crate) fn is_full(&self) -> bool {
        self.values.len() == self.most
    }

    /// Adds a value, and gives the one whose place it took.
    pub(crate) fn push(&mut self, value: f32) -> Option<f32> {
        if self.values.len() < self.most {
            if self.values.is_empty() {
                // Exactly, since a key's state is counted in bytes.
                self.values.reserve_exact(self.most);
            }
            self.values.push(value);
            return None;
        }
        let place = self.values.get_mut(self.next)?;
        let old = std::mem::replace(place, value);
        self.next = (self.next + 1) % self.most;
        Some(old)
    }

    /// Puts a value in place of the newest one.
    pub(crate) fn replace_last(&mut self, value: f32) {
        let last = (self.next + self.values.len()).checked_sub(1);
        let place = last.map(|last| last % self.values.len().max(1));
        if let Some(newest) = place.and_then(|place| self.values.get_mut(place)) {
            *newest = value;
        }
    }

    /// The values, the oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = f32> + '_ {
        let (newer, older) = self.values.split_at(self.next);
        older.iter().chain(newer).copied()
    }

    /// The newest value.
    pub(crate) fn last(&self) -> Option<f32> {
        let place = (self.next + self.values.len()).checked_sub(1)?;
        self.values.get(place % self.values.len()).copied()
    }
}

impl State for Ring {
    fn save(&self, to: &mut Writer) {
        to.f32s(&self.values);
        to.length(self.next);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        let values = from.f32s(self.most)?;
        self.next = from.length(self.most)?;
        if self.next > 0 && self.next >= values.len() {
            return Err(Error::Damaged("a ring's place is outside"));
        }
        self.values.clear();
        if !values.is_empty() {
            self.values.reserve_exact(self.most);
        }
        self.values.extend(values);
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        self.values.capacity() * size_of::<f32>()
    }
}
