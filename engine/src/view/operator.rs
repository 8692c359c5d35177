//! The rows of a view in one subtask.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::row::Rows;

use super::Program;
use super::lines::{FORMAT, Part, batches, schema};
use super::table::Table;
use crate::changelog::{self, RowKind};
use crate::error::{Error, Result};
use crate::job::TaskContext;
use crate::key_group::KeyGroups;
use crate::operator::{Extent, Operator, Output, StateBatches};
use crate::updating::{Account, RowCodec};

/// Makes the operator of one subtask.
pub(super) fn create(program: &Arc<Program>, context: &TaskContext) -> Box<dyn Operator> {
    Box::new(View {
        table: Table::new(!program.key.is_empty()),
        program: Arc::clone(program),
        batch_rows: context.job.batch_rows.max(1),
        account: Account::new("rows of a materialized view", context),
    })
}

#[derive(Debug)]
struct View {
    program: Arc<Program>,
    table: Table,
    batch_rows: usize,
    account: Account,
}

impl Operator for View {
    fn process(&mut self, _input: usize, batch: RecordBatch, _out: &mut Output) -> Result<()> {
        self.apply(&batch)?;
        self.account.set(self.table.bytes())
    }

    fn snapshot(&mut self, extent: Extent, _out: &mut Output) -> Result<StateBatches> {
        let is_first = !self.table.is_tracking();
        let changes = self.table.take_changes();
        self.account.set(self.table.bytes())?;
        let part = match extent {
            Extent::All if is_first => Part::First,
            Extent::All => Part::Included,
            Extent::Changes => Part::Changes,
        };
        let changes = batches(&self.program, part, changes, self.batch_rows);
        if part != Part::Included {
            return Ok(changes);
        }
        let rows = self.table.rows();
        let rows = batches(&self.program, Part::Rows, rows, self.batch_rows);
        Ok(Box::new(rows.chain(changes)))
    }

    fn restore(
        &mut self,
        state: &mut dyn Iterator<Item = Result<RecordBatch>>,
        groups: &KeyGroups,
    ) -> Result<()> {
        // Old rows are no change: what this subtask has is compared with nothing until now.
        let mut table = Table::new(!self.program.key.is_empty());
        std::mem::swap(&mut table, &mut self.table);
        for batch in state {
            let batch = batch?;
            let part = Part::of(&batch)?;
            FORMAT.check(&batch, &schema(&self.program.schema, part))?;
            if !part.is_state() {
                continue;
            }
            let keys = self.hashed(&batch);
            let batch = filter_record_batch(&batch, &groups.mask(&keys, batch.num_rows())?)?;
            self.apply(&batch)?;
        }
        std::mem::swap(&mut table, &mut self.table);
        self.table.absorb(table);
        self.account.set(self.table.bytes())
    }

    fn end(&mut self, _out: &mut Output) -> Result<()> {
        Ok(())
    }
}

impl View {
    fn apply(&mut self, batch: &RecordBatch) -> Result<()> {
        let (columns, kinds) = changelog::split(batch);
        let keys: Vec<ArrayRef> = self
            .program
            .key
            .iter()
            .filter_map(|column| columns.get(*column).map(Arc::clone))
            .collect();
        let keys = encode(&self.program.key_codec, &keys)?;
        let rows = encode(&self.program.codec, columns)?;
        for i in 0..batch.num_rows() {
            let (key, row) = (bytes(keys.as_ref(), i), bytes(rows.as_ref(), i));
            self.table.apply(key, row, kind(kinds, i)?);
        }
        Ok(())
    }

    /// What decides the subtask of a row: its key, or all of it.
    fn hashed(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        let (columns, _) = changelog::split(batch);
        if self.program.key.is_empty() {
            return columns.to_vec();
        }
        let keys = self.program.key.iter();
        keys.filter_map(|column| columns.get(*column).map(Arc::clone))
            .collect()
    }
}

fn encode(codec: &RowCodec, columns: &[ArrayRef]) -> Result<Option<Rows>> {
    if columns.is_empty() {
        return Ok(None);
    }
    codec.encode(columns).map(Some)
}

fn bytes(rows: Option<&Rows>, row: usize) -> &[u8] {
    rows.map_or(&[], |rows| rows.row(row).data())
}

fn kind(kinds: Option<&Int8Array>, row: usize) -> Result<RowKind> {
    let Some(kinds) = kinds else {
        return Ok(RowKind::Insert);
    };
    let number = kinds.values().get(row).copied();
    number
        .and_then(RowKind::from_number)
        .ok_or_else(|| Error::internal("a changelog holds a row of unknown kind"))
}
