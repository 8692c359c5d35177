//! What sessions have given: kept until they have given something else, or are forgotten, so that
//! it can be taken back as it was.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int8Array, Int64Array, UInt64Array};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, UInt64Type};
use arrow::record_batch::RecordBatch;

use super::index::{Session, SessionId};
use crate::changelog::RowKind;
use crate::error::Result;
use crate::updating::codec::{RowBytes, RowCodec};
use crate::window::columns::fit;
use crate::window::program::Program;
use crate::window::results;
use crate::window::state::unreadable;
use crate::window::table::Groups;

/// Columns of a batch of state before the keys: the number of the session, the bounds that were
/// given, whether it is the first of what the session has given, and whether the session has rows
/// that are not in it.
pub(super) const STATE_COLUMNS: usize = 5;

/// One row that a session has given: its bounds, and the results of the aggregates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) start: i64,
    pub(super) last: i64,
    pub(super) values: RowBytes,
}

impl Given {
    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        // The bytes are counted for their sharers too.
        size_of::<Self>() + 2 * size_of::<usize>() + self.values.len()
    }
}

/// All that one session has given.
#[derive(Debug)]
pub(super) struct GivenBy {
    pub(super) id: SessionId,
    pub(super) key: Arc<[u8]>,
    pub(super) given: Vec<Given>,
    /// The session has changed since.
    pub(super) stale: bool,
}

/// What sessions have given now.
pub(super) type NowGiven = Vec<(SessionId, Given)>;

/// Reads and writes the keys and results of sessions as bytes.
#[derive(Debug)]
pub(super) struct Codec {
    program: Arc<Program>,
    /// None without columns: then all rows are equal.
    keys: Option<RowCodec>,
    values: Option<RowCodec>,
}

impl Codec {
    pub(super) fn new(program: &Arc<Program>) -> Result<Self> {
        let of = |fields: &[FieldRef]| {
            let types = fields.iter().map(|f| f.data_type().clone());
            (!fields.is_empty())
                .then(|| RowCodec::of(types))
                .transpose()
        };
        let keys = program.key_schema.fields();
        Ok(Self {
            keys: of(keys)?,
            values: of(&program.result_fields)?,
            program: Arc::clone(program),
        })
    }

    /// Compares the results of sessions with what they have given. Gives what has changed as rows
    /// of a changelog, and what each session with a change has given now.
    pub(super) fn change(
        &self,
        sessions: &[&Session],
        end_of: impl Fn(i64) -> i64,
        groups: &Groups,
    ) -> Result<(Option<RecordBatch>, NowGiven)> {
        let fields = self.program.result_fields.iter();
        let columns = groups.aggregates.iter().zip(fields);
        let columns = columns.map(|(c, field)| fit(Arc::clone(c), field.data_type()));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let values = self
            .values
            .as_ref()
            .map(|v| v.encode(&columns))
            .transpose()?;
        let mut change = Change::default();
        for (row, session) in sessions.iter().enumerate() {
            let values = values.as_ref().map_or(&[][..], |v| v.row(row).data());
            change.add(row, session, values);
        }
        if change.kinds.is_empty() {
            return Ok((None, Vec::new()));
        }
        let bounds = |bounds: fn(&Session) -> i64| sessions.iter().map(|s| bounds(s)).collect();
        let starts = bounds(|s| s.start);
        let ends = sessions.iter().map(|s| end_of(s.last)).collect();
        let new = results::results_of(&self.program, starts, ends, groups)?;
        let old = match change.old.is_empty() {
            true => new.slice(0, 0),
            false => self.taken_back(&change.old, end_of)?,
        };
        let columns = old.columns().iter().zip(new.columns());
        let columns = columns.map(|(old, new)| Ok(interleave(&[&**old, &**new], &change.places)?));
        let mut columns = columns.collect::<Result<Vec<_>>>()?;
        let kinds = change.kinds.iter().map(|kind| kind.number());
        columns.push(Arc::new(Int8Array::from_iter_values(kinds)));
        let batch = results::batch(self.program.schema(), columns, change.kinds.len())?;
        Ok((Some(batch), change.given))
    }

    /// Rows as they were given.
    fn taken_back(
        &self,
        old: &[(&Session, &Given)],
        end_of: impl Fn(i64) -> i64,
    ) -> Result<RecordBatch> {
        let keys = old.iter().map(|(session, _)| &*session.key);
        let values = old.iter().map(|(_, given)| &*given.values);
        let groups = Groups {
            keys: decode(self.keys.as_ref(), keys)?,
            aggregates: decode(self.values.as_ref(), values)?,
            rows: old.len(),
        };
        let starts = old.iter().map(|(_, given)| given.start).collect();
        let ends = old.iter().map(|(_, given)| end_of(given.last)).collect();
        results::results_of(&self.program, starts, ends, &groups)
    }

    /// The columns of a batch of state.
    pub(super) fn fields(program: &Program) -> Vec<FieldRef> {
        let field = |name: &str, data_type| Arc::new(Field::new(name, data_type, false));
        let mut fields = vec![
            field("_session", DataType::UInt64),
            field("_start", DataType::Int64),
            field("_last", DataType::Int64),
            field("_first", DataType::Boolean),
            field("_stale", DataType::Boolean),
        ];
        let keys = program.key_schema.fields().iter();
        let results = keys.chain(&program.result_fields).map(|field| {
            let field = field.as_ref().clone().with_nullable(true);
            Arc::new(field)
        });
        fields.extend(results);
        fields
    }

    /// What sessions have given, as the columns of a batch of state.
    pub(super) fn columns(&self, sessions: &[GivenBy]) -> Result<Vec<ArrayRef>> {
        let each = || {
            sessions
                .iter()
                .flat_map(|s| s.given.iter().map(move |g| (s, g)))
        };
        let first = sessions
            .iter()
            .flat_map(|s| (0..s.given.len()).map(|at| at == 0));
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from_iter_values(each().map(|(s, _)| s.id))),
            Arc::new(Int64Array::from_iter_values(each().map(|(_, g)| g.start))),
            Arc::new(Int64Array::from_iter_values(each().map(|(_, g)| g.last))),
            Arc::new(first.map(Some).collect::<BooleanArray>()),
            Arc::new(each().map(|(s, _)| Some(s.stale)).collect::<BooleanArray>()),
        ];
        columns.extend(decode(self.keys.as_ref(), each().map(|(s, _)| &*s.key))?);
        columns.extend(decode(
            self.values.as_ref(),
            each().map(|(_, g)| &*g.values),
        )?);
        Ok(columns)
    }

    /// Reads a batch of state row by row.
    pub(super) fn read(
        &self,
        batch: &RecordBatch,
        mut put: impl FnMut(SessionId, Given, Replaces),
    ) -> Result<()> {
        let columns = batch.columns();
        let (Some([id, start, last, first, stale]), Some(values)) = (
            columns.first_chunk::<STATE_COLUMNS>(),
            columns.get(STATE_COLUMNS + self.program.keys.len()..),
        ) else {
            return Err(unreadable(
                "its columns are not those of the query".to_owned(),
            ));
        };
        let values = self.values.as_ref().map(|v| v.encode(values)).transpose()?;
        let ids = id.as_primitive::<UInt64Type>().values().iter();
        let starts = start.as_primitive::<Int64Type>().values();
        let lasts = last.as_primitive::<Int64Type>().values();
        let bounds = starts.iter().zip(lasts);
        for (row, (id, (start, last))) in ids.zip(bounds).enumerate() {
            let values = values.as_ref().map_or(&[][..], |v| v.row(row).data());
            let given = Given {
                start: *start,
                last: *last,
                values: values.into(),
            };
            let replaces = Replaces {
                all: first.as_boolean().value(row),
                stale: stale.as_boolean().value(row),
            };
            put(*id, given, replaces);
        }
        Ok(())
    }
}

/// What a row of state does to those before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Replaces {
    /// It takes the place of all that the session had given.
    pub(super) all: bool,
    /// The session had rows besides.
    pub(super) stale: bool,
}

/// What has changed in the results of some sessions.
#[derive(Default)]
struct Change<'a> {
    kinds: Vec<RowKind>,
    /// Rows of what was given (0) and of the new results (1).
    places: Vec<(usize, usize)>,
    old: Vec<(&'a Session, &'a Given)>,
    given: NowGiven,
}

impl<'a> Change<'a> {
    /// A session has these results now.
    fn add(&mut self, row: usize, session: &'a Session, values: &[u8]) {
        let same_bounds =
            |given: &Given| (given.start, given.last) == (session.start, session.last);
        let (gone, come) = match session.given.as_slice() {
            [one] if same_bounds(one) && *one.values == *values => return,
            [one] if same_bounds(one) => (RowKind::UpdateBefore, RowKind::UpdateAfter),
            _ => (RowKind::Delete, RowKind::Insert),
        };
        for given in &session.given {
            self.kinds.push(gone);
            self.places.push((0, self.old.len()));
            self.old.push((session, given));
        }
        self.kinds.push(come);
        self.places.push((1, row));
        let given = Given {
            start: session.start,
            last: session.last,
            values: values.into(),
        };
        self.given.push((session.id, given));
    }
}

fn decode<'a>(
    codec: Option<&RowCodec>,
    rows: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<ArrayRef>> {
    codec.map_or_else(|| Ok(Vec::new()), |codec| codec.decode(rows))
}
