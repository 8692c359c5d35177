//! Extending the log by one manifest, or learning that another instance has.

use bytes::Bytes;

use super::io::{Created, unknown};
use super::{COPY, MANIFEST, Store};
use crate::checkpoint::manifest::Manifest;
use crate::error::{Error, Kind, Result, codes};

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
            let by = match Manifest::decode(&other) {
                Ok(other) => other.generation,
                Err(error) if error.code() == codes::CHECKPOINT_FORMAT => return Err(error),
                // What is there may be ours, damaged.
                Err(error) => return Err(unknown().caused_by(error)),
            };
            self.refuse_overtaken(manifest).await?;
            return Ok(Published::Fenced { by });
        }
        self.refuse_overtaken(manifest).await?;
        let copy = self.manifest_place(manifest.epoch, COPY);
        if let Err(error) = self.put(&copy, &bytes).await {
            tracing::warn!(epoch = manifest.epoch, %error, "a checkpoint has no mirror");
        }
        Ok(Published::Durable)
    }

    /// A place in the log means nothing once there are later ones: it may have been collected and
    /// been taken again by a write that was held up for long, ours or another one's. So whoever
    /// has found out what is there looks for later ones. If there are any, a newer instance has
    /// gone on, and nobody can tell whether it went on from this manifest.
    async fn refuse_overtaken(&self, manifest: &Manifest) -> Result<()> {
        let folder = self.place("manifests");
        let own = self.manifest_place(manifest.epoch, MANIFEST);
        let later = self.list_below(&folder, Some(&own)).await;
        match later {
            Ok(later) => match later.last() {
                None => Ok(()),
                Some(last) => Err(taken_over().detail(format!(
                    "it went on to {}",
                    last.location.filename().unwrap_or_default()
                ))),
            },
            Err(error) => Err(unknown().caused_by(error)),
        }
    }
}

/// Makes the error of an instance that is not the newest any more.
pub(super) fn taken_over() -> Error {
    Error::new(
        Kind::Conflict,
        codes::FENCED,
        "a newer instance of the pipeline has taken over",
    )
}
