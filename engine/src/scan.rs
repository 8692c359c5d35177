//! A source as a query reads it: physical columns, computed columns, NOT NULL checks, watermark.
//!
//! The same scan feeds the runtime's source tasks and, by [`crate::island`], DataFusion's islands.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::{and, filter_record_batch, is_not_null, not};
use arrow::datatypes::{
    DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::utils::{collect_columns, reassign_expr_columns};

use crate::dead_letter::{DeadLetter, OnError};
use crate::error::{Error, Kind, Result, codes};
use crate::job::TaskContext;
use crate::message::EventTime;
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
    /// The watermark, over the read columns.
    pub watermark: Option<WatermarkSpec>,
    /// What to do with a row that breaks NOT NULL or whose computed column fails.
    pub on_error: OnError,
    /// Another scan of the same source in this pipeline keeps the dead letters and the counts.
    pub quiet: bool,
}

impl Scan {
    /// The rows that come out.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(
            self.columns
                .iter()
                .map(|(_, f)| Arc::clone(f))
                .collect::<Vec<_>>(),
        ))
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
        text
    }

    /// Computes the output columns of read rows; rows that break NOT NULL go to the dead letters.
    pub fn shape(
        &self,
        batch: &RecordBatch,
        origin: &str,
        task: &TaskContext,
    ) -> Result<RecordBatch> {
        let evaluate = |columns: &[(Arc<dyn PhysicalExpr>, FieldRef)]| {
            columns
                .iter()
                .map(|(expr, _)| Ok(expr.evaluate(batch)?.into_array(batch.num_rows())?))
                .collect::<Result<Vec<_>>>()
        };
        let arrays = evaluate(&self.columns)?;
        let required = evaluate(&self.required)?;
        let checked = self.columns.iter().zip(&arrays);
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
            return Ok(RecordBatch::try_new_with_options(
                self.schema(),
                arrays,
                &options,
            )?);
        };
        let loose: Vec<Field> = self
            .columns
            .iter()
            .map(|(_, field)| field.as_ref().clone().with_nullable(true))
            .collect();
        let loose =
            RecordBatch::try_new_with_options(Arc::new(Schema::new(loose)), arrays, &options)?;
        let kept = filter_record_batch(&loose, &keep)?;
        let rejected = (batch.num_rows() - kept.num_rows()) as u64;
        task.metrics
            .rejected
            .fetch_add(rejected, std::sync::atomic::Ordering::Relaxed);
        let options = RecordBatchOptions::new().with_row_count(Some(kept.num_rows()));
        Ok(RecordBatch::try_new_with_options(
            self.schema(),
            kept.columns().to_vec(),
            &options,
        )?)
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
