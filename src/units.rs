//! Numbers as people read them: rows with thousands, bytes in decimal units, time spans.

use std::time::Duration;

/// Writes a count with thousands set apart: `1,234,567`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes bytes in the decimal units that options take: `12.3 MB`.
pub fn bytes(value: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut scaled = value as f64;
    let mut unit = 0;
    // 999.95 would be rounded to "1000.0": it belongs to the next unit.
    while scaled >= 999.95 && unit + 1 < UNITS.len() {
        scaled /= 1000.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or("B");
    if unit == 0 {
        format!("{value} {name}")
    } else {
        format!("{scaled:.1} {name}")
    }
}

/// Writes a time span: `0.031 s`, `12.4 s`, `3m 05s`, `2h 10m`.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let whole = time.as_secs();
    match whole {
        0..10 => format!("{seconds:.3} s"),
        10..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{}m {:02}s", whole / 60, whole % 60),
        _ => format!("{}h {:02}m", whole / 3600, whole % 3600 / 60),
    }
}

/// Divides rows by seconds; a run too short to measure gives 0.
pub fn rate(rows: u64, time: Duration) -> f64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 {
        rows as f64 / seconds
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_thousands_set_apart() {
        let shown: Vec<_> = [0, 999, 1000, 12_345, 1_234_567].map(count).into();
        assert_eq!(shown, ["0", "999", "1,000", "12,345", "1,234,567"]);
    }

    #[test]
    fn bytes_take_the_unit_that_fits() {
        let shown: Vec<_> = [0, 999, 1000, 999_949, 999_950, 256_000_000]
            .map(bytes)
            .into();
        assert_eq!(
            shown,
            ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "256.0 MB"]
        );
    }

    #[test]
    fn spans_lose_precision_as_they_grow() {
        let shown: Vec<_> = [31, 12_440, 185_000, 7_800_000]
            .map(|ms| span(Duration::from_millis(ms)))
            .into();
        assert_eq!(shown, ["0.031 s", "12.4 s", "3m 05s", "2h 10m"]);
    }

    #[test]
    fn a_rate_over_no_time_is_zero() {
        assert_eq!(rate(5, Duration::ZERO), 0.0);
        assert_eq!(rate(5, Duration::from_millis(500)), 10.0);
    }
}
