//! How the columns that a format gives become those that are asked for. The rules are those of
//! files: found by name, in other case if only one has it; cast to the declared type; null when
//! missing; a value that does not fit is reported.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::datatypes::{Fields, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use weir_engine::Result;

use crate::file::columns::{Change, Offer, change, position};
use crate::file::config::TimestampFormat;
use crate::rescue::{Rest, Rests};

/// A plan for batches of one schema.
#[derive(Debug)]
pub(super) struct Shape {
    schema: SchemaRef,
    slots: Vec<Slot>,
}

#[derive(Debug)]
enum Slot {
    /// A column of the decoded batch.
    Read(usize, Change),
    /// The format has no such column.
    Missing,
}

impl Shape {
    /// Plans the asked columns of a schema's; an error text says why one does not fit.
    pub(super) fn plan(
        asked: &SchemaRef,
        fields: &Fields,
        timestamps: Option<&TimestampFormat>,
    ) -> Result<Self, String> {
        let offer = Offer {
            fields,
            open: true,
            what: "messages",
            declared: true,
            timestamps,
        };
        let mut slots = Vec::with_capacity(asked.fields().len());
        for want in asked.fields() {
            let found = position(fields, want.name());
            slots.push(match found.and_then(|at| Some((at, fields.get(at)?))) {
                Some((at, have)) => Slot::Read(at, change(have, want, offer)?),
                None => Slot::Missing,
            });
        }
        Ok(Self {
            schema: Arc::clone(asked),
            slots,
        })
    }

    /// The asked columns of one row; a value that does not fit goes to the rest.
    pub(super) fn salvage(&self, batch: &RecordBatch, rest: Rest) -> Result<(RecordBatch, Rest)> {
        let (row, misfits) = self.apply(batch)?;
        let mut rests = Rests::default();
        rests.add(0, rest);
        if !misfits.is_empty() {
            let slots = self
                .slots
                .iter()
                .zip(self.schema.fields())
                .zip(row.columns());
            for ((slot, field), to) in slots {
                if let Slot::Read(at, _) = slot
                    && to.is_null(0)
                    && batch.column(*at).is_valid(0)
                {
                    let lost = std::iter::once(0);
                    rests.add_values((field.name(), batch.column(*at)), lost)?;
                }
            }
        }
        Ok((row, rests.take(0)))
    }

    /// Makes the asked columns; tells the rows that lost a value, and which.
    pub(super) fn apply(&self, batch: &RecordBatch) -> Result<(RecordBatch, Vec<(usize, String)>)> {
        let rows = batch.num_rows();
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.slots.len());
        let mut misfits = Vec::new();
        for (slot, field) in self.slots.iter().zip(self.schema.fields()) {
            arrays.push(match slot {
                Slot::Missing => new_null_array(field.data_type(), rows),
                Slot::Read(at, change) => {
                    let from = batch.column(*at);
                    let to = change.apply(from, field.data_type())?;
                    if to.null_count() > from.null_count() {
                        let lost = (0..rows).filter(|row| to.is_null(*row) && from.is_valid(*row));
                        misfits.extend(lost.map(|row| {
                            let (name, kind) = (field.name(), field.data_type());
                            (
                                row,
                                format!("column \"{name}\": the value does not fit {kind}"),
                            )
                        }));
                    }
                    to
                }
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = Arc::clone(&self.schema);
        let shaped = RecordBatch::try_new_with_options(schema, arrays, &options)?;
        Ok((shaped, misfits))
    }
}
