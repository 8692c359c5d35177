//! Rows that have been in quarantine for longer than they are kept: their files are written anew, with nothing of
//! them but their names, their times and why they were there. Other rows of such a file stay as they are.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Scalar, StringArray};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{concat_batches, nullif};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::record_batch::RecordBatch;
use weir_engine::error::{Error, Result};
use weir_engine::quarantine::{Action, Quarantine as _};
use weir_engine::rules::{FIRST_SEEN, OBSERVED, RAW, STATUS, is_kept_column};

use super::{LocalQuarantine, action_of, files, request_path};

/// The status of such rows.
pub(super) const EXPIRED: &str = "expired";
/// What they have observed.
const NOTHING: &str = "{}";

/// When the oldest row of each file came that has not expired: files that have none are not read again.
#[derive(Debug, Default)]
pub(super) struct Oldest(HashMap<PathBuf, i64>);

/// Expires the rows that came before a time.
pub(super) fn expire(store: &LocalQuarantine, oldest: &mut Oldest, before: i64) -> Result<()> {
    for table in store.tables()? {
        let mut paths = files::rows(&store.table(&table))?;
        paths.extend(discarded(store, &table)?);
        for path in paths {
            let due = oldest.0.get(&path).is_none_or(|oldest| *oldest < before);
            if due {
                let left = strip(store, &path, before)?;
                oldest.0.insert(path, left);
            }
        }
    }
    Ok(())
}

/// The requests whose rows nobody takes any more: those that say of rows that they are not wanted.
fn discarded(store: &LocalQuarantine, table: &str) -> Result<Vec<PathBuf>> {
    let folder = store.requests(table);
    let mut found = Vec::new();
    for number in 1..=store.last(table)? {
        let path = request_path(&folder, number);
        let (schema, _) = files::read(&path, Some(&[STATUS]))?;
        if action_of(&schema, &path)? == Action::Discard {
            found.push(path);
        }
    }
    Ok(found)
}

/// Takes the rows of a file that came before a time apart; says when the oldest of the others came.
fn strip(store: &LocalQuarantine, path: &Path, before: i64) -> Result<i64> {
    let (_, times) = files::read(path, Some(&[STATUS, FIRST_SEEN]))?;
    let (mut any, mut left) = (false, i64::MAX);
    for rows in &times {
        let expired = expiring(rows, before)?;
        any |= expired.true_count() > 0;
        left = left.min(oldest(rows, before)?);
    }
    if !any {
        return Ok(left);
    }
    let (schema, batches) = files::read(path, None)?;
    let rows = concat_batches(&schema, &batches)?;
    let expired = expiring(&rows, before)?;
    let columns = rows.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| match field.name().as_str() {
        STATUS => put(EXPIRED, &expired, column),
        OBSERVED => put(NOTHING, &expired, column),
        name if name == RAW || !is_kept_column(name) => Ok(nullif(column, &expired)?),
        _ => Ok(Arc::clone(column)),
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let rows = RecordBatch::try_new(schema, columns)?;
    let folder = path.parent().unwrap_or(path);
    let hidden = store.hidden(folder);
    files::write(&hidden, &rows)?;
    fs::rename(&hidden, path).map_err(|error| files::failed(error, path))?;
    Ok(left)
}

fn put(text: &str, expired: &BooleanArray, column: &ArrayRef) -> Result<ArrayRef> {
    let text = Scalar::new(StringArray::from(vec![text]));
    Ok(zip(expired, &text, column)?)
}

/// Which rows expire now.
fn expiring(rows: &RecordBatch, before: i64) -> Result<BooleanArray> {
    let (statuses, times) = columns(rows)?;
    let all = 0..rows.num_rows();
    let expires = all.map(|row| Some(statuses.value(row) != EXPIRED && times.value(row) < before));
    Ok(expires.collect())
}

fn oldest(rows: &RecordBatch, before: i64) -> Result<i64> {
    let (_, times) = columns(rows)?;
    let left = times.values().iter().filter(|time| **time >= before);
    Ok(left.min().copied().unwrap_or(i64::MAX))
}

type Times = arrow::array::PrimitiveArray<TimestampMicrosecondType>;

fn columns(rows: &RecordBatch) -> Result<(&StringArray, &Times)> {
    let statuses = rows
        .column_by_name(STATUS)
        .and_then(|found| found.as_string_opt::<i32>());
    let times = rows
        .column_by_name(FIRST_SEEN)
        .and_then(|found| found.as_primitive_opt());
    statuses
        .zip(times)
        .ok_or_else(|| Error::internal("rows in quarantine have no time"))
}
