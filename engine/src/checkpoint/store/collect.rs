//! Removing what nobody can need any more.
//!
//! Manifests go before the files that they name, so that what is interrupted leaves garbage for
//! the next time, never a manifest without its files.

use std::collections::{BTreeMap, HashSet};

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;

use super::claim::is_damage;
use super::{COPY, Collected, MANIFEST, Store, state_epoch};
use crate::checkpoint::manifest::{Manifest, ManifestKind};
use crate::error::Result;

/// Files that are removed at the same time.
const DELETES_MAX: usize = 16;

impl Store {
    /// Keeps the newest `retain` epochs and all savepoints, and removes the rest: older manifests,
    /// the state files that only they named, and older claims. State files of epochs that are still
    /// to be published stay.
    pub async fn collect(&self, retain: usize) -> Result<Collected> {
        let manifests = self.readable().await?;
        let Some(newest) = manifests.keys().next_back().copied() else {
            return Ok(Collected::default());
        };
        let kept: BTreeMap<u64, &Manifest> = manifests
            .iter()
            .rev()
            .enumerate()
            .filter(|(at, (_, manifest))| {
                *at < retain.max(1) || manifest.kind == ManifestKind::Savepoint
            })
            .map(|(_, (epoch, manifest))| (*epoch, manifest))
            .collect();
        let oldest = manifests
            .keys()
            .rev()
            .nth(retain.max(1) - 1)
            .copied()
            .unwrap_or(0);
        let named: HashSet<String> = kept
            .values()
            .flat_map(|manifest| manifest.files())
            .map(|file| file.path.clone())
            .collect();
        let mut collected = Collected {
            manifests: self.remove_manifests(oldest, &kept).await?,
            ..Collected::default()
        };
        let files = self.list_below(&self.place("state"), None).await?;
        let garbage: Vec<_> = files
            .into_iter()
            .filter(|meta| {
                self.relative(&meta.location).is_some_and(|path| {
                    !named.contains(&path) && state_epoch(&path).is_some_and(|e| e <= newest)
                })
            })
            .collect();
        collected.files = garbage.len();
        collected.bytes = garbage.iter().map(|meta| meta.size).sum();
        self.remove(garbage.into_iter().map(|meta| meta.location))
            .await?;
        self.remove_folders(newest, named).await?;
        self.remove_claims().await?;
        Ok(collected)
    }

    /// Reads all manifests that can be read; one that cannot for now is an error, since nobody
    /// knows what it names.
    async fn readable(&self) -> Result<BTreeMap<u64, Manifest>> {
        let mut manifests = BTreeMap::new();
        for epoch in self.epochs().await? {
            match self.inspect(epoch).await {
                Ok(manifest) => {
                    manifests.insert(epoch, manifest);
                }
                Err(error) if is_damage(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(manifests)
    }

    async fn remove_manifests(
        &self,
        oldest: u64,
        kept: &BTreeMap<u64, &Manifest>,
    ) -> Result<usize> {
        let epochs = self.epochs().await?;
        let old: Vec<u64> = epochs
            .into_iter()
            .filter(|epoch| *epoch < oldest && !kept.contains_key(epoch))
            .collect();
        let places = |ending| {
            old.iter()
                .map(move |epoch| self.manifest_place(*epoch, ending))
        };
        self.remove(places(MANIFEST)).await?;
        self.remove(places(COPY)).await?;
        Ok(old.len())
    }

    async fn remove_claims(&self) -> Result<()> {
        let mut claims = self.generations().await?;
        claims.pop_last();
        self.remove(claims.iter().map(|claim| self.generation_place(*claim)))
            .await
    }

    async fn remove(&self, places: impl Iterator<Item = Path>) -> Result<()> {
        let places: Vec<Path> = places.collect();
        futures::stream::iter(places)
            .map(|place| async move { self.delete(&place).await })
            .buffer_unordered(DELETES_MAX)
            .try_collect::<()>()
            .await
    }
}
