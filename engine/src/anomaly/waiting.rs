//! Rows that wait until the watermark has passed them, and then come out in the order of their times.
//!
//! Each batch is sorted once and stays as it is: its rows are read from the front while time goes on. Small batches are
//! put together, so that there are about as many runs as there are large batches.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::{concat_batches, interleave_record_batch, take_record_batch};

use crate::error::Result;
use crate::spill::bytes_of;

/// What a waiting row takes beside its columns: its time and its place in the order of arrival.
const ROW_BYTES: usize = 16;

/// Rows by time, then by arrival.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    runs: Vec<Run>,
    /// Rows that came so far.
    arrived: u64,
    /// Those before are in a snapshot.
    saved: u64,
    bytes: usize,
}

/// Rows in the order of their times.
#[derive(Debug)]
struct Run {
    rows: RecordBatch,
    times: Vec<i64>,
    arrivals: Vec<u64>,
    /// Rows from here on wait.
    at: usize,
    bytes: usize,
}

/// Rows that wait no more, in order.
#[derive(Debug)]
pub(super) struct Released {
    pub(super) rows: RecordBatch,
    pub(super) times: Int64Array,
}

impl Waiting {
    /// Bytes of the rows.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds rows behind those that came before; runs up to `rows_max` are put together.
    pub(super) fn add(&mut self, rows: RecordBatch, times: &[i64], rows_max: usize) -> Result<()> {
        let from = self.arrived;
        self.arrived += rows.num_rows() as u64;
        self.push(
            rows,
            times,
            &(from..self.arrived).collect::<Vec<_>>(),
            rows_max,
        )
    }

    /// Adds rows of a snapshot, with their places in the order of arrival.
    pub(super) fn restore(
        &mut self,
        rows: RecordBatch,
        times: &[i64],
        arrivals: &[u64],
        rows_max: usize,
    ) -> Result<()> {
        let next = arrivals.iter().max().map_or(0, |last| last + 1);
        self.arrived = self.arrived.max(next);
        self.push(rows, times, arrivals, rows_max)
    }

    fn push(
        &mut self,
        rows: RecordBatch,
        times: &[i64],
        arrivals: &[u64],
        rows_max: usize,
    ) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let mut run = Run::sorted(rows, times, arrivals)?;
        while let Some(last) = self
            .runs
            .pop_if(|last| last.len() <= run.len() && last.len() + run.len() <= rows_max)
        {
            self.bytes -= last.bytes;
            run = last.with(&run)?;
        }
        self.bytes += run.bytes;
        self.runs.push(run);
        Ok(())
    }

    /// Takes rows up to and with a time, about `rows_max` of them; rows of one time are never taken apart.
    pub(super) fn take(&mut self, until: i64, rows_max: usize) -> Result<Option<Released>> {
        let next = |run: &Run, at: usize| Some((*run.times.get(at)?, *run.arrivals.get(at)?));
        let mut heads: BinaryHeap<_> = (0..self.runs.len())
            .filter_map(|place| {
                let run = self.runs.get(place)?;
                Some(Reverse((next(run, run.at)?, place)))
            })
            .filter(|Reverse(((time, _), _))| *time <= until)
            .collect();
        let (mut picks, mut times) = (Vec::new(), Vec::new());
        let mut last = None;
        while let Some(Reverse(((time, _), place))) = heads.pop() {
            if picks.len() >= rows_max && last != Some(time) {
                break;
            }
            last = Some(time);
            let Some(run) = self.runs.get_mut(place) else {
                break;
            };
            picks.push((place, run.at));
            times.push(time);
            run.at += 1;
            if let Some(head) = next(run, run.at).filter(|(time, _)| *time <= until) {
                heads.push(Reverse((head, place)));
            }
        }
        if picks.is_empty() {
            return Ok(None);
        }
        let rows = {
            let batches: Vec<&RecordBatch> = self.runs.iter().map(|run| &run.rows).collect();
            interleave_record_batch(&batches, &picks)?
        };
        self.shrink()?;
        let times = Int64Array::from(times);
        Ok(Some(Released { rows, times }))
    }

    /// Forgets the rows up to and with a time.
    pub(super) fn drop_until(&mut self, until: i64) -> Result<()> {
        for run in &mut self.runs {
            run.at = run.times.partition_point(|time| *time <= until);
        }
        self.shrink()
    }

    /// Moves the rows of another one behind these.
    pub(super) fn append(&mut self, other: Self) {
        self.arrived = self.arrived.max(other.arrived);
        self.bytes += other.bytes;
        self.runs.extend(other.runs);
    }

    /// What is saved counts as saved.
    pub(super) fn mark_saved(&mut self) {
        self.saved = self.arrived;
    }

    /// The rows that wait, or those of them that came since the last call, each with its place in the order of arrival
    /// as a last column.
    pub(super) fn save(&mut self, all: bool) -> Result<Vec<(RecordBatch, ArrayRef)>> {
        let from = if all { 0 } else { self.saved };
        self.saved = self.arrived;
        let mut saved = Vec::new();
        for run in &self.runs {
            let waits = || (run.at..run.times.len()).zip(run.arrivals.iter().skip(run.at));
            let new: Vec<u32> = waits()
                .filter(|(_, arrival)| **arrival >= from)
                // Batches have less than 2^32 rows.
                .map(|(row, _)| row as u32)
                .collect();
            if new.is_empty() {
                continue;
            }
            let arrivals = waits().map(|(_, arrival)| *arrival);
            let arrivals = arrivals.filter(|arrival| *arrival >= from);
            let arrivals: ArrayRef = std::sync::Arc::new(UInt64Array::from_iter_values(arrivals));
            let rows = match new.len() == run.len() {
                true => run.rows.slice(run.at, run.len()),
                false => take_record_batch(&run.rows, &UInt32Array::from(new))?,
            };
            saved.push((rows, arrivals));
        }
        Ok(saved)
    }

    /// Gives up runs without rows, and what has been read of those that are mostly read.
    fn shrink(&mut self) -> Result<()> {
        self.runs.retain(|run| run.len() > 0);
        for run in &mut self.runs {
            if run.len() <= run.times.len() / 4 {
                *run = run.rest()?;
            }
        }
        self.bytes = self.runs.iter().map(|run| run.bytes).sum();
        Ok(())
    }
}

impl Run {
    /// Sorts rows by time, then by arrival.
    fn sorted(rows: RecordBatch, times: &[i64], arrivals: &[u64]) -> Result<Self> {
        let key = |row: &u32| (times.get(*row as usize), arrivals.get(*row as usize));
        // Batches have less than 2^32 rows.
        let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
        if order.is_sorted_by_key(key) {
            return Ok(Self::of(rows, times.to_vec(), arrivals.to_vec()));
        }
        order.sort_unstable_by_key(key);
        let picked = |row: &u32| *row as usize;
        let times = order
            .iter()
            .filter_map(|row| times.get(picked(row)).copied());
        let places = order
            .iter()
            .filter_map(|row| arrivals.get(picked(row)).copied());
        let (times, arrivals) = (times.collect(), places.collect());
        let rows = take_record_batch(&rows, &UInt32Array::from(order))?;
        Ok(Self::of(rows, times, arrivals))
    }

    fn of(rows: RecordBatch, times: Vec<i64>, arrivals: Vec<u64>) -> Self {
        let bytes = bytes_of(&rows) + rows.num_rows() * ROW_BYTES;
        Self {
            rows,
            times,
            arrivals,
            at: 0,
            bytes,
        }
    }

    /// Rows that wait.
    fn len(&self) -> usize {
        self.times.len() - self.at
    }

    /// The rows that wait, in memory of their own.
    fn rest(&self) -> Result<Self> {
        let rows = self.rows.slice(self.at, self.len());
        let rows = concat_batches(self.rows.schema_ref(), [&rows])?;
        let rest = |from: usize| (self.times.get(from..), self.arrivals.get(from..));
        let (times, arrivals) = rest(self.at);
        Ok(Self::of(
            rows,
            times.unwrap_or_default().to_vec(),
            arrivals.unwrap_or_default().to_vec(),
        ))
    }

    /// The rows that wait here and in another run.
    fn with(self, other: &Self) -> Result<Self> {
        let parts = [&self, other].map(|run| run.rows.slice(run.at, run.len()));
        let rows = concat_batches(self.rows.schema_ref(), &parts)?;
        let times = [&self, other].map(|run| run.times.get(run.at..).unwrap_or_default());
        let arrivals = [&self, other].map(|run| run.arrivals.get(run.at..).unwrap_or_default());
        Self::sorted(rows, &times.concat(), &arrivals.concat())
    }
}
