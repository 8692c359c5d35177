//! Verdicts as a column of structs.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, MapBuilder, MapFieldNames, StringBuilder, StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use weir_anomaly::Verdict;

use crate::error::Result;

/// The name of the field with the id of an anomaly.
pub const ANOMALY_ID: &str = "id";

/// The type of the column: `STRUCT(is_anomaly, score, p_value, expected, lower, upper, direction, contribution,
/// warmup, suppressed, id)`. What a method does not know is NULL, and so is the id of what is no anomaly.
pub fn data_type() -> DataType {
    DataType::Struct(fields())
}

fn fields() -> Fields {
    let entries = DataType::Struct(Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Float64, true),
    ]));
    let entries = Arc::new(Field::new("entries", entries, false));
    let known = |name: &str, of: DataType| Field::new(name, of, true);
    Fields::from(vec![
        known("is_anomaly", DataType::Boolean),
        known("score", DataType::Float64),
        known("p_value", DataType::Float64),
        known("expected", DataType::Float64),
        known("lower", DataType::Float64),
        known("upper", DataType::Float64),
        known("direction", DataType::Utf8),
        known("contribution", DataType::Map(entries, false)),
        known("warmup", DataType::Boolean),
        known("suppressed", DataType::Boolean),
        known(ANOMALY_ID, DataType::Utf8),
    ])
}

/// Collects the verdicts of a batch.
#[derive(Debug)]
pub(super) struct VerdictBuilder<'a> {
    names: &'a [String],
    is_known: Vec<bool>,
    /// Anomaly, warm-up, suppressed.
    flags: [BooleanBuilder; 3],
    /// Score, probability, expected, lower, upper.
    numbers: [Float64Builder; 5],
    direction: StringBuilder,
    contribution: MapBuilder<StringBuilder, Float64Builder>,
    ids: StringBuilder,
}

impl<'a> VerdictBuilder<'a> {
    /// For so many verdicts of rows with values of these names.
    pub(super) fn new(names: &'a [String], rows: usize) -> Self {
        let entries = MapFieldNames {
            entry: "entries".to_owned(),
            key: "key".to_owned(),
            value: "value".to_owned(),
        };
        Self {
            names,
            is_known: Vec::with_capacity(rows),
            flags: std::array::from_fn(|_| BooleanBuilder::with_capacity(rows)),
            numbers: std::array::from_fn(|_| Float64Builder::with_capacity(rows)),
            direction: StringBuilder::with_capacity(rows, 0),
            contribution: MapBuilder::new(
                Some(entries),
                StringBuilder::new(),
                Float64Builder::new(),
            ),
            ids: StringBuilder::new(),
        }
    }

    /// Adds a verdict, or that there is none; with its id if it is an anomaly.
    pub(super) fn push(&mut self, verdict: Option<&Verdict>, id: Option<String>) -> Result<()> {
        self.ids.append_option(id);
        self.is_known.push(verdict.is_some());
        let flags = verdict.map(|v| [v.is_anomaly, v.is_warmup, v.is_suppressed]);
        for (place, builder) in self.flags.iter_mut().enumerate() {
            builder.append_option(flags.map(|flags| flags[place]));
        }
        let numbers = verdict.map(|v| [v.score, v.p_value, v.expected, v.lower, v.upper]);
        for (place, builder) in self.numbers.iter_mut().enumerate() {
            // What a method doesn't know is not a number, what has no bound is infinite.
            let number = numbers.map(|numbers| numbers[place]);
            builder.append_option(number.filter(|number| number.is_finite()));
        }
        self.direction
            .append_option(verdict.and_then(|verdict| match verdict.direction {
                1.. => Some("up"),
                0 => None,
                _ => Some("down"),
            }));
        let shares = verdict.map_or(&[][..], |verdict| &verdict.contribution);
        for (name, share) in self.names.iter().zip(shares) {
            self.contribution.keys().append_value(name);
            self.contribution.values().append_value(*share);
        }
        self.contribution.append(!shares.is_empty())?;
        Ok(())
    }

    /// The column.
    pub(super) fn finish(self) -> Result<ArrayRef> {
        let [mut anomaly, mut warmup, mut suppressed] = self.flags;
        let [mut score, mut p, mut expected, mut lower, mut upper] = self.numbers;
        let (mut direction, mut contribution) = (self.direction, self.contribution);
        let mut ids = self.ids;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(anomaly.finish()),
            Arc::new(score.finish()),
            Arc::new(p.finish()),
            Arc::new(expected.finish()),
            Arc::new(lower.finish()),
            Arc::new(upper.finish()),
            Arc::new(direction.finish()),
            Arc::new(contribution.finish()),
            Arc::new(warmup.finish()),
            Arc::new(suppressed.finish()),
            Arc::new(ids.finish()),
        ];
        let nulls = NullBuffer::from(self.is_known);
        let nulls = (nulls.null_count() > 0).then_some(nulls);
        Ok(Arc::new(StructArray::try_new(fields(), columns, nulls)?))
    }
}
