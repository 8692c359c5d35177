//! What snapshots hold of a window aggregation until they are written: it counts as its state.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

/// The bytes that are lent.
#[derive(Debug, Default)]
pub(super) struct Lent(Arc<AtomicUsize>);

/// Bytes that are lent until this is dropped.
#[derive(Debug)]
pub(super) struct Loan {
    all: Arc<AtomicUsize>,
    bytes: usize,
}

impl Lent {
    pub(super) fn lend(&self, bytes: usize) -> Loan {
        self.0.fetch_add(bytes, Relaxed);
        Loan {
            all: Arc::clone(&self.0),
            bytes,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Relaxed);
    }
}
