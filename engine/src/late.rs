//! Rows that came too late: each becomes a dead letter with reason `late`, as JSON, and is counted.
//!
//! One place for all operators that close something at the watermark: window aggregations, window
//! functions, sessions, joins. The rows of a batch are written as JSON together, so that a burst of
//! late rows costs a pass over columns and not one over values.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arrow::array::{ArrayRef, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::dead_letter::{DeadLetter, DeadLetters, OnError};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::job::TaskContext;
use crate::message::EventTime;
use crate::metrics::SubtaskMetrics;

/// The reason of all letters that are made here.
pub const REASON: &str = "late";

/// Why one row is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It has no event time, or one that is outside of all calendars.
    NoTime,
    /// What it belongs to was given up at a moment of event time: its window has ended, no row
    /// that it could be joined with is kept any more.
    Over {
        /// The row's event time, where it is known.
        time: Option<EventTime>,
        /// When the last of what it belongs to was over.
        end: EventTime,
    },
    /// Its time is before the watermark, in an operator that compares rows with rows.
    Behind {
        /// The row's event time.
        time: EventTime,
    },
    /// A partial result of several rows, for a window that has ended.
    Partial {
        /// The end of the window.
        end: EventTime,
    },
}

impl Why {
    fn detail(self, watermark: EventTime) -> impl fmt::Display {
        struct Detail(Why, EventTime);
        impl fmt::Display for Detail {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {
                    Why::NoTime => f.write_str("the row has no event time that can be used")?,
                    Why::Over { time, end } => {
                        if let Some(time) = time {
                            write!(f, "the row's time is {time}, ")?;
                        }
                        write!(f, "its window ended at {end}")?;
                    }
                    Why::Behind { time } => write!(f, "the row's time is {time}")?,
                    Why::Partial { end } => {
                        write!(f, "partial results of rows of a window that ended at {end}")?;
                    }
                }
                write!(f, "; the watermark was at {}", self.1)
            }
        }
        Detail(self, watermark)
    }
}

/// Keeps the late rows of one subtask.
#[derive(Debug, Clone)]
pub struct LateRows {
    sources: Arc<str>,
    node: Arc<str>,
    letters: DeadLetters,
    env: Env,
    metrics: Arc<SubtaskMetrics>,
    /// They come by the second input of an operator with two.
    second: bool,
}

impl LateRows {
    /// `sources` names the source or sources that feed the operator, as the script does.
    pub fn new(context: &TaskContext, sources: &Arc<str>) -> Self {
        Self {
            sources: Arc::clone(sources),
            node: Arc::clone(&context.node),
            letters: context.job.dead_letters.clone(),
            env: context.job.env.clone(),
            metrics: Arc::clone(&context.metrics),
            second: false,
        }
    }

    /// Counts the rows as those of the second input.
    pub fn of_second_input(self) -> Self {
        Self {
            second: true,
            ..self
        }
    }

    /// Keeps the rows of a batch that are not `live`; `why` is asked for each, by its number in
    /// the batch. Does nothing when all are live.
    pub fn keep(
        &self,
        batch: &RecordBatch,
        live: &[bool],
        watermark: EventTime,
        why: impl Fn(usize) -> Why,
    ) -> Result<()> {
        let late: Vec<usize> = (0..batch.num_rows())
            .filter(|row| live.get(*row) != Some(&true))
            .collect();
        if late.is_empty() {
            return Ok(());
        }
        let mask = (0..batch.num_rows()).map(|row| Some(live.get(row) != Some(&true)));
        let rows = if late.len() == batch.num_rows() {
            batch.clone()
        } else {
            filter_record_batch(batch, &mask.collect())?
        };
        let count = late.len() as u64;
        self.metrics.late.fetch_add(count, Relaxed);
        if self.second {
            self.metrics.late_second.fetch_add(count, Relaxed);
        }
        let time_micros = self.env.clock().now_micros();
        for (row, raw) in late.into_iter().zip(json_rows(&rows)?) {
            let letter = DeadLetter {
                source: self.sources.to_string(),
                origin: self.node.to_string(),
                offset: None,
                reason: REASON,
                detail: why(row).detail(watermark).to_string(),
                raw,
                time_micros,
            };
            self.letters.put(OnError::DeadLetter, letter)?;
        }
        Ok(())
    }
}

/// Writes each row as one JSON object, with its nulls. What JSON has no form for is written as the
/// text that people read.
fn json_rows(rows: &RecordBatch) -> Result<Vec<Vec<u8>>> {
    let lines = match json_lines(rows) {
        Ok(lines) => lines,
        Err(_) => json_lines(&as_text(rows)?)?,
    };
    // A line break within a value is escaped, so that each line is a row.
    let mut split: Vec<Vec<u8>> = lines.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    split.truncate(rows.num_rows());
    // Rows without columns have no lines.
    split.resize(rows.num_rows(), b"{}".to_vec());
    Ok(split)
}

fn json_lines(rows: &RecordBatch) -> Result<Vec<u8>> {
    let mut writer = WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, LineDelimited>(Vec::new());
    writer.write(rows)?;
    writer.finish()?;
    Ok(writer.into_inner())
}

fn as_text(rows: &RecordBatch) -> Result<RecordBatch> {
    let options = FormatOptions::default();
    let mut fields = Vec::with_capacity(rows.num_columns());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(rows.num_columns());
    for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
        let formatter = ArrayFormatter::try_new(column, &options)?;
        let text = (0..column.len()).map(|row| {
            let text = column
                .is_valid(row)
                .then(|| formatter.value(row).try_to_string());
            text.transpose()
        });
        columns.push(Arc::new(
            text.collect::<Result<StringArray, _>>()
                .map_err(Error::from)?,
        ));
        fields.push(Field::new(field.name(), DataType::Utf8, true));
    }
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}

#[cfg(test)]
mod tests;
