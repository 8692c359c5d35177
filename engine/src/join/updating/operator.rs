//! The running updating join of one subtask.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::BooleanArray;
use arrow::buffer::NullBuffer;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion_common::DataFusionError;

use super::net::net;
use super::removal;
use crate::changelog::{self, RowKind};
use crate::error::{Error, Result};
use crate::job::TaskContext;
use crate::join::account::{Account, memory_error};
use crate::join::pairs::{Pairs, Search};
use crate::join::program::{Keyed, Program};
use crate::join::replay;
use crate::join::results::{self, Collector};
use crate::join::shape::Shape;
use crate::join::slot::Slot;
use crate::join::spec::{JoinKind, Side};
use crate::join::state;
use crate::join::table::{GONE, Table};
use crate::join::timed::Buckets;
use crate::key_group::KeyGroups;
use crate::operator::{Extent, Operator, Output, StateBatches};

/// Rows that are gone before a table is made anew without them.
const GONE_MIN: usize = 4_096;
/// The one bucket.
const BUCKET: i64 = 0;

/// All rows of both sides.
#[derive(Debug)]
pub(super) struct UpdatingJoin {
    shape: Arc<Shape>,
    tables: [Table; 2],
    /// Rows that have outlived their time, from the first on.
    expired: [usize; 2],
    /// Sides whose rows are not numbered as in the last snapshot.
    anew: [bool; 2],
    restored: bool,
    ttl_micros: Option<i64>,
    now: i64,
    results: Results,
    account: Account,
}

/// Where results go, with their kind if the results are a changelog.
#[derive(Debug)]
struct Results {
    schema: SchemaRef,
    collector: Collector,
}

impl Results {
    fn send(&mut self, kind: RowKind, rows: RecordBatch, out: &mut Output) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        if !changelog::is_changelog(&self.schema) {
            return self.collector.push(rows, out);
        }
        let mut columns = rows.columns().to_vec();
        columns.push(changelog::kinds(kind, rows.num_rows()));
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        self.collector.push(rows, out)
    }
}

impl Operator for UpdatingJoin {
    fn process(&mut self, input: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        let side = Side::of_input(input);
        let (columns, kinds) = changelog::split(&batch);
        let adds = changelog::adds(kinds, batch.num_rows())?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema = Arc::clone(side.get(&self.shape.program.rows));
        let rows = RecordBatch::try_new_with_options(schema, columns.to_vec(), &options)?;
        let mut keyed = self.shape.program.keyed(side, &rows)?;
        if self.ttl_micros.is_some() {
            keyed.times = vec![self.now; keyed.len()];
        }
        let net = net(columns, &adds)?;
        let matchable = self.shape.program.matchable(side, &keyed.batch);
        let removed =
            self.matchable(side, &keyed, net.removed, &matchable, RowKind::Delete, out)?;
        self.remove(side, &keyed.take(&removed)?, out)?;
        let added = self.matchable(side, &keyed, net.added, &matchable, RowKind::Insert, out)?;
        if added.len() < keyed.len() {
            keyed = keyed.take(&added)?;
        }
        self.add(side, keyed, out)?;
        self.results.collector.flush(out)?;
        self.compact(side)?;
        self.settle()
    }

    fn tick(&mut self, now_micros: i64, _out: &mut Output) -> Result<()> {
        self.now = self.now.max(now_micros);
        let Some(ttl) = self.ttl_micros else {
            return Ok(());
        };
        for side in Side::BOTH {
            self.expire(side, self.now.saturating_sub(ttl));
            self.compact(side)?;
        }
        self.settle()
    }

    fn snapshot(&mut self, extent: Extent, _out: &mut Output) -> Result<StateBatches> {
        let anew = std::mem::take(&mut self.anew).map(|anew| anew || extent == Extent::All);
        let tables = std::mem::take(&mut self.tables);
        let mut buckets = tables.map(|table| BTreeMap::from([(BUCKET, Slot::of(table))]));
        let state = state::snapshot(&self.shape, &mut buckets, i64::MIN, anew, None);
        self.tables = buckets.map(|mut side| side.remove(&BUCKET).unwrap_or_default().live);
        state
    }

    fn restore(
        &mut self,
        state: &mut dyn Iterator<Item = Result<RecordBatch>>,
        groups: &KeyGroups,
    ) -> Result<()> {
        let own: usize = self.tables.iter().map(Table::bytes).sum();
        let restored = replay::restore(&self.shape, state, groups, &mut |buckets| {
            let slots = buckets.iter().flat_map(BTreeMap::values);
            let bytes = own + slots.map(Slot::bytes).sum::<usize>();
            self.account
                .settle(bytes)
                .map_err(|e| too_large(e, bytes))?;
            Ok(bytes)
        })?;
        let again = std::mem::replace(&mut self.restored, true);
        if again || restored.masked {
            self.anew = [true; 2];
        }
        let mut buckets = Buckets::default();
        if again {
            let tables = std::mem::take(&mut self.tables);
            buckets = tables.map(|table| BTreeMap::from([(BUCKET, Slot::of(table))]));
        }
        replay::merge(&self.shape, &mut buckets, restored.buckets)?;
        self.tables = buckets.map(|mut side| side.remove(&BUCKET).unwrap_or_default().live);
        self.settle()
    }

    fn end(&mut self, _out: &mut Output) -> Result<()> {
        Ok(())
    }
}

impl UpdatingJoin {
    pub(super) fn new(
        shape: &Arc<Shape>,
        schema: SchemaRef,
        ttl: Option<Duration>,
        context: &TaskContext,
    ) -> Self {
        Self {
            shape: Arc::clone(shape),
            tables: <[Table; 2]>::default(),
            expired: [0; 2],
            anew: [false; 2],
            restored: false,
            ttl_micros: ttl.map(|ttl| i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX)),
            now: context.job.env.clock().now_micros(),
            results: Results {
                collector: Collector::new(Arc::clone(&schema), context.job.batch_rows),
                schema,
            },
            account: Account::new(context),
        }
    }

    /// Leaves out the rows that can match nothing; they come and go alone where such rows do.
    fn matchable(
        &mut self,
        side: Side,
        rows: &Keyed,
        numbers: Vec<u32>,
        matchable: &Option<NullBuffer>,
        kind: RowKind,
        out: &mut Output,
    ) -> Result<Vec<u32>> {
        let Some(matchable) = matchable else {
            return Ok(numbers);
        };
        let can = |row: &u32| matchable.is_valid(*row as usize);
        let (numbers, alone): (Vec<u32>, Vec<u32>) = numbers.into_iter().partition(can);
        if self.shape.program.kind.keeps_unmatched(side) {
            self.send_alone(side, rows, &alone, kind, out)?;
        }
        Ok(numbers)
    }

    fn send_alone(
        &mut self,
        side: Side,
        rows: &Keyed,
        numbers: &[u32],
        kind: RowKind,
        out: &mut Output,
    ) -> Result<()> {
        for numbers in numbers.chunks(self.results.collector.rows_max) {
            let alone = results::alone(&self.shape.program, side, &rows.batch, numbers)?;
            self.results.send(kind, alone, out)?;
        }
        Ok(())
    }

    /// Takes rows out, and their results back.
    fn remove(&mut self, side: Side, rows: &Keyed, out: &mut Output) -> Result<()> {
        if rows.len() == 0 {
            return Ok(());
        }
        let shape = Arc::clone(&self.shape);
        let rows_max = self.results.collector.rows_max;
        let table = side.get_mut(&mut self.tables);
        let found = removal::find(&shape.program, side, rows, table, rows_max)?;
        if self.ttl_micros.is_none() && found.contains(&None) {
            return Err(Error::internal(
                "a join is told to delete a row that it does not have",
            ));
        }
        let known: Vec<(u32, u32)> = (0_u32..)
            .zip(&found)
            .filter_map(|(row, stored)| Some((row, (*stored)?)))
            .collect();
        let mut matches = Vec::with_capacity(known.len());
        for (row, stored) in &known {
            matches.push(table.matches_of(*stored));
            let hash = rows.hashes.get(*row as usize).copied().unwrap_or(0);
            table.remove(hash, *stored);
        }
        let numbers: Vec<u32> = known.iter().map(|(row, _)| *row).collect();
        let rows = rows.take(&numbers)?;
        self.pair(side, &rows, RowKind::Delete, None, out)?;
        self.own(side, &rows, &matches, RowKind::Delete, out)
    }

    /// Keeps rows, and sends their results.
    fn add(&mut self, side: Side, rows: Keyed, out: &mut Output) -> Result<()> {
        if rows.len() == 0 {
            return Ok(());
        }
        let mut matches = vec![0; rows.len()];
        self.pair(side, &rows, RowKind::Insert, Some(&mut matches), out)?;
        self.own(side, &rows, &matches, RowKind::Insert, out)?;
        if !self.shape.program.kind.counts(side) {
            matches.fill(0);
        }
        if !self.shape.counts(side) {
            matches.clear();
        }
        side.get_mut(&mut self.tables).push(rows, &matches)
    }

    /// Sends the pairs of rows that come or go, and what that does to the rows of the other side.
    fn pair(
        &mut self,
        side: Side,
        rows: &Keyed,
        change: RowKind,
        mut matches: Option<&mut Vec<u32>>,
        out: &mut Output,
    ) -> Result<()> {
        let shape = Arc::clone(&self.shape);
        let program = &shape.program;
        let other = side.other();
        let table = other.get_mut(&mut self.tables);
        let rows_max = self.results.collector.rows_max;
        let mut search = Search::new(program, side, rows, table, rows_max);
        while let Some(pairs) = search.next(table, |_, row| table.matches_of(row) != GONE)? {
            if let Some(matches) = &mut matches {
                for row in pairs.probe.values() {
                    if let Some(matches) = matches.get_mut(*row as usize) {
                        *matches += 1;
                    }
                }
            }
            let turned = turn(program, other, table, &pairs, change);
            let turned = results::stored_alone(program, other, table, &turned)?;
            let results = &mut self.results;
            match (program.kind, side, change.adds()) {
                (JoinKind::LeftSemi, Side::Right, _) => results.send(change, turned, out)?,
                (JoinKind::LeftAnti, Side::Right, _) => {
                    results.send(opposite(change), turned, out)?;
                }
                (JoinKind::LeftSemi | JoinKind::LeftAnti, Side::Left, _) => {}
                (_, _, true) => {
                    results.send(RowKind::Delete, turned, out)?;
                    let pairs = results::pairs(program, side, rows, table, &pairs)?;
                    results.send(RowKind::Insert, pairs, out)?;
                }
                (_, _, false) => {
                    let pairs = results::pairs(program, side, rows, table, &pairs)?;
                    results.send(RowKind::Delete, pairs, out)?;
                    results.send(RowKind::Insert, turned, out)?;
                }
            }
        }
        Ok(())
    }

    /// Sends rows that come or go as such: those without a match, or those of a semi join.
    fn own(
        &mut self,
        side: Side,
        rows: &Keyed,
        matches: &[u32],
        change: RowKind,
        out: &mut Output,
    ) -> Result<()> {
        let kind = self.shape.program.kind;
        let semi = kind == JoinKind::LeftSemi && side == Side::Left;
        if !semi && !kind.keeps_unmatched(side) {
            return Ok(());
        }
        let numbers = (0_u32..).zip(matches);
        let numbers: Vec<u32> = numbers
            .filter(|(_, matches)| (**matches > 0) == semi)
            .map(|(row, _)| row)
            .collect();
        self.send_alone(side, rows, &numbers, change, out)
    }

    /// Drops the rows that came before a time. They stay in their chains, behind all that are
    /// newer, until the table is made anew.
    fn expire(&mut self, side: Side, before: i64) {
        let expired = side.get_mut(&mut self.expired);
        let table = side.get_mut(&mut self.tables);
        let old = table.times().get(*expired..).unwrap_or_default();
        let old = old.iter().take_while(|time| **time < before).count();
        for row in *expired..*expired + old {
            table.set_matches(u32::try_from(row).unwrap_or(GONE), GONE);
        }
        *expired += old;
    }

    /// Makes a table anew when most of its rows are gone.
    fn compact(&mut self, side: Side) -> Result<()> {
        let table = side.get_mut(&mut self.tables);
        if table.gone() < GONE_MIN || table.gone() * 2 < table.len() {
            return Ok(());
        }
        let old = std::mem::take(table);
        for (rows, matches) in replay::parts(&self.shape, side, &old)? {
            let alive: BooleanArray = matches.iter().map(|m| Some(*m != GONE)).collect();
            let numbers: Vec<u32> = (0_u32..)
                .zip(alive.values().iter())
                .filter_map(|(row, alive)| alive.then_some(row))
                .collect();
            let kept: Vec<u32> = matches.into_iter().filter(|m| *m != GONE).collect();
            table.push(rows.take(&numbers)?, &kept)?;
        }
        *side.get_mut(&mut self.anew) = true;
        *side.get_mut(&mut self.expired) = 0;
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        let bytes: usize = self.tables.iter().map(Table::bytes).sum();
        self.account.settle(bytes).map_err(|e| too_large(e, bytes))
    }
}

fn too_large(error: DataFusionError, bytes: usize) -> Error {
    let hint = "give the job more memory with --memory, set a time to live for the state, or join \
                by keys: without them no rows are put on disk";
    memory_error(error, bytes, hint)
}

/// Counts pairs at the rows of the other side; gives those that now have their first or have lost
/// their last.
fn turn(
    program: &Program,
    other: Side,
    table: &mut Table,
    pairs: &Pairs,
    change: RowKind,
) -> Vec<u32> {
    let mut turned = Vec::new();
    if !program.kind.counts(other) {
        return turned;
    }
    for row in &pairs.stored {
        let count = table.matches_of(*row);
        let (new, edge) = if change.adds() {
            (count + 1, count == 0)
        } else {
            (count.saturating_sub(1), count == 1)
        };
        table.set_matches(*row, new);
        if edge {
            turned.push(*row);
        }
    }
    turned
}

fn opposite(kind: RowKind) -> RowKind {
    if kind.adds() {
        RowKind::Delete
    } else {
        RowKind::Insert
    }
}
