//! Fewer payload rows for the same sessions.

use super::index::{Place, SessionId};
use super::operator::{Sessions, places_of};
use super::store::gather;
use crate::error::Result;

impl Sessions {
    /// Rewrites the payload rows when that makes them fewer.
    pub(super) fn tidy(&mut self) -> Result<()> {
        if self.store.is_loose(self.index.len(), self.payload.merges()) {
            let ids = self.index.ids();
            self.rewrite(&ids)?;
        }
        Ok(())
    }

    /// Rewrites the payload rows of some sessions. What a snapshot has stays apart from what is new,
    /// so that the next one gives only the latter.
    pub(super) fn rewrite(&mut self, ids: &[SessionId]) -> Result<()> {
        let parts = self.store.parts();
        let old: Vec<Vec<Place>> = ids
            .iter()
            .map(|id| {
                self.index
                    .get(*id)
                    .map_or_else(Vec::new, |s| s.places.clone())
            })
            .collect();
        let mut rewritten: Vec<Vec<Place>> = vec![Vec::new(); ids.len()];
        for persisted in [true, false] {
            let of_kind = |places: &Vec<Place>| -> Vec<Place> {
                let places = places.iter().copied();
                places
                    .filter(|p| self.store.is_persisted(*p) == persisted)
                    .collect()
            };
            let chosen: Vec<Vec<Place>> = old.iter().map(of_kind).collect();
            let owners: Vec<usize> = (0..ids.len())
                .filter(|i| chosen.get(*i).is_some_and(|places| !places.is_empty()))
                .collect();
            if owners.is_empty() {
                continue;
            }
            let some = owners.iter().filter_map(|i| chosen.get(*i));
            let (places, groups) = places_of(some.map(Vec::as_slice));
            let columns = gather(&parts, &places)?;
            let (part, groups) = self.payload.merge(columns, groups, owners.len())?;
            let number = self.store.add(part, persisted);
            for (row, group) in (0_u32..).zip(groups) {
                let owner = owners.get(group).and_then(|i| rewritten.get_mut(*i));
                if let Some(owner) = owner {
                    owner.push((number, row));
                }
            }
        }
        old.iter().for_each(|places| self.store.forget(places));
        for (id, places) in ids.iter().zip(rewritten) {
            self.index.replace_places(*id, places);
        }
        Ok(())
    }
}
