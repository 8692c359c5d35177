//! Single calls of the store with their retries, and the conditional create whose lost answers
//! are settled by reading.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{
    Error as StoreError, ObjectMeta, ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions,
    PutPayload,
};

use super::Store;
use super::failure::{is_permanent, told};
use crate::error::{Error, Kind, Result, codes};
use crate::limits;

/// The wait after a first failed attempt; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// The longest wait between attempts: a store that is back is noticed soon.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Counts the attempts of one call.
pub(super) struct Attempts<'a> {
    store: &'a Store,
    since: Duration,
    made: usize,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self {
            store,
            since: store.env.clock().monotonic(),
            made: 1,
        }
    }

    /// Waits for the next attempt; false when there is none.
    pub(super) async fn again(&mut self) -> bool {
        let clock = self.store.env.clock();
        let spent = clock.monotonic().saturating_sub(self.since);
        if self.made >= limits::IO_ATTEMPTS_MAX || spent >= limits::IO_RETRY_TIME_MAX {
            return false;
        }
        let doublings = u32::try_from(self.made - 1).unwrap_or(u32::MAX).min(16);
        clock
            .sleep((FIRST_WAIT * 2_u32.pow(doublings)).min(LONGEST_WAIT))
            .await;
        self.made += 1;
        true
    }
}

/// What became of a conditional create.
#[derive(Debug)]
pub(super) enum Created {
    /// The content is there, and it is ours.
    Ours,
    /// The place holds something else.
    Taken(Bytes),
}

impl Store {
    /// Calls until it works, fails for good, or the bounds of [`limits`] are reached.
    pub(super) async fn retry<T, F, C>(&self, what: &str, mut call: C) -> Result<T>
    where
        F: Future<Output = object_store::Result<T>> + Send,
        C: FnMut() -> F + Send,
    {
        let mut attempts = Attempts::new(self);
        loop {
            match call().await {
                Ok(value) => return Ok(value),
                Err(error) if is_permanent(&error) => return Err(told(error, what)),
                Err(error) => {
                    if !attempts.again().await {
                        return Err(told(error, what));
                    }
                }
            }
        }
    }

    /// Reads a small file; `None` when it is not there.
    pub(super) async fn read(&self, place: &Path) -> Result<Option<Bytes>> {
        self.retry("read a checkpoint", || async {
            match self.inner.get(place).await {
                Ok(found) => found.bytes().await.map(Some),
                Err(StoreError::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Writes a file, whatever is there.
    pub(super) async fn put(&self, place: &Path, bytes: &Bytes) -> Result<()> {
        self.retry("wrote a checkpoint", || {
            self.inner.put(place, PutPayload::from(bytes.clone()))
        })
        .await?;
        self.sync(place).await
    }

    /// Removes a file; one that is gone is removed.
    pub(super) async fn delete(&self, place: &Path) -> Result<()> {
        self.retry("removed an old checkpoint", || async {
            match self.inner.delete(place).await {
                Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Lists all files below a folder, or those after one of them.
    pub(super) async fn list_below(
        &self,
        folder: &Path,
        after: Option<&Path>,
    ) -> Result<Vec<ObjectMeta>> {
        self.retry("listed checkpoints", || match after {
            Some(after) => self
                .inner
                .list_with_offset(Some(folder), after)
                .try_collect(),
            None => self.inner.list(Some(folder)).try_collect::<Vec<_>>(),
        })
        .await
    }

    /// Writes a file unless there is one. An answer that says that there is one, or none at all,
    /// is settled by reading: `bytes` must be unique to the caller. What cannot be settled is an
    /// error for which [`super::is_unknown`] holds; after any other error nothing was written.
    pub(super) async fn create(&self, place: &Path, bytes: &Bytes) -> Result<Created> {
        let mut attempts = Attempts::new(self);
        let mut may_be_there = false;
        loop {
            let payload = PutPayload::from(bytes.clone());
            let options = PutOptions::from(PutMode::Create);
            let failure = match self.inner.put_opts(place, payload, options).await {
                Ok(_) => None,
                Err(error @ StoreError::AlreadyExists { .. })
                | Err(error @ StoreError::Precondition { .. }) => {
                    may_be_there = true;
                    Some(error)
                }
                Err(error) if is_permanent(&error) && !may_be_there => {
                    return Err(told(error, "published a checkpoint"));
                }
                Err(error) => {
                    may_be_there = true;
                    Some(error)
                }
            };
            let Some(failure) = failure else {
                return self.settled(place, Created::Ours).await;
            };
            match self.read(place).await {
                Ok(Some(found)) if found == *bytes => {
                    return self.settled(place, Created::Ours).await;
                }
                Ok(Some(found)) => return Ok(Created::Taken(found)),
                // It is not there yet, or was taken away again: only another attempt can tell.
                Ok(None) if attempts.again().await => {}
                Ok(None) => return Err(unknown().caused_by(failure)),
                Err(error) => return Err(unknown().caused_by(error)),
            }
        }
    }

    /// A file that cannot be synced is there all the same: whether it stays, nobody knows.
    async fn settled(&self, place: &Path, created: Created) -> Result<Created> {
        match self.sync(place).await {
            Ok(()) => Ok(created),
            Err(error) => Err(unknown().caused_by(error)),
        }
    }
}

/// Makes the error of a publication of which nobody knows whether it happened.
pub(super) fn unknown() -> Error {
    Error::new(
        Kind::Unavailable,
        codes::CHECKPOINT_UNKNOWN,
        "it is not known whether a checkpoint was published",
    )
    .hint("the next start of the pipeline finds out, and commits it if it was")
}
