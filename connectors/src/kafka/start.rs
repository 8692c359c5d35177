//! Where reading begins in a partition that no checkpoint knows.

use std::collections::BTreeMap;

use arrow::compute::kernels::cast_utils::string_to_datetime;
use chrono::Utc;
use weir_engine::error::Result;
use weir_engine::options::Options;

/// The option `start`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    /// At the oldest record.
    Earliest,
    /// With what comes from now on.
    Latest,
    /// At the first record of this time or later, in milliseconds since 1970.
    Timestamp(i64),
    /// At these offsets; a partition that is not named starts at the oldest record.
    Offsets(BTreeMap<i32, i64>),
}

impl Start {
    /// Reads the option.
    pub(super) fn of(options: &Options) -> Result<Self> {
        let text = options.need("start")?;
        Self::parse(text).ok_or_else(|| {
            options
                .invalid("start", format!("'{text}' is no place to start"))
                .hint(
                    "say 'earliest', 'latest', a time such as '2026-01-31 12:00:00' (UTC) or in \
                     milliseconds since 1970, or offsets such as '0:1500,1:0'",
                )
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        match text {
            "earliest" => return Some(Self::Earliest),
            "latest" => return Some(Self::Latest),
            _ => {}
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().ok().map(Self::Timestamp);
        }
        if let Some(offsets) = offsets(text) {
            return Some(Self::Offsets(offsets));
        }
        let time = string_to_datetime(&Utc, text).ok()?.timestamp_millis();
        (time >= 0).then_some(Self::Timestamp(time))
    }
}

fn offsets(text: &str) -> Option<BTreeMap<i32, i64>> {
    let mut offsets = BTreeMap::new();
    for part in text.split(',') {
        let (partition, offset) = part.split_once(':')?;
        let (partition, offset) = (partition.trim().parse().ok()?, offset.trim().parse().ok()?);
        if partition < 0 || offset < 0 || offsets.insert(partition, offset).is_some() {
            return None;
        }
    }
    Some(offsets)
}

#[cfg(test)]
mod tests {
    use super::Start;

    #[test]
    fn reads_every_form() {
        let cases = [
            ("earliest", Some(Start::Earliest)),
            (" latest ", Some(Start::Latest)),
            ("1700000000000", Some(Start::Timestamp(1_700_000_000_000))),
            (
                "2023-11-14T22:13:20Z",
                Some(Start::Timestamp(1_700_000_000_000)),
            ),
            (
                "2023-11-14 22:13:20",
                Some(Start::Timestamp(1_700_000_000_000)),
            ),
            (
                "2023-11-14T23:13:20+01:00",
                Some(Start::Timestamp(1_700_000_000_000)),
            ),
            ("0:12,1:34", Some(Start::Offsets([(0, 12), (1, 34)].into()))),
            ("3: 0", Some(Start::Offsets([(3, 0)].into()))),
            ("0:1,0:2", None),
            ("0:-1", None),
            ("-1:0", None),
            ("", None),
            ("begin", None),
            ("1960-01-01", None),
            ("99999999999999999999", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Start::parse(text), expected, "{text:?}");
        }
    }
}
