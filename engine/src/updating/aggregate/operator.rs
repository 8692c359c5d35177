//! The running aggregation of one subtask.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, BooleanArray, UInt32Array};
use arrow::compute::take;
use arrow::record_batch::RecordBatch;
use arrow::row::Rows;

use super::Emit;
use super::call::{Call, Method, misfit};
use super::emit::emit;
use super::groups::{Group, Groups};
use super::program::Program;
use super::shares::{NONE, Shares};
use super::state;
use crate::changelog;
use crate::error::{Error, Result};
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
        let program = Arc::clone(&self.program);
        let mut unfiltered = None;
        let mut encoded = Encoded::default();
        for (i, call) in program.calls.iter().enumerate() {
            let of_call = match call.filter {
                Some(place) => {
                    let filter = truth(&columns, place)?;
                    &Shares::new(&of, &adds, Some(filter), touched.slots.len())
                }
                None => unfiltered
                    .get_or_insert_with(|| Shares::new(&of, &adds, None, touched.slots.len())),
            };
            if call.method == Method::Running {
                self.feed(i, call, of_call, &columns, &touched.slots)?;
            } else {
                let rows = encoded.rows(&program.calls, i, &columns)?;
                self.keep(i, call, of_call, (&columns, rows), &touched.slots)?;
            }
        }
        self.settle(touched.slots, out)?;
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

/// The entries of a batch, encoded once for all aggregates with the same arguments.
#[derive(Default)]
struct Encoded(Vec<(usize, Rows)>);

impl Encoded {
    fn rows(&mut self, calls: &[Call], call: usize, columns: &[ArrayRef]) -> Result<&Rows> {
        let wanted = calls.get(call).ok_or_else(misfit)?;
        let like = |(known, _): &(usize, Rows)| {
            let known = calls.get(*known);
            known.is_some_and(|known| known.has_entries_of(wanted))
        };
        let place = match self.0.iter().position(like) {
            Some(place) => place,
            None => {
                let codec = wanted.entries.as_ref().ok_or_else(misfit)?;
                let args = wanted.to_entries(wanted.args_of(columns)?);
                self.0.push((call, codec.encode(&args)?));
                self.0.len() - 1
            }
        };
        self.0.get(place).map(|(_, rows)| rows).ok_or_else(misfit)
    }
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
        let mut group = Group::new(key.into(), &self.program.calls)?;
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
                group.clear(&self.program.calls)?;
            }
            emptied.push(empty);
        }
        Ok(emptied)
    }

    /// Gives the rows of a batch to an aggregate's accumulators.
    fn feed(
        &mut self,
        place: usize,
        call: &Call,
        shares: &Shares,
        columns: &[ArrayRef],
        slots: &[u32],
    ) -> Result<()> {
        let args = call.args_of(columns)?;
        let args = args
            .iter()
            .map(|column| shares.sort(column))
            .collect::<Result<Vec<_>>>()?;
        for share in shares.iter() {
            let slot = slots.get(share.group).ok_or_else(misfit)?;
            let value = self.groups.held(*slot)?.values.get_mut(place);
            let args: Vec<_> = args
                .iter()
                .map(|column| column.slice(share.offset, share.rows))
                .collect();
            value.ok_or_else(misfit)?.feed(&args, share.adds)?;
        }
        Ok(())
    }

    /// Keeps the rows of a batch for an aggregate; those that are the first or last of their kind
    /// go to its accumulators, if it has some.
    fn keep(
        &mut self,
        place: usize,
        call: &Call,
        shares: &Shares,
        (columns, rows): (&[ArrayRef], &Rows),
        slots: &[u32],
    ) -> Result<()> {
        let args = call.args_of(columns)?;
        for share in shares.iter() {
            let slot = slots.get(share.group).ok_or_else(misfit)?;
            let group = self.groups.held(*slot)?;
            let track = group.saved && !group.whole;
            let value = group.values.get_mut(place).ok_or_else(misfit)?;
            let entries = value.entries.as_mut().ok_or_else(misfit)?;
            let mut edges = Vec::new();
            for at in share.offset..share.offset + share.rows {
                let row = shares.row(at);
                let bytes = rows.row(row).data();
                let edge = if share.adds {
                    entries.add(bytes, track)
                } else {
                    entries.remove(bytes, track)
                };
                if edge {
                    edges.push(u32::try_from(row).map_err(|_| misfit())?);
                }
            }
            if call.method == Method::Edges && !edges.is_empty() {
                let edges = UInt32Array::from(edges);
                let args = args
                    .iter()
                    .map(|column| Ok(take(column, &edges, None)?))
                    .collect::<Result<Vec<_>>>()?;
                value.feed(&args, share.adds)?;
            }
        }
        Ok(())
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

fn truth(columns: &[ArrayRef], place: usize) -> Result<&BooleanArray> {
    columns
        .get(place)
        .ok_or_else(misfit)?
        .as_boolean_opt()
        .ok_or_else(|| Error::internal("an aggregate's FILTER gave no truth values"))
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
