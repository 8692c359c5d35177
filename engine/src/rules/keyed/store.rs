//! What is remembered by key, with what has changed of it since the last checkpoint.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;

use super::fingerprint::{ByKey, Low};
use crate::updating::short_row::ShortRow;

/// Something that is remembered of a key.
pub(super) trait Held: Clone {
    /// Bytes that it holds elsewhere.
    fn heap(&self) -> usize;
}

impl Held for u128 {
    fn heap(&self) -> usize {
        0
    }
}

impl Held for ShortRow {
    fn heap(&self) -> usize {
        // A short one is within the entry.
        if self.len() > 22 { self.len() + 16 } else { 0 }
    }
}

/// Values by key.
#[derive(Debug)]
pub(super) struct Store<V> {
    held: ByKey<V>,
    changed: HashSet<u128, BuildHasherDefault<Low>>,
    /// There was a checkpoint, so that the next one asks for what has changed.
    tracking: bool,
    heap: usize,
}

impl<V> Default for Store<V> {
    fn default() -> Self {
        Self {
            held: ByKey::default(),
            changed: HashSet::default(),
            tracking: false,
            heap: 0,
        }
    }
}

impl<V: Held> Store<V> {
    pub(super) fn get(&self, key: u128) -> Option<&V> {
        self.held.get(&key)
    }

    /// Sets the value of a key; gives the one before.
    pub(super) fn set(&mut self, key: u128, value: V) -> Option<V> {
        self.note(key);
        self.heap += value.heap();
        let before = self.held.insert(key, value);
        self.heap -= before.as_ref().map_or(0, Held::heap);
        before
    }

    /// Changes the value of a key, which is made if there is none.
    pub(super) fn change(&mut self, key: u128, change: impl FnOnce(&mut V))
    where
        V: Default,
    {
        self.note(key);
        let value = self.held.entry(key).or_default();
        self.heap -= value.heap();
        change(value);
        self.heap += value.heap();
    }

    pub(super) fn remove(&mut self, key: u128) {
        if let Some(value) = self.held.remove(&key) {
            self.note(key);
            self.heap -= value.heap();
        }
    }

    /// Changes all values, and removes those for which `keep` says no.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut V) -> bool) {
        let (changed, tracking, heap) = (&mut self.changed, self.tracking, &mut self.heap);
        self.held.retain(|key, value| {
            *heap -= value.heap();
            let kept = keep(value);
            if kept {
                *heap += value.heap();
            } else if tracking {
                changed.insert(*key);
            }
            kept
        });
    }

    fn note(&mut self, key: u128) {
        if self.tracking {
            self.changed.insert(key);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        // An eighth of a table is always free, and each place has a byte beside it.
        let places = |room: usize, bytes: usize| room * 8 / 7 * (bytes + 1);
        places(self.held.capacity(), size_of::<(u128, V)>())
            + places(self.changed.capacity(), size_of::<u128>())
            + self.heap
    }

    /// All that is remembered, or the keys that have changed and what is remembered of them now.
    pub(super) fn take(&mut self, all: bool) -> (Vec<u128>, Vec<(u128, V)>) {
        let all = all || !self.tracking;
        self.tracking = true;
        let changed = std::mem::take(&mut self.changed);
        if all {
            let held = self.held.iter();
            return (Vec::new(), held.map(|(key, v)| (*key, v.clone())).collect());
        }
        let value = |key: &u128| Some((*key, self.held.get(key)?.clone()));
        let kept = changed.iter().filter_map(value).collect();
        (changed.into_iter().collect(), kept)
    }

    /// What was set so far comes from a checkpoint: none of it is new.
    pub(super) fn restored(&mut self) {
        self.tracking = true;
        self.changed = HashSet::default();
    }
}
