//! REPLAY, RELEASE and DISCARD: requests about rows in quarantine, written for the pipeline whose rows
//! they are.

mod resume;

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, StringArray, UInt64Array};
use arrow::compute::{cast, concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::physical_expr::PhysicalExpr;
use futures::TryStreamExt as _;
use weir_engine::error::{Error, Kind, Place, Result, codes};
use weir_engine::options::unknown;
use weir_engine::quarantine::{Action, Quarantine, REQUEST_ROWS_MAX, Request};
use weir_engine::rules::{PARSE_ERROR, RULES, is_kept_column, is_required};

use super::{Outcome, Session};
use crate::ast::QuarantineRequest;
use crate::catalog::Catalog;
use crate::plan::Tables;
use crate::rules::fit;
use crate::stored::{QuarantineRows, QuarantineTable};

/// How often the rows are looked for anew because another statement has named some of them meanwhile.
const TRIES_MAX: usize = 100;

/// Values that columns get.
type Set = Vec<(usize, Arc<dyn PhysicalExpr>)>;

/// The catalog with one table as it was when the statement looked.
struct Seen<'a> {
    catalog: &'a Catalog,
    name: String,
    rows: Arc<QuarantineRows>,
}

impl Tables for Seen<'_> {
    fn table(&self, name: &str) -> Result<Arc<dyn TableProvider>> {
        if name == self.name {
            let rows: Arc<QuarantineRows> = Arc::clone(&self.rows);
            return Ok(rows);
        }
        self.catalog.table(name)
    }
}

impl Session {
    /// Asks something of rows in quarantine; tells of how many.
    pub(super) async fn request(
        &mut self,
        ask: &QuarantineRequest,
        place: Place,
    ) -> Result<Outcome> {
        let table = self.catalog.quarantine(&ask.table)?;
        if self.runs && ask.action != Action::Discard {
            let declared = self.declared_quarantines();
            if !declared.iter().any(|declared| declared.name == table.name) {
                return Err(no_owner(&table).at(ask.table.place));
            }
        }
        let mut rows = 0;
        for _ in 0..TRIES_MAX {
            let opened = Arc::new(table.open()?);
            if self.ask(ask, &table, &opened, place, &mut rows).await? {
                self.requested |= self.runs && ask.action != Action::Discard;
                return told(ask.action, &table, rows);
            }
        }
        let message = format!(
            "others ask of the rows of {} all the time",
            table.full_name()
        );
        Err(Error::new(Kind::Conflict, codes::QUARANTINE, message).hint("try again"))
    }

    /// Writes requests for the rows that are open; false when another statement came between.
    async fn ask(
        &self,
        ask: &QuarantineRequest,
        table: &QuarantineTable,
        opened: &Arc<QuarantineRows>,
        place: Place,
        asked: &mut u64,
    ) -> Result<bool> {
        let seen = Seen {
            catalog: &self.catalog,
            name: table.full_name(),
            rows: Arc::clone(opened),
        };
        let set = self.values(ask, &opened.schema(), place)?;
        let planned = self.planner.query(&seen, &ask.rows, Some(place))?;
        let Some(store) = &table.store else {
            return Ok(true);
        };
        let mut stream = self.run_query(&planned.plan, Some(place)).await?;
        let schema = opened.schema();
        let mut log = Log {
            store: Arc::clone(store),
            table: table.name.clone(),
            action: ask.action,
            last: opened.last(),
        };
        let mut waiting: Vec<RecordBatch> = Vec::new();
        let mut count = 0;
        loop {
            let next = stream.try_next().await?;
            let is_end = next.is_none();
            if let Some(rows) = next {
                let mut rows = RecordBatch::try_new(Arc::clone(&schema), rows.columns().to_vec())?;
                if ask.action == Action::Replay && set.is_empty() {
                    rows = readable(&rows)?;
                }
                let rows = change(&rows, &set)?;
                if ask.action != Action::Discard {
                    check_required(&rows, table)?;
                }
                count += rows.num_rows();
                waiting.push(rows);
            }
            while count >= REQUEST_ROWS_MAX || (is_end && count > 0) {
                let all = concat_batches(&schema, &waiting)?;
                let first = all.slice(0, count.min(REQUEST_ROWS_MAX));
                count -= first.num_rows();
                let rest = all.slice(first.num_rows(), count);
                waiting = vec![rest];
                let rows = first.num_rows() as u64;
                let mut one = log.clone();
                let added = self.env.blocking(move || one.add(first)).await??;
                if !added {
                    return Ok(false);
                }
                log.last += 1;
                *asked += rows;
            }
            if is_end {
                return Ok(true);
            }
        }
    }

    /// Compiles the values that columns get.
    fn values(&self, ask: &QuarantineRequest, schema: &SchemaRef, place: Place) -> Result<Set> {
        let fields = schema.fields().iter().map(|field| {
            let field = field.as_ref().clone();
            let nullable = !is_required(&field);
            field.with_nullable(nullable)
        });
        let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let mut set = Set::new();
        for (name, sql) in &ask.set {
            let known = schema.fields().iter().enumerate();
            let mut own = known.filter(|(_, field)| !is_kept_column(field.name()));
            let Some((at, field)) = own.find(|(_, field)| *field.name() == name.text) else {
                let known = schema.fields().iter().map(|field| field.name().as_str());
                let known = known.filter(|name| !is_kept_column(name));
                let error = unknown(codes::UNKNOWN_COLUMN, "column", &name.text, known);
                return Err(error.at(name.place));
            };
            let at_place = name.place.unwrap_or(place);
            let row = self.planner.row_expr(sql, &schema, true, at_place)?;
            let found = row.compiled.data_type(&schema)?;
            let expr = fit(row.expr, &found, field, at_place)?;
            let columns = datafusion::common::DFSchema::try_from(Arc::clone(&schema))?;
            let value = self.planner.compile(expr, &columns)?;
            if !field.is_nullable() && value.nullable(&schema)? {
                let message = format!(
                    "column \"{}\" is NOT NULL, but it may be set to null",
                    name.text
                );
                return Err(Error::new(Kind::Invalid, codes::TYPE, message)
                    .hint("use COALESCE(value, other value)")
                    .at(name.place));
            }
            set.push((at, value));
        }
        Ok(set)
    }
}

fn no_owner(table: &QuarantineTable) -> Error {
    let name = &table.name;
    let message = format!("no rule of this script keeps rows in {}", table.full_name());
    Error::new(Kind::Invalid, codes::QUARANTINE, message)
        .detail("so it is not known which table the rows are of")
        .hint(format!(
            "keep the rule, with ON VIOLATION QUARANTINE INTO {name}, and switch it off: ALTER TABLE ... DISABLE \
             CONSTRAINT ..."
        ))
}

/// The log of a table's requests.
#[derive(Debug, Clone)]
struct Log {
    store: Arc<dyn Quarantine>,
    table: String,
    action: Action,
    last: u64,
}

impl Log {
    fn add(&mut self, rows: RecordBatch) -> Result<bool> {
        let request = Request {
            number: self.last + 1,
            action: self.action,
            rows,
        };
        self.store.ask(&self.table, &request)
    }
}

/// Gives columns other values, all computed of the row as it is.
fn change(rows: &RecordBatch, set: &Set) -> Result<RecordBatch> {
    let schema = rows.schema();
    let mut columns = rows.columns().to_vec();
    for (at, value) in set {
        let value = value.evaluate(rows)?.into_array(rows.num_rows())?;
        if let Some(column) = columns.get_mut(*at) {
            *column = cast(&value, column.data_type())?;
        }
    }
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// Leaves out rows that could not be read and that nobody has given values: they would go back.
fn readable(rows: &RecordBatch) -> Result<RecordBatch> {
    let rules = rows.column_by_name(RULES);
    let Some(rules) = rules.and_then(|rules| rules.as_list_opt::<i32>()) else {
        return Ok(rows.clone());
    };
    let is_unread = |rules: ArrayRef| {
        let names = rules.as_string_opt::<i32>();
        names.is_some_and(|names| names.iter().flatten().any(|name| name == PARSE_ERROR))
    };
    let keep = rules.iter().map(|rules| !rules.is_some_and(is_unread));
    Ok(filter_record_batch(rows, &keep.collect::<Vec<_>>().into())?)
}

/// Refuses rows without a value in a column that is NOT NULL: they are none of their table.
fn check_required(rows: &RecordBatch, table: &QuarantineTable) -> Result<()> {
    let schema = rows.schema();
    let mut columns = schema.fields().iter().zip(rows.columns());
    let missing = columns.find(|(field, column)| is_required(field) && column.null_count() > 0);
    let Some((field, _)) = missing else {
        return Ok(());
    };
    let name = field.name();
    let message = format!(
        "column \"{name}\" is NOT NULL, but is null in rows of {}",
        table.full_name()
    );
    Err(Error::new(Kind::Invalid, codes::QUARANTINE, message)
        .detail("nothing was asked for")
        .hint(format!(
            "give it a value, SET ({name} = ...), or leave these rows out with WHERE"
        )))
}

fn told(action: Action, table: &QuarantineTable, rows: u64) -> Result<Outcome> {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let count = Field::new("rows", DataType::UInt64, false);
    let schema = Arc::new(Schema::new(vec![text("request"), text("table"), count]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![action.word()])),
        Arc::new(StringArray::from(vec![table.full_name()])),
        Arc::new(UInt64Array::from(vec![rows])),
    ];
    let batches = vec![RecordBatch::try_new(Arc::clone(&schema), columns)?];
    Ok(Outcome::Table { schema, batches })
}
