//! The running rank of one subtask.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int8Array, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::take;
use arrow::row::Row;

use super::ordered::Ordered;
use super::{Program, misfit, state};
use crate::changelog::{self, RowKind};
use crate::error::Result;
use crate::job::TaskContext;
use crate::key_group::KeyGroups;
use crate::operator::{Extent, Operator, Output, StateBatches};
use crate::updating::{Account, RowBytes, SWEEPS_PER_TTL};

/// Makes the operator of one subtask.
pub(super) fn create(program: &Arc<Program>, context: &TaskContext) -> Box<dyn Operator> {
    Box::new(Rank {
        program: Arc::clone(program),
        rows: Ordered::default(),
        arrived: 0,
        batches: 0,
        now: context.job.env.clock().now_micros(),
        sweep_at: i64::MIN,
        batch_rows: context.job.batch_rows.max(1),
        account: Account::new("ranked rows", context),
    })
}

/// The rows by partition and order.
#[derive(Debug)]
pub(super) struct Rank {
    pub(super) program: Arc<Program>,
    pub(super) rows: Ordered,
    /// Rows so far, where rows are ordered by arrival.
    pub(super) arrived: u64,
    /// Batches so far: tells whether a partition has a place in the present one.
    batches: u64,
    pub(super) now: i64,
    sweep_at: i64,
    pub(super) batch_rows: usize,
    account: Account,
}

/// A partition that a batch changes.
struct Touched {
    slot: u32,
    /// What is in the result before the batch.
    before: Vec<RowBytes>,
}

/// One row of the changelog.
struct Line {
    row: RowBytes,
    rank: u64,
    kind: RowKind,
}

impl Operator for Rank {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        let (_, kinds) = changelog::split(&batch);
        let adds = changelog::adds(kinds, batch.num_rows())?;
        let touched = self.apply(&batch, &adds)?;
        let mut lines = Vec::new();
        for touched in &touched {
            let after = self.rows.first(touched.slot, self.program.rows_max);
            self.rows.close_if_empty(touched.slot);
            if self.program.spec.rank.is_some() {
                by_place(&touched.before, &after, &mut lines);
            } else {
                by_row(&touched.before, &after, self.program.rows_max, &mut lines);
            }
        }
        for lines in lines.chunks(self.batch_rows) {
            out.send(self.batch(lines)?);
        }
        self.settle()
    }

    fn tick(&mut self, now_micros: i64, _out: &mut Output) -> Result<()> {
        self.now = now_micros;
        let Some(ttl) = self.program.spec.ttl else {
            return Ok(());
        };
        let ttl = i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX);
        if now_micros < self.sweep_at {
            return Ok(());
        }
        self.sweep_at = now_micros.saturating_add(ttl / SWEEPS_PER_TTL);
        self.rows.expire(now_micros.saturating_sub(ttl));
        self.settle()
    }

    fn snapshot(&mut self, extent: Extent, _out: &mut Output) -> Result<StateBatches> {
        Ok(state::snapshot(self, extent))
    }

    fn restore(
        &mut self,
        saved: &mut dyn Iterator<Item = Result<RecordBatch>>,
        groups: &KeyGroups,
    ) -> Result<()> {
        state::restore(self, saved, groups)?;
        self.settle()
    }

    fn end(&mut self, _out: &mut Output) -> Result<()> {
        Ok(())
    }
}

impl Rank {
    /// Applies a batch; gives the partitions that it changes, in the order of their first changes.
    fn apply(&mut self, batch: &RecordBatch, adds: &[bool]) -> Result<Vec<Touched>> {
        self.batches += 1;
        let program = Arc::clone(&self.program);
        let partition = program.partitions(batch)?;
        let arrival = program.arrival.then(|| self.number(batch.num_rows()));
        let mut columns = program.columns(batch, &partition, arrival)?;
        let mut slots = self.open(&partition, batch.num_rows())?;
        if program.appends {
            let near = self.near(&columns, &slots)?;
            if near.is_empty() {
                return Ok(Vec::new());
            }
            if near.len() < slots.len() {
                for column in &mut columns {
                    *column = take(column, &near, None)?;
                }
                let slot = |row: &u32| slots.get(*row as usize).copied();
                slots = near.values().iter().filter_map(slot).collect();
            }
        }
        let rows = program.codec.encode(&columns)?;
        let mut touched: Vec<Touched> = Vec::new();
        for ((row, slot), adds) in rows.iter().zip(slots).zip(adds) {
            let row = row.data();
            let full = program.appends && self.is_full(slot);
            if full && self.rows.last(slot).is_none_or(|last| row >= &**last) {
                continue;
            }
            self.touch(slot, &mut touched);
            if full {
                self.rows.remove_last(slot);
            }
            if *adds {
                self.rows.add(slot, row, 1);
            } else {
                self.rows.remove(slot, row);
            }
        }
        Ok(touched)
    }

    /// Finds or makes the partition of each row.
    pub(super) fn open(&mut self, partition: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
        if partition.is_empty() {
            return Ok(vec![self.rows.open(&[], self.now)?; rows]);
        }
        let keys = self.program.partition_codec.encode(partition)?;
        let open = |key: Row<'_>| self.rows.open(key.data(), self.now);
        keys.iter().map(open).collect()
    }

    /// The rows that may come to be among the first of their partitions: the others, of which
    /// partitions with many rows have most, need not be encoded as a whole.
    fn near(&self, columns: &[ArrayRef], slots: &[u32]) -> Result<UInt32Array> {
        let lead = columns.get(..self.program.lead_codec.types().len());
        let leads = match lead {
            Some(lead) if !lead.is_empty() => Some(self.program.lead_codec.encode(lead)?),
            _ => None,
        };
        let is_near = |(row, slot): (u32, &u32)| {
            let near = match (self.rows.last(*slot), &leads) {
                (Some(last), Some(leads)) if self.is_full(*slot) => {
                    let lead = leads.row(row as usize);
                    !self.program.arrival && last.get(..lead.data().len()) >= Some(lead.data())
                }
                _ => true,
            };
            near.then_some(row)
        };
        let rows = (0_u32..).zip(slots).filter_map(is_near);
        Ok(UInt32Array::from(rows.collect::<Vec<_>>()))
    }

    /// Whether a partition has as many rows as the result may have.
    fn is_full(&self, slot: u32) -> bool {
        self.rows.held(slot) >= self.program.rows_max
    }

    /// Keeps what is in the result before the first change of a batch.
    fn touch(&mut self, slot: u32, touched: &mut Vec<Touched>) {
        if self.rows.touch(slot, self.batches) {
            let before = self.rows.first(slot, self.program.rows_max);
            touched.push(Touched { slot, before });
        }
    }

    /// Accounts the rows.
    pub(super) fn settle(&self) -> Result<()> {
        self.account.set(self.rows.bytes())
    }

    /// The places of rows in the order of arrival.
    fn number(&mut self, rows: usize) -> ArrayRef {
        let from = self.arrived;
        self.arrived += rows as u64;
        Arc::new(UInt64Array::from_iter_values(from..self.arrived))
    }

    fn batch(&self, lines: &[Line]) -> Result<RecordBatch> {
        let program = &self.program;
        let (_, mut columns) = program.decode(lines.iter().map(|line| &*line.row))?;
        if program.spec.rank.is_some() {
            let ranks = lines.iter().map(|line| line.rank);
            columns.push(Arc::new(UInt64Array::from_iter_values(ranks)));
        }
        let kinds = lines.iter().map(|line| line.kind.number());
        columns.push(Arc::new(Int8Array::from_iter_values(kinds)));
        if columns.iter().any(|column| column.len() != lines.len()) {
            return Err(misfit());
        }
        Ok(RecordBatch::try_new(Arc::clone(&program.schema), columns)?)
    }
}

/// What changes where the place is part of the row.
fn by_place(before: &[RowBytes], after: &[RowBytes], lines: &mut Vec<Line>) {
    for place in 0..before.len().max(after.len()) {
        let mut line = |row: &RowBytes, kind| {
            lines.push(Line {
                row: Arc::clone(row),
                rank: place as u64 + 1,
                kind,
            });
        };
        match (before.get(place), after.get(place)) {
            (Some(old), Some(new)) if old != new => {
                line(old, RowKind::UpdateBefore);
                line(new, RowKind::UpdateAfter);
            }
            (Some(old), None) => line(old, RowKind::Delete),
            (None, Some(new)) => line(new, RowKind::Insert),
            _ => {}
        }
    }
}

/// What changes where it matters only which rows are there: both are in order.
fn by_row(before: &[RowBytes], after: &[RowBytes], rows_max: usize, lines: &mut Vec<Line>) {
    if before.is_empty() {
        return by_place(before, after, lines);
    }
    let (mut gone, mut new) = (Vec::new(), Vec::new());
    let (mut old_rows, mut new_rows) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let order = match (old_rows.peek(), new_rows.peek()) {
            (Some(old), Some(new)) => old.cmp(new),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => break,
        };
        if order != Ordering::Greater {
            gone.extend(old_rows.next().filter(|_| order == Ordering::Less));
        }
        if order != Ordering::Less {
            new.extend(new_rows.next().filter(|_| order == Ordering::Greater));
        }
    }
    // The only row of a partition is updated; of several, which replaces which says nothing.
    let updates = rows_max == 1 && !gone.is_empty() && !new.is_empty();
    let (goes, comes) = if updates {
        (RowKind::UpdateBefore, RowKind::UpdateAfter)
    } else {
        (RowKind::Delete, RowKind::Insert)
    };
    let gone = gone.into_iter().map(|row| (row, goes));
    for (row, kind) in gone.chain(new.into_iter().map(|row| (row, comes))) {
        lines.push(Line {
            row: Arc::clone(row),
            rank: 0,
            kind,
        });
    }
}
