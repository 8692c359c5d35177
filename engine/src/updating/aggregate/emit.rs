//! Results as a changelog: what was sent, what is so now, and the difference.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use datafusion_common::ScalarValue;

use super::OutputColumn;
use super::call::misfit;
use super::groups::Groups;
use super::program::Program;
use crate::changelog::RowKind;
use crate::error::{Error, Result};
use crate::operator::Output;
use crate::updating::{RowBytes, RowCodec};

/// One row of the changelog.
struct Line {
    key: RowBytes,
    result: RowBytes,
    kind: RowKind,
}

/// Sends what has changed of some groups since it was sent, and remembers what is sent.
pub(super) fn emit(
    program: &Program,
    groups: &mut Groups,
    slots: &[u32],
    batch_rows: usize,
    out: &mut Output,
) -> Result<()> {
    for slots in slots.chunks(batch_rows.max(1)) {
        let results = evaluate(program, groups, slots)?;
        let mut lines = Vec::with_capacity(slots.len() * 2);
        for (slot, now) in slots.iter().zip(results) {
            let group = groups.held(*slot)?;
            let before = group.emitted.take();
            group.emitted = now.as_ref().map(Arc::clone);
            let mut line = |result: RowBytes, kind| {
                lines.push(Line {
                    key: Arc::clone(&group.key),
                    result,
                    kind,
                });
            };
            match (before, now) {
                (None, Some(now)) => line(now, RowKind::Insert),
                (Some(before), None) => line(before, RowKind::Delete),
                (Some(before), Some(now)) if before != now => {
                    line(before, RowKind::UpdateBefore);
                    line(now, RowKind::UpdateAfter);
                }
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
        for lines in lines.chunks(batch_rows.max(1)) {
            out.send(batch(program, lines)?);
        }
    }
    Ok(())
}

/// The results of one aggregate, in the order of the groups.
enum Column {
    Counts(Vec<i64>),
    Scalars(Vec<ScalarValue>),
}

impl Column {
    fn new(counts: bool, rows: usize) -> Self {
        match counts {
            true => Self::Counts(Vec::with_capacity(rows)),
            false => Self::Scalars(Vec::with_capacity(rows)),
        }
    }

    fn finish(self) -> Result<ArrayRef> {
        Ok(match self {
            Self::Counts(counts) => Arc::new(Int64Array::from(counts)),
            Self::Scalars(scalars) => ScalarValue::iter_to_array(scalars)?,
        })
    }
}

/// The results of groups as of now; an empty group has none.
fn evaluate(
    program: &Program,
    groups: &mut Groups,
    slots: &[u32],
) -> Result<Vec<Option<RowBytes>>> {
    let columns = program.calls.iter();
    let columns = columns.map(|call| Column::new(call.counts, slots.len()));
    let mut columns: Vec<Column> = columns.collect();
    let mut alive = Vec::with_capacity(slots.len());
    for slot in slots {
        let group = groups.held(*slot)?;
        alive.push(group.rows > 0 || program.is_global());
        if alive.last() == Some(&false) {
            continue;
        }
        let values = group.values.iter_mut().zip(&program.calls);
        for ((value, call), column) in values.zip(&mut columns) {
            match column {
                Column::Counts(counts) => counts.push(value.counted().ok_or_else(misfit)?),
                Column::Scalars(scalars) => scalars.push(value.evaluate(call)?),
            }
        }
    }
    let rows = if alive.contains(&true) && !columns.is_empty() {
        let columns = columns
            .into_iter()
            .zip(&program.calls)
            .map(|(column, call)| {
                let column = column.finish()?;
                if column.data_type() == &call.result {
                    return Ok(column);
                }
                // Accumulators differ from the plan at most in the names within nested types.
                Ok(cast(&column, &call.result)?)
            })
            .collect::<Result<Vec<_>>>()?;
        Some(program.result_codec.encode(&columns)?)
    } else {
        None
    };
    let mut next = 0;
    let mut result = |alive: bool| {
        alive.then(|| {
            next += 1;
            let row: &[u8] = rows.as_ref().map_or(&[], |rows| rows.row(next - 1).data());
            row.into()
        })
    };
    Ok(alive.into_iter().map(&mut result).collect())
}

fn batch(program: &Program, lines: &[Line]) -> Result<RecordBatch> {
    let keys = columns(&program.key_codec, lines.iter().map(|line| &*line.key))?;
    let results = columns(
        &program.result_codec,
        lines.iter().map(|line| &*line.result),
    )?;
    let mut out: Vec<ArrayRef> = Vec::with_capacity(program.output.len() + 1);
    for (column, field) in program.output.iter().zip(program.schema.fields()) {
        let found = match column {
            OutputColumn::Key(i) => keys.get(*i),
            OutputColumn::Aggregate(i) => results.get(*i),
        };
        let found = found.ok_or_else(misfit)?;
        out.push(if found.data_type() == field.data_type() {
            Arc::clone(found)
        } else {
            cast(found, field.data_type()).map_err(|error| {
                Error::internal(format!(
                    "an aggregate gave {} for {}",
                    found.data_type(),
                    field.data_type()
                ))
                .caused_by(error)
            })?
        });
    }
    let kinds = lines.iter().map(|line| line.kind.number());
    out.push(Arc::new(Int8Array::from_iter_values(kinds)));
    let options = RecordBatchOptions::new().with_row_count(Some(lines.len()));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(&program.schema),
        out,
        &options,
    )?)
}

/// Decodes rows; rows without columns are nothing to decode.
pub(super) fn columns<'a>(
    codec: &RowCodec,
    rows: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<ArrayRef>> {
    if codec.types().is_empty() {
        return Ok(Vec::new());
    }
    codec.decode(rows)
}
