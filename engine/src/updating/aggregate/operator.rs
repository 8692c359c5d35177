//! The running aggregation of one subtask.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;

use super::Emit;
use super::call::misfit;
use super::emit::emit;
use super::feeding::Feeding;
use super::groups::{Group, Groups};
use super::program::Program;
use super::shares::NONE;
use super::state;
use crate::changelog;
use crate::error::Result;
use crate::job::TaskContext;
use crate::key_group::KeyGroups;
use crate::operator::{Extent, Operator, Output, StateBatches};
use crate::updating::{Account, SWEEPS_PER_TTL};

/// Makes the operator of one subtask.
pub(super) fn create(program: &Arc<Program>, context: &TaskContext) -> Result<Box<dyn Operator>> {
    let now = context.job.env.clock().now_micros();
    Ok(Box::new(UpdatingAggregate {
        program: Arc::clone(program),
        groups: Groups::default(),
        pending: Vec::new(),
        batches: 0,
        now,
        emit_at: i64::MIN,
        sweep_at: i64::MIN,
        batch_rows: context.job.batch_rows,
        holds_global: program.is_global() && context.subtask == 0,
        account: Account::new("groups", context),
    }))
}

/// Groups, and which of them have news.
#[derive(Debug)]
pub(super) struct UpdatingAggregate {
    pub(super) program: Arc<Program>,
    pub(super) groups: Groups,
    /// Groups whose results are to be sent at a tick.
    pub(super) pending: Vec<u32>,
    /// Batches so far: tells whether a group has a place in the present one.
    batches: u64,
    /// The clock at the last tick.
    now: i64,
    emit_at: i64,
    sweep_at: i64,
    pub(super) batch_rows: usize,
    holds_global: bool,
    account: Account,
}

impl Operator for UpdatingAggregate {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        let (_, kinds) = changelog::split(&batch);
        let adds = changelog::adds(kinds, batch.num_rows())?;
        let columns = self.program.columns(&batch)?;
        let touched = self.touch(&columns, &adds)?;
        let mut of = touched.of;
        let emptied = self.count(&touched.slots, &touched.net)?;
        for group in &mut of {
            if emptied.get(*group as usize) == Some(&true) {
                *group = NONE;
            }
        }
        let slots = touched.slots;
        Feeding::new(&self.program, &columns, &of, &adds, &slots).feed(&mut self.groups)?;
        self.settle(slots, out)?;
        self.account.set(self.bytes())
    }

    fn tick(&mut self, now_micros: i64, out: &mut Output) -> Result<()> {
        self.now = now_micros;
        if let Emit::Every(time) = self.program.emit
            && now_micros >= self.emit_at
        {
            self.emit_at = now_micros.saturating_add(micros(time));
            self.emit_pending(out)?;
        }
        if let Some(ttl) = self.program.ttl.map(micros)
            && now_micros >= self.sweep_at
        {
            self.sweep_at = now_micros.saturating_add(ttl / SWEEPS_PER_TTL);
            self.expire(now_micros.saturating_sub(ttl))?;
        }
        self.account.set(self.bytes())
    }

    fn snapshot(&mut self, extent: Extent, _out: &mut Output) -> Result<StateBatches> {
        state::snapshot(self, extent)
    }

    fn restore(
        &mut self,
        saved: &mut dyn Iterator<Item = Result<RecordBatch>>,
        groups: &KeyGroups,
    ) -> Result<()> {
        state::restore(self, saved, groups)?;
        self.account.set(self.bytes())
    }

    fn end(&mut self, out: &mut Output) -> Result<()> {
        if self.holds_global && self.groups.find(&[]).is_none() {
            let slot = self.open(&[])?;
            self.groups.note(slot);
            self.pend(vec![slot])?;
        }
        self.emit_pending(out)
    }
}

/// The groups that a batch has rows of.
struct Touched {
    /// The groups, in the order of their first rows.
    slots: Vec<u32>,
    /// Per row, the place of its group in `slots`.
    of: Vec<u32>,
    /// Per group, rows that come less rows that are taken back.
    net: Vec<i64>,
}

impl UpdatingAggregate {
    /// Finds or makes the group of each row. A row that is taken back from a group that is not
    /// there belongs to one that has expired: it is left out.
    fn touch(&mut self, columns: &[ArrayRef], adds: &[bool]) -> Result<Touched> {
        self.batches += 1;
        let keys = self
            .program
            .keys
            .iter()
            .map(|place| columns.get(*place).map(Arc::clone).ok_or_else(misfit))
            .collect::<Result<Vec<_>>>()?;
        let program = Arc::clone(&self.program);
        let rows = (!program.is_global())
            .then(|| program.key_codec.encode(&keys))
            .transpose()?;
        let mut touched = Touched {
            slots: Vec::new(),
            of: Vec::with_capacity(adds.len()),
            net: Vec::new(),
        };
        for (row, adds) in adds.iter().enumerate() {
            let key: &[u8] = rows.as_ref().map_or(&[], |rows| rows.row(row).data());
            let slot = match self.groups.find(key) {
                Some(slot) => slot,
                None if *adds || program.is_global() => self.open(key)?,
                None => {
                    touched.of.push(NONE);
                    continue;
                }
            };
            let group = self.groups.held(slot)?;
            if group.place.0 != self.batches {
                let place = u32::try_from(touched.slots.len()).map_err(|_| misfit())?;
                group.place = (self.batches, place);
                group.touched_at = self.now;
                touched.slots.push(slot);
                touched.net.push(0);
            }
            if let Some(net) = touched.net.get_mut(group.place.1 as usize) {
                *net += if *adds { 1 } else { -1 };
            }
            touched.of.push(group.place.1);
        }
        Ok(touched)
    }

    fn open(&mut self, key: &[u8]) -> Result<u32> {
        let mut group = Group::new(key.into(), &self.program)?;
        group.touched_at = self.now;
        self.groups.insert(group)
    }

    /// Counts the rows of the groups. Those that lose their last row are cleared, and their rows of
    /// this batch need not be looked at: gives which.
    fn count(&mut self, slots: &[u32], net: &[i64]) -> Result<Vec<bool>> {
        let mut emptied = Vec::with_capacity(slots.len());
        for (slot, net) in slots.iter().zip(net) {
            let group = self.groups.held(*slot)?;
            group.rows += net;
            let empty = group.rows <= 0;
            if empty {
                group.clear(&self.program)?;
            }
            emptied.push(empty);
        }
        Ok(emptied)
    }

    /// Sends what has changed, or keeps it for a tick.
    fn settle(&mut self, slots: Vec<u32>, out: &mut Output) -> Result<()> {
        if self.program.emit != Emit::OnUpdate {
            slots.iter().for_each(|slot| self.groups.note(*slot));
            return self.pend(slots);
        }
        self.pend(slots)?;
        self.emit_pending(out)
    }

    /// Marks groups as having news.
    pub(super) fn pend(&mut self, slots: Vec<u32>) -> Result<()> {
        for slot in slots {
            let group = self.groups.held(slot)?;
            if !std::mem::replace(&mut group.pending, true) {
                self.pending.push(slot);
            }
        }
        Ok(())
    }

    fn emit_pending(&mut self, out: &mut Output) -> Result<()> {
        let slots = std::mem::take(&mut self.pending);
        emit(
            &self.program,
            &mut self.groups,
            &slots,
            self.batch_rows,
            out,
        )?;
        for slot in slots {
            let group = self.groups.held(slot)?;
            group.pending = false;
            if group.rows <= 0 && !self.program.is_global() {
                self.groups.remove(slot);
            } else {
                self.groups.note(slot);
            }
        }
        Ok(())
    }

    /// Drops the groups that no row has touched since a moment; those with news wait until it is
    /// sent.
    fn expire(&mut self, before: i64) -> Result<()> {
        for slot in self.groups.slots() {
            let group = self.groups.held(slot)?;
            if group.touched_at < before && !group.pending {
                self.groups.remove(slot);
            }
        }
        Ok(())
    }

    /// Accounts bytes that are about to be added.
    pub(super) fn expect(&self, bytes: usize) -> Result<()> {
        self.account.set(self.bytes() + bytes)
    }

    fn bytes(&self) -> usize {
        self.groups.bytes() + self.pending.capacity() * size_of::<u32>()
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
