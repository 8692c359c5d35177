//! `PROFILE TABLE` and `SUGGEST CONSTRAINTS`: one pass over what a table holds now.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt as _;
use serde_json::{Map, Value};
use weir_engine::error::{Error, Kind, Place, Result, codes};
use weir_engine::history::History;
use weir_engine::options::unknown;

use super::show::texts;
use super::{Outcome, Session};
use crate::ast::{Name, ProfileTable};
use crate::parse::skeleton::{self, quoted};
use crate::plan::Tables as _;
use crate::profile::{Candidate, Drift, KEPT, Profile, Profiled, row_of, suggestions};

/// Columns of numbers that are correlated with each other: their pairs grow with the square.
const CORRELATED_MAX: usize = 12;
/// Columns that one statement profiles at most.
const COLUMNS_MAX: usize = 500;

impl Session {
    /// `PROFILE TABLE`: shows the profile, keeps it, and compares it with the last under its name.
    pub(super) async fn profile(
        &mut self,
        statement: &ProfileTable,
        place: Place,
    ) -> Result<Outcome> {
        let mut columns = self
            .profiled(&statement.table, &statement.columns, place)
            .await?;
        let name = statement.into.as_ref().map_or("", |name| &name.text);
        let table = statement.table.text.as_str();
        for column in &mut columns {
            let before = self
                .last_profile((name, Some(table)), &column.column)
                .await?;
            let shape = column.shape();
            let drift = |before: &Profile| Drift::between(before, &column.profile, shape);
            column.drift = before.as_ref().and_then(drift);
        }
        let now = self.env.clock().now_micros();
        let rows = row_of((name, table), &columns, now)?;
        if let Some(store) = self.histories.first().map(Arc::clone) {
            let (kept, id) = (rows.clone(), self.env.next_id());
            let added = self.env.blocking(move || store.add(KEPT, &id, &[kept]));
            added.await??;
        }
        let shown: Vec<usize> = shown(&rows.schema());
        let rows = rows.project(&shown)?;
        Ok(Outcome::Table {
            schema: rows.schema(),
            batches: vec![rows],
        })
    }

    /// `SUGGEST CONSTRAINTS FOR`: rules that hold for what the table holds now.
    pub(super) async fn suggest(&mut self, table: &Name, place: Place) -> Result<Outcome> {
        let columns = self.profiled(table, &[], place).await?;
        let candidates: Vec<Candidate> = columns.iter().flat_map(suggestions).collect();
        let conditions: Vec<&str> = candidates
            .iter()
            .filter_map(|c| c.unless.as_deref())
            .collect();
        let holds = self.ask_all(table, &conditions, place).await?;
        let mut holds = holds.into_iter();
        let mut rows = Vec::new();
        for candidate in candidates {
            if candidate.unless.is_some() && holds.next() != Some(true) {
                continue;
            }
            let name = quoted(&candidate.name);
            let text = format!("CONSTRAINT {name} {}", candidate.rule);
            rows.push(vec![candidate.column, text, candidate.reason]);
        }
        texts(&["column", "constraint", "reason"], &rows)
    }

    /// Whether conditions over a table hold, in one pass.
    async fn ask_all(&self, table: &Name, conditions: &[&str], place: Place) -> Result<Vec<bool>> {
        if conditions.is_empty() {
            return Ok(Vec::new());
        }
        let named: Vec<String> = conditions
            .iter()
            .enumerate()
            .map(|(at, condition)| format!("{condition} AS c{at}"))
            .collect();
        let text = format!("SELECT {} FROM {}", named.join(", "), quoted(&table.text));
        let row = self.one_row(&text, place).await?;
        let truth = |column: &Arc<dyn Array>| {
            let truth = column.as_boolean_opt();
            truth.is_some_and(|truth| truth.is_valid(0) && truth.value(0))
        };
        Ok(row.columns().iter().map(truth).collect())
    }

    /// The profiles of columns of a table.
    async fn profiled(&self, table: &Name, wanted: &[Name], place: Place) -> Result<Vec<Profiled>> {
        let provider = self.catalog.table(&table.text);
        let schema = provider.map_err(|error| error.at(table.place))?.schema();
        let columns = chosen(&schema, wanted)?;
        if columns.len() > COLUMNS_MAX {
            let message = format!(
                "a table of {} columns, {COLUMNS_MAX} can be profiled",
                columns.len()
            );
            return Err(Error::new(Kind::Limit, codes::LIMIT, message)
                .hint("name some: PROFILE TABLE t COLUMNS (a, b)")
                .at(table.place));
        }
        let numeric = |name: &&String| {
            let field = schema.field_with_name(name);
            field.is_ok_and(|field| field.data_type().is_numeric())
        };
        let numbers: Vec<&String> = columns
            .iter()
            .filter(numeric)
            .take(CORRELATED_MAX)
            .collect();
        let mut items: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(at, name)| format!("profile_sketch({}) AS p{at}", quoted(name)))
            .collect();
        let mut pairs = Vec::new();
        for (at, first) in numbers.iter().enumerate() {
            for second in numbers.iter().skip(at + 1) {
                let item = format!(
                    "corr({}, {}) AS c{}",
                    quoted(first),
                    quoted(second),
                    pairs.len()
                );
                items.push(item);
                pairs.push((first.as_str(), second.as_str()));
            }
        }
        let text = format!("SELECT {} FROM {}", items.join(", "), quoted(&table.text));
        let row = self.one_row(&text, place).await?;
        let mut all = Vec::new();
        for (at, name) in columns.iter().enumerate() {
            let sketch = row.column(at).as_binary_opt::<i32>();
            let sketch = sketch.ok_or_else(|| Error::internal("a profile is not bytes"))?;
            all.push(Profiled {
                column: name.clone(),
                data_type: schema.field_with_name(name)?.data_type().clone(),
                profile: Profile::from_bytes(sketch.value(0))?,
                drift: None,
                correlation: correlation(&row, columns.len(), &pairs, name),
            });
        }
        Ok(all)
    }

    /// The last profile of a column under a name, of a table or of any, in any of the places that are read.
    pub(super) async fn last_profile(
        &self,
        (name, table): (&str, Option<&str>),
        column: &str,
    ) -> Result<Option<Profile>> {
        let table = table.map(str::to_owned);
        let wanted = (name.to_owned(), table, column.to_owned());
        let stores = self.histories.clone();
        let read = self.env.blocking(move || {
            let mut last = None;
            for store in stores {
                newest(&*store, &wanted, &mut last)?;
            }
            Ok::<_, Error>(last)
        });
        let last = read.await??;
        last.map(|(_, bytes)| Profile::from_bytes(&bytes))
            .transpose()
    }

    async fn one_row(&self, text: &str, place: Place) -> Result<RecordBatch> {
        let query = skeleton::query(text)?;
        let planned = self.planner.query(&self.catalog, &query, Some(place))?;
        let rows = self.run_query_over_views(&planned.plan, place).await?;
        let rows: Vec<RecordBatch> = rows.try_collect().await?;
        let row = rows.into_iter().find(|rows| rows.num_rows() == 1);
        row.ok_or_else(|| Error::internal("an aggregate of a table is not one row"))
    }
}

/// The newest kept profile of a column, with its time.
fn newest(
    store: &dyn History,
    (name, table, column): &(String, Option<String>, String),
    last: &mut Option<(i64, Vec<u8>)>,
) -> Result<()> {
    for file in store.files(KEPT)? {
        for rows in store.read(KEPT, &file)? {
            let text = |at: &str| {
                rows.column_by_name(at)
                    .and_then(|c| c.as_string_opt::<i32>())
            };
            let (names, tables, columns) = (text("profile"), text("table_name"), text("column"));
            let (Some(names), Some(tables), Some(columns)) = (names, tables, columns) else {
                continue;
            };
            let times = rows.column_by_name("recorded_at");
            let times = times
                .and_then(|c| c.as_primitive_opt::<arrow::datatypes::TimestampMicrosecondType>());
            let sketches = rows
                .column_by_name("sketch")
                .and_then(|c| c.as_binary_opt::<i32>());
            let (Some(times), Some(sketches)) = (times, sketches) else {
                continue;
            };
            for row in 0..rows.num_rows() {
                let same = names.value(row) == name
                    && table
                        .as_deref()
                        .is_none_or(|table| tables.value(row) == table)
                    && columns.value(row) == column;
                let later = last.as_ref().is_none_or(|(at, _)| *at < times.value(row));
                if same && later {
                    *last = Some((times.value(row), sketches.value(row).to_vec()));
                }
            }
        }
    }
    Ok(())
}

/// The names of the columns that are looked at.
fn chosen(schema: &SchemaRef, wanted: &[Name]) -> Result<Vec<String>> {
    if wanted.is_empty() {
        return Ok(schema.fields().iter().map(|f| f.name().clone()).collect());
    }
    let one = |name: &Name| match schema.field_with_name(&name.text) {
        Ok(_) => Ok(name.text.clone()),
        Err(_) => {
            let known = schema.fields().iter().map(|field| field.name().as_str());
            Err(unknown(codes::UNKNOWN_COLUMN, "column", &name.text, known).at(name.place))
        }
    };
    wanted.iter().map(one).collect()
}

/// The correlations of a column with others, as JSON.
fn correlation(
    row: &RecordBatch,
    first: usize,
    pairs: &[(&str, &str)],
    name: &str,
) -> Option<String> {
    let mut all = Map::new();
    for (at, (left, right)) in pairs.iter().enumerate() {
        let other = match (*left == name, *right == name) {
            (true, _) => right,
            (_, true) => left,
            _ => continue,
        };
        let column = row.columns().get(first + at)?;
        let values = column.as_primitive_opt::<arrow::datatypes::Float64Type>()?;
        let value = values.is_valid(0).then(|| values.value(0));
        let value = value.filter(|value| value.is_finite());
        all.insert((*other).to_owned(), value.map_or(Value::Null, Value::from));
    }
    (!all.is_empty()).then(|| Value::Object(all).to_string())
}

/// The columns that are shown: those that say the same for all rows, and bytes, are left out.
fn shown(schema: &SchemaRef) -> Vec<usize> {
    const HIDDEN: [&str; 5] = ["profile", "table_name", "details", "recorded_at", "sketch"];
    let fields = schema.fields().iter().enumerate();
    let kept = fields.filter(|(_, field)| !HIDDEN.contains(&field.name().as_str()));
    kept.map(|(at, _)| at).collect()
}
