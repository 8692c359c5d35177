//! Extending the log by one manifest, or learning that another instance has.

use bytes::Bytes;

use super::io::{Created, unknown};
use super::{COPY, MANIFEST, Store};
use crate::checkpoint::manifest::Manifest;
use crate::error::{Result, codes};

/// What became of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It is in the log and stays there: its tokens are to be committed.
    Durable,
    /// Another instance has taken its place in the log: it is in no log, and never will be.
    Fenced {
        /// The generation of that instance.
        by: u64,
    },
}

impl Store {
    /// Puts a manifest at its place in the log.
    ///
    /// An error for which [`super::is_unknown`] holds means that nobody knows whether it is there:
    /// its tokens are neither to be committed nor aborted, and the instance has to stop. After any
    /// other error it is not there.
    pub async fn publish(&self, manifest: &Manifest) -> Result<Published> {
        let bytes = Bytes::from(manifest.encode()?);
        let place = self.manifest_place(manifest.epoch, MANIFEST);
        if let Created::Taken(other) = self.create(&place, &bytes).await? {
            return match Manifest::decode(&other) {
                Ok(other) => Ok(Published::Fenced {
                    by: other.generation,
                }),
                Err(error) if error.code() == codes::CHECKPOINT_FORMAT => Err(error),
                // What is there may be ours, damaged.
                Err(error) => Err(unknown().caused_by(error)),
            };
        }
        self.refuse_overtaken(manifest).await?;
        let copy = self.manifest_place(manifest.epoch, COPY);
        if let Err(error) = self.put(&copy, &bytes).await {
            tracing::warn!(epoch = manifest.epoch, %error, "a checkpoint has no mirror");
        }
        Ok(Published::Durable)
    }

    /// A write that was held up for long may find its place free only because the epochs after it
    /// have long made it garbage. So who created a manifest looks whether there are later ones:
    /// if so, this one either was collected before it was written or has a successor that commits
    /// its tokens, and which of the two is not known.
    async fn refuse_overtaken(&self, manifest: &Manifest) -> Result<()> {
        let folder = self.place("manifests");
        let own = self.manifest_place(manifest.epoch, MANIFEST);
        let later = self.list_below(&folder, Some(&own)).await;
        match later {
            Ok(later) if later.is_empty() => Ok(()),
            Ok(later) => Err(unknown().detail(format!(
                "another instance went on past it, to {}",
                later
                    .last()
                    .map_or("", |meta| meta.location.filename().unwrap_or_default())
            ))),
            Err(error) => Err(unknown().caused_by(error)),
        }
    }
}
