//! The window table functions: their names, forms and the lengths in their arguments.

use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{ObjectName, ObjectNamePart};

/// Keys of SESSION: as many as a GROUP BY that people write.
const SESSION_KEYS_MAX: usize = 64;

/// A window table function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    /// Windows side by side.
    Tumble,
    /// Windows that overlap.
    Hop,
    /// Windows that grow.
    Cumulate,
    /// Windows that end with a pause.
    Session,
}

impl Function {
    /// Finds the function of a name.
    pub(super) fn find(name: &ObjectName) -> Option<Self> {
        let [ObjectNamePart::Identifier(ident)] = name.0.as_slice() else {
            return None;
        };
        match ident.value.to_ascii_lowercase().as_str() {
            "tumble" => Some(Self::Tumble),
            "hop" => Some(Self::Hop),
            "cumulate" => Some(Self::Cumulate),
            "session" => Some(Self::Session),
            _ => None,
        }
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tumble => "TUMBLE",
            Self::Hop => "HOP",
            Self::Cumulate => "CUMULATE",
            Self::Session => "SESSION",
        }
    }

    /// How it is written.
    pub(super) fn form(self) -> &'static str {
        match self {
            Self::Tumble => "TUMBLE(table, time_column, INTERVAL size [, INTERVAL offset])",
            Self::Hop => {
                "HOP(table, time_column, INTERVAL slide, INTERVAL size [, INTERVAL offset])"
            }
            Self::Cumulate => {
                "CUMULATE(table, time_column, INTERVAL step, INTERVAL size [, INTERVAL offset])"
            }
            Self::Session => "SESSION(table, time_column, INTERVAL gap [, key_column, ...])",
        }
    }

    /// How many arguments may stand behind its intervals: an offset, or keys.
    pub(super) fn more_max(self) -> usize {
        match self {
            Self::Session => SESSION_KEYS_MAX,
            _ => 1,
        }
    }

    /// What its intervals are called, the offset aside.
    pub(super) fn intervals(self) -> &'static [&'static str] {
        match self {
            Self::Tumble => &["size"],
            Self::Hop => &["slide", "size"],
            Self::Cumulate => &["step", "size"],
            Self::Session => &["gap"],
        }
    }
}

/// The length of an interval without months, or what is wrong with it.
pub(super) fn micros(value: &ScalarValue) -> Result<i64, &'static str> {
    const DAY: i64 = 86_400_000_000;
    let (months, days, nanos) = match value {
        ScalarValue::IntervalMonthDayNano(Some(v)) => (v.months, v.days, v.nanoseconds),
        ScalarValue::IntervalDayTime(Some(v)) => (0, v.days, i64::from(v.milliseconds) * 1_000_000),
        ScalarValue::IntervalYearMonth(Some(months)) => (*months, 0, 0),
        _ => return Err("must be an interval such as INTERVAL '1 minute'"),
    };
    if months != 0 {
        return Err("must not have months or years, whose length differs");
    }
    if nanos % 1_000 != 0 {
        return Err("must be whole microseconds");
    }
    i64::from(days)
        .checked_mul(DAY)
        .and_then(|whole| whole.checked_add(nanos / 1_000))
        .ok_or("is too long")
}
