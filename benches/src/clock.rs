//! Wall time, for measuring.

use std::time::{Duration, Instant, SystemTime};

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

/// Waits.
#[expect(
    clippy::disallowed_methods,
    reason = "the harness waits for real processes"
)]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Microseconds since 1970, by the clock that all processes of this machine share.
#[expect(clippy::disallowed_methods, reason = "latency is of the real time")]
pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}

/// Today, as in `2026-01-31`.
#[expect(clippy::disallowed_methods, reason = "results say when they were made")]
pub(crate) fn today() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let days = since.map_or(0, |since| since.as_secs() / 86_400);
    civil(days as i64)
}

/// The date so many days after 1970-01-01, by Howard Hinnant's algorithm.
fn civil(days: i64) -> String {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
