//! What is rescued of records that are not as declared: the text of the rescue column.
//!
//! It is a JSON object with a key for each value that has no column, or does not fit it. A record that
//! cannot be taken apart is there as a whole: under `_raw` as a text, or, where it is none, under
//! `_raw_hex`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields};
use arrow::error::ArrowError;
use arrow::json::LineDelimitedWriter;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use serde_json::{Map, Value};
use weir_engine::Result;
use weir_engine::deviation::Deviations;
use weir_engine::source::{Position, Read, SplitReader};

/// What one record leaves.
pub(crate) type Rest = Map<String, Value>;

/// What rows leave, by their place in a batch; those that leave nothing are not there.
#[derive(Debug, Default)]
pub(crate) struct Rests(BTreeMap<usize, Rest>);

impl Rests {
    /// Adds what a row leaves.
    pub(crate) fn add(&mut self, row: usize, rest: Rest) {
        if !rest.is_empty() {
            self.0.entry(row).or_default().extend(rest);
        }
    }

    /// Adds the values of a column in some rows.
    pub(crate) fn add_values(
        &mut self,
        (name, column): (&str, &ArrayRef),
        rows: impl Iterator<Item = usize>,
    ) -> Result<()> {
        for row in rows {
            let one = RecordBatch::try_from_iter([(name, column.slice(row, 1))])?;
            self.add(row, of_rows(&one)?.pop().unwrap_or_default());
        }
        Ok(())
    }

    /// Takes what a row leaves.
    pub(crate) fn take(&mut self, row: usize) -> Rest {
        self.0.remove(&row).unwrap_or_default()
    }

    /// The rescue column of a batch.
    pub(crate) fn column(&self, rows: usize, data_type: &DataType) -> Result<ArrayRef> {
        let text = |row| {
            self.0
                .get(&row)
                .map(|rest| Value::Object(rest.clone()).to_string())
        };
        let texts: StringArray = (0..rows).map(text).collect();
        Ok(cast(&texts, data_type)?)
    }
}

/// The values of each row of a batch, nulls left out.
pub(crate) fn of_rows(batch: &RecordBatch) -> Result<Vec<Rest>, ArrowError> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    let text = writer.into_inner();
    let lines = text.split(|byte| *byte == b'\n').take(batch.num_rows());
    let parsed = |line: &[u8]| serde_json::from_slice(line);
    let rests = lines.map(parsed).collect::<std::result::Result<_, _>>();
    rests.map_err(|error| ArrowError::JsonError(error.to_string()))
}

/// A record that cannot be taken apart.
pub(crate) fn raw(record: &[u8]) -> Rest {
    let mut rest = Rest::new();
    match std::str::from_utf8(record) {
        Ok(text) => rest.insert("_raw".to_owned(), text.into()),
        Err(_) => {
            let hex: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
            rest.insert("_raw_hex".to_owned(), hex.into())
        }
    };
    rest
}

/// The object of a JSON record; none if it is something else.
pub(crate) fn object(record: &[u8]) -> Option<Rest> {
    match serde_json::from_slice(record) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

/// Whether a key has no column.
pub(crate) fn unknown(object: Rest, known: &[String]) -> Rest {
    let left = object.into_iter().filter(|(key, _)| !known.contains(key));
    left.collect()
}

/// The columns that were discovered, with the rescue column behind them, if there is one.
pub(crate) fn with_rescue(found: Fields, deviations: &Deviations) -> Fields {
    let rescue = deviations.rescue.as_ref();
    let rescue = rescue.filter(|name| found.find(name).is_none());
    let rescue = rescue.map(|name| Arc::new(Field::new(name, DataType::Utf8, true)));
    found.iter().cloned().chain(rescue).collect()
}

/// A reader of more columns than are asked for: the first of them are given.
#[derive(Debug)]
pub(crate) struct First {
    reader: Box<dyn SplitReader>,
    columns: Vec<usize>,
}

impl First {
    pub(crate) fn of(reader: Box<dyn SplitReader>, columns: usize) -> Self {
        let columns = (0..columns).collect();
        Self { reader, columns }
    }
}

#[async_trait]
impl SplitReader for First {
    async fn next(&mut self) -> Result<Read> {
        Ok(match self.reader.next().await? {
            Read::Rows { batch, bytes } => Read::Rows {
                batch: batch.project(&self.columns)?,
                bytes,
            },
            other => other,
        })
    }

    fn position(&self) -> Position {
        self.reader.position()
    }

    fn offset(&self, row: usize) -> Option<u64> {
        self.reader.offset(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rows_leave_is_one_object_each() {
        let mut rests = Rests::default();
        let numbers: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![1, 2]));
        rests.add_values(("n", &numbers), [1].into_iter()).unwrap();
        rests.add(1, raw(b"\"x"));
        rests.add(0, Rest::new());
        let column = rests.column(3, &DataType::Utf8).unwrap();
        let column = column.as_any().downcast_ref::<StringArray>().unwrap();
        assert_eq!(column.value(1), r#"{"_raw":"\"x","n":2}"#);
        assert_eq!(column.null_count(), 2);
    }

    #[test]
    fn bytes_that_are_no_text_are_kept_too() {
        assert_eq!(raw(b"\xff\x00")["_raw_hex"], "ff00");
    }
}
