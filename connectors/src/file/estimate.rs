//! How much a source of Parquet files holds, by the footers of a sample of them.
//!
//! The files of the sample are spread over the listing. What their footers tell is taken for all
//! files in proportion to bytes, so that a folder of many thousand files costs no more than one of
//! thirty.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef};
use arrow::compute::sum;
use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;
use futures::StreamExt;
use parking_lot::Mutex;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use weir_engine::Result;
use weir_engine::env::Env;
use weir_engine::estimate::{ColumnEstimate, Estimate};

use crate::store::Location;

use super::columns::{Column, Kind, position};
use super::listing::Entry;
use super::parquet::extreme;
use super::parquet_input::{FOOTERS_KEPT_MAX, Footers};

/// Files whose footers are looked at: as many as are kept, so that the next plan need not read them.
const FILES_MAX: usize = FOOTERS_KEPT_MAX;
/// Footers of objects that are asked for at the same time.
const FETCHES_MAX: usize = 8;
/// A plan waits no longer for footers: those that have come must do.
const TIME_MAX: Duration = Duration::from_secs(1);
/// After this time the files are listed anew: a session may live for days.
const AGE_MAX: Duration = Duration::from_secs(60);

/// The files of a source as they were listed last.
#[derive(Debug)]
pub(super) struct Known(Mutex<Arc<Sample>>);

/// Files that stand for all.
#[derive(Debug)]
pub(super) struct Sample {
    files: Vec<Entry>,
    /// Bytes of all files of the listing.
    bytes: u64,
    /// When they were listed.
    listed: Duration,
}

impl Known {
    /// Takes a listing of now.
    pub(super) fn new(files: &[Entry], env: &Env) -> Self {
        Self(Mutex::new(Arc::new(Sample::new(files, env))))
    }

    /// Gives the files, listed anew if that was long ago.
    pub(super) async fn files(
        &self,
        list: impl Future<Output = Result<Vec<Entry>>>,
        env: &Env,
    ) -> Option<Arc<Sample>> {
        let sample = Arc::clone(&self.0.lock());
        if env.clock().monotonic().saturating_sub(sample.listed) <= AGE_MAX {
            return Some(sample);
        }
        let sample = Arc::new(Sample::new(&list.await.ok()?, env));
        *self.0.lock() = Arc::clone(&sample);
        Some(sample)
    }
}

impl Sample {
    fn new(files: &[Entry], env: &Env) -> Self {
        let step = files.len().div_ceil(FILES_MAX).max(1);
        Self {
            files: files.iter().step_by(step).cloned().collect(),
            bytes: files.iter().map(|file| file.size).sum(),
            listed: env.clock().monotonic(),
        }
    }

    /// Estimates the rows of all files, and the asked columns.
    pub(super) async fn estimate(
        &self,
        location: &Location,
        footers: &Footers,
        env: &Env,
        asked: &[&Column],
    ) -> Option<Estimate> {
        let get = |file: &Entry| {
            let file = file.clone();
            async move {
                let footer = footers.get(location, &file, env).await.ok();
                footer.map(|footer| (file.size, footer))
            }
        };
        let seen: Vec<_> = futures::stream::iter(self.files.iter().map(get))
            .buffer_unordered(FETCHES_MAX)
            .take_until(env.clock().sleep(TIME_MAX))
            .collect()
            .await;
        let seen: Vec<_> = seen.into_iter().flatten().collect();
        let bytes: u64 = seen.iter().map(|(size, _)| size).sum();
        let mut estimate = None;
        for (_, footer) in &seen {
            let next = of_file(footer, asked);
            estimate = Some(match estimate {
                None => next,
                Some(before) => add(before, next),
            });
        }
        Some(scale(estimate?, self.bytes as f64 / bytes.max(1) as f64))
    }
}

fn of_file(footer: &ArrowReaderMetadata, asked: &[&Column]) -> Estimate {
    let rows = footer.metadata().file_metadata().num_rows();
    let columns = asked.iter().map(|column| {
        let known = (column.kind == Kind::Data).then(|| of_column(footer, column));
        known.flatten().unwrap_or_default()
    });
    Estimate {
        rows: usize::try_from(rows).unwrap_or(0),
        columns: columns.collect(),
    }
}

fn of_column(footer: &ArrowReaderMetadata, asked: &Column) -> Option<ColumnEstimate> {
    let schema = footer.schema();
    let name = schema
        .field(position(schema.fields(), asked.field.name())?)
        .name();
    let converter = StatisticsConverter::try_new(name, schema, footer.parquet_schema()).ok()?;
    let groups = footer.metadata().row_groups();
    let nulls = converter.row_group_null_counts(groups).ok();
    let nulls = nulls.filter(|counts| counts.null_count() == 0);
    let nulls = nulls.and_then(|counts| usize::try_from(sum(&counts).unwrap_or(0)).ok());
    let least = converter.row_group_mins(groups).ok();
    let greatest = converter.row_group_maxes(groups).ok();
    let range = least.zip(greatest).and_then(|(least, greatest)| {
        Some((
            first(&least, false, asked.field.data_type())?,
            first(&greatest, true, asked.field.data_type())?,
        ))
    });
    Some(ColumnEstimate { nulls, range })
}

/// The least or greatest of the row groups' values, where each has one.
fn first(values: &ArrayRef, greatest: bool, data_type: &DataType) -> Option<ScalarValue> {
    if values.data_type() != data_type || values.null_count() > 0 {
        return None;
    }
    ScalarValue::try_from_array(values, extreme(values, greatest)?).ok()
}

/// Adds what is known of one file to that of others.
fn add(mut all: Estimate, one: Estimate) -> Estimate {
    all.rows = all.rows.saturating_add(one.rows);
    for (all, one) in all.columns.iter_mut().zip(one.columns) {
        let nulls = all.nulls.zip(one.nulls);
        all.nulls = nulls.map(|(a, b)| a.saturating_add(b));
        all.range = all.range.take().zip(one.range).map(|(a, b)| {
            let outer = |a: ScalarValue, b: ScalarValue, keep| {
                if a.partial_cmp(&b) == Some(keep) {
                    a
                } else {
                    b
                }
            };
            (
                outer(a.0, b.0, Ordering::Less),
                outer(a.1, b.1, Ordering::Greater),
            )
        });
    }
    all
}

/// Takes what is known of some bytes for so many times as many.
fn scale(estimate: Estimate, by: f64) -> Estimate {
    let scaled = |count: usize| (count as f64 * by) as usize;
    let columns = estimate.columns.into_iter().map(|column| ColumnEstimate {
        nulls: column.nulls.map(scaled),
        range: column.range,
    });
    Estimate {
        rows: scaled(estimate.rows),
        columns: columns.collect(),
    }
}
