//! The steps of a start, of which one that takes long is told: a job that does not begin to read
//! does not keep silent about it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::env::Clock;

/// A start that takes so long is told, and again each time as much has passed.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a start does now.
#[derive(Debug)]
pub(super) struct Steps {
    clock: Arc<dyn Clock>,
    begun: Duration,
    step: Mutex<&'static str>,
}

impl Steps {
    /// Begins with this step.
    pub(super) fn new(clock: Arc<dyn Clock>, first: &'static str) -> Self {
        Self {
            begun: clock.monotonic(),
            clock,
            step: Mutex::new(first),
        }
    }

    /// The next step begins.
    pub(super) fn next(&self, step: &'static str) {
        *self.step.lock() = step;
    }

    /// The time since the first step began.
    pub(super) fn elapsed(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.begun)
    }

    /// Waits for a future, and tells now and then what it does.
    pub(super) async fn watched<T>(&self, future: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            value = future => value,
            never = self.tell() => match never {},
        }
    }

    async fn tell(&self) -> Infallible {
        loop {
            self.clock.sleep(PATIENCE).await;
            let (span, step) = (self.elapsed().as_secs(), *self.step.lock());
            tracing::warn!("the pipeline has been starting for {span} s: {step}");
        }
    }
}
