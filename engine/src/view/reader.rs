//! Reads views from checkpoints.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::lines::{FORMAT, Part, schema};
use crate::changelog::{changelog_schema, rows_schema};
use crate::error::{Error, Result};
use crate::operator::StateBatches;
use crate::updating::fold::Fold;

/// The rows of a view at one epoch.
#[derive(Debug)]
pub struct Snapshot {
    rows: Fold,
}

impl Snapshot {
    /// Begins with no rows; `schema` is the view's, with `_op` or without.
    pub fn try_new(schema: &SchemaRef) -> Result<Self> {
        Ok(Self {
            rows: Fold::try_new(schema)?,
        })
    }

    /// Adds what one subtask has saved: its last snapshot of [`crate::operator::Extent::All`], if
    /// any, and those of changes after it up to the epoch, in order. The order of the subtasks does
    /// not matter.
    pub fn apply(&mut self, chain: StateBatches) -> Result<()> {
        let rows = self.rows.schema();
        for batch in chain {
            let batch = batch?;
            let part = Part::of(&batch)?;
            FORMAT.check(&batch, &schema(&rows, part))?;
            if part.is_state() {
                self.rows.apply(&batch)?;
            }
        }
        Ok(())
    }

    /// The rows that are here and not at another epoch of the view, and those that are there and
    /// not here.
    pub fn difference(&self, other: &Self) -> Result<(Self, Self)> {
        let (gone, come) = self.rows.difference(&other.rows)?;
        Ok((Self { rows: gone }, Self { rows: come }))
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows in a fixed order, in batches of at most so many; fails when a chain is missing.
    pub fn batches(&self, rows_max: usize) -> Result<Vec<RecordBatch>> {
        if self.rows.is_short() {
            return Err(Error::internal("a part of a view's snapshot is missing"));
        }
        self.rows.batches(rows_max)
    }
}

/// Gives what happened to a view in one epoch as a changelog, from the snapshot that one subtask has
/// saved in it, whether of changes or of all. Between the subtasks there is no order; each key is in
/// one of them.
pub fn changes(view: &SchemaRef, snapshot: StateBatches) -> StateBatches {
    let rows = rows_schema(view);
    let changelog = changelog_schema(&rows);
    Box::new(snapshot.filter_map(move |batch| {
        let change = batch.and_then(|batch| {
            let part = Part::of(&batch)?;
            FORMAT.check(&batch, &schema(&rows, part))?;
            if !part.is_change() {
                return Ok(None);
            }
            let columns = batch.columns().to_vec();
            Ok(Some(RecordBatch::try_new(Arc::clone(&changelog), columns)?))
        });
        change.transpose()
    }))
}
