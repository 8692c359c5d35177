//! A changelog folded into the rows that it stands for.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use twox_hash::XxHash3_64;

use super::codec::{RowBytes, RowCodec};
use super::memory::ENTRY_BYTES;
use crate::changelog::{RowKind, adds, changelog_schema, rows_schema, split};
use crate::error::{Error, Result};

/// A multiset of rows to which changelogs are applied: what a reader sees who applies all changes.
///
/// Each row of a changelog stands for itself; an update is a row that goes and one that comes. A row
/// may go before it comes: its number is negative in between, so that shares of a changelog can be
/// folded one by one, in any order.
#[derive(Debug)]
pub struct Fold {
    schema: SchemaRef,
    codec: RowCodec,
    counts: BTreeMap<RowBytes, i64>,
    bytes: usize,
}

impl Fold {
    /// Makes an empty multiset of rows; `schema` is theirs, with `_op` or without.
    pub fn try_new(schema: &SchemaRef) -> Result<Self> {
        let schema = rows_schema(schema);
        let codec = RowCodec::of(schema.fields().iter().map(|f| f.data_type().clone()))?;
        Ok(Self {
            schema,
            codec,
            counts: BTreeMap::new(),
            bytes: 0,
        })
    }

    /// Applies a batch of a changelog, or of rows that are all new.
    pub fn apply(&mut self, batch: &RecordBatch) -> Result<()> {
        let (columns, kinds) = split(batch);
        let adds = adds(kinds, batch.num_rows())?;
        let rows = self.rows(columns)?;
        for (row, adds) in adds.into_iter().enumerate() {
            let bytes: &[u8] = rows.as_ref().map_or(&[], |rows| rows.row(row).data());
            self.add(bytes, if adds { 1 } else { -1 });
        }
        Ok(())
    }

    /// Adds the rows of another multiset of the same schema.
    pub fn merge(&mut self, other: &Self) {
        for (row, count) in &other.counts {
            self.add(row, *count);
        }
    }

    /// Forgets all rows.
    pub fn clear(&mut self) {
        self.counts.clear();
        self.bytes = 0;
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Hashes the rows of a batch, each as a whole.
    pub(crate) fn hashes(&self, batch: &RecordBatch) -> Result<Vec<u64>> {
        let (columns, _) = split(batch);
        let rows = self.rows(columns)?;
        let bytes = |row| rows.as_ref().map_or(&[][..], |rows| rows.row(row).data());
        let hashes = (0..batch.num_rows()).map(|row| XxHash3_64::oneshot(bytes(row)));
        Ok(hashes.collect())
    }

    /// A changelog whose fold this is, in batches of at most so many rows.
    pub(crate) fn changes(&self, rows_max: usize) -> impl Iterator<Item = Result<RecordBatch>> {
        let mut lines = self.counts.iter().flat_map(|(row, count)| {
            let kind = if *count > 0 {
                RowKind::Insert
            } else {
                RowKind::Delete
            };
            let times = usize::try_from(count.unsigned_abs()).unwrap_or(0);
            std::iter::repeat_n((row, kind), times)
        });
        std::iter::from_fn(move || {
            let lines: Vec<_> = lines.by_ref().take(rows_max.max(1)).collect();
            (!lines.is_empty()).then(|| {
                let rows: Vec<&[u8]> = lines.iter().map(|(row, _)| &***row).collect();
                let kinds = lines.iter().map(|(_, kind)| kind.number());
                let rows = self.batch(&rows)?;
                let mut columns = rows.columns().to_vec();
                columns.push(Arc::new(Int8Array::from_iter_values(kinds)));
                let schema = changelog_schema(&self.schema);
                Ok(RecordBatch::try_new(schema, columns)?)
            })
        })
    }

    /// The rows that are here and not in another multiset of the same schema, and those that are
    /// there and not here.
    pub fn difference(&self, other: &Self) -> Result<(Self, Self)> {
        let more = |these: &Self, those: &Self| {
            let counts = these.counts.iter().filter_map(|(row, count)| {
                let more = count - those.counts.get(row).copied().unwrap_or(0);
                (more > 0).then(|| (Arc::clone(row), more))
            });
            let mut fold = Self::try_new(&these.schema)?;
            for (row, more) in counts {
                fold.add(&row, more);
            }
            Ok::<_, Error>(fold)
        };
        Ok((more(self, other)?, more(other, self)?))
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        let counts = self.counts.values();
        counts
            .map(|count| usize::try_from(*count).unwrap_or(0))
            .sum()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a row went that has not come: the changelog is not whole.
    pub fn is_short(&self) -> bool {
        self.counts.values().any(|count| *count < 0)
    }

    /// The rows' schema.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The rows in a fixed order, in batches of at most so many; fails when a row has gone more
    /// often than it came.
    pub fn batches(&self, rows_max: usize) -> Result<Vec<RecordBatch>> {
        if self.is_short() {
            return Err(Error::internal(
                "a changelog takes back a row that has not come",
            ));
        }
        let mut rows: Vec<&[u8]> = Vec::with_capacity(self.len());
        for (row, count) in &self.counts {
            let count = usize::try_from(*count).unwrap_or(0);
            rows.extend(std::iter::repeat_n(&**row, count));
        }
        let chunks = rows.chunks(rows_max.max(1));
        chunks.map(|rows| self.batch(rows)).collect()
    }

    fn batch(&self, rows: &[&[u8]]) -> Result<RecordBatch> {
        let columns = if self.codec.types().is_empty() {
            Vec::new()
        } else {
            self.codec.decode(rows.iter().copied())?
        };
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let schema = Arc::clone(&self.schema);
        Ok(RecordBatch::try_new_with_options(
            schema, columns, &options,
        )?)
    }

    fn rows(&self, columns: &[ArrayRef]) -> Result<Option<arrow::row::Rows>> {
        if columns.is_empty() {
            return Ok(None);
        }
        self.codec.encode(columns).map(Some)
    }

    fn add(&mut self, row: &[u8], by: i64) {
        match self.counts.get_mut(row) {
            Some(count) => {
                *count += by;
                if *count == 0 {
                    self.counts.remove(row);
                    self.bytes -= row.len() + ENTRY_BYTES;
                }
            }
            None if by != 0 => {
                self.counts.insert(row.into(), by);
                self.bytes += row.len() + ENTRY_BYTES;
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};
    use arrow::util::pretty::pretty_format_batches;
    use expect_test::expect;

    use super::*;

    fn changes(rows: &[(Option<i64>, RowKind)]) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("x", DataType::Int64, true)]);
        let values: Int64Array = rows.iter().map(|(value, _)| *value).collect();
        let kinds = Int8Array::from_iter_values(rows.iter().map(|(_, kind)| kind.number()));
        let columns: Vec<ArrayRef> = vec![Arc::new(values), Arc::new(kinds)];
        RecordBatch::try_new(changelog_schema(&schema), columns).unwrap()
    }

    #[test]
    fn rows_come_and_go() {
        use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};
        let batch = changes(&[
            (Some(1), Insert),
            (Some(1), Insert),
            (None, Insert),
            (Some(2), Insert),
            (Some(2), UpdateBefore),
            (Some(3), UpdateAfter),
            (Some(1), Delete),
        ]);
        let mut fold = Fold::try_new(&batch.schema()).unwrap();
        fold.apply(&batch).unwrap();
        let rows = pretty_format_batches(&fold.batches(10).unwrap()).unwrap();
        expect![[r"
            +---+
            | x |
            +---+
            |   |
            | 1 |
            | 3 |
            +---+"]]
        .assert_eq(&rows.to_string());
        assert_eq!(fold.batches(2).unwrap().len(), 2);
    }

    #[test]
    fn shares_fold_in_any_order() {
        let mut fold = Fold::try_new(&changes(&[]).schema()).unwrap();
        fold.apply(&changes(&[(Some(1), RowKind::Delete)])).unwrap();
        assert!(fold.is_short());
        assert!(fold.batches(1).is_err());
        let mut other = Fold::try_new(&changes(&[]).schema()).unwrap();
        other
            .apply(&changes(&[(Some(1), RowKind::Insert)]))
            .unwrap();
        fold.merge(&other);
        assert!(fold.is_empty() && !fold.is_short());
    }
}
