//! A call of a lookup that is tried again while its failure may pass.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::ArrayRef;
use rand::Rng as _;

use super::{Found, Lookup};
use crate::env::Env;
use crate::error::{Kind, Result};
use crate::limits;

/// The first pause; each is twice the one before.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// The longest pause: a table that is back is noticed within this time.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Decides how long to wait before the call is tried again, or that it is given up. `chance` is
/// from 0 to 1: subtasks that failed together do not come back together.
fn pause(failures: u32, elapsed: Duration, chance: f64) -> Option<Duration> {
    let doubled = PAUSE_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let pause = doubled.min(PAUSE_MAX).mul_f64(0.5 + chance / 2.0);
    (elapsed + pause <= limits::IO_RETRY_TIME_MAX).then_some(pause)
}

/// Asks until there is an answer, a failure that does not pass, or no time left.
pub(crate) async fn get(lookup: Arc<dyn Lookup>, keys: Vec<ArrayRef>, env: Env) -> Result<Found> {
    let start = env.clock().monotonic();
    let mut failures = 0;
    let mut chance = env.rng("lookup");
    loop {
        let error = match lookup.get(&keys).await {
            Ok(found) => {
                if failures > 0 {
                    tracing::warn!("{} answers again", lookup.describe());
                }
                return Ok(found);
            }
            Err(error) if error.kind() == Kind::Unavailable => error,
            Err(error) => return Err(error),
        };
        failures += 1;
        let elapsed = env.clock().monotonic().saturating_sub(start);
        let Some(pause) = pause(failures, elapsed, chance.random()) else {
            let detail = error.detail_text().unwrap_or_default().to_owned();
            let tried = format!("{failures} attempts within {} s", elapsed.as_secs());
            return Err(error.detail(match detail.as_str() {
                "" => tried,
                known => format!("{known}; {tried}"),
            }));
        };
        if failures == 1 {
            let why = error.detail_text().unwrap_or_default();
            tracing::warn!("{}: {error}: {why}; trying again", lookup.describe());
        }
        env.clock().sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_end() {
        let (mut elapsed, mut pauses) = (Duration::ZERO, Vec::new());
        while let Some(wait) = pause(pauses.len() as u32 + 1, elapsed, 1.0) {
            elapsed += wait;
            pauses.push(wait);
        }
        let millis: Vec<_> = pauses.iter().take(9).map(Duration::as_millis).collect();
        assert_eq!(millis, [50, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        assert!(elapsed <= limits::IO_RETRY_TIME_MAX);
        assert!(elapsed + PAUSE_MAX > limits::IO_RETRY_TIME_MAX);
        assert_eq!(pause(1, Duration::ZERO, 0.0), Some(PAUSE_FIRST / 2));
    }
}
