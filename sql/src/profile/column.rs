//! The profile of one column.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use weir_engine::error::{Error, Kind, Result, codes};

use super::numbers::{Moments, Numbers};
use super::pattern;
use super::values::Values;

/// Values and patterns that a profile tells at most.
const TOP_MAX: usize = 10;
/// The version of the bytes of a profile.
const VERSION: u8 = 1;

/// What a column holds.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) counts: Counts,
    pub(crate) values: Values,
    pub(crate) patterns: Values,
    /// Numbers as they are, times in microseconds since 1970, texts by their length in characters.
    pub(crate) numbers: Numbers,
}

/// What is counted exactly.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) rows: u64,
    pub(crate) nulls: u64,
    /// Texts without a character.
    pub(crate) empty: u64,
}

/// What can be said of values of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Number,
    Time,
    Text,
    Other,
}

impl Shape {
    pub(crate) fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => Self::Time,
            other if other.is_numeric() => Self::Number,
            _ => Self::Other,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Head {
    version: u8,
    counts: Counts,
    moments: Moments,
    lengths: Vec<usize>,
}

impl Profile {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            counts: Counts::default(),
            values: Values::new()?,
            patterns: Values::new()?,
            numbers: Numbers::new()?,
        })
    }

    /// Adds the values of a column.
    pub(crate) fn add(&mut self, column: &ArrayRef) -> Result<()> {
        self.counts.rows += column.len() as u64;
        self.counts.nulls += column.null_count() as u64;
        let shape = Shape::of(column.data_type());
        match shape {
            Shape::Number => {
                let numbers = cast(column, &DataType::Float64)?;
                let numbers = numbers.as_primitive::<Float64Type>();
                numbers
                    .iter()
                    .flatten()
                    .for_each(|value| self.numbers.add(value));
            }
            Shape::Time => {
                let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
                let times = cast(&cast(column, &micros)?, &DataType::Int64)?;
                let times = times.as_primitive::<Int64Type>();
                times
                    .iter()
                    .flatten()
                    .for_each(|value| self.numbers.add(value as f64));
            }
            Shape::Text | Shape::Other => {}
        }
        if shape == Shape::Text {
            let texts = cast(column, &DataType::Utf8)?;
            for text in texts.as_string::<i32>().iter().flatten() {
                self.values.add(text);
                self.patterns.add(&pattern::of(text));
                self.numbers.add(text.chars().count() as f64);
                self.counts.empty += u64::from(text.is_empty());
            }
            return Ok(());
        }
        let options = FormatOptions::default();
        let formatter = ArrayFormatter::try_new(column, &options)?;
        let mut text = String::new();
        for row in (0..column.len()).filter(|row| column.is_valid(*row)) {
            text.clear();
            formatter.value(row).write(&mut text)?;
            self.values.add(&text);
        }
        Ok(())
    }

    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        self.counts.rows += other.counts.rows;
        self.counts.nulls += other.counts.nulls;
        self.counts.empty += other.counts.empty;
        self.values.merge(&other.values)?;
        self.patterns.merge(&other.patterns)?;
        self.numbers.merge(&other.numbers)
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let [distinct, often] = self.values.bytes();
        let [shapes, patterns] = self.patterns.bytes();
        let parts = [distinct, often, shapes, patterns, self.numbers.bytes()];
        let head = Head {
            version: VERSION,
            counts: self.counts,
            moments: self.numbers.moments(),
            lengths: parts.iter().map(Vec::len).collect(),
        };
        let mut bytes = serde_json::to_vec(&head).map_err(unreadable)?;
        // The head is JSON on one line.
        bytes.push(b'\n');
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        Ok(bytes)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let wrong = || unreadable(Error::internal("its parts do not fit"));
        let end = bytes
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or_else(wrong)?;
        let (head, mut rest) = bytes.split_at_checked(end).ok_or_else(wrong)?;
        rest = rest.get(1..).ok_or_else(wrong)?;
        let head: Head = serde_json::from_slice(head).map_err(unreadable)?;
        let mut parts = Vec::new();
        for length in &head.lengths {
            let (part, more) = rest.split_at_checked(*length).ok_or_else(wrong)?;
            parts.push(part);
            rest = more;
        }
        let [distinct, often, shapes, patterns, numbers] = parts.as_slice() else {
            return Err(wrong());
        };
        Ok(Self {
            counts: head.counts,
            values: Values::from_parts(distinct, often)?,
            patterns: Values::from_parts(shapes, patterns)?,
            numbers: Numbers::from_parts(head.moments, numbers)?,
        })
    }

    /// Bytes that it takes.
    pub(crate) fn held(&self) -> usize {
        size_of::<Self>() + self.values.held() + self.patterns.held() + self.numbers.held()
    }

    /// The profile as JSON, for a column of a shape; `None` says as much as its values tell.
    pub(crate) fn describe(&self, shape: Shape) -> Value {
        let top = |values: &Values| -> Value {
            let top = values.top(TOP_MAX).into_iter();
            top.map(|(value, count)| json!({ "value": value, "count": count }))
                .collect()
        };
        let mut all = json!({
            "rows": self.counts.rows,
            "nulls": self.counts.nulls,
            "distinct": self.values.distinct(),
            "top": top(&self.values),
        });
        let numbers = &self.numbers;
        let quantiles = [0.05, 0.25, 0.5, 0.75, 0.95].map(|share| numbers.quantile(share));
        let spread = json!({
            "min": numbers.least(), "max": numbers.greatest(),
            "mean": numbers.mean(), "deviation": numbers.deviation(),
            "quantiles": quantiles, "histogram": numbers.histogram(),
        });
        let mut add = |name: &str, value: Value| {
            if let Some(all) = all.as_object_mut() {
                all.insert(name.to_owned(), value);
            }
        };
        match shape {
            Shape::Number => {
                let moments = numbers.moments();
                add("numbers", spread);
                add("zeros", moments.zeros.into());
                add("negative", moments.negative.into());
                add("not_finite", moments.not_finite.into());
            }
            Shape::Time => add("micros", spread),
            Shape::Text => {
                add("lengths", spread);
                add("empty", self.counts.empty.into());
                add("patterns", top(&self.patterns));
            }
            Shape::Other => {}
        }
        all
    }
}

pub(super) fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(Kind::Data, codes::CORRUPT, "a profile cannot be read").caused_by(error)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, StringArray};

    use super::*;

    fn profile(parts: &[ArrayRef]) -> Profile {
        let mut profile = Profile::new().unwrap();
        parts.iter().for_each(|part| profile.add(part).unwrap());
        profile
    }

    #[test]
    fn merged_and_restored_is_as_if_seen_at_once() {
        let part = |from: i32, to: i32| -> ArrayRef {
            let values = (from..to).map(|n| (n % 10 != 0).then(|| f64::from(n * 7_919 % 10_007)));
            Arc::new(values.collect::<Float64Array>())
        };
        let whole = profile(&[part(0, 20_000)]);
        let mut merged = profile(&[part(0, 5_000)]);
        let rest = profile(&[part(5_000, 12_345), part(12_345, 20_000)]);
        merged
            .merge(&Profile::from_bytes(&rest.to_bytes().unwrap()).unwrap())
            .unwrap();
        assert_eq!((merged.counts.rows, merged.counts.nulls), (20_000, 2_000));
        let (a, b) = (&whole.numbers, &merged.numbers);
        assert_eq!((a.least(), a.greatest()), (b.least(), b.greatest()));
        let near = |a: Option<f64>, b: Option<f64>| (a.unwrap() - b.unwrap()).abs() < 1e-6;
        assert!(near(a.mean(), b.mean()) && near(a.deviation(), b.deviation()));
        for share in [0.05, 0.5, 0.95] {
            let value = b.quantile(share).unwrap();
            assert!((a.share_to(value) - share).abs() < 0.04, "{share}: {value}");
        }
        let distinct = merged.values.distinct() as f64;
        assert!((distinct / 10_007.0 - 1.0).abs() < 0.06, "{distinct}");
    }

    #[test]
    fn odd_values_are_counted_and_ruin_nothing() {
        let numbers: ArrayRef = Arc::new(Float64Array::from(vec![
            Some(f64::NAN),
            Some(f64::INFINITY),
            Some(-0.0),
            Some(-2.5),
            None,
        ]));
        let told = profile(&[numbers]).describe(Shape::Number);
        assert_eq!(told["not_finite"], 2);
        assert_eq!(told["negative"], 1);
        assert_eq!(told["zeros"], 1);
        assert_eq!(told["numbers"]["min"], -2.5);
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some(""), Some("Aé9"), None]));
        let told = profile(&[texts]).describe(Shape::Text);
        assert_eq!(
            (&told["empty"], &told["lengths"]["max"]),
            (&1.into(), &3.0.into())
        );
        assert_eq!(told["patterns"][1]["value"], "Aa9");
        let nothing = Profile::new().unwrap();
        assert_eq!(
            nothing.describe(Shape::Number)["numbers"]["histogram"],
            Value::Null
        );
        assert!(Profile::from_bytes(b"nonsense").is_err());
        assert!(Profile::from_bytes(&nothing.to_bytes().unwrap()[..60]).is_err());
    }
}
