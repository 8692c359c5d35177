//! The state of an operator as batches: how far it has judged, the models by key, and the rows that wait.
//!
//! What was judged since a row was saved is not said of each row: it is what lies before the edge, which each snapshot
//! begins with.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, SchemaRef, UInt64Type};
use weir_anomaly::Model;

use super::models::Saved;
use super::operator::Anomalies;
use super::program::{Program, misused};
use super::waiting::Waiting;
use crate::error::{Error, Result};
use crate::key_group::KeyGroups;
use crate::limits::STATE_BATCH_BYTES_MAX;
use crate::operator::{Extent, StateBatches};
use crate::updating::Format;
use crate::updating::state::unreadable;

const FORMAT: Format = Format {
    name: "weir.anomaly",
    version: "1",
};
const EDGE: &str = "edge";
const MODELS: &str = "models";
const ROWS: &str = "rows";

/// Gives what changed, or all. Models become bytes on the thread that takes them.
pub(super) fn snapshot(of: &mut Anomalies, extent: Extent) -> Result<StateBatches> {
    let all = extent == Extent::All;
    let edge: ArrayRef = Arc::new(Int64Array::from(vec![of.edge]));
    let edge = RecordBatch::try_new(edge_schema(), vec![edge])?;
    let rows_of = rows_schema(&of.program);
    let batch_rows = of.batch_rows;
    let rows = of
        .waiting
        .save(all)?
        .into_iter()
        .flat_map(move |(rows, arrivals)| {
            let rows_of = Arc::clone(&rows_of);
            (0..rows.num_rows()).step_by(batch_rows).map(move |from| {
                let count = batch_rows.min(rows.num_rows() - from);
                let mut columns = rows.slice(from, count).columns().to_vec();
                columns.push(arrivals.slice(from, count));
                Ok(RecordBatch::try_new(Arc::clone(&rows_of), columns)?)
            })
        });
    let models = ModelBatches {
        program: Arc::clone(&of.program),
        models: of.models.save(all).into_iter().peekable(),
    };
    Ok(Box::new(
        std::iter::once(Ok(edge)).chain(models).chain(rows),
    ))
}

/// Models on their way to a checkpoint, about a [`STATE_BATCH_BYTES_MAX`] at a time.
struct ModelBatches {
    program: Arc<Program>,
    models: std::iter::Peekable<std::vec::IntoIter<Saved>>,
}

impl Iterator for ModelBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.models.peek()?;
        let mut keys = Vec::new();
        let mut bytes = BinaryBuilder::new();
        while bytes.values_slice().len() < STATE_BATCH_BYTES_MAX
            && let Some((key, model)) = self.models.next()
        {
            bytes.append_option(model.map(|model| model.snapshot()));
            keys.push(key);
        }
        let columns = match &self.program.keys {
            Some(codec) => codec.decode(keys.iter().map(|key| &**key)),
            None => Ok(Vec::new()),
        };
        Some(columns.and_then(|mut columns| {
            columns.push(Arc::new(bytes.finish()));
            Ok(RecordBatch::try_new(models_schema(&self.program), columns)?)
        }))
    }
}

/// Takes back what the snapshots of one subtask gave, in their order.
pub(super) fn restore(
    into: &mut Anomalies,
    saved: &mut dyn Iterator<Item = Result<RecordBatch>>,
    groups: &KeyGroups,
) -> Result<()> {
    let program = Arc::clone(&into.program);
    let mut waiting = Waiting::default();
    let mut edge = i64::MIN;
    for batch in saved {
        let batch = batch?;
        match FORMAT.part(&batch)? {
            EDGE => {
                FORMAT.check(&batch, &edge_schema())?;
                let found = batch.column(0).as_primitive::<Int64Type>();
                edge = found.values().iter().copied().fold(edge, i64::max);
                waiting.drop_until(edge)?;
            }
            MODELS => {
                FORMAT.check(&batch, &models_schema(&program))?;
                restore_models(into, &own(&program, batch, groups)?)?;
            }
            ROWS => {
                FORMAT.check(&batch, &rows_schema(&program))?;
                let batch = own(&program, batch, groups)?;
                let rows = rows_of(&program, &batch)?;
                let times = program.times(&rows)?;
                let arrivals = batch.columns().last().ok_or_else(misfit)?;
                let arrivals = arrivals.as_primitive::<UInt64Type>();
                waiting.restore(rows, times.values(), arrivals.values(), into.batch_rows)?;
            }
            part => return Err(unreadable(format!("it has an unknown part, \"{part}\""))),
        }
    }
    waiting.drop_until(edge)?;
    waiting.mark_saved();
    into.waiting.append(waiting);
    into.waiting.mark_saved();
    // Of several subtasks the one furthest behind.
    into.edge = match into.edge {
        i64::MIN => edge,
        other => other.min(edge),
    };
    into.settle()
}

fn restore_models(into: &mut Anomalies, batch: &RecordBatch) -> Result<()> {
    let program = Arc::clone(&into.program);
    let (states, keys) = batch.columns().split_last().ok_or_else(misfit)?;
    let states = states.as_binary::<i32>();
    let keys = program
        .keys
        .as_ref()
        .map(|codec| codec.encode(keys))
        .transpose()?;
    for row in 0..batch.num_rows() {
        let key = keys.as_ref().map(|keys| keys.row(row));
        let key = key.as_ref().map_or(&[][..], |key| key.data());
        let model = states.is_valid(row).then(|| {
            let config = Arc::clone(&program.config);
            Model::restore(config, states.value(row)).map_err(misused)
        });
        into.models.restore(key, model.transpose()?)?;
    }
    Ok(())
}

/// The rows of a batch of state whose keys belong to the groups.
fn own(program: &Program, batch: RecordBatch, groups: &KeyGroups) -> Result<RecordBatch> {
    match keys(program, &batch)? {
        Some(keys) if !keys.is_empty() => {
            let mask = groups.mask(&keys, batch.num_rows())?;
            Ok(filter_record_batch(&batch, &mask)?)
        }
        _ => Ok(batch),
    }
}

/// The keys of a batch of state; `None` for one that is not of keys.
pub(super) fn keys(program: &Program, batch: &RecordBatch) -> Result<Option<Vec<ArrayRef>>> {
    match FORMAT.part(batch)? {
        MODELS => {
            let (_, keys) = batch.columns().split_last().ok_or_else(misfit)?;
            Ok(Some(keys.to_vec()))
        }
        ROWS => program.keys(&rows_of(program, batch)?).map(Some),
        _ => Ok(None),
    }
}

/// The input's columns of a batch of waiting rows.
fn rows_of(program: &Program, batch: &RecordBatch) -> Result<RecordBatch> {
    let (_, columns) = batch.columns().split_last().ok_or_else(misfit)?;
    let schema = Arc::clone(&program.spec.input);
    Ok(RecordBatch::try_new(schema, columns.to_vec())?)
}

fn edge_schema() -> SchemaRef {
    FORMAT.schema(EDGE, vec![field("edge", DataType::Int64, false)])
}

fn models_schema(program: &Program) -> SchemaRef {
    let types = program.keys.as_ref().map_or(&[][..], |codec| codec.types());
    let keys = types.iter().enumerate();
    let mut fields: Vec<_> = keys
        .map(|(at, data_type)| field(&format!("key{at}"), data_type.clone(), true))
        .collect();
    fields.push(field("model", DataType::Binary, true));
    FORMAT.schema(MODELS, fields)
}

fn rows_schema(program: &Program) -> SchemaRef {
    let mut fields: Vec<FieldRef> = program.spec.input.fields().to_vec();
    fields.push(field("_arrival", DataType::UInt64, false));
    FORMAT.schema(ROWS, fields)
}

fn field(name: &str, data_type: DataType, nullable: bool) -> FieldRef {
    Arc::new(Field::new(name, data_type, nullable))
}

fn misfit() -> Error {
    Error::internal("a batch of anomaly state has no columns")
}
