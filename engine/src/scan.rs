//! A source as a query reads it: physical columns, computed columns, NOT NULL checks, rules, watermark.
//!
//! The same scan feeds the runtime's source tasks and, by [`crate::island`], DataFusion's islands.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, TimestampMicrosecondArray};
use arrow::compute::{and, filter_record_batch, is_not_null, not};
use arrow::datatypes::{
    DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::utils::{collect_columns, reassign_expr_columns};

use crate::arrival::{Arrivals, Before};
use crate::dead_letter::{DeadLetter, OnError};
use crate::error::{Error, Kind, Result, codes};
use crate::job::TaskContext;
use crate::message::EventTime;
use crate::quarantine::Request;
use crate::rules::{Judge, Origin, Step};
use crate::source::Source;
use crate::watermark::{End, deciding_rows};

/// How the event time of a source's rows gives its watermark.
#[derive(Debug, Clone)]
pub struct WatermarkSpec {
    /// The name of the event-time column.
    pub column: String,
    /// The watermark after a row, over the read columns: usually `ts - INTERVAL`.
    pub expr: Arc<dyn PhysicalExpr>,
    /// The same as it stands in the script, for people.
    pub text: String,
}

/// The rules of a source, over all the columns that they need.
#[derive(Debug, Clone)]
pub struct ScanRules {
    /// The columns that are judged, each an expression over the read columns.
    pub columns: Vec<(Arc<dyn PhysicalExpr>, FieldRef)>,
    /// The rules over them.
    pub judge: Arc<Judge>,
}

impl ScanRules {
    fn schema(&self) -> SchemaRef {
        let fields = self.columns.iter().map(|(_, field)| Arc::clone(field));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// Rows as a query reads them, with those of the read rows that they are; `None` if all.
#[derive(Debug)]
pub struct Shaped {
    /// The output columns.
    pub rows: RecordBatch,
    /// The read rows that are not dead letters, where some are.
    pub valid: Option<BooleanArray>,
    /// The valid rows that no rule keeps back, where one does.
    pub published: Option<BooleanArray>,
}

impl Shaped {
    /// The rows as they were read. They may move the watermark: one that is a dead letter, or that a rule keeps
    /// back, may have any time.
    pub fn timely(&self, read: &RecordBatch) -> Result<RecordBatch> {
        let mut timely = read.clone();
        for kept in [&self.valid, &self.published].into_iter().flatten() {
            timely = filter_record_batch(&timely, kept)?;
        }
        Ok(timely)
    }
}

/// A source with what the script adds to it.
#[derive(Debug, Clone)]
pub struct Scan {
    /// The name in the script.
    pub name: String,
    /// The connector's part.
    pub source: Arc<dyn Source>,
    /// The source as it was declared, of which `source` may be a [`Source::rescan`]: scans that
    /// have it in common read the same rows.
    pub declared: Arc<dyn Source>,
    /// The columns of [`Source::schema`] that are read, in this order.
    pub projection: Vec<usize>,
    /// The output columns, each an expression over the read columns.
    pub columns: Vec<(Arc<dyn PhysicalExpr>, FieldRef)>,
    /// Columns that are not given out, but in which no row may be null, over the read columns.
    pub required: Vec<(Arc<dyn PhysicalExpr>, FieldRef)>,
    /// The rules of the source.
    pub rules: Option<ScanRules>,
    /// The watermark, over the read columns.
    pub watermark: Option<WatermarkSpec>,
    /// What is told of how rows come, in columns behind the others.
    pub arrivals: Option<Arrivals>,
    /// What to do with a row that breaks NOT NULL or whose computed column fails.
    pub on_error: OnError,
    /// Another scan of the same source in this pipeline keeps the dead letters and the counts.
    pub quiet: bool,
}

impl Scan {
    /// The rows that come out.
    pub fn schema(&self) -> SchemaRef {
        let shaped = self.shaped_schema();
        match &self.arrivals {
            Some(arrivals) => arrivals.behind(&shaped),
            None => shaped,
        }
    }

    /// The rows as [`Self::shape`] gives them.
    pub(crate) fn shaped_schema(&self) -> SchemaRef {
        let fields = self.columns.iter().map(|(_, field)| Arc::clone(field));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// Puts behind rows what is told of how they come, by what they were read as; gives the watermark of their
    /// file or partition after them too.
    pub(crate) fn told(
        &self,
        rows: RecordBatch,
        read: &RecordBatch,
        before: Before,
    ) -> Result<(RecordBatch, EventTime)> {
        match (&self.arrivals, &self.watermark) {
            (Some(arrivals), Some(spec)) => arrivals.tell(&rows, read, &spec.expr, before),
            _ => Ok((rows, before.passed)),
        }
    }

    /// The rules over more than one row that are asked behind the scan: it has to be [`Scan::whole`] for
    /// them.
    pub fn steps(&self) -> Vec<Step> {
        match &self.rules {
            Some(rules) => Step::all(&rules.judge, &rules.schema(), self.lateness()),
            None => Vec::new(),
        }
    }

    /// How far the watermark is behind the rows, in microseconds, where it follows one column.
    fn lateness(&self) -> Option<i64> {
        let spec = self.watermark.as_ref()?;
        let columns = self.projection.iter().enumerate();
        let schema = self.source.schema();
        let time = collect_columns(&spec.expr);
        let time = time.iter().next()?.index();
        // The time of a day on which no clock is changed.
        let moment = TimestampMicrosecondArray::from(vec![1_000_000_000_000_000]);
        let read = columns.map(|(at, column)| {
            let field = schema.fields().get(*column)?.as_ref().clone();
            let value = match at == time {
                true => arrow::compute::cast(&moment, field.data_type()).ok()?,
                false => arrow::array::new_null_array(field.data_type(), 1),
            };
            Some((field.with_nullable(true), value))
        });
        let (fields, values): (Vec<Field>, Vec<_>) =
            read.collect::<Option<Vec<_>>>()?.into_iter().unzip();
        let row = RecordBatch::try_new(Arc::new(Schema::new(fields)), values).ok()?;
        let after = self.watermark_after(&row).ok()??;
        moment.value(0).checked_sub(after.0)
    }

    /// The same scan with all columns that rules need.
    pub fn whole(&self) -> Self {
        let mut scan = self.clone();
        if let Some(rules) = &self.rules {
            scan.columns.clone_from(&rules.columns);
            let given =
                |(_, field): &(_, FieldRef)| scan.columns.iter().any(|(_, other)| other == field);
            let required = self.required.iter().filter(|column| !given(column));
            scan.required = required.cloned().collect();
        }
        scan
    }

    /// One line for EXPLAIN.
    pub fn describe(&self) -> String {
        let names: Vec<_> = self
            .columns
            .iter()
            .map(|(_, f)| f.name().as_str())
            .collect();
        let mut text = format!("{} columns=[{}]", self.source.describe(), names.join(", "));
        if let Some(watermark) = &self.watermark {
            text.push_str(&format!(" watermark=[{}]", watermark.text));
        }
        if let Some(rules) = &self.rules {
            text.push_str(&format!(" {}", rules.judge));
        }
        text
    }

    /// Computes the output columns of read rows; rows that break NOT NULL go to the dead letters,
    /// those that break a rule where it says. `origin` tells of read rows.
    pub fn shape(
        &self,
        batch: &RecordBatch,
        origin: &Origin<'_>,
        task: &TaskContext,
    ) -> Result<Shaped> {
        let place = origin.place.unwrap_or_default();
        let Some(rules) = &self.rules else {
            let (rows, valid) = self.typed(&self.columns, batch, place, task)?;
            return Ok(Shaped {
                rows,
                valid,
                published: None,
            });
        };
        let (rows, valid) = self.typed(&rules.columns, batch, place, task)?;
        let read: Option<Vec<usize>> = valid
            .as_ref()
            .map(|valid| valid.values().set_indices().collect());
        let as_read = |row: usize| match &read {
            Some(read) => read.get(row).copied(),
            None => Some(row),
        };
        let offset = |row| origin.offset.and_then(|offset| offset(as_read(row)?));
        let raw = |row| origin.raw.and_then(|raw| raw(as_read(row)?));
        let origin = Origin {
            offset: Some(&offset),
            raw: Some(&raw),
            ..Origin::of(place)
        };
        let judged = rules.judge.judge(rows, &origin, task)?;
        Ok(Shaped {
            rows: self.given(&judged.rows)?,
            valid,
            published: judged.published,
        })
    }

    /// Takes rows out of quarantine, as a request about them asks.
    pub(crate) fn again(&self, request: &Request, task: &TaskContext) -> Result<RecordBatch> {
        let Some(rules) = &self.rules else {
            return Err(Error::internal("a source without rules has no quarantine"));
        };
        let fields = rules.columns.iter().map(|(_, field)| Arc::clone(field));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let rows = self.given(&rules.judge.again(request, &schema, task)?.rows)?;
        match &self.arrivals {
            Some(arrivals) => arrivals.unknown(&rows),
            None => Ok(rows),
        }
    }

    /// The output columns of rows that have those that are judged.
    fn given(&self, judged: &RecordBatch) -> Result<RecordBatch> {
        let schema = judged.schema_ref();
        let columns = self.columns.iter().map(|(_, field)| {
            let at = schema.index_of(field.name())?;
            Ok(Arc::clone(judged.column(at)))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(judged.num_rows()));
        Ok(RecordBatch::try_new_with_options(
            self.shaped_schema(),
            columns,
            &options,
        )?)
    }

    /// Computes columns of read rows, without the rows that break NOT NULL; says which are left.
    fn typed(
        &self,
        columns: &[(Arc<dyn PhysicalExpr>, FieldRef)],
        batch: &RecordBatch,
        origin: &str,
        task: &TaskContext,
    ) -> Result<(RecordBatch, Option<BooleanArray>)> {
        let evaluate = |columns: &[(Arc<dyn PhysicalExpr>, FieldRef)]| {
            columns
                .iter()
                .map(|(expr, _)| Ok(expr.evaluate(batch)?.into_array(batch.num_rows())?))
                .collect::<Result<Vec<_>>>()
        };
        let schema = |nullable: bool| {
            let field = |field: &FieldRef| match nullable {
                true => field.as_ref().clone().with_nullable(true),
                false => field.as_ref().clone(),
            };
            let fields: Vec<Field> = columns.iter().map(|(_, f)| field(f)).collect();
            Arc::new(Schema::new(fields))
        };
        let arrays = evaluate(columns)?;
        let required = evaluate(&self.required)?;
        let checked = columns.iter().zip(&arrays);
        let checked = checked.chain(self.required.iter().zip(&required));
        let mut keep: Option<BooleanArray> = None;
        for ((_, field), array) in checked {
            if !field.is_nullable() && array.null_count() > 0 {
                let ok = is_not_null(array)?;
                let before = keep
                    .take()
                    .unwrap_or_else(|| BooleanArray::from(vec![true; ok.len()]));
                // A row that breaks several columns is one dead letter, for the first of them.
                let bad = and(&before, &not(&ok)?)?;
                self.reject_nulls(batch, &bad, field.name(), origin, task)?;
                keep = Some(and(&before, &ok)?);
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let Some(keep) = keep else {
            let rows = RecordBatch::try_new_with_options(schema(false), arrays, &options)?;
            return Ok((rows, None));
        };
        let loose = RecordBatch::try_new_with_options(schema(true), arrays, &options)?;
        let kept = filter_record_batch(&loose, &keep)?;
        let rejected = (batch.num_rows() - kept.num_rows()) as u64;
        task.metrics
            .rejected
            .fetch_add(rejected, std::sync::atomic::Ordering::Relaxed);
        let options = RecordBatchOptions::new().with_row_count(Some(kept.num_rows()));
        let columns = kept.columns().to_vec();
        let rows = RecordBatch::try_new_with_options(schema(false), columns, &options)?;
        Ok((rows, Some(keep)))
    }

    fn reject_nulls(
        &self,
        batch: &RecordBatch,
        bad: &BooleanArray,
        column: &str,
        origin: &str,
        task: &TaskContext,
    ) -> Result<()> {
        let rows = filter_record_batch(batch, bad)?;
        let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
        writer.write(&rows)?;
        writer.finish()?;
        let text = writer.into_inner();
        for line in text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            task.job.dead_letters.put(
                self.on_error,
                DeadLetter {
                    source: self.name.clone(),
                    origin: origin.to_owned(),
                    offset: None,
                    reason: "null",
                    detail: format!("column \"{column}\" is NOT NULL but the value is null"),
                    raw: line.to_vec(),
                    time_micros: task.job.env.clock().now_micros(),
                },
            )?;
        }
        Ok(())
    }

    /// The columns of [`Source::schema`] that the watermark is computed from.
    pub fn watermark_columns(&self) -> Vec<usize> {
        let Some(spec) = &self.watermark else {
            return Vec::new();
        };
        let read: BTreeSet<usize> = collect_columns(&spec.expr)
            .iter()
            .map(Column::index)
            .collect();
        if read.is_empty() {
            // A constant: any row will do.
            return self.projection.clone();
        }
        read.iter()
            .filter_map(|index| self.projection.get(*index).copied())
            .collect()
    }

    /// The highest watermark after these read rows: nulls do not count.
    pub fn watermark_after(&self, batch: &RecordBatch) -> Result<Option<EventTime>> {
        match &self.watermark {
            Some(spec) => self.watermark_by(&spec.expr, batch, End::High),
            None => Ok(None),
        }
    }

    /// The lowest watermark that a row of these, which hold the [`Scan::watermark_columns`], would
    /// give.
    pub fn watermark_least(&self, batch: &RecordBatch) -> Result<Option<EventTime>> {
        let Some(spec) = &self.watermark else {
            return Ok(None);
        };
        let expr = reassign_expr_columns(Arc::clone(&spec.expr), &batch.schema())?;
        self.watermark_by(&expr, batch, End::Low)
    }

    fn watermark_by(
        &self,
        expr: &Arc<dyn PhysicalExpr>,
        batch: &RecordBatch,
        end: End,
    ) -> Result<Option<EventTime>> {
        let rows = deciding_rows(expr, batch, end);
        let array = expr.evaluate(&rows)?.into_array(rows.num_rows())?;
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        if !matches!(
            array.data_type(),
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64
        ) {
            return Err(Error::new(
                Kind::Invalid,
                codes::TYPE,
                format!("the watermark of \"{}\" is not a timestamp", self.name),
            ));
        }
        let array = arrow::compute::cast(&array, &micros)?;
        let array = array.as_primitive::<TimestampMicrosecondType>();
        let time = match end {
            End::High => arrow::compute::max(array),
            End::Low => arrow::compute::min(array),
        };
        Ok(time.map(EventTime))
    }
}
