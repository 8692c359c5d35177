//! The `generator` source: rows from a seed, with a chosen rate, disorder and faults.
//!
//! A row is a pure function of the seed and its number, so a run can be repeated, split over
//! subtasks and resumed anywhere, and gives the same rows. It offers a few physical columns;
//! scripts build what they need from them as computed columns.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use weir_engine::connector::{Connector, SourceRequest};
use weir_engine::env::Clock;
use weir_engine::error::{Error, Result};
use weir_engine::job::TaskContext;
use weir_engine::limits;
use weir_engine::options::{OptionKind, OptionSpec, Options};
use weir_engine::source::{Boundedness, Low, Source, Split, SplitReader};

mod columns;
mod interleave;
mod pace;
mod reader;
mod rows;
#[cfg(test)]
mod tests;

pub(crate) use interleave::{Interleaved, Part, START_DEFAULT, splits_given, start_given};
pub(crate) use pace::{Pace, rate_given};

use columns::Column;
use rows::Rows;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::optional(
        "rows",
        OptionKind::Count,
        "How many rows to give, duplicates not counted; without it the source never ends.",
    ),
    OptionSpec::optional(
        "rate",
        OptionKind::Number,
        "Rows per second of wall time; without it as fast as the pipeline takes them.",
    ),
    OptionSpec::default("seed", OptionKind::Count, "0", "Decides all random values."),
    OptionSpec::default(
        "start_time",
        OptionKind::Text,
        START_DEFAULT,
        "The event time of row 0: a timestamp in UTC, or 'now'.",
    ),
    OptionSpec::optional(
        "interval",
        OptionKind::Duration,
        "Event time between two rows; without it one over `rate`, or 1 ms without a rate.",
    ),
    OptionSpec::default(
        "disorder",
        OptionKind::Duration,
        "0s",
        "Each row's event time is set back by a random span up to this one.",
    ),
    OptionSpec::optional(
        "splits",
        OptionKind::Count,
        "Parts that subtasks read side by side; without it one per core, 8 at most.",
    ),
    OptionSpec::default(
        "null_ratio",
        OptionKind::Number,
        "0",
        "The share of values of the random columns and `text` that are null, 0 to 1.",
    ),
    OptionSpec::default(
        "duplicate_ratio",
        OptionKind::Number,
        "0",
        "The share of rows that come twice, 0 to 1.",
    ),
    OptionSpec::default(
        "late_ratio",
        OptionKind::Number,
        "0",
        "The share of rows whose event time is set back beyond `disorder`, 0 to 1.",
    ),
    OptionSpec::default(
        "late_by",
        OptionKind::Duration,
        "1 minute",
        "How far beyond `disorder` a late row is set back at most.",
    ),
];

/// The connector `generator`.
#[derive(Debug, Default)]
pub struct GeneratorConnector;

#[async_trait]
impl Connector for GeneratorConnector {
    fn name(&self) -> &'static str {
        "generator"
    }

    fn summary(&self) -> &'static str {
        "Rows from a seed, with chosen rate, disorder and faults; declare any of the columns seq, \
         ts, random, random_2 to random_8, text"
    }

    fn source_options(&self) -> Option<Vec<&'static [OptionSpec]>> {
        Some(vec![OPTIONS])
    }

    async fn source(&self, request: SourceRequest) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(GeneratorSource::new(&request)?))
    }
}

/// A source of generated rows.
#[derive(Debug)]
struct GeneratorSource {
    columns: Arc<[Column]>,
    schema: SchemaRef,
    rows: Rows,
    interleaved: Interleaved,
    rate: Option<f64>,
    clock: Arc<dyn Clock>,
}

impl GeneratorSource {
    fn new(request: &SourceRequest) -> Result<Self> {
        let given = request.options.clone();
        let options = Options::check("connector 'generator'", &[OPTIONS], given)?;
        let ratio = |name: &str| match options.number(name) {
            Some(ratio) if !(0.0..=1.0).contains(&ratio) => {
                Err(options.invalid(name, format!("{ratio} is not between 0 and 1")))
            }
            ratio => Ok(ratio.unwrap_or(0.0)),
        };
        let rate = rate_given(&options)?;
        let null_ratio = ratio("null_ratio")?;
        let rows = Rows {
            seed: options.count("seed").unwrap_or(0),
            interval_ns: interval_ns(&options, rate)?,
            disorder_us: micros(&options, "disorder")?,
            null_ratio,
            duplicate_ratio: ratio("duplicate_ratio")?,
            late_ratio: ratio("late_ratio")?,
            late_by_us: micros(&options, "late_by")?,
        };
        let columns = columns::declared(request, null_ratio > 0.0)?;
        Ok(Self {
            schema: columns::schema(&columns),
            columns: columns.into(),
            rows,
            interleaved: Interleaved::new(
                splits_given(&options)?,
                start_given(&options, request.env.clock())?,
                options.count("rows"),
            ),
            rate,
            clock: request.env.clock_arc(),
        })
    }

    /// Builds the rows with the numbers `first`, `first + step`, ... of the columns asked for.
    fn build(&self, part: &Part, projection: &[usize], rows: u64) -> Result<RecordBatch> {
        let columns = columns::project(&self.columns, projection)?;
        let wanted = rows.min(part.left());
        self.rows
            .batch(&columns, part.start_us, part.numbers(wanted))
    }
}

fn interval_ns(options: &Options, rate: Option<f64>) -> Result<u64> {
    match (options.duration("interval"), rate) {
        (Some(time), _) => u64::try_from(time.as_nanos())
            .map_err(|_| options.invalid("interval", "is longer than 584 years")),
        // A rate below one row in 584 years saturates here, which is as good as never.
        (None, Some(rate)) => Ok((1e9 / rate) as u64),
        (None, None) => Ok(1_000_000),
    }
}

fn micros(options: &Options, name: &str) -> Result<u64> {
    let micros = options.duration(name).unwrap_or_default().as_micros();
    // Half of the range keeps the sum of disorder and lateness representable.
    u64::try_from(micros)
        .ok()
        .filter(|micros| *micros <= i64::MAX as u64 / 4)
        .ok_or_else(|| options.invalid(name, "is too long"))
}

#[async_trait]
impl Source for GeneratorSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn boundedness(&self) -> Boundedness {
        match self.interleaved.rows() {
            Some(_) => Boundedness::Bounded,
            None => Boundedness::Unbounded(limits::DISCOVERY_INTERVAL),
        }
    }

    fn rescan(&self) -> Option<Arc<dyn Source>> {
        Some(Arc::new(Self {
            columns: Arc::clone(&self.columns),
            schema: Arc::clone(&self.schema),
            rows: self.rows.clone(),
            interleaved: self.interleaved.rescan(),
            rate: self.rate,
            clock: Arc::clone(&self.clock),
        }))
    }

    async fn discover(&self) -> Result<Vec<Split>> {
        self.interleaved.discover()
    }

    async fn low(&self, split: &Split, columns: &[usize]) -> Result<Low> {
        let part = Part::of(split)?;
        if part.left() == 0 {
            return Ok(Low::Empty);
        }
        Ok(Low::First(self.build(&part, columns, LOW_ROWS)?))
    }

    async fn open(
        &self,
        split: &Split,
        projection: &[usize],
        context: &TaskContext,
    ) -> Result<Box<dyn SplitReader>> {
        let part = Part::of(split)?;
        let columns = columns::project(&self.columns, projection)?;
        let pace = Pace::new(
            self.rate.map(|rate| rate / part.of as f64),
            Arc::clone(&self.clock),
        );
        Ok(Box::new(reader::GeneratorReader::new(
            self.rows.clone(),
            columns,
            part,
            pace,
            context.job.batch_rows,
        )))
    }

    fn describe(&self) -> String {
        let rows = self
            .interleaved
            .rows()
            .map_or("unbounded".to_owned(), |n| n.to_string());
        let rate = self
            .rate
            .map_or(String::new(), |rate| format!(" rate={rate}/s"));
        format!("generator rows={rows}{rate} seed={}", self.rows.seed)
    }
}

/// Rows that are looked at for the earliest event time of a split: as many as a small batch has.
const LOW_ROWS: u64 = 1_024;

/// The error for a split or position that this source did not make.
pub(crate) fn foreign(what: &str, found: &str) -> Error {
    Error::internal(format!("the {what} '{found}' is not one of this source's"))
}
