//! Debezium's change events in JSON, with or without the `schema` part, as a changelog.
//!
//! `c` and `r` insert, `u` is a row before and a row after (only the latter when `before` is null),
//! `d` deletes. Events that are not about rows (`m`) and messages without a value say nothing; a
//! truncation, which no row can say, is rejected.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int8Array, RecordBatch, StructArray};
use arrow::compute::{concat_batches, interleave};
use arrow::datatypes::{DataType, Field, Fields, SchemaRef};
use arrow::error::ArrowError;
use weir_engine::changelog::{RowKind, changelog_schema};
use weir_engine::error::{Error, Kind, Result, codes};

use self::envelope::Envelope;
use self::semantic::Semantics;
use super::block::{DecodeBlock, Rows, Trouble};
use super::json::Objects;
use super::messages::Messages;
use crate::file::json::{explain, words};

mod envelope;
mod semantic;
mod value;

/// Schemas that are kept by their text: a topic has few at a time.
const SCHEMAS_KEPT_MAX: usize = 16;
/// Bytes of a schema that is kept: hostile ones are read each time instead.
const SCHEMA_BYTES_KEPT_MAX: usize = 1 << 20;

/// Decodes events into the asked columns and the kind of each row.
#[derive(Debug)]
pub(super) struct DebeziumBlock {
    events: Objects,
    asked: SchemaRef,
    changelog: SchemaRef,
    known: Vec<(Box<[u8]>, Arc<Semantics>)>,
    unknown: Arc<Semantics>,
}

/// The position of a message, and the event in it.
type Event<'a> = (usize, &'a [u8]);

/// What one event says: for each row its kind, and whether it is `after`.
type Said = &'static [(RowKind, bool)];

impl DebeziumBlock {
    /// Makes a decoder of the asked columns; an error means that JSON cannot give one of them.
    pub(super) fn new(asked: &SchemaRef) -> Result<Self> {
        let fields = asked.fields().iter();
        let wire: Fields = fields
            .map(|field| {
                let data_type = value::wire_type(field.data_type());
                field.as_ref().clone().with_data_type(data_type)
            })
            .collect();
        let row = |name: &str| Field::new(name, DataType::Struct(wire.clone()), true);
        let op = Field::new("op", DataType::Utf8, true);
        let events = Objects::new(Fields::from(vec![op, row("before"), row("after")]));
        Ok(Self {
            events: events.map_err(|error| {
                let why = words(&error);
                let message = format!("JSON cannot give the declared columns: {why}");
                Error::new(Kind::Invalid, codes::TYPE, message)
            })?,
            asked: Arc::clone(asked),
            changelog: changelog_schema(asked),
            known: Vec::new(),
            unknown: Arc::default(),
        })
    }

    /// What a schema part says, read once.
    fn semantics(&mut self, schema: Option<&[u8]>) -> Result<Arc<Semantics>, Trouble> {
        let Some(schema) = schema else {
            return Ok(Arc::clone(&self.unknown));
        };
        if let Some((_, known)) = self.known.iter().rev().find(|(text, _)| **text == *schema) {
            return Ok(Arc::clone(known));
        }
        let parsed = Semantics::parse(schema).map_err(|error| {
            Trouble::Said("decode", format!("the schema part is not JSON: {error}"))
        })?;
        let parsed = Arc::new(parsed);
        if schema.len() > SCHEMA_BYTES_KEPT_MAX {
            return Ok(parsed);
        }
        if self.known.len() >= SCHEMAS_KEPT_MAX {
            self.known.remove(0);
        }
        self.known.push((schema.into(), Arc::clone(&parsed)));
        Ok(parsed)
    }

    /// Decodes events whose columns mean the same.
    fn run(&mut self, events: &[Event<'_>], semantics: &Semantics) -> Result<Rows, Trouble> {
        let batch = self.events.decode(events.iter().map(|(_, event)| *event))?;
        let ops = batch.column(0).as_string::<i32>();
        let (before, after) = (batch.column(1).as_struct(), batch.column(2).as_struct());
        let (mut kinds, mut sources, mut positions) = (Vec::new(), Vec::new(), Vec::new());
        for (row, (position, _)) in events.iter().enumerate() {
            let op = ops.is_valid(row).then(|| ops.value(row));
            for (kind, is_after) in said(op, before.is_valid(row), after.is_valid(row))? {
                kinds.push(kind.number());
                sources.push((usize::from(*is_after), row));
                positions.push(*position);
            }
        }
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.changelog.fields().len());
        let mut misfits = Vec::new();
        for (at, field) in self.asked.fields().iter().enumerate() {
            let wire = pick(before, after, at, &sources)?;
            let semantic = semantics.of(field.name());
            let array = value::convert(&wire, field.data_type(), semantic)?;
            if array.null_count() > wire.null_count() {
                let lost =
                    (0..array.len()).filter(|row| array.is_null(*row) && wire.is_valid(*row));
                misfits.extend(lost.map(|row| {
                    let (name, kind) = (field.name(), field.data_type());
                    (
                        row,
                        format!("column \"{name}\": the value does not fit {kind}"),
                    )
                }));
            }
            arrays.push(array);
        }
        arrays.push(Arc::new(Int8Array::from(kinds)));
        Ok(Rows {
            batch: RecordBatch::try_new(Arc::clone(&self.changelog), arrays)?,
            positions: Some(positions),
            misfits,
            failed: Vec::new(),
        })
    }
}

/// The rows that an event says.
fn said(op: Option<&str>, has_before: bool, has_after: bool) -> Result<Said, Trouble> {
    const INSERT: Said = &[(RowKind::Insert, true)];
    const AFTER: Said = &[(RowKind::UpdateAfter, true)];
    const BOTH: Said = &[(RowKind::UpdateBefore, false), (RowKind::UpdateAfter, true)];
    const DELETE: Said = &[(RowKind::Delete, false)];
    let bad = |detail: String| Err(Trouble::Said("decode", detail));
    match op {
        Some("c" | "r") if has_after => Ok(INSERT),
        Some("u") if has_after && has_before => Ok(BOTH),
        Some("u") if has_after => Ok(AFTER),
        Some("d") if has_before => Ok(DELETE),
        Some("m") => Ok(&[]),
        Some("d") => bad("the deletion has no \"before\": the database must log whole rows (REPLICA IDENTITY FULL)".to_owned()),
        Some(op @ ("c" | "r" | "u")) => bad(format!("the event \"{op}\" has no \"after\"")),
        Some("t") => bad("the table is truncated, which no row can say".to_owned()),
        Some(op) => bad(format!("unknown event \"{op}\"")),
        None => bad("the message has no \"op\": it is no event of Debezium".to_owned()),
    }
}

/// A column of the rows before and after, in the order of the events.
fn pick(
    before: &StructArray,
    after: &StructArray,
    at: usize,
    sources: &[(usize, usize)],
) -> Result<ArrayRef, ArrowError> {
    let mut in_order = sources.iter().enumerate();
    if sources.len() == after.len() && in_order.all(|(at, source)| *source == (1, at)) {
        return Ok(Arc::clone(after.column(at)));
    }
    interleave(
        &[before.column(at).as_ref(), after.column(at).as_ref()],
        sources,
    )
}

impl DecodeBlock for DebeziumBlock {
    fn schema(&self) -> &SchemaRef {
        &self.changelog
    }

    fn decode(&mut self, messages: &Messages, range: Range<usize>) -> Result<Rows, Trouble> {
        let mut runs: Vec<(Arc<Semantics>, Vec<Event<'_>>)> = Vec::new();
        for position in range {
            let Some(envelope) = Envelope::find(messages.get(position)) else {
                let detail = "the message is not one whole object".to_owned();
                return Err(Trouble::Arrow(ArrowError::JsonError(detail)));
            };
            if envelope.payload == b"null" {
                continue;
            }
            let semantics = self.semantics(envelope.schema)?;
            match runs.last_mut() {
                Some((last, run)) if Arc::ptr_eq(last, &semantics) => {
                    run.push((position, envelope.payload));
                }
                _ => runs.push((semantics, vec![(position, envelope.payload)])),
            }
        }
        let mut whole = Rows {
            batch: RecordBatch::new_empty(Arc::clone(&self.changelog)),
            positions: Some(Vec::new()),
            misfits: Vec::new(),
            failed: Vec::new(),
        };
        let mut batches = Vec::with_capacity(runs.len());
        for (semantics, events) in runs {
            let rows = self.run(&events, &semantics)?;
            let before = whole.positions.as_ref().map_or(0, Vec::len);
            let misfits = rows.misfits.into_iter();
            whole
                .misfits
                .extend(misfits.map(|(row, detail)| (row + before, detail)));
            whole
                .positions
                .iter_mut()
                .for_each(|all| all.extend(rows.positions.iter().flatten()));
            batches.push(rows.batch);
        }
        if let [batch] = batches.as_slice() {
            whole.batch = batch.clone();
        } else {
            whole.batch = concat_batches(&self.changelog, &batches)?;
        }
        Ok(whole)
    }

    fn explain(&self, message: &[u8], error: &ArrowError) -> (&'static str, String) {
        explain("message", message, error)
    }
}
