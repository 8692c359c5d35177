//! Rows into partitions, and partitions into folders as Hive names them.

use std::collections::HashMap;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::{partition, take, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use weir_engine::error::Result;

/// What stands in the path for NULL.
const NULL_FOLDER: &str = "__HIVE_DEFAULT_PARTITION__";

/// The key of a partition: the values of its columns in arrow's row format.
pub(super) type Key = Box<[u8]>;

/// The rows of one batch that belong to one partition.
#[derive(Debug)]
pub(super) struct Part {
    /// The partition.
    pub(super) key: Key,
    /// One of its rows in the batch, to name the folder from.
    pub(super) first: usize,
    /// The rows, partition columns included.
    pub(super) rows: RecordBatch,
}

/// Splits batches by the values of some columns.
#[derive(Debug)]
pub(super) struct Partitioner {
    columns: Vec<usize>,
    converter: RowConverter,
}

impl Partitioner {
    /// Splits by these columns.
    pub(super) fn new(schema: &SchemaRef, columns: Vec<usize>) -> Result<Self> {
        let fields = columns
            .iter()
            .map(|column| schema.field(*column).data_type().clone());
        let converter = RowConverter::new(fields.map(SortField::new).collect())?;
        Ok(Self { columns, converter })
    }

    /// Splits a batch. Rows of one partition keep their order. Runs of equal rows are found by a
    /// vectorised comparison, so that input sorted by time costs next to nothing.
    pub(super) fn split(&self, batch: RecordBatch) -> Result<Vec<Part>> {
        let columns = self.columns(&batch);
        let runs = partition(&columns)?.ranges();
        let starts: UInt32Array = runs
            .iter()
            .map(|run| u32::try_from(run.start).unwrap_or(u32::MAX))
            .collect();
        let firsts = columns.iter().map(|column| take(column, &starts, None));
        let keys = self
            .converter
            .convert_columns(&firsts.collect::<Result<Vec<_>, _>>()?)?;

        let mut found: HashMap<&[u8], usize> = HashMap::new();
        let mut groups: Vec<(Key, Vec<Range<usize>>)> = Vec::new();
        for (run, key) in runs.into_iter().zip(keys.iter()) {
            let group = *found.entry(key.data()).or_insert_with(|| {
                groups.push((key.data().into(), Vec::new()));
                groups.len() - 1
            });
            if let Some((_, runs)) = groups.get_mut(group) {
                runs.push(run);
            }
        }
        groups
            .into_iter()
            .map(|(key, runs)| part(&batch, key, &runs))
            .collect()
    }

    /// The folder of the partition that a row is in, `k=v/k=v`.
    pub(super) fn folder(&self, batch: &RecordBatch, row: usize) -> Result<String> {
        let options = FormatOptions::default()
            .with_datetime_format(Some("%Y-%m-%d"))
            .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
            .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f%:z"));
        let schema = batch.schema_ref();
        let mut folder = String::new();
        for (column, array) in self.columns.iter().zip(self.columns(batch)) {
            if !folder.is_empty() {
                folder.push('/');
            }
            folder.push_str(&escape(schema.field(*column).name()));
            folder.push('=');
            // A dictionary's null may hide in its values, where only the logical nulls see it.
            if array.slice(row, 1).logical_null_count() > 0 {
                folder.push_str(NULL_FOLDER);
            } else {
                let text = ArrayFormatter::try_new(&array, &options)?
                    .value(row)
                    .try_to_string()?;
                folder.push_str(&escape(&text));
            }
        }
        Ok(folder)
    }

    fn columns(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        self.columns
            .iter()
            .map(|column| ArrayRef::clone(batch.column(*column)))
            .collect()
    }
}

fn part(batch: &RecordBatch, key: Key, runs: &[Range<usize>]) -> Result<Part> {
    let first = runs.first().map_or(0, |run| run.start);
    let rows = match runs {
        [run] => batch.slice(run.start, run.len()),
        _ => {
            let rows = runs.iter().flat_map(Clone::clone);
            let indices: UInt32Array = rows
                .map(|row| u32::try_from(row).unwrap_or(u32::MAX))
                .collect();
            take_record_batch(batch, &indices)?
        }
    };
    Ok(Part { key, first, rows })
}

/// Puts back what [`escape`] has changed: `%` and two digits.
pub(crate) fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let mut ahead = rest.clone();
        let code = match (c, ahead.next(), ahead.next()) {
            ('%', Some(high), Some(low)) => high
                .to_digit(16)
                .zip(low.to_digit(16))
                .and_then(|(high, low)| char::from_u32(high * 16 + low)),
            _ => None,
        };
        match code {
            Some(code) => {
                out.push(code);
                rest = ahead;
            }
            None => out.push(c),
        }
    }
    out
}

/// Escapes a name or value as Hive does, so that it is one segment of a path and can be read back:
/// `%` and two digits for what has a meaning in paths.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let special = matches!(
            c,
            '"' | '#'
                | '%'
                | '\''
                | '*'
                | '/'
                | ':'
                | '='
                | '?'
                | '\\'
                | '{'
                | '}'
                | '['
                | ']'
                | '^'
                | '<'
                | '>'
                | '|'
        );
        if c.is_ascii_control() || special {
            out.push_str(&format!("%{:02X}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// The columns that a partition can be made of have one value per row.
pub(super) fn takes(data_type: &arrow::datatypes::DataType) -> bool {
    !data_type.is_nested()
}

#[cfg(test)]
mod tests {
    use super::{escape, unescape};

    #[test]
    fn what_is_escaped_comes_back() {
        for text in ["", "a b", "50%", "%41", "a=b/c:d", "ä%zz", "\"*?\\", "%"] {
            assert_eq!(unescape(&escape(text)), text);
        }
    }
}
