//! A join's snapshots become its rows again, for any parallelism.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{Int64Type, UInt8Type, UInt32Type};
use arrow::record_batch::RecordBatch;

use super::program::Keyed;
use super::shape::Shape;
use super::slot::Slot;
use super::spec::Side;
use super::state::{PART, Part, ROW_COLUMNS, VERSION, schema, unreadable};
use super::table::{NONE, Table};
use super::timed::{Buckets, pop_over};
use crate::error::Result;
use crate::key_group::KeyGroups;

/// What the snapshots of one subtask hold.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) buckets: Buckets,
    pub(super) watermark: i64,
    /// Rows were left out: they belong to other subtasks.
    pub(super) masked: bool,
}

/// Replays the snapshots of one subtask; `relief` is called after each batch.
pub(super) fn restore(
    shape: &Shape,
    state: &mut dyn Iterator<Item = Result<RecordBatch>>,
    groups: &KeyGroups,
    relief: &mut dyn FnMut(&mut Buckets) -> Result<usize>,
) -> Result<Restored> {
    let mut replay = Replay {
        shape,
        groups,
        restored: Restored {
            buckets: Buckets::default(),
            watermark: i64::MIN,
            masked: false,
        },
        numbers: [BTreeMap::new(), BTreeMap::new()],
    };
    for batch in state {
        replay.take(&batch?)?;
        relief(&mut replay.restored.buckets)?;
    }
    for table in replay
        .restored
        .buckets
        .iter_mut()
        .flat_map(BTreeMap::values_mut)
    {
        table.save();
    }
    Ok(replay.restored)
}

struct Replay<'a> {
    shape: &'a Shape,
    groups: &'a KeyGroups,
    restored: Restored,
    /// What has become of the rows of each bucket, by their old numbers: their new ones.
    numbers: [BTreeMap<i64, Vec<u32>>; 2],
}

impl Replay<'_> {
    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let metadata = batch.schema_ref().metadata();
        let version = metadata.get(VERSION.0).map(String::as_str);
        if version != Some(VERSION.1) {
            let version = version.unwrap_or("missing");
            return Err(unreadable(format!("its version is {version}")));
        }
        let part = metadata.get(PART).and_then(|name| Part::of(name));
        let part = part.ok_or_else(|| unreadable("a part of it is unknown".to_owned()))?;
        let expected = schema(&self.shape.program, part);
        let same = batch.num_columns() == expected.fields().len()
            && batch
                .columns()
                .iter()
                .zip(expected.fields())
                .all(|(column, field)| column.data_type() == field.data_type());
        if !same {
            return Err(unreadable(
                "its columns are not those of the join".to_owned(),
            ));
        }
        match part {
            Part::Header => self.header(batch),
            Part::Rows(side) => self.rows(side, batch)?,
            Part::Counts => self.counts(batch),
        }
        Ok(())
    }

    fn header(&mut self, batch: &RecordBatch) {
        let watermarks = batch.column(0).as_primitive::<Int64Type>().values();
        let Some(watermark) = watermarks.last().copied() else {
            return;
        };
        self.restored.watermark = watermark;
        let timing = self.shape.timing;
        for (side, anew) in Side::BOTH.into_iter().zip(batch.columns().iter().skip(1)) {
            let buckets = &mut self.restored.buckets;
            let numbers = side.get_mut(&mut self.numbers);
            if anew.as_boolean().iter().any(|anew| anew == Some(true)) {
                side.get_mut(buckets).clear();
                numbers.clear();
            }
            while pop_over(buckets, timing, side, watermark).is_some() {}
            numbers.retain(|bucket, _| !timing.is_over(side, *bucket, watermark));
        }
    }

    fn rows(&mut self, side: Side, batch: &RecordBatch) -> Result<()> {
        let program = &self.shape.program;
        let buckets = batch.column(0).as_primitive::<Int64Type>().values();
        let Some(bucket) = buckets.first().copied() else {
            return Ok(());
        };
        if buckets.iter().any(|other| *other != bucket) {
            return Err(unreadable(
                "a batch of it has rows of two buckets".to_owned(),
            ));
        }
        let times = batch.column(1).as_primitive::<Int64Type>().values();
        let matches = batch.column(2).as_primitive::<UInt32Type>().values();
        let columns: Vec<ArrayRef> = batch
            .columns()
            .iter()
            .skip(ROW_COLUMNS)
            .map(Arc::clone)
            .collect();
        let rows = RecordBatch::try_new(Arc::clone(side.get(&program.rows)), columns)?;
        let mut keyed = program.keyed(side, &rows)?;
        let kept: Vec<u32> = (0_u32..)
            .zip(&keyed.hashes)
            .filter(|(_, hash)| self.groups.holds(**hash))
            .map(|(row, _)| row)
            .collect();
        keyed.times = if self.shape.times {
            times.to_vec()
        } else {
            Vec::new()
        };
        let mut counts = matches.to_vec();
        let slot = side
            .get_mut(&mut self.restored.buckets)
            .entry(bucket)
            .or_default();
        let numbers = side.get_mut(&mut self.numbers).entry(bucket).or_default();
        let mut next = u32::try_from(slot.rows()).unwrap_or(NONE);
        let before = numbers.len();
        numbers.resize(before + keyed.len(), NONE);
        for row in &kept {
            if let Some(number) = numbers.get_mut(before + *row as usize) {
                *number = next;
                next += 1;
            }
        }
        if kept.len() < keyed.len() {
            self.restored.masked = true;
            counts = kept
                .iter()
                .filter_map(|row| matches.get(*row as usize).copied())
                .collect();
            keyed = keyed.take(&kept)?;
        }
        if !self.shape.counts(side) {
            counts.clear();
        }
        slot.live.push(keyed, &counts)
    }

    fn counts(&mut self, batch: &RecordBatch) {
        let sides = batch.column(0).as_primitive::<UInt8Type>().values();
        let buckets = batch.column(1).as_primitive::<Int64Type>().values();
        let rows = batch.column(2).as_primitive::<UInt32Type>().values();
        let counts = batch.column(3).as_primitive::<UInt32Type>().values();
        for (((side, bucket), row), count) in sides.iter().zip(buckets).zip(rows).zip(counts) {
            let side = Side::of_input(usize::from(*side));
            let numbers = side.get(&self.numbers).get(bucket);
            let number = numbers.and_then(|numbers| numbers.get(*row as usize));
            let table = side.get_mut(&mut self.restored.buckets).get_mut(bucket);
            if let (Some(table), Some(number)) = (table, number)
                && *number != NONE
            {
                table.set_matches(*number, *count);
            }
        }
    }
}

/// Adds the rows of another subtask.
pub(super) fn merge(shape: &Shape, into: &mut Buckets, from: Buckets) -> Result<()> {
    for (side, buckets) in Side::BOTH.into_iter().zip(from) {
        let into = side.get_mut(into);
        if into.is_empty() {
            *into = buckets;
            continue;
        }
        for (bucket, slot) in buckets {
            let into: &mut Slot = into.entry(bucket).or_default();
            into.segments.extend(slot.segments);
            append(shape, side, &mut into.live, &slot.live)?;
        }
    }
    Ok(())
}

fn append(shape: &Shape, side: Side, into: &mut Table, from: &Table) -> Result<()> {
    for (rows, matches) in parts(shape, side, from)? {
        into.push(rows, &matches)?;
    }
    Ok(())
}

/// The rows of a table with their keys and counts.
pub(super) fn parts(shape: &Shape, side: Side, table: &Table) -> Result<Vec<(Keyed, Vec<u32>)>> {
    let program = &shape.program;
    let mut start = 0;
    let mut parts = Vec::new();
    for (batch, matches) in table.part(0) {
        let columns = program.without_keys(side, &batch);
        let rows = RecordBatch::try_new(Arc::clone(side.get(&program.rows)), columns)?;
        let end = start + rows.num_rows();
        let times = table.times().get(start..end).unwrap_or_default().to_vec();
        let keyed = program.keyed(side, &rows)?;
        parts.push((Keyed { times, ..keyed }, matches));
        start = end;
    }
    Ok(parts)
}
