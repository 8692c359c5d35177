//! The state of sessions as batches: what a checkpoint keeps.
//!
//! A snapshot gives a header with the watermark, then the sessions that have ended or become part
//! of others since the last one, then the payload rows that are new, each with the number and the
//! bounds of its session, then what sessions have given since, where results are updated: it takes
//! the place of what they had given before. A session keeps its number when it is taken back, unless several subtasks
//! are taken together and another has it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, UInt64Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema, SchemaRef, UInt64Type};
use arrow::record_batch::RecordBatch;
use arrow::row::Rows;

use super::given::{self, Codec, Given, GivenBy};
use super::index::{News, Place, Session, SessionId};
use super::operator::{Sessions, key_at, places_of};
use super::payload::Payload;
use super::store::gather;
use crate::error::{Error, Result};
use crate::key_group::KeyGroups;
use crate::operator::{Extent, StateBatches};
use crate::window::part::Part;
use crate::window::state::unreadable;

/// The version of the layout below, in the metadata of every batch.
const VERSION: (&str, &str) = ("weir.session.state", "1");
const KIND: &str = "weir.session.kind";
const HEADER: &str = "header";
const ENDS: &str = "ends";
const ROWS: &str = "rows";
const GIVEN: &str = "given";
/// Columns before those of a payload row: the number, the start and the last time of its session.
const SESSION_COLUMNS: usize = 3;
/// Sessions whose payload rows are gathered into one batch.
const SESSIONS_PER_BATCH: usize = 4_096;

/// Gives what is new, or all.
pub(super) fn snapshot(of: &mut Sessions, extent: Extent) -> Result<StateBatches> {
    let all = extent == Extent::All;
    let watermark: ArrayRef = Arc::new(Int64Array::from(vec![of.watermark]));
    let mut first = vec![RecordBatch::try_new(header_schema(), vec![watermark])?];
    let News {
        ends,
        mut sessions,
        given,
    } = of.index.persist(all);
    if !ends.ends.is_empty() {
        let gone = ends.ends.iter().map(|(id, _)| *id);
        let into = ends.ends.iter().map(|(_, into)| *into);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from_iter_values(gone)),
            Arc::new(UInt64Array::from_iter(into)),
        ];
        first.push(RecordBatch::try_new(ends_schema(), columns)?);
    }
    if !all {
        for session in &mut sessions {
            session
                .places
                .retain(|place| !of.store.is_persisted(*place));
        }
    }
    let parts = of.store.parts();
    of.store.persisted();
    let schema = rows_schema(&of.payload);
    let chunks = sessions.len().div_ceil(SESSIONS_PER_BATCH);
    let rows = (0..chunks).map(move |chunk| {
        let from = chunk * SESSIONS_PER_BATCH;
        let sessions = sessions.iter().skip(from).take(SESSIONS_PER_BATCH);
        let sessions: Vec<&Session> = sessions.collect();
        let (places, groups) = places_of(sessions.iter().map(|s| s.places.as_slice()));
        let value = |get: fn(&Session) -> i64| -> ArrayRef {
            let of = |group: &usize| sessions.get(*group).map(|s| get(s));
            Arc::new(Int64Array::from_iter_values(groups.iter().filter_map(of)))
        };
        let ids = groups.iter().filter_map(|g| sessions.get(*g)).map(|s| s.id);
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from_iter_values(ids)),
            value(|s| s.start),
            value(|s| s.last),
        ];
        columns.extend(gather(&parts, &places)?);
        Ok(RecordBatch::try_new(Arc::clone(&schema), columns)?)
    });
    let given = given_batches(&of.payload, given)?;
    Ok(Box::new(first.into_iter().map(Ok).chain(rows).chain(given)))
}

/// What sessions have given, batch by batch.
fn given_batches(
    payload: &Payload,
    given: Vec<GivenBy>,
) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
    let schema = given_schema(payload);
    let codec = match payload {
        Payload::Aggregate { program, .. } if !given.is_empty() => Some(Codec::new(program)?),
        Payload::Aggregate { .. } | Payload::Expand { .. } => None,
    };
    let mut given = given.into_iter();
    Ok(std::iter::from_fn(move || {
        let some: Vec<GivenBy> = given.by_ref().take(SESSIONS_PER_BATCH).collect();
        let codec = codec.as_ref().filter(|_| !some.is_empty())?;
        let batch = codec.columns(&some).and_then(|columns| {
            let batch = RecordBatch::try_new(Arc::clone(&schema), columns);
            Ok(batch?)
        });
        Some(batch)
    }))
}

/// The keys of the rows of a batch of state, if it has rows of keys.
pub(super) fn keys(payload: &Payload, batch: &RecordBatch) -> Result<Option<Vec<ArrayRef>>> {
    let kind = batch.schema_ref().metadata().get(KIND).map(String::as_str);
    match kind {
        Some(ROWS) => {
            let columns = batch.columns().get(SESSION_COLUMNS..).unwrap_or_default();
            payload.keys_of(columns, batch.num_rows()).map(Some)
        }
        Some(GIVEN) => {
            let keys = batch.columns().iter().skip(given::STATE_COLUMNS);
            let keys = keys.take(payload.key_fields().len()).map(Arc::clone);
            Ok(Some(keys.collect()))
        }
        _ => Ok(None),
    }
}

/// A session as an earlier subtask had it.
struct Found {
    start: i64,
    last: i64,
    places: Vec<Place>,
    given: Vec<Given>,
    /// It may have other results than it has given.
    stale: bool,
}

impl Found {
    fn new(start: i64, last: i64) -> Self {
        Self {
            start,
            last,
            places: Vec::new(),
            given: Vec::new(),
            stale: true,
        }
    }
}

/// What is found of the sessions of one earlier subtask.
#[derive(Default)]
struct Past {
    sessions: BTreeMap<SessionId, Found>,
    /// The keys of the rows of each part.
    keys: BTreeMap<u64, Option<Rows>>,
}

/// Takes back what the snapshots of one earlier subtask gave, in their order.
pub(super) fn restore(
    into: &mut Sessions,
    state: &mut dyn Iterator<Item = Result<RecordBatch>>,
    groups: &KeyGroups,
) -> Result<()> {
    let mut past = Past::default();
    for batch in state {
        let batch = batch?;
        let metadata = batch.schema_ref().metadata();
        let version = metadata.get(VERSION.0).map(String::as_str);
        if version != Some(VERSION.1) {
            let version = version.unwrap_or("missing");
            return Err(unreadable(format!("its version is {version}")));
        }
        match metadata.get(KIND).map(String::as_str) {
            Some(HEADER) => {
                let watermarks = batch.column(0).as_primitive::<Int64Type>();
                into.watermark = watermarks.iter().flatten().fold(into.watermark, i64::max);
            }
            Some(ENDS) => past.ends(into, &batch),
            Some(ROWS) => {
                let batch = own(&into.payload, &batch, &rows_schema(&into.payload), groups)?;
                past.rows(into, &batch)?;
                into.account()?;
            }
            Some(GIVEN) => {
                let batch = own(&into.payload, &batch, &given_schema(&into.payload), groups)?;
                past.given(into, &batch)?;
            }
            _ => return Err(unreadable("what a batch holds is not said".to_owned())),
        }
    }
    past.settle(into)
}

impl Past {
    fn ends(&mut self, into: &mut Sessions, batch: &RecordBatch) {
        let gone = batch.column(0).as_primitive::<UInt64Type>();
        let others = batch.column(1).as_primitive::<UInt64Type>();
        for (id, other) in gone.iter().zip(others.iter()) {
            let Some(gone) = id.and_then(|id| self.sessions.remove(&id)) else {
                continue;
            };
            let Some(other) = other else {
                into.store.forget(&gone.places);
                continue;
            };
            // The other may be new since: then its rows follow.
            let known = self.sessions.entry(other);
            let known = known.or_insert_with(|| Found::new(gone.start, gone.last));
            known.start = known.start.min(gone.start);
            known.last = known.last.max(gone.last);
            known.places.extend(gone.places);
            known.given.extend(gone.given);
            known.stale = true;
        }
    }

    fn rows(&mut self, into: &mut Sessions, batch: &RecordBatch) -> Result<()> {
        let columns = batch.columns().get(SESSION_COLUMNS..).unwrap_or_default();
        let part = Part::new(columns.to_vec(), batch.num_rows());
        let keys = into.payload.keys_of(columns, batch.num_rows())?;
        let number = into.store.add(part, true);
        if batch.num_rows() > 0 {
            self.keys.insert(number, into.key_rows(&keys)?);
        }
        let ids = batch.column(0).as_primitive::<UInt64Type>().values();
        let starts = batch.column(1).as_primitive::<Int64Type>().values();
        let lasts = batch.column(2).as_primitive::<Int64Type>().values();
        for (row, ((id, start), last)) in (0_u32..).zip(ids.iter().zip(starts).zip(lasts)) {
            let session = self.sessions.entry(*id);
            let session = session.or_insert_with(|| Found::new(*start, *last));
            session.start = session.start.min(*start);
            session.last = session.last.max(*last);
            session.places.push((number, row));
            session.stale = true;
        }
        Ok(())
    }

    fn given(&mut self, into: &Sessions, batch: &RecordBatch) -> Result<()> {
        let Some(updates) = &into.updates else {
            return Err(unreadable("its results were updated".to_owned()));
        };
        updates.codec.read(batch, |id, given, replaces| {
            if let Some(session) = self.sessions.get_mut(&id) {
                if replaces.all {
                    session.given.clear();
                }
                session.given.push(given);
                session.stale = replaces.stale;
            }
        })
    }

    /// Gives the sessions to the operator.
    fn settle(self, into: &mut Sessions) -> Result<()> {
        for (earlier, session) in self.sessions {
            let place = session.places.first().copied();
            let (number, row) = place.ok_or_else(|| Error::internal("a session has no rows"))?;
            let rows = self.keys.get(&number).and_then(Option::as_ref);
            let key = key_at(rows, row as usize).into();
            let (start, last) = (session.start, session.last);
            let id = into.index.add(earlier, key, start, last, true);
            for place in session.places {
                into.index.give(id, place, false);
            }
            into.index.put_given(id, session.given);
            if session.stale {
                into.index.touch(id);
            }
        }
        Ok(())
    }
}

/// The rows of this subtask.
fn own(
    payload: &Payload,
    batch: &RecordBatch,
    expected: &SchemaRef,
    groups: &KeyGroups,
) -> Result<RecordBatch> {
    let same = batch.num_columns() == expected.fields().len()
        && batch
            .columns()
            .iter()
            .zip(expected.fields())
            .all(|(column, field)| column.data_type() == field.data_type());
    if !same {
        return Err(unreadable(
            "its columns are not those of the query".to_owned(),
        ));
    }
    let keys = keys(payload, batch)?.unwrap_or_default();
    if keys.is_empty() || groups.is_all() {
        return Ok(batch.clone());
    }
    let mask = groups.mask(&keys, batch.num_rows())?;
    Ok(filter_record_batch(batch, &mask)?)
}

fn header_schema() -> SchemaRef {
    let watermark = Arc::new(Field::new("watermark", DataType::Int64, false));
    versioned(vec![watermark], HEADER)
}

fn ends_schema() -> SchemaRef {
    let field = |name: &str, nullable| Arc::new(Field::new(name, DataType::UInt64, nullable));
    versioned(vec![field("id", false), field("into", true)], ENDS)
}

fn rows_schema(payload: &Payload) -> SchemaRef {
    let field = |name: &str, data_type| Arc::new(Field::new(name, data_type, false));
    let mut fields = vec![
        field("_session", DataType::UInt64),
        field("_start", DataType::Int64),
        field("_last", DataType::Int64),
    ];
    fields.extend(payload.fields());
    versioned(fields, ROWS)
}

fn given_schema(payload: &Payload) -> SchemaRef {
    let fields = match payload {
        Payload::Aggregate { program, .. } => Codec::fields(program),
        Payload::Expand { .. } => Vec::new(),
    };
    versioned(fields, GIVEN)
}

fn versioned(fields: Vec<FieldRef>, kind: &str) -> SchemaRef {
    let metadata = [(VERSION.0, VERSION.1), (KIND, kind)];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Arc::new(Schema::new_with_metadata(fields, metadata.into()))
}
