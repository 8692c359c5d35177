//! A stream joined with a table that ends: the table is read first, then rows are looked up in it.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::account::{Account, memory_error};
use super::pairs::Search;
use super::program::{Keyed, Program};
use super::results::{self, Collector};
use super::spec::{JoinKind, JoinSpec, Side};
use super::table::Table;
use crate::error::{Error, Kind, Result, codes};
use crate::job::TaskContext;
use crate::key_group::KeyGroups;
use crate::operator::{Consumes, Extent, Operator, OperatorFactory, Output, StateBatches};
use crate::spill::{self, Spillable};

/// Makes joins of a stream with a table that ends.
///
/// The table is in no checkpoint: it is read anew at each start. Results come at once, in the order
/// of the stream, as long as the table is in memory; where a part of it is on disk, rows wait for
/// it, at most until the next checkpoint.
#[derive(Debug)]
pub struct StreamTableJoinFactory {
    program: Arc<Program>,
    table: usize,
}

impl StreamTableJoinFactory {
    /// Checks a join whose input `table` (0 or 1) is read to its end before the other one. Rows of
    /// the table that find no match cannot come out.
    pub fn try_new(spec: JoinSpec, table: usize) -> Result<Self> {
        let side = Side::of_input(table);
        let program = Program::try_new(spec, None)?;
        check_table(&program, side)?;
        Ok(Self {
            program: Arc::new(program),
            table,
        })
    }
}

impl OperatorFactory for StreamTableJoinFactory {
    fn prefers(&self) -> Option<usize> {
        Some(self.table)
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.program.schema)
    }

    fn create(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        let join = ByKey {
            program: Arc::clone(&self.program),
            table: self.table,
        };
        if self.program.has_keys() {
            return spill::create(Arc::new(join), context);
        }
        join.make(context)
    }

    fn describe(&self) -> String {
        format!("Table join {}", self.program.text())
    }

    fn consumes(&self) -> Consumes {
        Consumes::Folds
    }
}

/// The table by key, for memory that does not hold all of it.
#[derive(Debug)]
struct ByKey {
    program: Arc<Program>,
    table: usize,
}

impl Spillable for ByKey {
    fn what(&self) -> &'static str {
        "rows of a table"
    }

    fn make(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        let schema = Arc::clone(&self.program.schema);
        Ok(Box::new(StreamTableJoin {
            program: Arc::clone(&self.program),
            input: self.table,
            table: Table::default(),
            collector: Collector::new(schema, context.job.batch_rows),
            account: Account::new(context),
        }))
    }

    fn hashes(&self, input: usize, rows: &RecordBatch) -> Result<Vec<u64>> {
        self.program.hashes(Side::of_input(input), rows)
    }

    fn state_hashes(&self, state: &RecordBatch) -> Result<Option<Vec<u64>>> {
        self.hashes(self.table, state).map(Some)
    }

    fn is_saved(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct StreamTableJoin {
    program: Arc<Program>,
    /// The input of the table.
    input: usize,
    table: Table,
    collector: Collector,
    account: Account,
}

impl Operator for StreamTableJoin {
    fn process(&mut self, input: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        if input == self.input {
            return self.keep(&batch);
        }
        let side = Side::of_input(input);
        let rows = self.program.keyed(side, &batch)?;
        look_up(
            &self.program,
            side,
            &rows,
            &self.table,
            &mut self.collector,
            out,
        )
    }

    /// No checkpoint keeps it: it is what goes to disk when memory is short.
    fn snapshot(&mut self, extent: Extent, _out: &mut Output) -> Result<StateBatches> {
        let side = Side::of_input(self.input);
        let from = match extent {
            Extent::Changes => self.table.saved,
            Extent::All => 0,
        };
        self.table.saved = self.table.len();
        let program = Arc::clone(&self.program);
        let batches = self.table.rows.from(from).into_iter().map(move |batch| {
            let columns = program.without_keys(side, &batch);
            let schema = Arc::clone(side.get(&program.rows));
            Ok(RecordBatch::try_new(schema, columns)?)
        });
        Ok(Box::new(batches))
    }

    fn restore(
        &mut self,
        state: &mut dyn Iterator<Item = Result<RecordBatch>>,
        groups: &KeyGroups,
    ) -> Result<()> {
        for batch in state {
            let rows = self.program.keyed(Side::of_input(self.input), &batch?)?;
            let own = (0_u32..).zip(&rows.hashes);
            let own = own.filter_map(|(row, hash)| groups.holds(*hash).then_some(row));
            let own: Vec<u32> = own.collect();
            self.table.push(rows.take(&own)?, &[])?;
            self.settle()?;
        }
        self.table.saved = self.table.len();
        Ok(())
    }

    fn end(&mut self, _out: &mut Output) -> Result<()> {
        Ok(())
    }
}

impl StreamTableJoin {
    fn keep(&mut self, batch: &RecordBatch) -> Result<()> {
        let side = Side::of_input(self.input);
        let mut rows = self.program.keyed(side, batch)?;
        if let Some(valid) = self.program.matchable(side, &rows.batch) {
            let valid: Vec<u32> = (0_u32..)
                .zip(valid.iter())
                .filter_map(|(row, valid)| valid.then_some(row))
                .collect();
            rows = rows.take(&valid)?;
        }
        self.table.push(rows, &[])?;
        self.settle()
    }

    fn settle(&self) -> Result<()> {
        let bytes = self.table.bytes();
        self.account.settle(bytes).map_err(|error| {
            let hint = "give the job more memory with --memory, or join by keys: without them no \
                        rows are put on disk";
            memory_error(error, bytes, hint)
        })
    }
}

/// Refuses joins that would have to know that a row of the table has no match.
pub(super) fn check_table(program: &Program, table: Side) -> Result<()> {
    let kind = program.kind;
    if kind.keeps_unmatched(table) || (table == Side::Left && !kind.gives_pairs()) {
        return Err(Error::new(
            Kind::Invalid,
            codes::PLAN,
            format!("a {kind} join cannot keep the rows of a table"),
        )
        .detail("the stream may never end, so it is never known that a row has no match"));
    }
    Ok(())
}

/// Joins rows of a stream with what a table has for them.
pub(super) fn look_up(
    program: &Program,
    side: Side,
    rows: &Keyed,
    table: &Table,
    collector: &mut Collector,
    out: &mut Output,
) -> Result<()> {
    let mut matched = vec![false; rows.len()];
    let once = !program.kind.gives_pairs();
    let mut search = Search::new(program, side, rows, table, collector.rows_max);
    while let Some(pairs) = search.next(table, |row, _| !(once && is_set(&matched, row)))? {
        for row in pairs.probe.values() {
            if let Some(matched) = matched.get_mut(*row as usize) {
                *matched = true;
            }
        }
        if !once {
            let batch = results::pairs(program, side, rows, table, &pairs)?;
            collector.push(batch, out)?;
        }
    }
    let wanted = match program.kind {
        JoinKind::LeftSemi => true,
        kind if kind.keeps_unmatched(side) => false,
        _ => return collector.flush(out),
    };
    let alone: Vec<u32> = (0_u32..)
        .zip(&matched)
        .filter_map(|(row, matched)| (*matched == wanted).then_some(row))
        .collect();
    for alone in alone.chunks(collector.rows_max) {
        let batch = results::alone(program, side, &rows.batch, alone)?;
        collector.push(batch, out)?;
    }
    collector.flush(out)
}

fn is_set(values: &[bool], at: usize) -> bool {
    values.get(at).copied().unwrap_or(false)
}
