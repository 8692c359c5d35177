//! Gives the rows of a batch to the aggregates of their groups.

use std::cell::OnceCell;
use std::hint::black_box;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::row::Rows;

use super::call::{Call, Method, misfit};
use super::groups::{Group, Groups};
use super::program::Program;
use super::sets::DistinctSet;
use super::shares::{Share, Shares};
use crate::error::{Error, Result};

/// Shares whose entries are looked for at once, and rows of each of them: some lines of memory for a row,
/// which stay near the processor.
const FETCHED: usize = 32;
const FETCHED_ROWS: usize = 16;

/// A batch, and the groups that it has rows of.
pub(super) struct Feeding<'a> {
    program: &'a Program,
    columns: &'a [ArrayRef],
    /// Per row, the place of its group in `slots`.
    of: &'a [u32],
    adds: &'a [bool],
    slots: &'a [u32],
}

impl<'a> Feeding<'a> {
    pub(super) fn new(
        program: &'a Program,
        columns: &'a [ArrayRef],
        of: &'a [u32],
        adds: &'a [bool],
        slots: &'a [u32],
    ) -> Self {
        Self {
            program,
            columns,
            of,
            adds,
            slots,
        }
    }

    /// Gives the rows to all aggregates.
    pub(super) fn feed(&self, groups: &mut Groups) -> Result<()> {
        let program = self.program;
        let all = OnceCell::new();
        let mut encoded = Encoded::default();
        for (place, call) in program.calls.iter().enumerate() {
            if program.set_of(place).is_some() {
                continue;
            }
            let filtered;
            let shares = match call.filter {
                Some(filter) => {
                    filtered = self.shares(Some(truth(self.columns, filter)?));
                    &filtered
                }
                None => all.get_or_init(|| self.shares(None)),
            };
            if call.method == Method::Running {
                self.run(place, call, shares, groups)?;
            } else {
                let rows = encoded.rows(program, place, self.columns)?;
                self.keep(place, call, shares, rows, groups)?;
            }
        }
        for set in &program.sets {
            let shares = all.get_or_init(|| self.shares(None));
            let rows = encoded.rows(program, set.owner(), self.columns)?;
            self.keep_once(set, shares, rows, groups)?;
        }
        Ok(())
    }

    fn shares(&self, filter: Option<&BooleanArray>) -> Shares {
        Shares::new(self.of, self.adds, filter, self.slots.len())
    }

    fn group<'g>(&self, share: Share, groups: &'g mut Groups) -> Result<&'g mut Group> {
        groups.held(*self.slots.get(share.group).ok_or_else(misfit)?)
    }

    /// Gives rows to the accumulators of an aggregate.
    fn run(&self, place: usize, call: &Call, shares: &Shares, groups: &mut Groups) -> Result<()> {
        let args = call.args_of(self.columns)?;
        if call.counts {
            let arg = args.first().ok_or_else(misfit)?;
            for share in shares.iter() {
                let rows = shares.rows(share).filter(|row| arg.is_valid(*row)).count();
                let value = self.group(share, groups)?.values.get_mut(place);
                value.ok_or_else(misfit)?.count(rows, share.adds);
            }
            return Ok(());
        }
        let args = args
            .iter()
            .map(|column| shares.sort(column))
            .collect::<Result<Vec<_>>>()?;
        for share in shares.iter() {
            let args: Vec<_> = args
                .iter()
                .map(|column| column.slice(share.offset, share.rows))
                .collect();
            let value = self.group(share, groups)?.values.get_mut(place);
            value.ok_or_else(misfit)?.feed(&args, share.adds)?;
        }
        Ok(())
    }

    /// Keeps rows for an aggregate; those that are the first or last of their kind go to its
    /// accumulators, if it has some.
    fn keep(
        &self,
        place: usize,
        call: &Call,
        shares: &Shares,
        rows: &Rows,
        groups: &mut Groups,
    ) -> Result<()> {
        let args = call.args_of(self.columns)?;
        for share in shares.iter() {
            let group = self.group(share, groups)?;
            let track = group.saved && !group.whole;
            let value = group.values.get_mut(place).ok_or_else(misfit)?;
            let entries = value.entries.as_mut().ok_or_else(misfit)?;
            let mut edges = Vec::new();
            for row in shares.rows(share) {
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
            if call.method == Method::Edges {
                value.feed_rows(call, &args, edges.into_iter(), share.adds)?;
            }
        }
        Ok(())
    }

    /// Keeps rows once for the aggregates that share them.
    fn keep_once(
        &self,
        set: &DistinctSet,
        shares: &Shares,
        rows: &Rows,
        groups: &mut Groups,
    ) -> Result<()> {
        let calls = set.calls(self.program)?;
        // All of them have the same arguments.
        let owner = calls.first().ok_or_else(misfit)?;
        let args = owner.2.args_of(self.columns)?;
        let mut wanted = vec![0_i64; self.of.len()];
        for (bit, _, call) in &calls {
            let filter = call.filter.map(|place| truth(self.columns, place));
            let filter = filter.transpose()?;
            match filter {
                None => wanted.iter_mut().for_each(|wanted| *wanted |= bit),
                Some(filter) => {
                    let passes = match filter.nulls() {
                        Some(nulls) => filter.values() & nulls.inner(),
                        None => filter.values().clone(),
                    };
                    for (wanted, passes) in wanted.iter_mut().zip(&passes) {
                        *wanted |= if passes { *bit } else { 0 };
                    }
                }
            }
        }
        let parts: Vec<Share> = shares.iter().flat_map(|s| s.cut(FETCHED_ROWS)).collect();
        let mut fresh = Vec::new();
        for (at, share) in parts.iter().enumerate() {
            if at % FETCHED == 0 {
                let next = parts.iter().skip(at).take(FETCHED);
                black_box(next.fold(0, |all, share| {
                    all ^ self.peek(set, (shares, *share), rows, groups)
                }));
            }
            let group = self.group(*share, groups)?;
            let track = group.saved && !group.whole;
            let owner = group.values.get_mut(set.owner()).ok_or_else(misfit)?;
            let entries = owner.entries.as_mut().ok_or_else(misfit)?;
            fresh.clear();
            for row in shares.rows(*share) {
                let wanted = wanted.get(row).copied().unwrap_or(0);
                let new = entries.mark(rows.row(row).data(), wanted, track);
                if new != 0 {
                    fresh.push((u32::try_from(row).map_err(|_| misfit())?, new));
                }
            }
            if fresh.is_empty() {
                continue;
            }
            for (bit, place, call) in &calls {
                let mine = fresh.iter().filter(|(_, new)| new & bit != 0);
                let mine = mine.map(|(row, _)| *row);
                let value = group.values.get_mut(*place).ok_or_else(misfit)?;
                value.feed_rows(call, &args, mine, true)?;
            }
        }
        Ok(())
    }

    /// What is known of the rows of a share. To ask that of many shares before the first of them is kept
    /// brings it near the processor at the same time; later each would be waited for.
    fn peek(
        &self,
        set: &DistinctSet,
        (shares, share): (&Shares, Share),
        rows: &Rows,
        groups: &Groups,
    ) -> i64 {
        let slot = self.slots.get(share.group);
        let group = slot.and_then(|slot| groups.get(*slot));
        let owner = group.and_then(|group| group.values.get(set.owner()));
        let Some(entries) = owner.and_then(|owner| owner.entries.as_ref()) else {
            return 0;
        };
        let known = |row| entries.number(rows.row(row).data());
        shares
            .rows(share)
            .map(known)
            .fold(0, |all, known| all ^ known)
    }
}

/// Rows encoded as entries, each with the first aggregate that asked for them.
#[derive(Default)]
struct Encoded(Vec<(usize, Rows)>);

impl Encoded {
    /// The entries of an aggregate; those of another one may be the same.
    fn rows(&mut self, program: &Program, place: usize, columns: &[ArrayRef]) -> Result<&Rows> {
        let calls = &program.calls;
        let wanted = calls.get(place).ok_or_else(misfit)?;
        let like = |(known, _): &(usize, Rows)| {
            let known = calls.get(*known);
            known.is_some_and(|known| known.has_entries_of(wanted))
        };
        let at = match self.0.iter().position(like) {
            Some(at) => at,
            None => {
                let codec = wanted.entries.as_ref().ok_or_else(misfit)?;
                let args = wanted.to_entries(wanted.args_of(columns)?);
                self.0.push((place, codec.encode(&args)?));
                self.0.len() - 1
            }
        };
        self.0.get(at).map(|(_, rows)| rows).ok_or_else(misfit)
    }
}

fn truth(columns: &[ArrayRef], place: usize) -> Result<&BooleanArray> {
    columns
        .get(place)
        .ok_or_else(misfit)?
        .as_boolean_opt()
        .ok_or_else(|| Error::internal("an aggregate's FILTER gave no truth values"))
}
