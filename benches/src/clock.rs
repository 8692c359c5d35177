//! Wall time, for measuring.

use std::time::{Duration, Instant};

/// Runs something and says how long it took.
#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures the real time"
)]
pub(crate) fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = run();
    (value, start.elapsed())
}

/// Waits while another process works.
#[expect(
    clippy::disallowed_methods,
    reason = "the harness has no clock to simulate"
)]
pub(crate) fn wait(time: Duration) {
    std::thread::sleep(time);
}
