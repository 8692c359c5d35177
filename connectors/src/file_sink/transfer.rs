//! Bytes on their way to the disk or the store while the task goes on encoding.
//!
//! All calls of a store run where I/O runs, whichever runtime asks for them.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, oneshot};
use weir_engine::env::{Env, Work};
use weir_engine::error::{Error, Result};

/// Chunks that one writer has on their way at once. Four hide the latency of a store behind the
/// encoding of the next chunk; more would only hold memory.
pub(super) const LANES: usize = 4;

/// What the transfers of one writer share: the lanes, and an account of the bytes in them.
#[derive(Debug, Clone)]
pub(super) struct Lanes {
    env: Env,
    permits: Arc<Semaphore>,
    in_flight: Arc<AtomicUsize>,
}

impl Lanes {
    /// Makes free lanes.
    pub(super) fn new(env: Env) -> Self {
        let permits = Arc::new(Semaphore::new(LANES));
        Self {
            env,
            permits,
            in_flight: Arc::default(),
        }
    }

    /// The environment.
    pub(super) fn env(&self) -> &Env {
        &self.env
    }

    /// Bytes on their way.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts bytes as on their way until the guard is dropped.
    pub(super) fn hold(&self, bytes: usize) -> Held {
        self.in_flight.fetch_add(bytes, Ordering::Relaxed);
        Held {
            in_flight: Arc::clone(&self.in_flight),
            bytes,
        }
    }

    /// Waits for a free lane, then starts work that holds so many bytes.
    pub(super) async fn start<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<Pending<T>> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_| Error::internal("the lanes of a sink are closed"))?;
        let held = self.hold(bytes);
        Ok(spawn(&self.env, async move {
            let result = work.await;
            drop((permit, held));
            result
        }))
    }
}

/// Bytes on their way.
#[derive(Debug)]
pub(super) struct Held {
    in_flight: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Work that goes on elsewhere. Dropping it does not stop the work.
#[derive(Debug)]
pub(super) struct Pending<T>(oneshot::Receiver<Result<T>>);

impl<T> Pending<T> {
    /// Waits for the result.
    pub(super) async fn wait(self) -> Result<T> {
        self.0.await.unwrap_or_else(|_| Err(Error::cancelled()))
    }

    /// Waits for the result, which is given once.
    pub(super) async fn join(&mut self) -> Result<T> {
        (&mut self.0)
            .await
            .unwrap_or_else(|_| Err(Error::cancelled()))
    }

    /// Takes the result if there is one already; it is given once.
    pub(super) fn ready(&mut self) -> Option<Result<T>> {
        match self.0.try_recv() {
            Ok(result) => Some(result),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(Error::cancelled())),
        }
    }
}

/// Starts work where I/O runs.
pub(super) fn spawn<T: Send + 'static>(
    env: &Env,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Pending<T> {
    let (give, take) = oneshot::channel();
    drop(env.spawn(Work::Io, async move { drop(give.send(work.await)) }));
    Pending(take)
}
