//! Rows for a quarantine table: the columns of the table as typed, and behind them why the row is
//! there.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Int32Array, ListBuilder, StringArray, StringBuilder,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::{Map, Value};

use super::fused::with_rows;
use super::rule::Rule;
use super::verdict::Verdict;
use crate::error::Result;

/// The columns behind those of the table.
const COLUMNS: [&str; 9] = [
    "_table",
    "_origin",
    "_event_time",
    "_rules",
    "_rule_versions",
    "_observed",
    "_attempt",
    "_status",
    "_first_seen",
];
/// The status of a row that nobody has looked at.
const OPEN: &str = "open";

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
        table,
        origin,
        event_time,
        rules,
        versions,
        observed,
        attempt,
        status,
        first_seen,
    ] = COLUMNS;
    let own = rows
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_nullable(true));
    let fields = own.chain([
        text(table, false),
        text(origin, true),
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

fn moment() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Makes the rows of quarantine tables.
#[derive(Debug)]
pub(super) struct Kept {
    table: String,
    schema: SchemaRef,
    event_time: Option<(usize, String)>,
    reasons: Vec<Reason>,
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
        let reason = |rule: &Rule| Reason {
            rule: rule.name.clone(),
            version: rule.version(),
            observed: rule.observed(),
        };
        Self {
            reasons: rules.iter().map(reason).collect(),
            table: table.to_owned(),
            schema: kept_schema(rows),
            event_time: event_time
                .and_then(|name| Some((rows.index_of(name).ok()?, name.to_owned()))),
        }
    }

    pub(super) fn event_time(&self) -> Option<&str> {
        self.event_time.as_ref().map(|(_, name)| name.as_str())
    }

    /// The rows of a batch that are set in `bad`, with the rules that each of them breaks.
    pub(super) fn rows(
        &self,
        batch: &RecordBatch,
        bad: &BooleanBuffer,
        verdicts: &[Verdict],
        origin: Option<&str>,
        now_micros: i64,
    ) -> Result<RecordBatch> {
        let rows = filter_record_batch(batch, &BooleanArray::new(bad.clone(), None))?;
        let count = rows.num_rows();
        let (mut names, mut versions) = (list(), list());
        let mut observed = Vec::with_capacity(count);
        for (row, from) in bad.set_indices().enumerate() {
            let mut seen = BTreeSet::new();
            for (reason, verdict) in self.reasons.iter().zip(verdicts) {
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
            observed.push(json(&rows, row, |name| seen.contains(name)).to_string());
        }
        let times: ArrayRef = match &self.event_time {
            Some((at, _)) => cast(rows.column(*at), &moment())?,
            None => new_null_array(&moment(), count),
        };
        let mut all = rows.columns().to_vec();
        all.extend([
            Arc::new(StringArray::from(vec![self.table.as_str(); count])) as ArrayRef,
            Arc::new(StringArray::from(vec![origin; count])),
            times,
            Arc::new(names.finish()),
            Arc::new(versions.finish()),
            Arc::new(StringArray::from(observed)),
            Arc::new(Int32Array::from(vec![0; count])),
            Arc::new(StringArray::from(vec![OPEN; count])),
            Arc::new(TimestampMicrosecondArray::from(vec![now_micros; count]).with_timezone("UTC")),
        ]);
        with_rows(Arc::clone(&self.schema), all, count)
    }
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
