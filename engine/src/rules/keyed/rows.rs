//! Rows of a batch as bits: those that a rule is about, and those that have no null.

use arrow::array::{Array, ArrayRef, BooleanBufferBuilder};
use arrow::buffer::BooleanBuffer;
use arrow::record_batch::RecordBatch;

use crate::error::Result;
use crate::rules::rule::Rule;
use crate::rules::verdict::{is_true, truth};

/// The rows that a rule is about.
pub(super) fn applies(rule: &Rule, batch: &RecordBatch) -> Result<BooleanBuffer> {
    let rows = batch.num_rows();
    match &rule.when {
        Some(when) => Ok(is_true(truth(&when.evaluate(batch)?.into_array(rows)?)?)),
        None => Ok(BooleanBuffer::new_set(rows)),
    }
}

/// None of some rows.
pub(super) fn none(rows: usize) -> BooleanBufferBuilder {
    let mut none = BooleanBufferBuilder::new(rows);
    none.append_n(rows, false);
    none
}

/// The rows of a choice in which no column is null.
pub(super) fn without_nulls(rows: BooleanBuffer, columns: &[ArrayRef]) -> BooleanBuffer {
    columns.iter().fold(rows, |rows, column| {
        match column
            .logical_nulls()
            .filter(|nulls| nulls.null_count() > 0)
        {
            Some(nulls) => &rows & nulls.inner(),
            None => rows,
        }
    })
}
