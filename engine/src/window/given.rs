//! The results that were given last, by window, and what has changed since: what is equal gives
//! nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int8Array};
use arrow::compute::{filter, interleave};
use arrow::datatypes::Fields;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, Rows, SortField};

use super::emit::Firing;
use super::program::Program;
use super::results;
use super::spec::Span;
use super::split::PaneId;
use super::table::Groups;
use crate::changelog::RowKind;
use crate::error::Result;
use crate::operator::Extent;

/// The results that were given last, by window.
#[derive(Debug, Default)]
pub(super) struct Given {
    windows: BTreeMap<PaneId, Results>,
    bytes: usize,
}

#[derive(Debug)]
struct Results {
    groups: Groups,
    /// Which groups no snapshot has.
    unsaved: Vec<bool>,
    bytes: usize,
}

impl Results {
    fn new(groups: Groups, unsaved: Vec<bool>) -> Self {
        let columns = groups.keys.iter().chain(&groups.aggregates);
        // Columns that were read back share a buffer: each has only what it shows.
        let size = |c: &ArrayRef| {
            let size = c.to_data().get_slice_memory_size();
            size.unwrap_or_else(|_| c.get_array_memory_size())
        };
        let bytes = columns.map(size).sum::<usize>() + unsaved.len();
        Self {
            groups,
            unsaved,
            bytes,
        }
    }
}

impl Given {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn put(&mut self, id: PaneId, results: Results) {
        self.bytes += results.bytes;
        if let Some(old) = self.windows.insert(id, results) {
            self.bytes = self.bytes.saturating_sub(old.bytes);
        }
    }

    /// Drops the windows that take no more rows.
    pub(super) fn expire(&mut self, firing: Firing, watermark: i64) {
        while let Some(entry) = self.windows.first_entry() {
            if firing.gone(entry.key().end) > watermark {
                break;
            }
            self.bytes = self.bytes.saturating_sub(entry.remove().bytes);
        }
    }

    /// Keeps the new results of a window; gives what has changed, as a changelog.
    pub(super) fn update(
        &mut self,
        program: &Program,
        id: PaneId,
        groups: Groups,
    ) -> Result<Option<RecordBatch>> {
        let old = self.windows.get(&id);
        let change = compare(program, old, &groups)?;
        let batch = change.rows(program, id, old.map(|o| &o.groups), &groups)?;
        if batch.is_some() || old.is_none() {
            self.put(id, Results::new(groups, change.unsaved));
        }
        Ok(batch)
    }

    /// Takes back results that a snapshot holds: they replace those of an earlier one, by key.
    pub(super) fn restore(&mut self, program: &Program, id: PaneId, groups: Groups) -> Result<()> {
        let groups = match self.windows.get(&id) {
            Some(old) => overlay(program, &old.groups, &groups)?,
            None => groups,
        };
        let unsaved = vec![false; groups.rows];
        self.put(id, Results::new(groups, unsaved));
        Ok(())
    }

    /// Takes over what an earlier subtask gave: groups of other keys.
    pub(super) fn absorb(&mut self, program: &Program, from: Self) -> Result<()> {
        from.windows
            .into_iter()
            .try_for_each(|(id, results)| self.restore(program, id, results.groups))
    }

    /// Gives the results that no snapshot has, or all, and marks them.
    pub(super) fn persist(&mut self, extent: Extent) -> Result<Vec<(PaneId, Groups)>> {
        let mut new = Vec::new();
        for (id, results) in &mut self.windows {
            let all = extent == Extent::All;
            if !all && !results.unsaved.contains(&true) {
                continue;
            }
            let unsaved = std::mem::take(&mut results.unsaved);
            results.unsaved = vec![false; results.groups.rows];
            let keep: BooleanArray = unsaved.into_iter().map(|u| Some(all || u)).collect();
            let only = |columns: &[ArrayRef]| {
                let kept = columns.iter().map(|c| Ok(filter(c, &keep)?));
                kept.collect::<Result<Vec<_>>>()
            };
            let groups = Groups {
                keys: only(&results.groups.keys)?,
                aggregates: only(&results.groups.aggregates)?,
                rows: keep.true_count(),
            };
            new.push((*id, groups));
        }
        Ok(new)
    }
}

/// What has changed in the results of a window.
struct Change {
    kinds: Vec<RowKind>,
    /// Rows of the old results (0) and of the new (1).
    places: Vec<(usize, usize)>,
    /// Which of the new groups no snapshot has.
    unsaved: Vec<bool>,
}

impl Change {
    fn rows(
        &self,
        program: &Program,
        id: PaneId,
        old: Option<&Groups>,
        new: &Groups,
    ) -> Result<Option<RecordBatch>> {
        if self.kinds.is_empty() {
            return Ok(None);
        }
        let (start, end) = (id.start, id.end);
        let new = results::results(program, Span { start, end }, new)?;
        let old = match old {
            Some(old) => results::results(program, Span { start, end }, old)?,
            None => new.slice(0, 0),
        };
        let mut columns = Vec::with_capacity(new.num_columns() + 1);
        for (old, new) in old.columns().iter().zip(new.columns()) {
            columns.push(interleave(&[&**old, &**new], &self.places)?);
        }
        let kinds = self.kinds.iter().map(|kind| kind.number());
        columns.push(Arc::new(Int8Array::from_iter_values(kinds)));
        results::batch(program.schema(), columns, self.kinds.len()).map(Some)
    }
}

fn compare(program: &Program, old: Option<&Results>, new: &Groups) -> Result<Change> {
    let mut change = Change {
        kinds: Vec::new(),
        places: Vec::new(),
        unsaved: vec![true; new.rows],
    };
    let Some(old) = old else {
        change.kinds = vec![RowKind::Insert; new.rows];
        change.places = (0..new.rows).map(|row| (1, row)).collect();
        return Ok(change);
    };
    let mut keys = converter(program.key_schema.fields())?;
    let fields: Fields = program.result_fields.iter().map(Arc::clone).collect();
    let mut values = converter(&fields)?;
    let old_keys = rows_of(&mut keys, &old.groups.keys)?;
    let new_keys = rows_of(&mut keys, &new.keys)?;
    let old_values = rows_of(&mut values, &old.groups.aggregates)?;
    let new_values = rows_of(&mut values, &new.aggregates)?;
    let mut places: HashMap<&[u8], usize> = HashMap::with_capacity(old.groups.rows);
    for row in 0..old.groups.rows {
        places.insert(bytes_at(&old_keys, row), row);
    }
    for row in 0..new.rows {
        let Some(before) = places.remove(bytes_at(&new_keys, row)) else {
            change.kinds.push(RowKind::Insert);
            change.places.push((1, row));
            continue;
        };
        if bytes_at(&old_values, before) != bytes_at(&new_values, row) {
            change
                .kinds
                .extend([RowKind::UpdateBefore, RowKind::UpdateAfter]);
            change.places.extend([(0, before), (1, row)]);
        } else if let Some(unsaved) = change.unsaved.get_mut(row) {
            *unsaved = old.unsaved.get(before) == Some(&true);
        }
    }
    Ok(change)
}

/// The groups of `new`, and those of `old` with other keys.
fn overlay(program: &Program, old: &Groups, new: &Groups) -> Result<Groups> {
    let mut keys = converter(program.key_schema.fields())?;
    let old_keys = rows_of(&mut keys, &old.keys)?;
    let new_keys = rows_of(&mut keys, &new.keys)?;
    let newer: HashSet<&[u8]> = (0..new.rows).map(|row| bytes_at(&new_keys, row)).collect();
    let kept = (0..old.rows).filter(|row| !newer.contains(bytes_at(&old_keys, *row)));
    let mut places: Vec<(usize, usize)> = kept.map(|row| (0, row)).collect();
    places.extend((0..new.rows).map(|row| (1, row)));
    let both = |old: &[ArrayRef], new: &[ArrayRef]| {
        let columns = old.iter().zip(new);
        let columns = columns.map(|(old, new)| Ok(interleave(&[&**old, &**new], &places)?));
        columns.collect::<Result<Vec<_>>>()
    };
    Ok(Groups {
        keys: both(&old.keys, &new.keys)?,
        aggregates: both(&old.aggregates, &new.aggregates)?,
        rows: places.len(),
    })
}

/// Makes what compares rows of these columns; without columns all rows are equal.
fn converter(fields: &Fields) -> Result<Option<RowConverter>> {
    if fields.is_empty() {
        return Ok(None);
    }
    let fields = fields.iter().map(|f| SortField::new(f.data_type().clone()));
    Ok(Some(RowConverter::new(fields.collect())?))
}

fn rows_of(converter: &mut Option<RowConverter>, columns: &[ArrayRef]) -> Result<Option<Rows>> {
    let converter = converter.as_mut();
    Ok(converter.map(|c| c.convert_columns(columns)).transpose()?)
}

fn bytes_at(rows: &Option<Rows>, row: usize) -> &[u8] {
    rows.as_ref().map_or(&[], |rows| rows.row(row).data())
}
