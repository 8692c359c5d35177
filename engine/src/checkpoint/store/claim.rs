//! Taking a pipeline over: a new generation, the newest manifest that is whole, and the fence.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::io::Created;
use super::publish::{Published, taken_over};
use super::{COPY, Claim, Listed, MANIFEST, Rejected, Store, missing};
use crate::checkpoint::manifest::{FORMAT, Manifest, ManifestKind};
use crate::error::{Error, Kind, Result, codes};

/// Instances that may take a pipeline over at the same time; more are a loop of crashes.
const CLAIM_TRIES_MAX: usize = 64;
/// Epochs that an old instance may publish while a new one tries to fence it.
const FENCE_TRIES_MAX: usize = 16;

/// The content of a claim; unique, so that an instance knows its own.
#[derive(Debug, Serialize, Deserialize)]
struct ClaimFile {
    generation: u64,
    writer: String,
    created_micros: i64,
}

/// The sizes of the state files that there are, by their place below the pipeline's folder.
type Sizes = HashMap<String, u64>;

impl Store {
    /// Takes the pipeline over for an instance, whose name nobody else may have.
    ///
    /// Gives the newest epoch whose manifest is whole and whose files are all there, and says which
    /// newer ones are not. Nobody is fenced yet: that is [`Store::fence`].
    pub async fn claim(&self, writer: &str) -> Result<Claim> {
        self.claim_at(writer, None).await
    }

    /// The same, to go on from this epoch instead of the newest.
    pub async fn claim_at(&self, writer: &str, epoch: Option<u64>) -> Result<Claim> {
        let generation = self.claim_generation(writer).await?;
        let mut claim = Claim {
            generation,
            writer: writer.to_owned(),
            latest: None,
            rejected: Vec::new(),
            next_epoch: 1,
            pinned: epoch.is_some(),
        };
        match epoch {
            None => self.find_latest(&mut claim).await?,
            Some(epoch) => {
                let seen = self.epochs().await?;
                claim.next_epoch = seen.last().map_or(1, |last| last.saturating_add(1));
                let manifest = self.inspect(epoch).await?;
                check_files(&manifest, &self.sizes().await?)?;
                claim.latest = Some(manifest);
            }
        }
        Ok(claim)
    }

    /// Keeps older instances from extending the log: publishes the claim's content once more, as
    /// an epoch of kind [`ManifestKind::Restored`], and gives it. From then on an older instance's
    /// next manifest finds its place taken.
    ///
    /// An older instance that publishes first has won that epoch, which then is what is restored.
    /// The fence holds the tokens of the epoch it restores, under their own epoch, so that they are
    /// not lost when this instance ends before it has committed them: commit them before the next
    /// epoch is published.
    pub async fn fence(&self, claim: &Claim, pipeline: &str) -> Result<Manifest> {
        let mut claim = claim.clone();
        for _ in 0..FENCE_TRIES_MAX {
            if let Some(latest) = &claim.latest
                && latest.generation > claim.generation
            {
                return Err(fenced(latest.generation));
            }
            let manifest = self.restored(&claim, pipeline);
            match self.publish(&manifest).await {
                Ok(Published::Durable) => return Ok(manifest),
                Ok(Published::Fenced { by }) if by > claim.generation => return Err(fenced(by)),
                Ok(Published::Fenced { .. }) => {}
                // Others have gone on; who they are is read next. This manifest has no tokens of
                // its own, so it does not matter whether it is among those that they passed.
                Err(error) if error.code() == codes::FENCED => {}
                Err(error) => return Err(error),
            }
            self.find_again(&mut claim).await?;
        }
        Err(Error::new(
            Kind::Conflict,
            codes::FENCED,
            "an older instance of the pipeline publishes faster than it can be fenced",
        )
        .hint("stop it"))
    }

    /// Whether another instance has claimed the pipeline since the claim of this generation.
    pub async fn is_overtaken(&self, generation: u64) -> Result<bool> {
        Ok(self.generations().await?.last().copied() > Some(generation))
    }

    /// Gives all epochs in the store, from the newest.
    pub async fn list(&self) -> Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for epoch in self.epochs().await?.into_iter().rev() {
            let manifest = self.inspect(epoch).await;
            if manifest.as_ref().is_err_and(|error| !is_damage(error)) {
                manifest?;
            } else {
                listed.push(Listed { epoch, manifest });
            }
        }
        Ok(listed)
    }

    /// Reads the manifest of an epoch, from its mirror when it is damaged.
    pub async fn inspect(&self, epoch: u64) -> Result<Manifest> {
        let mut first = None;
        for ending in [MANIFEST, COPY] {
            let place = self.manifest_place(epoch, ending);
            let read = match self.read(&place).await? {
                None => Err(no_manifest(epoch)),
                Some(bytes) => decode_as(&bytes, epoch),
            };
            match read {
                Ok(manifest) => {
                    // It may be in the disk's cache only, and others are about to rely on it.
                    self.sync(&place).await?;
                    return Ok(manifest);
                }
                Err(error) if !is_damage(&error) => return Err(error),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| no_manifest(epoch)))
    }

    /// Gives the epochs that have a manifest or a mirror, in order.
    pub async fn epochs(&self) -> Result<BTreeSet<u64>> {
        let files = self.list_below(&self.place("manifests"), None).await?;
        Ok(files
            .iter()
            .filter_map(|meta| number(meta.location.filename()?))
            .collect())
    }

    /// Gives the generations that were claimed, in order.
    pub(super) async fn generations(&self) -> Result<BTreeSet<u64>> {
        let files = self.list_below(&self.place("generations"), None).await?;
        Ok(files
            .iter()
            .filter_map(|meta| number(meta.location.filename()?))
            .collect())
    }

    /// Gives the size of every state file.
    async fn sizes(&self) -> Result<Sizes> {
        let files = self.list_below(&self.place("state"), None).await?;
        Ok(files
            .into_iter()
            .filter_map(|meta| Some((self.relative(&meta.location)?, meta.size)))
            .collect())
    }

    /// Gives a place below the pipeline's folder.
    pub(super) fn relative(&self, place: &object_store::path::Path) -> Option<String> {
        let parts: Vec<_> = place
            .prefix_match(&self.prefix)?
            .map(|part| part.as_ref().to_owned())
            .collect();
        Some(parts.join("/"))
    }

    async fn claim_generation(&self, writer: &str) -> Result<u64> {
        let claimed = self.generations().await?.last().copied().unwrap_or(0);
        // The claims may have been removed by hand; the log says how far they had come.
        let newest = self.epochs().await?.last().copied();
        let logged = match newest {
            Some(epoch) => self.inspect(epoch).await.map_or(0, |m| m.generation),
            None => 0,
        };
        let first = claimed.max(logged).saturating_add(1);
        for generation in (first..).take(CLAIM_TRIES_MAX) {
            let file = ClaimFile {
                generation,
                writer: writer.to_owned(),
                created_micros: self.env.clock().now_micros(),
            };
            let bytes = serde_json::to_vec(&file)
                .map_err(|error| Error::internal("a claim cannot be encoded").caused_by(error))?;
            let place = self.generation_place(generation);
            if let Created::Ours = self.create(&place, &Bytes::from(bytes)).await? {
                return Ok(generation);
            }
        }
        Err(Error::new(
            Kind::Conflict,
            codes::FENCED,
            "too many instances take the pipeline over at the same time",
        ))
    }

    async fn find_latest(&self, claim: &mut Claim) -> Result<()> {
        let epochs = self.epochs().await?;
        let last = epochs.last().copied().unwrap_or(0);
        claim.next_epoch = claim.next_epoch.max(last.saturating_add(1));
        claim.latest = None;
        claim.rejected.clear();
        let mut sizes: Option<Sizes> = None;
        for epoch in epochs.into_iter().rev() {
            let read = match self.inspect(epoch).await {
                Ok(manifest) => {
                    let sizes = match &mut sizes {
                        Some(sizes) => sizes,
                        None => sizes.insert(self.sizes().await?),
                    };
                    check_files(&manifest, sizes).map(|()| manifest)
                }
                Err(error) => Err(error),
            };
            match read {
                Ok(manifest) => {
                    claim.latest = Some(manifest);
                    break;
                }
                Err(error) if is_damage(&error) => claim.rejected.push(Rejected {
                    epoch,
                    why: why(&error),
                }),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads the log again after another instance has extended it.
    async fn find_again(&self, claim: &mut Claim) -> Result<()> {
        let pinned = claim.latest.take().filter(|_| claim.pinned);
        self.find_latest(claim).await?;
        if let (Some(pinned), Some(latest)) = (pinned, &claim.latest) {
            if latest.generation > claim.generation {
                return Err(fenced(latest.generation));
            }
            claim.latest = Some(pinned);
        }
        Ok(())
    }

    fn restored(&self, claim: &Claim, pipeline: &str) -> Manifest {
        let empty = || Manifest {
            format: FORMAT,
            pipeline: pipeline.to_owned(),
            origin: claim.writer.clone(),
            generation: 0,
            epoch: 0,
            writer: String::new(),
            created_micros: 0,
            restored_from: None,
            kind: ManifestKind::Restored,
            nodes: Vec::new(),
            commits: Vec::new(),
            views: Vec::new(),
            rows_in: 0,
            tallies: Vec::new(),
            requests: None,
            paused: Vec::new(),
        };
        Manifest {
            generation: claim.generation,
            epoch: claim.next_epoch,
            writer: claim.writer.clone(),
            created_micros: self.env.clock().now_micros(),
            restored_from: claim.latest.as_ref().map(|latest| latest.epoch),
            kind: ManifestKind::Restored,
            ..claim.latest.clone().unwrap_or_else(empty)
        }
    }
}

fn number(name: &str) -> Option<u64> {
    let (digits, ending) = name.split_once('.')?;
    matches!(ending, MANIFEST | COPY).then(|| digits.parse().ok())?
}

fn decode_as(bytes: &[u8], epoch: u64) -> Result<Manifest> {
    let manifest = Manifest::decode(bytes)?;
    if manifest.epoch != epoch {
        return Err(damaged("a manifest is that of another epoch"));
    }
    Ok(manifest)
}

fn check_files(manifest: &Manifest, sizes: &Sizes) -> Result<()> {
    for file in manifest.files() {
        match sizes.get(&file.path) {
            None => return Err(missing(file)),
            Some(size) if *size != file.bytes => {
                return Err(
                    damaged("a state file has another size than its manifest says")
                        .detail(file.path.clone()),
                );
            }
            Some(_) => {}
        }
    }
    Ok(())
}

pub(super) fn is_damage(error: &Error) -> bool {
    error.code() == codes::CHECKPOINT_CORRUPT
}

fn why(error: &Error) -> String {
    match error.detail_text() {
        Some(detail) => format!("{error}: {detail}"),
        None => error.to_string(),
    }
}

fn damaged(message: &str) -> Error {
    Error::new(Kind::Data, codes::CHECKPOINT_CORRUPT, message)
}

fn no_manifest(epoch: u64) -> Error {
    damaged("there is no such checkpoint").detail(format!("epoch {epoch} has no manifest"))
}

fn fenced(by: u64) -> Error {
    taken_over().detail(format!("its generation is {by}"))
}
