//! Lengths of time for people.

use std::fmt;
use std::time::Duration;

/// Microseconds, printed in the largest unit that divides them.
pub(crate) struct Length(pub(crate) i64);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(i64, &str); 4] = [
            (86_400_000_000, "d"),
            (3_600_000_000, "h"),
            (60_000_000, "min"),
            (1_000_000, "s"),
        ];
        for (length, unit) in UNITS {
            if self.0 != 0 && self.0 % length == 0 {
                return write!(f, "{}{unit}", self.0 / length);
            }
        }
        match self.0 {
            0 => return f.write_str("0s"),
            ..0 => return write!(f, "{}us", self.0),
            _ => {}
        }
        write!(f, "{:?}", Duration::from_micros(self.0.unsigned_abs()))
    }
}
