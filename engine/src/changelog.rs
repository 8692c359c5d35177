//! Updating results: rows that say what happens to a row.
//!
//! A changelog is a stream whose last column, [`OP_COLUMN`], holds a [`RowKind`]. A stream without
//! it only ever inserts, and pays nothing. Each row stands for itself: a filter may drop one of a
//! pair of updates, so consumers take [`RowKind::UpdateBefore`] as a deletion and
//! [`RowKind::UpdateAfter`] as an insertion. Order is kept per key.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int8Array, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int8Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result};

/// The name of the column that holds the kind of each row.
pub const OP_COLUMN: &str = "_op";

/// What happens to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i8)]
pub enum RowKind {
    /// It is new.
    Insert = 0,
    /// It was so before an update.
    UpdateBefore = 1,
    /// It is so after an update.
    UpdateAfter = 2,
    /// It is gone.
    Delete = 3,
}

impl RowKind {
    /// The kind of a number.
    pub fn from_number(number: i8) -> Option<Self> {
        match number {
            0 => Some(Self::Insert),
            1 => Some(Self::UpdateBefore),
            2 => Some(Self::UpdateAfter),
            3 => Some(Self::Delete),
            _ => None,
        }
    }

    /// The number in the column.
    pub fn number(self) -> i8 {
        self as i8
    }

    /// Whether the row is there after it.
    pub fn adds(self) -> bool {
        matches!(self, Self::Insert | Self::UpdateAfter)
    }

    /// The name that people read.
    pub fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::UpdateBefore => "update_before",
            Self::UpdateAfter => "update_after",
            Self::Delete => "delete",
        }
    }
}

/// The field of the kind.
pub fn op_field() -> FieldRef {
    Arc::new(Field::new(OP_COLUMN, DataType::Int8, false))
}

/// Whether rows of this schema are a changelog.
pub fn is_changelog(schema: &Schema) -> bool {
    schema
        .fields()
        .last()
        .is_some_and(|field| field.name() == OP_COLUMN && field.data_type() == &DataType::Int8)
}

/// The schema of the changelog of rows.
pub fn changelog_schema(rows: &Schema) -> SchemaRef {
    let fields = rows.fields().iter().map(Arc::clone).chain([op_field()]);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The schema of the rows of a changelog; a schema that is none stays as it is.
pub fn rows_schema(schema: &SchemaRef) -> SchemaRef {
    if !is_changelog(schema) {
        return Arc::clone(schema);
    }
    let fields = schema.fields().iter().take(schema.fields().len() - 1);
    Arc::new(Schema::new(fields.map(Arc::clone).collect::<Vec<_>>()))
}

/// Splits a batch into its rows' columns and, if it is a changelog, their kinds.
pub fn split(batch: &RecordBatch) -> (&[ArrayRef], Option<&Int8Array>) {
    match batch.columns().split_last() {
        Some((last, columns)) if is_changelog(batch.schema_ref()) => {
            (columns, last.as_primitive_opt::<Int8Type>())
        }
        _ => (batch.columns(), None),
    }
}

/// Says of each row whether it is there afterwards; a row of unknown kind is an error.
pub fn adds(kinds: Option<&Int8Array>, rows: usize) -> Result<Vec<bool>> {
    let Some(kinds) = kinds else {
        return Ok(vec![true; rows]);
    };
    kinds
        .values()
        .iter()
        .map(|number| {
            RowKind::from_number(*number)
                .map(RowKind::adds)
                .ok_or_else(|| Error::internal(format!("{number} is no kind of row")))
        })
        .collect()
}

/// The schema in which people are shown a changelog: the kind in words in front.
pub fn shown_schema(rows: &SchemaRef) -> SchemaRef {
    let op: FieldRef = Arc::new(Field::new(OP_COLUMN, DataType::Utf8, false));
    let rows = rows_schema(rows);
    let fields = std::iter::once(op).chain(rows.fields().iter().map(Arc::clone));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Brings a batch into [`shown_schema`]; the rows of a batch without kinds are insertions.
pub fn shown(batch: &RecordBatch) -> Result<RecordBatch> {
    let (columns, kinds) = split(batch);
    let name = |number: i8| RowKind::from_number(number).map_or("?", RowKind::name);
    let words = match kinds {
        Some(kinds) => StringArray::from_iter_values(kinds.values().iter().map(|k| name(*k))),
        None => {
            let insert = std::iter::repeat_n(RowKind::Insert.name(), batch.num_rows());
            StringArray::from_iter_values(insert)
        }
    };
    let words: ArrayRef = Arc::new(words);
    let columns = std::iter::once(words).chain(columns.iter().map(Arc::clone));
    let schema = shown_schema(batch.schema_ref());
    Ok(RecordBatch::try_new(schema, columns.collect())?)
}

/// Makes the column of kinds of rows that are all of one kind.
pub fn kinds(kind: RowKind, rows: usize) -> ArrayRef {
    Arc::new(Int8Array::from_value(kind.number(), rows))
}
