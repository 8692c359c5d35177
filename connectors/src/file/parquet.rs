//! Reads Parquet row groups with the projected columns alone; those of an object are fetched
//! ahead while the ones before are decoded.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::{SortOptions, cast, sort_to_indices};
use arrow::datatypes::{DataType, FieldRef, Fields, Schema};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use tokio::sync::oneshot;
use weir_engine::Result;
use weir_engine::env::{Env, TaskHandle, Work};
use weir_engine::source::{Position, Read, SplitReader};

use crate::store::Location;

use super::columns::{Columns, Offsets, position};
use super::input::open_local;
use super::letters::Letters;
use super::listing::Entry;
use super::parquet_input::Chunks;
use crate::rescue::Rests;

/// Projected bytes of row groups that are fetched together.
const FETCH_BYTES: u64 = 8 << 20;

/// Reads row groups of one file.
#[derive(Debug)]
pub(super) struct ParquetReader {
    place: Place,
    /// Groups still to be opened, those of an item together.
    units: VecDeque<Range<usize>>,
    ahead: Option<Ahead>,
    reader: Option<Rows>,
    columns: Columns,
    letters: Letters,
    batch_rows: usize,
    /// Rows of the groups at hand that an earlier reader gave already.
    skip: usize,
    /// Rows of the split that are given.
    done: u64,
    /// The number in the file of the split's first row.
    first_row: u64,
    /// That of the first row of the last batch, if its rows are in sequence.
    given: Option<u64>,
    /// Bytes of the groups at hand that no batch has been charged with.
    bytes: u64,
}

/// What it takes to open row groups.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The store.
    pub(super) location: Location,
    /// The file.
    pub(super) file: Entry,
    /// Its footer.
    pub(super) footer: ArrowReaderMetadata,
    /// The file's columns to read, ascending.
    pub(super) read: Vec<usize>,
    /// Where fetching runs.
    pub(super) env: Env,
}

struct Rows(ParquetRecordBatchReader);

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rows")
    }
}

/// A fetch on its way.
#[derive(Debug)]
struct Ahead {
    groups: Range<usize>,
    answer: oneshot::Receiver<Result<Chunks>>,
    task: TaskHandle,
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ParquetReader {
    /// Opens row groups, `skip` rows of which were given before.
    pub(super) fn open(
        place: Place,
        groups: Range<usize>,
        skip: u64,
        columns: Columns,
        letters: Letters,
        batch_rows: usize,
    ) -> Self {
        let metadata = Arc::clone(place.footer.metadata());
        let rows = |range: Range<usize>| -> u64 {
            let groups = metadata.row_groups().get(range).unwrap_or_default();
            groups
                .iter()
                .map(|group| u64::try_from(group.num_rows()).unwrap_or(0))
                .sum()
        };
        let first_row = rows(0..groups.start);
        // Whole groups that were given are not opened again.
        let (mut start, mut left) = (groups.start, skip);
        while start < groups.end && rows(start..start + 1) <= left {
            left -= rows(start..start + 1);
            start += 1;
        }
        let units = place.units(start..groups.end);
        Self {
            place,
            units,
            ahead: None,
            reader: None,
            columns,
            letters,
            batch_rows,
            skip: usize::try_from(left).unwrap_or(usize::MAX),
            done: skip,
            first_row,
            given: None,
            bytes: 0,
        }
    }

    /// Opens the next groups. Cancel-safe: the fetch goes on by itself and is asked again.
    async fn advance(&mut self) -> Result<bool> {
        let (groups, chunks) = if self.place.location.local_root.is_some() {
            let Some(groups) = self.units.pop_front() else {
                return Ok(false);
            };
            (
                groups,
                Chunks::Local(Arc::new(open_local(&self.place.file)?)),
            )
        } else {
            if self.ahead.is_none() {
                self.ahead = self
                    .units
                    .pop_front()
                    .map(|groups| self.place.fetch(groups));
            }
            let Some(ahead) = &mut self.ahead else {
                return Ok(false);
            };
            let answer = (&mut ahead.answer).await;
            let groups = ahead.groups.clone();
            self.ahead = self
                .units
                .pop_front()
                .map(|groups| self.place.fetch(groups));
            let lost = || weir_engine::Error::internal("a fetch of row groups was lost");
            (groups, answer.map_err(|_| lost())??)
        };
        self.bytes += self.place.bytes(groups.clone());
        let skip = std::mem::take(&mut self.skip);
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, self.place.footer.clone())
                .with_batch_size(self.batch_rows)
                .with_row_groups(groups.collect())
                .with_projection(self.place.mask());
        let builder = if skip > 0 {
            builder.with_offset(skip)
        } else {
            builder
        };
        match builder.build() {
            Ok(reader) => self.reader = Some(Rows(reader)),
            Err(error) => self.damaged(&error.to_string())?,
        }
        Ok(true)
    }

    /// Gives up on the rest of the split.
    fn damaged(&mut self, detail: &str) -> Result<()> {
        self.units.clear();
        self.ahead = None;
        self.reader = None;
        self.letters
            .corrupt(self.first_row + self.done, detail, &[])
    }
}

#[async_trait]
impl SplitReader for ParquetReader {
    async fn next(&mut self) -> Result<Read> {
        loop {
            let Some(reader) = &mut self.reader else {
                if !self.advance().await? {
                    return Ok(Read::End);
                }
                continue;
            };
            match reader.0.next() {
                None => self.reader = None,
                Some(Err(error)) => self.damaged(&error.to_string())?,
                Some(Ok(batch)) => {
                    let (first, rows) = (self.first_row + self.done, batch.num_rows());
                    self.done += rows as u64;
                    let batch =
                        self.columns
                            .shape(&batch, &Offsets::From(first), Rests::default())?;
                    self.given = (batch.num_rows() == rows).then_some(first);
                    if batch.num_rows() > 0 {
                        return Ok(Read::Rows {
                            batch,
                            bytes: std::mem::take(&mut self.bytes),
                        });
                    }
                }
            }
        }
    }

    fn position(&self) -> Position {
        Position(self.done.to_string())
    }

    fn offset(&self, row: usize) -> Option<u64> {
        Some(self.given? + row as u64)
    }
}

impl Place {
    fn mask(&self) -> ProjectionMask {
        ProjectionMask::roots(self.footer.parquet_schema(), self.read.iter().copied())
    }

    /// Local groups are read page by page, so all go together; fetched ones are held in memory.
    fn units(&self, groups: Range<usize>) -> VecDeque<Range<usize>> {
        if groups.is_empty() {
            return VecDeque::new();
        }
        if self.location.local_root.is_some() {
            return VecDeque::from([groups]);
        }
        let mut units = VecDeque::new();
        let (mut start, mut bytes) = (groups.start, 0);
        for group in groups.clone() {
            bytes += self.bytes(group..group + 1);
            if bytes >= FETCH_BYTES || group + 1 == groups.end {
                units.push_back(start..group + 1);
                (start, bytes) = (group + 1, 0);
            }
        }
        units
    }

    /// The byte ranges of the projected column chunks.
    fn ranges(&self, groups: Range<usize>) -> Vec<Range<u64>> {
        let mask = self.mask();
        let groups = self
            .footer
            .metadata()
            .row_groups()
            .get(groups)
            .unwrap_or_default();
        let mut ranges: Vec<Range<u64>> = groups
            .iter()
            .flat_map(|group| group.columns().iter().enumerate())
            .filter(|(leaf, _)| mask.leaf_included(*leaf))
            .map(|(_, column)| column.byte_range())
            .map(|(start, length)| start..(start + length).min(self.file.size))
            .collect();
        ranges.sort_by_key(|range| range.start);
        ranges
    }

    fn bytes(&self, groups: Range<usize>) -> u64 {
        self.ranges(groups)
            .iter()
            .map(|range| range.end.saturating_sub(range.start))
            .sum()
    }

    fn fetch(&self, groups: Range<usize>) -> Ahead {
        let (give, answer) = oneshot::channel();
        let ranges = self.ranges(groups.clone());
        let (location, file) = (self.location.clone(), self.file.clone());
        let task = self.env.spawn(Work::Io, async move {
            drop(give.send(Chunks::fetch(&location, &file, ranges).await));
        });
        Ahead {
            groups,
            answer,
            task,
        }
    }
}

/// The exact minimum of each asked column over row groups, where the statistics tell it.
pub(super) fn least(
    footer: &ArrowReaderMetadata,
    groups: Range<usize>,
    asked: &Fields,
) -> Option<RecordBatch> {
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for field in asked {
        arrays.push(least_of(footer, groups.clone(), field)?);
    }
    if arrays.is_empty() {
        return None;
    }
    RecordBatch::try_new(Arc::new(Schema::new(asked.clone())), arrays).ok()
}

fn least_of(
    footer: &ArrowReaderMetadata,
    groups: Range<usize>,
    field: &FieldRef,
) -> Option<ArrayRef> {
    let schema = footer.schema();
    let index = position(schema.fields(), field.name())?;
    let name = schema.field(index).name();
    let converter = StatisticsConverter::try_new(name, schema, footer.parquet_schema()).ok()?;
    let groups = footer.metadata().row_groups().get(groups)?;
    let full = || groups.iter().filter(|group| group.num_rows() > 0);
    let exact = converter.row_group_is_min_value_exact(full()).ok()?;
    let mins = converter.row_group_mins(full()).ok()?;
    if mins.is_empty() || mins.null_count() > 0 || exact.true_count() < mins.len() {
        return None;
    }
    // Only between times does a cast keep the order for certain.
    let is_time = |t: &DataType| matches!(t, DataType::Timestamp(..) | DataType::Date32);
    let same = mins.data_type() == field.data_type();
    let times = is_time(mins.data_type()) && is_time(field.data_type());
    if !(same || times) {
        return None;
    }
    let mins = cast(&mins, field.data_type()).ok()?;
    let place = extreme(&mins, false)?;
    let least = mins.slice(place, 1);
    (least.len() == 1 && least.null_count() == 0).then_some(least)
}

/// Where the least or the greatest of some values is.
pub(super) fn extreme(values: &ArrayRef, greatest: bool) -> Option<usize> {
    let options = SortOptions {
        descending: greatest,
        nulls_first: false,
    };
    let order = sort_to_indices(values, Some(options), Some(1)).ok()?;
    usize::try_from(*order.values().first()?).ok()
}
