//! The running rank of one subtask.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int8Array, RecordBatch, UInt64Array};

use super::ordered::Ordered;
use super::{Program, state};
use crate::changelog::{self, RowKind};
use crate::error::{Error, Result};
use crate::job::TaskContext;
use crate::key_group::KeyGroups;
use crate::operator::{Extent, Operator, Output, StateBatches};
use crate::updating::codec::RowMap;
use crate::updating::memory::ENTRY_BYTES;
use crate::updating::{Account, RowBytes, SWEEPS_PER_TTL};

/// Makes the operator of one subtask.
pub(super) fn create(program: &Arc<Program>, context: &TaskContext) -> Box<dyn Operator> {
    Box::new(Rank {
        program: Arc::clone(program),
        rows: Ordered::default(),
        arrived: 0,
        touched_at: RowMap::default(),
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
    /// When each partition had a row last; empty without a time to live.
    touched_at: RowMap<i64>,
    now: i64,
    sweep_at: i64,
    pub(super) batch_rows: usize,
    account: Account,
}

/// A partition that a batch has rows of.
struct Touched {
    partition: RowBytes,
    /// What is in the result before the batch.
    before: Vec<RowBytes>,
    /// Rows kept now, where only the first are kept.
    held: usize,
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
            let after = self.rows.first(&touched.partition, self.program.rows_max);
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
        let before = now_micros.saturating_sub(ttl);
        let expired = self.touched_at.extract_if(|_, at| *at < before);
        for (partition, _) in expired {
            self.rows.drop_partition(&partition);
        }
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
        for partition in state::restore(self, saved, groups)? {
            self.touch(&partition);
        }
        self.settle()
    }

    fn end(&mut self, _out: &mut Output) -> Result<()> {
        Ok(())
    }
}

impl Rank {
    /// Applies a batch; gives the partitions it has rows of, in the order of their first rows.
    fn apply(&mut self, batch: &RecordBatch, adds: &[bool]) -> Result<Vec<Touched>> {
        let program = Arc::clone(&self.program);
        let partition = program.partitions(batch)?;
        let arrival = program.arrival.then(|| self.number(batch.num_rows()));
        let columns = program.columns(batch, &partition, arrival)?;
        let rows = program.codec.encode(&columns)?;
        let partitions = (!partition.is_empty())
            .then(|| program.partition_codec.encode(&partition))
            .transpose()?;
        let mut places: RowMap<usize> = RowMap::default();
        let mut touched: Vec<Touched> = Vec::new();
        for (i, adds) in adds.iter().enumerate() {
            let partition: &[u8] = partitions.as_ref().map_or(&[], |p| p.row(i).data());
            let place = match places.get(partition) {
                Some(place) => *place,
                None => {
                    let before = self.rows.first(partition, program.rows_max);
                    touched.push(Touched {
                        partition: partition.into(),
                        held: before.len(),
                        before,
                    });
                    self.touch(partition);
                    places.insert(partition.into(), touched.len() - 1);
                    touched.len() - 1
                }
            };
            let row = rows.row(i).data();
            match touched.get_mut(place) {
                Some(touched) if program.appends => self.keep_first(touched, row),
                _ if *adds => self.rows.add(row, 1),
                _ => self.rows.remove(row),
            }
        }
        Ok(touched)
    }

    /// Adds a row of an append-only stream if it is among the first, and drops the one after them.
    fn keep_first(&mut self, touched: &mut Touched, row: &[u8]) {
        if touched.held < self.program.rows_max {
            touched.held += 1;
            self.rows.add(row, 1);
            return;
        }
        let Some(last) = self.rows.last(&touched.partition) else {
            return;
        };
        if row < &*last {
            self.rows.add(row, 1);
            self.rows.remove(&last);
        }
    }

    /// Accounts the rows.
    pub(super) fn settle(&self) -> Result<()> {
        self.account.set(self.bytes())
    }

    /// The places of rows in the order of arrival.
    fn number(&mut self, rows: usize) -> ArrayRef {
        let from = self.arrived;
        self.arrived += rows as u64;
        Arc::new(UInt64Array::from_iter_values(from..self.arrived))
    }

    fn touch(&mut self, partition: &[u8]) {
        if self.program.spec.ttl.is_none() {
            return;
        }
        match self.touched_at.get_mut(partition) {
            Some(at) => *at = self.now,
            None => {
                self.touched_at.insert(partition.into(), self.now);
            }
        }
    }

    fn batch(&self, lines: &[Line]) -> Result<RecordBatch> {
        let program = &self.program;
        let columns = program.codec.decode(lines.iter().map(|line| &*line.row))?;
        let mut columns: Vec<ArrayRef> = columns.into_iter().skip(program.prefix()).collect();
        if program.spec.rank.is_some() {
            let ranks = lines.iter().map(|line| line.rank);
            columns.push(Arc::new(UInt64Array::from_iter_values(ranks)));
        }
        let kinds = lines.iter().map(|line| line.kind.number());
        columns.push(Arc::new(Int8Array::from_iter_values(kinds)));
        if columns.iter().any(|column| column.len() != lines.len()) {
            return Err(Error::internal("ranked rows do not fit their layout"));
        }
        Ok(RecordBatch::try_new(Arc::clone(&program.schema), columns)?)
    }

    fn bytes(&self) -> usize {
        let times = self.touched_at.keys();
        self.rows.bytes() + times.len() * (ENTRY_BYTES + size_of::<i64>())
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
