//! Rows for a quarantine table: the columns of the table as typed, and behind them why the row is
//! there.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int32Array, Int64Array, ListBuilder,
    StringArray, StringBuilder, TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::{Map, Value};

use super::fused::with_rows;
use super::origin::Origin;
use super::rule::{Rule, version_of};
use super::verdict::Verdict;
use crate::dead_letter::DeadLetter;
use crate::error::{Error, Result};
use crate::job::TaskContext;
use crate::limits;

/// The name of a row in quarantine, the same each time that it comes back.
pub const ID: &str = "_id";
/// How often a row was judged before.
pub const ATTEMPT: &str = "_attempt";
/// What has become of a row in quarantine.
pub const STATUS: &str = "_status";
/// The rules that a row breaks.
pub const RULES: &str = "_rules";
/// The record that a row came as.
pub const RAW: &str = "_raw";
/// What the rules that a row breaks have looked at.
pub const OBSERVED: &str = "_observed";
/// When a row came.
pub const FIRST_SEEN: &str = "_first_seen";
/// The columns behind those of the table.
const COLUMNS: [&str; 13] = [
    ID,
    "_table",
    "_pipeline",
    "_origin",
    "_offset",
    RAW,
    "_event_time",
    RULES,
    "_rule_versions",
    OBSERVED,
    ATTEMPT,
    STATUS,
    FIRST_SEEN,
];
/// The status of a row that nobody has asked anything of.
pub const OPEN: &str = "open";

/// The reason of a row that could not be read, in the place of a rule.
pub const PARSE_ERROR: &str = "parse_error";

/// What a column says that is NOT NULL in its table.
const NOT_NULL: &str = "weir.not_null";

/// Whether a column of a quarantine table is NOT NULL in the table that its rows are of.
pub fn is_required(kept: &Field) -> bool {
    kept.metadata().contains_key(NOT_NULL)
}

/// Whether a quarantine table has a column of its own of this name.
pub fn is_kept_column(name: &str) -> bool {
    COLUMNS.contains(&name)
}

/// The columns of the quarantine table of rows.
pub fn kept_schema(rows: &Schema) -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    let list = |name: &str| {
        let item = Field::new("item", DataType::Utf8, true);
        Field::new(name, DataType::List(Arc::new(item)), false)
    };
    let [
        id,
        table,
        pipeline,
        origin,
        offset,
        raw,
        event_time,
        rules,
        versions,
        observed,
        attempt,
        status,
        first_seen,
    ] = COLUMNS;
    let own = rows.fields().iter().map(|field| {
        let mut metadata = field.metadata().clone();
        if !field.is_nullable() {
            metadata.insert(NOT_NULL.to_owned(), true.to_string());
        }
        let field = field.as_ref().clone().with_nullable(true);
        field.with_metadata(metadata)
    });
    let fields = own.chain([
        text(id, false),
        text(table, false),
        text(pipeline, false),
        text(origin, true),
        Field::new(offset, DataType::Int64, true),
        Field::new(raw, DataType::Binary, true),
        Field::new(event_time, moment(), true),
        list(rules),
        list(versions),
        text(observed, false),
        Field::new(attempt, DataType::Int32, false),
        text(status, false),
        Field::new(first_seen, moment(), false),
    ]);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

pub(super) fn moment() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Makes the rows of quarantine tables.
#[derive(Debug)]
pub(super) struct Kept {
    table: String,
    schema: SchemaRef,
    event_time: Option<(usize, String)>,
    /// The columns of the table, in which a row that cannot be read is null.
    nothing: SchemaRef,
    /// Those of rules that only count are left out. The last is not that of a rule: the row cannot be read.
    reasons: Vec<Option<Reason>>,
}

/// What a row says of a rule that it breaks.
#[derive(Debug)]
struct Reason {
    rule: String,
    version: String,
    /// The columns that decide the rule.
    observed: BTreeSet<String>,
}

impl Kept {
    pub(super) fn new(
        table: &str,
        rules: &[Rule],
        rows: &Schema,
        event_time: Option<&str>,
    ) -> Self {
        let unread = Reason {
            rule: PARSE_ERROR.to_owned(),
            version: version_of(PARSE_ERROR),
            observed: BTreeSet::new(),
        };
        let reason = |rule: &Rule| {
            rule.acts().then(|| Reason {
                rule: rule.name.clone(),
                version: rule.version(),
                // Of a rule over many rows it is what was measured.
                observed: match rule.gate {
                    Some(_) => BTreeSet::new(),
                    None => rule.observed(),
                },
            })
        };
        Self {
            reasons: rules.iter().map(reason).chain([Some(unread)]).collect(),
            table: table.to_owned(),
            schema: kept_schema(rows),
            nothing: nullable(rows),
            event_time: event_time
                .and_then(|name| Some((rows.index_of(name).ok()?, name.to_owned()))),
        }
    }

    pub(super) fn event_time(&self) -> Option<&str> {
        self.event_time.as_ref().map(|(_, name)| name.as_str())
    }

    /// The row of a record that cannot be read.
    pub(super) fn unread(&self, letter: &DeadLetter, task: &TaskContext) -> Result<RecordBatch> {
        let bad = BooleanBuffer::new_set(1);
        let mut verdicts = vec![Verdict::default(); self.reasons.len()];
        if let Some(last) = verdicts.last_mut() {
            last.violated = Some(bad.clone());
        }
        let why = [("reason", letter.reason), ("error", letter.detail.as_str())];
        let why = why.map(|(name, text)| (name.to_owned(), Value::String(text.to_owned())));
        let why: Map<String, Value> = why.into_iter().collect();
        let offset = |_| letter.offset;
        let raw = |_| Some(letter.raw.as_slice());
        let measured = |_| Some(&why);
        let origin = Origin {
            offset: Some(&offset),
            raw: Some(&raw),
            measured: Some(&measured),
            ..Origin::of(&letter.origin)
        };
        let row = nulls(&self.nothing)?;
        self.rows(&row, &bad, &verdicts, &origin, task)
    }

    /// The rows of a batch that are set in `bad`, with the rules that each of them breaks.
    pub(super) fn rows(
        &self,
        batch: &RecordBatch,
        bad: &BooleanBuffer,
        verdicts: &[Verdict],
        origin: &Origin<'_>,
        task: &TaskContext,
    ) -> Result<RecordBatch> {
        let mask = BooleanArray::new(bad.clone(), None);
        let rows = filter_record_batch(batch, &mask)?;
        let count = rows.num_rows();
        let (mut names, mut versions) = (list(), list());
        let mut observed = Vec::with_capacity(count);
        for (row, from) in bad.set_indices().enumerate() {
            let mut seen = BTreeSet::new();
            for (reason, verdict) in self.reasons.iter().zip(verdicts) {
                let Some(reason) = reason else { continue };
                let violated = verdict.violated.as_ref();
                if !violated.is_some_and(|rows| rows.value(from)) {
                    continue;
                }
                names.values().append_value(&reason.rule);
                versions.values().append_value(&reason.version);
                seen.extend(reason.observed.iter().map(String::as_str));
            }
            names.append(true);
            versions.append(true);
            let mut seen = json(&rows, row, |name| seen.contains(name));
            let measured = origin.measured.and_then(|measured| measured(from));
            if let (Value::Object(seen), Some(measured)) = (&mut seen, measured) {
                seen.extend(measured.clone());
            }
            observed.push(seen.to_string());
        }
        let times: ArrayRef = match &self.event_time {
            Some((at, _)) => cast(rows.column(*at), &moment())?,
            None => new_null_array(&moment(), count),
        };
        let came = match origin.again {
            Some(kept) => Came::again(&filter_record_batch(kept, &mask)?)?,
            None => Came::first(bad, origin, task),
        };
        let text = |value: &str| Arc::new(StringArray::from(vec![value; count])) as ArrayRef;
        let mut all = rows.columns().to_vec();
        all.extend([
            came.id,
            text(&self.table),
            text(&task.job.pipeline),
            came.origin,
            came.offset,
            came.raw,
            times,
            Arc::new(names.finish()),
            Arc::new(versions.finish()),
            Arc::new(StringArray::from(observed)),
            came.attempt,
            text(OPEN),
            came.first_seen,
        ]);
        with_rows(Arc::clone(&self.schema), all, count)
    }
}

/// The columns of rows of quarantine that they keep when they come back.
pub(super) fn came(kept: &RecordBatch) -> Result<RecordBatch> {
    let schema = kept_schema(&Schema::empty());
    let mut columns = Vec::new();
    for field in schema.fields() {
        let column = kept.column_by_name(field.name());
        let column = column.ok_or_else(|| none_of(field.name()))?;
        columns.push(cast(column, field.data_type())?);
    }
    with_rows(schema, columns, kept.num_rows())
}

fn none_of(name: &str) -> Error {
    Error::internal(format!("a row of quarantine has no {name}"))
}

/// What a row keeps when it comes back.
struct Came {
    id: ArrayRef,
    origin: ArrayRef,
    offset: ArrayRef,
    raw: ArrayRef,
    attempt: ArrayRef,
    first_seen: ArrayRef,
}

impl Came {
    fn first(bad: &BooleanBuffer, origin: &Origin<'_>, task: &TaskContext) -> Self {
        let count = bad.count_set_bits();
        let env = &task.job.env;
        let (of, now) = (env.next_id(), env.clock().now_micros());
        let ids = (0..count).map(|row| format!("{of}-{row}"));
        let offsets = bad.set_indices().map(|row| {
            let offset = origin.offset.and_then(|offset| offset(row));
            offset.and_then(|offset| i64::try_from(offset).ok())
        });
        let raws = bad.set_indices().map(|row| {
            let raw = origin.raw.and_then(|raw| raw(row))?;
            Some(raw.get(..limits::DEAD_LETTER_RAW_BYTES_MAX).unwrap_or(raw))
        });
        Self {
            raw: Arc::new(raws.collect::<BinaryArray>()),
            id: Arc::new(StringArray::from_iter_values(ids)),
            origin: Arc::new(StringArray::from(vec![origin.place; count])),
            offset: Arc::new(offsets.collect::<Int64Array>()),
            attempt: Arc::new(Int32Array::from(vec![0; count])),
            first_seen: Arc::new(
                TimestampMicrosecondArray::from(vec![now; count]).with_timezone("UTC"),
            ),
        }
    }

    fn again(kept: &RecordBatch) -> Result<Self> {
        let column = |name: &str| {
            let found = kept.column_by_name(name).map(Arc::clone);
            found.ok_or_else(|| none_of(name))
        };
        let attempts = column(ATTEMPT)?;
        let attempts = attempts.as_primitive::<Int32Type>();
        Ok(Self {
            id: column(ID)?,
            origin: column("_origin")?,
            offset: column("_offset")?,
            raw: column(RAW)?,
            attempt: Arc::new(attempts.unary::<_, Int32Type>(|n| n.saturating_add(1))),
            first_seen: column(FIRST_SEEN)?,
        })
    }
}

/// One row of nulls.
fn nulls(schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = schema.fields().iter();
    let columns = columns
        .map(|field| new_null_array(field.data_type(), 1))
        .collect();
    with_rows(Arc::clone(schema), columns, 1)
}

fn nullable(rows: &Schema) -> SchemaRef {
    let fields = rows.fields().iter();
    let fields = fields.map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn list() -> ListBuilder<StringBuilder> {
    ListBuilder::new(StringBuilder::new())
}

/// A row as text, for people.
pub(super) fn text_of(batch: &RecordBatch, row: usize) -> String {
    json(batch, row, |_| true).to_string()
}

/// The columns of a row that are wanted, as JSON.
fn json(batch: &RecordBatch, row: usize, wanted: impl Fn(&str) -> bool) -> Value {
    let fields = batch.schema_ref().fields().iter().enumerate();
    let named = fields
        .filter(|(_, field)| wanted(field.name()))
        .filter_map(|(at, field)| Some((field.name().clone(), value_of(batch, at, row)?)));
    Value::Object(named.collect::<Map<_, _>>())
}

/// A value as JSON: numbers and truth values as they are, all else as the text that a query would print.
/// `None` for a type that cannot be printed: the value is in the row itself.
pub(super) fn value_of(batch: &RecordBatch, at: usize, row: usize) -> Option<Value> {
    let column = batch.columns().get(at)?;
    if column.is_null(row) {
        return Some(Value::Null);
    }
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column, &options).ok()?;
    let text = formatter.value(row).try_to_string().ok()?;
    let plain = column.data_type().is_numeric() || *column.data_type() == DataType::Boolean;
    let parsed = plain.then(|| serde_json::from_str(&text).ok()).flatten();
    Some(parsed.unwrap_or(Value::String(text)))
}
