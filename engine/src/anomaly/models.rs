//! The models of an operator by key.
//!
//! A checkpoint holds the very models, not copies of them: a model that a row comes for while the checkpoint is being
//! written is copied then, and no other is.

use std::sync::Arc;

use weir_anomaly::Model;

use super::feedback::Said;
use super::judge::Lookup;
use super::program::Program;
use crate::error::{Error, Kind, Result, codes};
use crate::updating::RowBytes;
use crate::updating::places::{Keyed, Places};

/// A model as a checkpoint has it; `None` for one that was forgotten.
pub(super) type Saved = (RowBytes, Option<Arc<Model>>);

/// The models by key.
#[derive(Debug)]
pub(super) struct Models {
    program: Arc<Program>,
    places: Places<Entry>,
    /// What the models take.
    bytes: usize,
    now: i64,
    /// Places of models that changed since the last snapshot; one that was given up may be another's.
    changed: Vec<u32>,
    /// Places of models that changed since [`Models::settle`].
    unsettled: Vec<u32>,
    /// Keys that were forgotten since the last snapshot, once there was one.
    gone: Option<Vec<RowBytes>>,
}

#[derive(Debug)]
struct Entry {
    key: RowBytes,
    model: Arc<Model>,
    /// What the entry takes as it was settled last.
    bytes: usize,
    touched: i64,
    is_changed: bool,
    is_unsettled: bool,
}

impl Keyed for Entry {
    fn key(&self) -> &[u8] {
        &self.key
    }
}

impl Models {
    /// No model yet.
    pub(super) fn new(program: Arc<Program>, now: i64) -> Self {
        Self {
            program,
            places: Places::default(),
            bytes: 0,
            now,
            changed: Vec::new(),
            unsettled: Vec::new(),
            gone: None,
        }
    }

    /// Bytes of all models and their keys.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.places.bytes()
    }

    /// Takes the time of the clock.
    pub(super) fn set_now(&mut self, now: i64) {
        self.now = now;
    }

    /// Gives what was said to the models that it is about.
    pub(super) fn follow(&mut self, said: &[Said]) {
        let about = |entry: &Entry| {
            let key = self.program.key_of(&entry.key);
            said.iter().any(|said| said.key == key)
        };
        let places: Vec<u32> = self.places.places().collect();
        let found = places
            .into_iter()
            .filter(|place| self.places.get(*place).is_some_and(about));
        for place in found.collect::<Vec<_>>() {
            let Some(entry) = self.places.get_mut(place) else {
                continue;
            };
            let key = self.program.key_of(&entry.key);
            let mut model = Model::clone(&entry.model);
            let own = said.iter().filter(|said| said.key == key);
            let taken = own.filter(|said| model.feedback(said.mark, said.feedback, said.at));
            // A model that has taken all of it is as it was: no checkpoint has to hold it anew.
            if taken.count() == 0 {
                continue;
            }
            entry.model = Arc::new(model);
            self.touch(place);
        }
    }

    /// Notes that a model has changed.
    fn touch(&mut self, place: u32) {
        let Some(entry) = self.places.get_mut(place) else {
            return;
        };
        if !std::mem::replace(&mut entry.is_changed, true) {
            self.changed.push(place);
        }
        if !std::mem::replace(&mut entry.is_unsettled, true) {
            self.unsettled.push(place);
        }
    }

    /// Looks how large the models are that were touched.
    pub(super) fn settle(&mut self) {
        for place in std::mem::take(&mut self.unsettled) {
            if let Some(entry) = self.places.get_mut(place)
                && std::mem::take(&mut entry.is_unsettled)
            {
                let bytes = entry.key.len() + entry.model.state_bytes();
                self.bytes = self.bytes + bytes - entry.bytes;
                entry.bytes = bytes;
            }
        }
    }

    /// Forgets the models that no row touched since a time of the clock.
    pub(super) fn expire(&mut self, before: i64) {
        let is_old = |place: &u32| self.places.get(*place).is_some_and(|e| e.touched <= before);
        let old: Vec<u32> = self.places.places().filter(is_old).collect();
        for place in old {
            self.remove(place);
        }
    }

    /// All models, or those that changed since the last call; forgotten ones come first.
    pub(super) fn save(&mut self, all: bool) -> Vec<Saved> {
        let changed = std::mem::take(&mut self.changed);
        let gone = self.gone.replace(Vec::new());
        let mut saved: Vec<Saved> = Vec::new();
        if all || gone.is_none() {
            for place in changed {
                if let Some(entry) = self.places.get_mut(place) {
                    entry.is_changed = false;
                }
            }
            let entry = |e: &Entry| (Arc::clone(&e.key), Some(Arc::clone(&e.model)));
            saved.extend(self.places.iter().map(entry));
            return saved;
        }
        saved.extend(gone.into_iter().flatten().map(|key| (key, None)));
        for place in changed {
            if let Some(entry) = self.places.get_mut(place)
                && std::mem::take(&mut entry.is_changed)
            {
                saved.push((Arc::clone(&entry.key), Some(Arc::clone(&entry.model))));
            }
        }
        saved
    }

    /// Takes a model back, or that there is none.
    pub(super) fn restore(&mut self, key: &[u8], model: Option<Model>) -> Result<()> {
        self.gone.get_or_insert_default();
        let place = self.places.find(key);
        match (place, model) {
            (Some(place), Some(model)) => {
                if let Some(entry) = self.places.get_mut(place) {
                    entry.model = Arc::new(model);
                    self.unsettled.push(place);
                    entry.is_unsettled = true;
                }
            }
            (None, Some(model)) => {
                let place = self.insert(key, model)?;
                self.unsettled.push(place);
            }
            (Some(place), None) => drop(self.take(place)),
            (None, None) => {}
        }
        self.settle();
        Ok(())
    }

    /// Adds a model; its size is not known yet.
    fn insert(&mut self, key: &[u8], model: Model) -> Result<u32> {
        let entry = Entry {
            key: key.into(),
            model: Arc::new(model),
            bytes: 0,
            touched: self.now,
            is_changed: false,
            is_unsettled: true,
        };
        self.places.insert(entry).ok_or_else(|| {
            let message = "one subtask has more than 2^32 anomaly models";
            Error::new(Kind::Limit, codes::LIMIT, message).hint("raise the parallelism")
        })
    }

    fn take(&mut self, place: u32) -> Option<Entry> {
        let entry = self.places.remove(place)?;
        self.bytes -= entry.bytes;
        Some(entry)
    }

    fn remove(&mut self, place: u32) {
        if let (Some(entry), Some(gone)) = (self.take(place), &mut self.gone) {
            gone.push(entry.key);
        }
    }
}

impl Lookup for Models {
    fn model(&mut self, key: &[u8]) -> Result<&mut Model> {
        let place = match self.places.find(key) {
            Some(place) => place,
            None => {
                let place = self.insert(key, self.program.model()?)?;
                self.unsettled.push(place);
                place
            }
        };
        self.touch(place);
        let entry = self.places.get_mut(place);
        let entry = entry.ok_or_else(|| Error::internal("an anomaly model has no place"))?;
        entry.touched = self.now;
        Ok(Arc::make_mut(&mut entry.model))
    }
}
