//! The rows of a view in one subtask: in memory while it suffices, then on disk for good.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arrow::array::{ArrayRef, Int8Array, RecordBatch};
use arrow::compute::filter_record_batch;
use datafusion_execution::disk_manager::DiskManager;
use datafusion_execution::memory_pool::{MemoryConsumer, MemoryReservation};

use super::Program;
use super::lines::{FORMAT, Part, batches, schema};
use super::shares::Shares;
use super::table::Table;
use crate::changelog::{self, RowKind};
use crate::error::{Error, Result};
use crate::job::TaskContext;
use crate::key_group::KeyGroups;
use crate::metrics::SubtaskMetrics;
use crate::operator::{Extent, Operator, Output, StateBatches};
use crate::updating::RowCodec;

/// Bytes by which the rows may differ from what is reserved: asking the pool for each batch would
/// be a lock that all subtasks share.
const STEP_BYTES: usize = if cfg!(test) { 64 } else { 64 << 10 };

/// Makes the operator of one subtask.
pub(super) fn create(program: &Arc<Program>, context: &TaskContext) -> Box<dyn Operator> {
    let name = format!("a share of {} #{}", context.node, context.subtask);
    Box::new(View {
        rows: Rows::InMemory(Table::new(!program.key.is_empty())),
        program: Arc::clone(program),
        batch_rows: context.job.batch_rows.max(1),
        memory: MemoryConsumer::new(format!("rows of {} #{}", context.node, context.subtask))
            .register(&context.job.memory),
        metrics: Arc::clone(&context.metrics),
        disk: Arc::clone(&context.job.datafusion.runtime_env().disk_manager),
        share: MemoryConsumer::new(name).register(&context.job.memory),
    })
}

#[derive(Debug)]
struct View {
    program: Arc<Program>,
    rows: Rows,
    batch_rows: usize,
    memory: MemoryReservation,
    metrics: Arc<SubtaskMetrics>,
    disk: Arc<DiskManager>,
    /// Where the memory of a share is taken from that is read back.
    share: MemoryReservation,
}

/// Where the rows are.
#[derive(Debug)]
enum Rows {
    InMemory(Table),
    OnDisk(Shares),
}

impl Operator for View {
    fn process(&mut self, _input: usize, batch: RecordBatch, _out: &mut Output) -> Result<()> {
        match &mut self.rows {
            Rows::InMemory(table) => {
                apply(&self.program, table, &batch)?;
                let bytes = table.bytes();
                self.settle(bytes)
            }
            Rows::OnDisk(shares) => shares.push(&batch),
        }
    }

    fn snapshot(&mut self, extent: Extent, _out: &mut Output) -> Result<StateBatches> {
        let table = match &mut self.rows {
            Rows::InMemory(table) => table,
            Rows::OnDisk(shares) => return shares.snapshot(extent),
        };
        let is_first = !table.is_tracking();
        let changes = table.take_changes();
        let part = match extent {
            Extent::All if is_first => Part::First,
            Extent::All => Part::Included,
            Extent::Changes => Part::Changes,
        };
        let changes = batches(&self.program, part, changes, self.batch_rows);
        let rows = (part == Part::Included).then(|| table.rows());
        let bytes = table.bytes();
        let rows = rows.map(|rows| batches(&self.program, Part::Rows, rows, self.batch_rows));
        self.settle(bytes)?;
        Ok(Box::new(rows.into_iter().flatten().chain(changes)))
    }

    fn restore(
        &mut self,
        state: &mut dyn Iterator<Item = Result<RecordBatch>>,
        groups: &KeyGroups,
    ) -> Result<()> {
        // Old rows are no change: what this subtask has is compared with nothing until now.
        let mut restored = Table::new(!self.program.key.is_empty());
        for batch in state {
            let batch = batch?;
            let part = Part::of(&batch)?;
            FORMAT.check(&batch, &schema(&self.program.schema, part))?;
            if !part.is_state() {
                continue;
            }
            let keys = self.program.hashed(&batch);
            let batch = filter_record_batch(&batch, &groups.mask(&keys, batch.num_rows())?)?;
            match &mut self.rows {
                Rows::InMemory(kept) => {
                    apply(&self.program, &mut restored, &batch)?;
                    let bytes = kept.bytes() + restored.bytes();
                    if !fits(&self.memory, bytes) {
                        kept.absorb(std::mem::replace(&mut restored, Table::new(true)));
                        self.go_to_disk()?;
                    }
                }
                Rows::OnDisk(shares) => shares.push(&batch)?,
            }
        }
        match &mut self.rows {
            Rows::InMemory(kept) => {
                kept.absorb(restored);
                let bytes = kept.bytes();
                self.settle(bytes)
            }
            Rows::OnDisk(shares) => shares.restored(),
        }
    }

    fn end(&mut self, _out: &mut Output) -> Result<()> {
        Ok(())
    }
}

impl View {
    /// Accounts the rows in memory; puts them on disk when there is no room for them.
    fn settle(&mut self, bytes: usize) -> Result<()> {
        self.metrics.state_bytes.store(bytes as u64, Relaxed);
        if fits(&self.memory, bytes) {
            return Ok(());
        }
        self.go_to_disk()
    }

    fn go_to_disk(&mut self) -> Result<()> {
        let none = Rows::InMemory(Table::new(!self.program.key.is_empty()));
        let Rows::InMemory(table) = std::mem::replace(&mut self.rows, none) else {
            return Ok(());
        };
        let room = self.share.new_empty();
        let shares = Shares::of(table, &self.program, self.batch_rows, &self.disk, room)?;
        self.rows = Rows::OnDisk(shares);
        self.memory.free();
        Ok(())
    }
}

fn fits(memory: &MemoryReservation, bytes: usize) -> bool {
    bytes.abs_diff(memory.size()) < STEP_BYTES || memory.try_resize(bytes).is_ok()
}

/// Applies rows or changes to a table.
pub(super) fn apply(program: &Program, table: &mut Table, batch: &RecordBatch) -> Result<()> {
    let (columns, kinds) = changelog::split(batch);
    let keys: Vec<ArrayRef> = program
        .key
        .iter()
        .filter_map(|column| columns.get(*column).map(Arc::clone))
        .collect();
    let keys = encode(&program.key_codec, &keys)?;
    let rows = encode(&program.codec, columns)?;
    for i in 0..batch.num_rows() {
        let (key, row) = (bytes(keys.as_ref(), i), bytes(rows.as_ref(), i));
        table.apply(key, row, kind(kinds, i)?);
    }
    Ok(())
}

fn encode(codec: &RowCodec, columns: &[ArrayRef]) -> Result<Option<arrow::row::Rows>> {
    if columns.is_empty() {
        return Ok(None);
    }
    codec.encode(columns).map(Some)
}

fn bytes(rows: Option<&arrow::row::Rows>, row: usize) -> &[u8] {
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
