//! The state of an updating aggregation as batches.
//!
//! A snapshot gives, in this order: the keys that are gone; the groups that changed, with their
//! accumulators and what was sent of them last; and per aggregate that keeps rows, those that
//! changed, each with how often it is there now, or which of the aggregates that share it have seen
//! it. A group may say that all its rows follow.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions,
    UInt32Array,
};
use arrow::compute::{cast, filter_record_batch, take};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema, SchemaRef};
use datafusion_common::ScalarValue;

use super::call::{Method, misfit};
use super::emit::columns;
use super::groups::{Group, Groups};
use super::operator::UpdatingAggregate;
use super::program::Program;
use crate::error::Result;
use crate::key_group::KeyGroups;
use crate::operator::{Extent, StateBatches};
use crate::spill::bytes_of;
use crate::updating::short_row::ShortRow;
use crate::updating::state::unreadable;
use crate::updating::{Format, RowBytes, RowCodec};

const FORMAT: Format = Format {
    name: "weir.updating.aggregate",
    version: "2",
};
const GONE: &str = "gone";
const GROUPS: &str = "groups";
/// Before the number of the aggregate.
const ENTRIES: &str = "entries ";

/// About how much more than its columns a group takes in memory: what is read of a state counts so
/// until it is measured.
const STATE_FACTOR: usize = 4;

/// Gives what changed, or all.
pub(super) fn snapshot(of: &mut UpdatingAggregate, extent: Extent) -> Result<StateBatches> {
    let program = Arc::clone(&of.program);
    let gone = of.groups.take_gone();
    let mut slots = of.groups.take_changed();
    let mut batches = Vec::new();
    if extent == Extent::All {
        slots = of.groups.slots();
    } else {
        for keys in gone.chunks(of.batch_rows.max(1)) {
            let schema = FORMAT.schema(GONE, program.key_fields.clone());
            let arrays = columns(&program.key_codec, keys.iter().map(|key| &**key))?;
            batches.push(batch(&schema, arrays, keys.len())?);
        }
    }
    let mut entries: Vec<Vec<Entry>> = Vec::new();
    entries.resize_with(program.calls.len(), Vec::new);
    for slots in slots.chunks(of.batch_rows.max(1)) {
        batches.push(save_groups(
            &program,
            &mut of.groups,
            slots,
            extent,
            &mut entries,
        )?);
    }
    // Entries are decoded when they are taken, on the thread that writes them.
    let rows_max = of.batch_rows.max(1);
    let later = entries
        .into_iter()
        .enumerate()
        .flat_map(move |(i, entries)| {
            let program = Arc::clone(&program);
            let chunks = entries.len().div_ceil(rows_max);
            (0..chunks).map(move |chunk| {
                let entries = entries.chunks(rows_max).nth(chunk).ok_or_else(misfit)?;
                save_entries(&program, i, entries)
            })
        });
    Ok(Box::new(batches.into_iter().map(Ok).chain(later)))
}

/// Takes back what the snapshots of one subtask gave, in their order.
pub(super) fn restore(
    into: &mut UpdatingAggregate,
    saved: &mut dyn Iterator<Item = Result<RecordBatch>>,
    groups: &KeyGroups,
) -> Result<()> {
    let program = Arc::clone(&into.program);
    let mut restored = Groups::default();
    let mut bytes = 0;
    for batch in saved {
        let batch = batch?;
        let part = FORMAT.part(&batch)?.to_owned();
        let keys = batch.columns().get(..program.keys.len()).unwrap_or(&[]);
        let mask = groups.mask(keys, batch.num_rows())?;
        let batch = filter_record_batch(&batch, &mask)?;
        bytes += bytes_of(&batch) * STATE_FACTOR;
        into.expect(bytes)?;
        match part.strip_prefix(ENTRIES) {
            Some(number) => {
                let call = number.parse().map_err(|_| misread(&part))?;
                load_entries(&program, &mut restored, call, &batch)?;
            }
            None if part == GROUPS => load_groups(&program, &mut restored, &batch)?,
            None if part == GONE => {
                for key in keys_of(&program, &batch)? {
                    if let Some(slot) = restored.find(&key) {
                        restored.remove(slot);
                    }
                }
            }
            None => return Err(misread(&part)),
        }
    }
    for mut group in restored.into_groups() {
        group.rebuild(&program)?;
        (group.saved, group.whole, group.changed) = (true, false, false);
        let pending = std::mem::replace(&mut group.pending, false);
        let slot = into.groups.insert(group)?;
        into.groups.measure(slot);
        if pending {
            into.pend(vec![slot])?;
        }
    }
    Ok(())
}

/// A kept row of a group, with how often it is there.
struct Entry {
    key: RowBytes,
    row: ShortRow,
    count: i64,
}

fn save_groups(
    program: &Program,
    groups: &mut Groups,
    slots: &[u32],
    extent: Extent,
    entries: &mut [Vec<Entry>],
) -> Result<RecordBatch> {
    let mut keys = Vec::with_capacity(slots.len());
    let mut emitted = Vec::with_capacity(slots.len());
    let (mut rows, mut times) = (Vec::new(), Vec::new());
    let (mut whole, mut pending) = (Vec::new(), Vec::new());
    let running = || program.calls.iter().filter(|c| c.method == Method::Running);
    let width: usize = running().map(|call| call.states.len()).sum();
    let mut states: Vec<Vec<ScalarValue>> = Vec::new();
    states.resize_with(width, Vec::new);
    for slot in slots {
        let group = groups.held(*slot)?;
        group.whole |= extent == Extent::All;
        keys.push(Arc::clone(&group.key));
        emitted.push(group.emitted.as_ref().map(Arc::clone));
        rows.push(group.rows);
        times.push(group.touched_at);
        whole.push(group.whole);
        pending.push(group.pending);
        let mut columns = states.iter_mut();
        for ((value, call), entries) in group
            .values
            .iter_mut()
            .zip(&program.calls)
            .zip(&mut *entries)
        {
            if call.method == Method::Running {
                for (scalar, column) in value.save(call)?.into_iter().zip(&mut columns) {
                    column.push(scalar);
                }
            }
            let Some(kept) = &value.entries else {
                continue;
            };
            let entry = |(row, count)| Entry {
                key: Arc::clone(&group.key),
                row,
                count,
            };
            if group.whole {
                entries.extend(kept.iter().map(entry));
            } else {
                entries.extend(kept.changes().map(entry));
            }
        }
        group.forget_changes();
        (group.saved, group.whole) = (true, false);
    }
    let mut arrays = columns(&program.key_codec, keys.iter().map(|key| &**key))?;
    arrays.push(Arc::new(Int64Array::from(rows)));
    arrays.push(Arc::new(Int64Array::from(times)));
    arrays.push(Arc::new(BooleanArray::from(whole)));
    arrays.push(Arc::new(BooleanArray::from(pending)));
    arrays.extend(nullable(&program.result_codec, &emitted)?);
    let fields = running().flat_map(|call| &call.states);
    for (scalars, field) in states.into_iter().zip(fields) {
        let array = ScalarValue::iter_to_array(scalars)?;
        arrays.push(if array.data_type() == field.data_type() {
            array
        } else {
            cast(&array, field.data_type())?
        });
    }
    batch(&groups_schema(program), arrays, slots.len())
}

/// A column that says which rows there are, then their columns, with nulls for the others.
fn nullable(codec: &RowCodec, rows: &[Option<RowBytes>]) -> Result<Vec<ArrayRef>> {
    let there = BooleanArray::from_iter(rows.iter().map(|row| Some(row.is_some())));
    let found = columns(codec, rows.iter().flatten().map(|row| &**row))?;
    let mut next = 0_u32;
    let places: UInt32Array = rows
        .iter()
        .map(|row| {
            row.as_ref().map(|_| {
                next += 1;
                next - 1
            })
        })
        .collect();
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(there)];
    for column in found {
        arrays.push(take(&column, &places, None)?);
    }
    Ok(arrays)
}

fn save_entries(program: &Program, call: usize, entries: &[Entry]) -> Result<RecordBatch> {
    let codec = codec_of(program, call)?;
    let mut arrays = columns(&program.key_codec, entries.iter().map(|e| &*e.key))?;
    arrays.extend(codec.decode(entries.iter().map(|e| &*e.row))?);
    let counts = entries.iter().map(|e| e.count);
    arrays.push(Arc::new(Int64Array::from_iter_values(counts)));
    batch(&entries_schema(program, call)?, arrays, entries.len())
}

fn load_groups(program: &Program, into: &mut Groups, batch: &RecordBatch) -> Result<()> {
    FORMAT.check(batch, &groups_schema(program))?;
    let keys = keys_of(program, batch)?;
    let mut rest = batch.columns().iter().skip(program.keys.len());
    let mut next = || rest.next().ok_or_else(misfit);
    let rows = next()?.as_primitive::<Int64Type>();
    let times = next()?.as_primitive::<Int64Type>();
    let (whole, pending) = (next()?.as_boolean(), next()?.as_boolean());
    let there = next()?.as_boolean();
    let results: Vec<ArrayRef> = rest
        .by_ref()
        .take(program.calls.len())
        .map(Arc::clone)
        .collect();
    let emitted = (!results.is_empty())
        .then(|| program.result_codec.encode(&results))
        .transpose()?;
    let states: Vec<&ArrayRef> = rest.collect();
    for (row, key) in keys.into_iter().enumerate() {
        let slot = match into.find(&key) {
            Some(slot) => slot,
            None => into.insert(Group::new(Arc::clone(&key), program)?)?,
        };
        let group = into.held(slot)?;
        if whole.value(row) {
            group.clear(program)?;
        }
        group.rows = rows.value(row);
        group.touched_at = times.value(row);
        group.pending = pending.value(row);
        group.emitted = there.value(row).then(|| {
            let bytes: &[u8] = emitted.as_ref().map_or(&[], |rows| rows.row(row).data());
            bytes.into()
        });
        let mut states = states.iter();
        for (value, call) in group.values.iter_mut().zip(&program.calls) {
            if call.method == Method::Running {
                let state: Vec<ArrayRef> = states
                    .by_ref()
                    .take(call.states.len())
                    .map(|column| column.slice(row, 1))
                    .collect();
                value.load(call, &state)?;
            }
        }
    }
    Ok(())
}

fn load_entries(
    program: &Program,
    into: &mut Groups,
    call: usize,
    batch: &RecordBatch,
) -> Result<()> {
    FORMAT.check(batch, entries_schema(program, call)?.as_ref())?;
    let codec = codec_of(program, call)?;
    let keys = keys_of(program, batch)?;
    let (counts, kept) = batch.columns().split_last().ok_or_else(misfit)?;
    let rows = codec.encode(kept.get(program.keys.len()..).unwrap_or(&[]))?;
    let counts = counts.as_primitive::<Int64Type>();
    for (row, key) in keys.iter().enumerate() {
        let slot = into
            .find(key)
            .ok_or_else(|| unreadable("it holds rows of a group that is not there".to_owned()))?;
        let value = into.held(slot)?.values.get_mut(call).ok_or_else(misfit)?;
        let entries = value.entries.as_mut().ok_or_else(misfit)?;
        entries.set(rows.row(row).data(), counts.value(row));
    }
    Ok(())
}

fn codec_of(program: &Program, call: usize) -> Result<&RowCodec> {
    let call = program.calls.get(call);
    call.and_then(|call| call.entries.as_ref())
        .ok_or_else(|| unreadable("it holds rows of an aggregate that keeps none".to_owned()))
}

fn keys_of(program: &Program, batch: &RecordBatch) -> Result<Vec<RowBytes>> {
    if program.is_global() {
        return Ok(vec![RowBytes::from(&[][..]); batch.num_rows()]);
    }
    let keys = batch.columns().get(..program.keys.len());
    let rows = program.key_codec.encode(keys.ok_or_else(misfit)?)?;
    Ok(rows.iter().map(|row| row.data().into()).collect())
}

fn groups_schema(program: &Program) -> SchemaRef {
    let field = |name: &str, data_type| Arc::new(Field::new(name, data_type, false));
    let mut fields = program.key_fields.clone();
    fields.push(field("_rows", DataType::Int64));
    fields.push(field("_touched_at", DataType::Int64));
    fields.push(field("_whole", DataType::Boolean));
    fields.push(field("_pending", DataType::Boolean));
    fields.push(field("_emitted", DataType::Boolean));
    for (i, call) in program.calls.iter().enumerate() {
        let name = format!("_emitted{i}");
        fields.push(Arc::new(Field::new(name, call.result.clone(), true)));
    }
    let running = program.calls.iter().filter(|c| c.method == Method::Running);
    fields.extend(running.flat_map(|call| call.states.iter().map(Arc::clone)));
    FORMAT.schema(GROUPS, fields)
}

fn entries_schema(program: &Program, call: usize) -> Result<SchemaRef> {
    let mut fields: Vec<FieldRef> = program.key_fields.clone();
    for (i, data_type) in codec_of(program, call)?.types().iter().enumerate() {
        let name = format!("_value{i}");
        fields.push(Arc::new(Field::new(name, data_type.clone(), true)));
    }
    fields.push(Arc::new(Field::new("_count", DataType::Int64, false)));
    Ok(FORMAT.schema(&format!("{ENTRIES}{call}"), fields))
}

fn batch(schema: &Arc<Schema>, arrays: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        arrays,
        &options,
    )?)
}

fn misread(part: &str) -> crate::error::Error {
    unreadable(format!("it has an unknown part, \"{part}\""))
}
