//! Points in time as texts: the usual forms at once, all others by arrow's parser.

use arrow::array::timezone::Tz;
use arrow::compute::kernels::cast_utils::string_to_datetime;
use arrow::datatypes::TimeUnit;
use chrono::{DateTime, TimeZone, Utc};

/// How the texts of a column are read.
#[derive(Debug, Clone)]
pub(super) struct Instants {
    unit: TimeUnit,
    /// The zone of texts that name none.
    zone: Option<Tz>,
}

impl Instants {
    /// For a column of timestamps; `None` when its time zone is not known.
    pub(super) fn new(unit: TimeUnit, zone: Option<&str>) -> Option<Self> {
        let zone = zone.map(str::parse).transpose().ok()?;
        Some(Self { unit, zone })
    }

    /// The number that stands for a text's time.
    #[inline]
    pub(super) fn parse(&self, text: &str) -> Option<i64> {
        if let Some((seconds, nanos, is_utc)) = usual(text.as_bytes())
            && (is_utc || self.zone.is_none())
        {
            return self.number(seconds, nanos);
        }
        match &self.zone {
            Some(zone) => self.other(string_to_datetime(zone, text).ok()?),
            None => self.other(string_to_datetime(&Utc, text).ok()?),
        }
    }

    fn other<Z: TimeZone>(&self, time: DateTime<Z>) -> Option<i64> {
        Some(match self.unit {
            TimeUnit::Second => time.timestamp(),
            TimeUnit::Millisecond => time.timestamp_millis(),
            TimeUnit::Microsecond => time.timestamp_micros(),
            TimeUnit::Nanosecond => return time.timestamp_nanos_opt(),
        })
    }

    fn number(&self, seconds: i64, nanos: i64) -> Option<i64> {
        let (per_second, per_unit) = match self.unit {
            TimeUnit::Second => (1, 1_000_000_000),
            TimeUnit::Millisecond => (1_000, 1_000_000),
            TimeUnit::Microsecond => (1_000_000, 1_000),
            TimeUnit::Nanosecond => (1_000_000_000, 1),
        };
        seconds
            .checked_mul(per_second)?
            .checked_add(nanos / per_unit)
    }
}

/// Seconds since 1970 and nanoseconds of `2026-01-31T12:34:56`, with a blank instead of the `T`,
/// with three, six or nine digits behind a point, and with a `Z`, which is told.
#[inline]
fn usual(text: &[u8]) -> Option<(i64, i64, bool)> {
    let (text, is_utc) = match text.strip_suffix(b"Z") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (whole, fraction) = text.split_first_chunk::<19>()?;
    let nanos = match fraction {
        [] => 0,
        [b'.', a, b, c] => number(&[*a, *b, *c])? * 1_000_000,
        [b'.', a, b, c, d, e, f] => number(&[*a, *b, *c, *d, *e, *f])? * 1_000,
        [b'.', digits @ ..] if digits.len() == 9 => number(digits)?,
        _ => return None,
    };
    let [
        y1,
        y2,
        y3,
        y4,
        b'-',
        m1,
        m2,
        b'-',
        d1,
        d2,
        b'T' | b' ',
        rest @ ..,
    ] = whole
    else {
        return None;
    };
    let [h1, h2, b':', n1, n2, b':', s1, s2] = rest else {
        return None;
    };
    let (year, month, day) = (
        number(&[*y1, *y2, *y3, *y4])?,
        number(&[*m1, *m2])?,
        number(&[*d1, *d2])?,
    );
    let (hour, minute, second) = (
        number(&[*h1, *h2])?,
        number(&[*n1, *n2])?,
        number(&[*s1, *s2])?,
    );
    if hour > 23 || minute > 59 || second > 59 || day < 1 || day > days_of(year, month)? {
        return None;
    }
    let days = days_since_1970(year, month, day);
    Some((
        days * 86_400 + hour * 3_600 + minute * 60 + second,
        nanos,
        is_utc,
    ))
}

#[inline]
fn number(digits: &[u8]) -> Option<i64> {
    let mut value = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(value)
}

/// How many days a month has.
fn days_of(year: i64, month: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 => Some(28 + i64::from(is_leap)),
        _ => None,
    }
}

/// The days from 1970 to a date of the Gregorian calendar. Years begin in March here, so that the
/// day of a leap year is their last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    const DAYS_OF_400_YEARS: i64 = 146_097;
    /// From the 1st of March of the year 0.
    const TO_1970: i64 = 719_468;
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * DAYS_OF_400_YEARS + of_era * 365 + of_era / 4 - of_era / 100 + of_year - TO_1970
}
