//! The groups of one subtask: found by key, dropped when empty, and what a snapshot has to say.

use super::call::{Method, misfit};
use super::program::Program;
use super::value::Value;
use crate::error::Result;
use crate::updating::RowBytes;
use crate::updating::codec::RowMap;
use crate::updating::memory::ENTRY_BYTES;
use crate::updating::places::{Keyed, Places};

/// One group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) key: RowBytes,
    /// Rows that have come and were not taken back.
    pub(super) rows: i64,
    /// One per aggregate.
    pub(super) values: Vec<Value>,
    /// The result that was sent last.
    pub(super) emitted: Option<RowBytes>,
    /// When a row came last, in microseconds since 1970.
    pub(super) touched_at: i64,
    /// The last batch with rows of this group, and the group's place in it.
    pub(super) place: (u64, u32),
    /// The result may have changed since it was sent.
    pub(super) pending: bool,
    /// The group differs from what the last snapshot holds.
    pub(super) changed: bool,
    /// Its entries must be saved as a whole.
    pub(super) whole: bool,
    /// A snapshot holds it.
    pub(super) saved: bool,
    bytes: usize,
}

impl Group {
    pub(super) fn new(key: RowBytes, program: &Program) -> Result<Self> {
        Ok(Self {
            key,
            rows: 0,
            values: program.values()?,
            emitted: None,
            touched_at: i64::MIN,
            place: (0, 0),
            pending: false,
            changed: false,
            whole: true,
            saved: false,
            bytes: 0,
        })
    }

    /// Forgets all rows.
    pub(super) fn clear(&mut self, program: &Program) -> Result<()> {
        self.rows = 0;
        self.values = program.values()?;
        self.whole = true;
        Ok(())
    }

    /// Computes the accumulators of DISTINCT from the rows that a snapshot has given back.
    pub(super) fn rebuild(&mut self, program: &Program) -> Result<()> {
        for set in &program.sets {
            let owner = self.values.get(set.owner()).ok_or_else(misfit)?;
            let seen = set.calls(program)?.into_iter().map(|(bit, place, call)| {
                let fresh = owner.seen(call, |marks| marks & bit != 0)?;
                Ok((place, fresh))
            });
            for (place, fresh) in seen.collect::<Result<Vec<_>>>()? {
                self.values.get_mut(place).ok_or_else(misfit)?.take(fresh);
            }
        }
        for (place, call) in program.calls.iter().enumerate() {
            if call.method == Method::Edges && program.set_of(place).is_none() {
                let value = self.values.get_mut(place).ok_or_else(misfit)?;
                let fresh = value.seen(call, |_| true)?;
                value.take(fresh);
            }
        }
        Ok(())
    }

    /// Gives up following single entries where too many have changed.
    fn compact_changes(&mut self) {
        if self.whole {
            // None were followed since.
            return;
        }
        let mut entries = self.values.iter_mut().filter_map(|v| v.entries.as_mut());
        if entries.any(|e| e.is_mostly_changed()) {
            self.whole = true;
            self.forget_changes();
        }
    }

    /// What is here is in a snapshot, or will be as a whole.
    pub(super) fn forget_changes(&mut self) {
        for entries in self.values.iter_mut().filter_map(|v| v.entries.as_mut()) {
            entries.forget_changes();
        }
    }

    fn size(&self) -> usize {
        let values: usize = self.values.iter().map(Value::bytes).sum();
        let emitted = self.emitted.as_ref().map_or(0, |row| row.len());
        ENTRY_BYTES + self.key.len() + emitted + values
    }
}

impl Keyed for Group {
    fn key(&self) -> &[u8] {
        &self.key
    }
}

/// The groups by their places, and by their keys.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: Places<Group>,
    /// Places whose groups differ from what the last snapshot holds.
    changed: Vec<u32>,
    /// Which places are in that list: each once, however many groups have come and gone there.
    listed: Vec<bool>,
    /// Keys of groups that a snapshot holds and that are gone.
    gone: RowMap<()>,
    bytes: usize,
}

impl Groups {
    pub(super) fn find(&self, key: &[u8]) -> Option<u32> {
        self.groups.find(key)
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Group> {
        self.groups.get(slot)
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Group> {
        self.groups.get_mut(slot)
    }

    /// A group that must be there.
    pub(super) fn held(&mut self, slot: u32) -> Result<&mut Group> {
        self.get_mut(slot).ok_or_else(misfit)
    }

    /// Adds a group; its key must be new.
    pub(super) fn insert(&mut self, group: Group) -> Result<u32> {
        self.bytes += group.bytes;
        self.groups.insert(group).ok_or_else(misfit)
    }

    /// Drops a group.
    pub(super) fn remove(&mut self, slot: u32) {
        let Some(group) = self.groups.remove(slot) else {
            return;
        };
        self.bytes -= group.bytes;
        if group.saved {
            self.bytes += group.key.len() + ENTRY_BYTES;
            self.gone.insert(group.key, ());
        }
    }

    /// Notes that a group differs from what is saved, and takes its size.
    pub(super) fn note(&mut self, slot: u32) {
        let Some(group) = self.groups.get_mut(slot) else {
            return;
        };
        group.changed = true;
        let place = slot as usize;
        if place >= self.listed.len() {
            self.listed.resize(place + 1, false);
        }
        if let Some(listed) = self.listed.get_mut(place)
            && !std::mem::replace(listed, true)
        {
            self.changed.push(slot);
        }
        group.compact_changes();
        self.measure(slot);
    }

    /// Takes the size of a group.
    pub(super) fn measure(&mut self, slot: u32) {
        if let Some(group) = self.groups.get_mut(slot) {
            let bytes = group.size();
            self.bytes = (self.bytes + bytes).saturating_sub(group.bytes);
            group.bytes = bytes;
        }
    }

    /// The groups that differ from what is saved, each once; they count as saved afterwards.
    pub(super) fn take_changed(&mut self) -> Vec<u32> {
        let slots = std::mem::take(&mut self.changed);
        self.listed = Vec::new();
        let differs = |slot: &u32| {
            let group = self.groups.get_mut(*slot);
            group.is_some_and(|group| std::mem::replace(&mut group.changed, false))
        };
        slots.into_iter().filter(differs).collect()
    }

    /// The keys that are gone since the last call.
    pub(super) fn take_gone(&mut self) -> Vec<RowBytes> {
        let gone = std::mem::take(&mut self.gone);
        self.bytes -= gone.keys().map(|k| k.len() + ENTRY_BYTES).sum::<usize>();
        gone.into_keys().collect()
    }

    /// All places with a group.
    pub(super) fn slots(&self) -> Vec<u32> {
        self.groups.places().collect()
    }

    /// Takes all groups out.
    pub(super) fn into_groups(self) -> impl Iterator<Item = Group> {
        self.groups.into_values()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
            + self.groups.bytes()
            + self.changed.capacity() * size_of::<u32>()
            + self.listed.capacity()
    }
}
