//! Holds a reader to its rate. Rows come due evenly over wall time; what was missed while the
//! pipeline pushed back is caught up, but at most one second of it, so that there is no burst.

use std::sync::Arc;
use std::time::Duration;

use weir_engine::env::Clock;
use weir_engine::error::Result;
use weir_engine::options::Options;

/// The longest wait inside one call: other splits of the same subtask get their turn after it.
const WAIT_MAX: Duration = Duration::from_millis(10);
/// The least time between two batches, so that a high rate gives batches and not single rows.
const BATCH_TIME: Duration = Duration::from_millis(5);
/// How much of missed time is caught up.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);

/// Reads the option `rate`.
pub(crate) fn rate_given(options: &Options) -> Result<Option<f64>> {
    match options.number("rate") {
        Some(rate) if rate <= 0.0 => {
            Err(options.invalid("rate", "must be more than 0; leave it out for no bound"))
        }
        rate => Ok(rate),
    }
}

/// The pace of one reader.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: Option<f64>,
    clock: Arc<dyn Clock>,
    /// When the rows given so far were due; `None` before the first call.
    paid: Option<Duration>,
}

impl Pace {
    /// Takes rows per second; `None` has no bound.
    pub(crate) fn new(rate: Option<f64>, clock: Arc<dyn Clock>) -> Self {
        Self {
            rate,
            clock,
            paid: None,
        }
    }

    /// Waits a little if nothing is due, then says how many rows are, `most` at most.
    ///
    /// Cancel-safe: rows count as given only by [`Pace::given`].
    pub(crate) async fn due(&mut self, most: u64) -> u64 {
        let Some(rate) = self.rate else { return most };
        let paid = *self.paid.get_or_insert_with(|| self.clock.monotonic());
        let one = Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX);
        let ready = paid.saturating_add(one.max(BATCH_TIME));
        let now = self.clock.monotonic();
        if now < ready {
            self.clock.sleep((ready - now).min(WAIT_MAX)).await;
        }
        let now = self.clock.monotonic();
        if now.saturating_sub(paid) > CATCH_UP_MAX.max(one) {
            self.paid = Some(now.saturating_sub(CATCH_UP_MAX.max(one)));
        }
        let span = now.saturating_sub(self.paid.unwrap_or(now));
        // The tiny addend keeps a span of exactly one row's time from being rounded down.
        ((span.as_secs_f64() * rate + 1e-6) as u64).min(most)
    }

    /// Notes that rows were given.
    pub(crate) fn given(&mut self, rows: u64) {
        if let (Some(rate), Some(paid)) = (self.rate, self.paid) {
            let time = Duration::try_from_secs_f64(rows as f64 / rate).unwrap_or(Duration::MAX);
            self.paid = Some(paid.saturating_add(time));
        }
    }
}
