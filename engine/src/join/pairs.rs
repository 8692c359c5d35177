//! Which rows of a batch match which rows of a table: candidates by hash, then equal keys, then the
//! filter. In portions, since a few rows may match very many.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array};
use arrow::compute::kernels::cmp::{eq, not_distinct};
use arrow::compute::{and, take};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion_common::NullEquality;

use super::chunks::Places;
use super::program::{Keyed, PairFilter, Program, SideColumn};
use super::spec::Side;
use super::table::{NONE, Table};
use crate::error::{Error, Result};

/// Rows of a batch and the rows of a table that match them, one by one.
#[derive(Debug)]
pub(super) struct Pairs {
    pub(super) probe: UInt32Array,
    pub(super) stored: Vec<u32>,
    pub(super) places: Places,
}

/// Where a search goes on: a row of the batch, and the row of the table that is looked at next. At
/// first it has not begun.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cursor(Option<(usize, u32)>);

/// The search for the rows of one batch in one table.
#[derive(Debug)]
pub(super) struct Search<'a> {
    pub(super) program: &'a Program,
    /// The side of the batch.
    pub(super) side: Side,
    pub(super) probe: &'a Keyed,
    /// Rows at most in one portion.
    pub(super) rows_max: usize,
    row: usize,
    at: u32,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        program: &'a Program,
        side: Side,
        probe: &'a Keyed,
        table: &Table,
        rows_max: usize,
    ) -> Self {
        let first = probe.hashes.first().map_or(NONE, |hash| table.head(*hash));
        Self {
            program,
            side,
            probe,
            rows_max: rows_max.max(1),
            row: 0,
            at: first,
        }
    }

    /// Goes on from where an earlier search of the same rows in the same table was.
    pub(super) fn from(mut self, cursor: Cursor) -> Self {
        if let Cursor(Some((row, at))) = cursor {
            (self.row, self.at) = (row, at);
        }
        self
    }

    /// Where the search is.
    pub(super) fn cursor(&self) -> Cursor {
        Cursor(Some((self.row, self.at)))
    }

    /// Gives the next pairs; `None` at the end. `accept` looks at a row of the batch and one of the
    /// table before their keys are compared.
    pub(super) fn next(
        &mut self,
        table: &Table,
        accept: impl Fn(usize, u32) -> bool,
    ) -> Result<Option<Pairs>> {
        loop {
            let (probe, stored) = self.candidates(table, &accept);
            if stored.is_empty() {
                return Ok(None);
            }
            let pairs = self.verify(table, probe, stored)?;
            if !pairs.stored.is_empty() {
                return Ok(Some(pairs));
            }
        }
    }

    /// The next rows with equal hashes; none at the end.
    pub(super) fn candidates(
        &mut self,
        table: &Table,
        accept: &impl Fn(usize, u32) -> bool,
    ) -> (Vec<u32>, Vec<u32>) {
        let (mut probe, mut stored) = (Vec::new(), Vec::new());
        while self.row < self.probe.len() {
            while self.at != NONE {
                if stored.len() == self.rows_max {
                    return (probe, stored);
                }
                if accept(self.row, self.at) {
                    probe.push(u32::try_from(self.row).unwrap_or(NONE));
                    stored.push(self.at);
                }
                self.at = table.next(self.at);
            }
            self.row += 1;
            let hash = self.probe.hashes.get(self.row);
            self.at = hash.map_or(NONE, |hash| table.head(*hash));
        }
        (probe, stored)
    }

    fn verify(&self, table: &Table, probe: Vec<u32>, stored: Vec<u32>) -> Result<Pairs> {
        let mut pairs = Pairs {
            places: table.rows.places(&stored),
            probe: UInt32Array::from(probe),
            stored,
        };
        let mut equal: Option<BooleanArray> = None;
        let stored_side = self.side.other();
        let keys = self.side.get(&self.program.key_columns).iter();
        for (probe_key, stored_key) in keys.zip(stored_side.get(&self.program.key_columns)) {
            let ours = pairs.column_of_probe(self.probe, *probe_key)?;
            let theirs = table.rows.column(*stored_key, &pairs.places)?;
            let same = match self.program.null_equality {
                NullEquality::NullEqualsNothing => eq(&ours, &theirs)?,
                NullEquality::NullEqualsNull => not_distinct(&ours, &theirs)?,
            };
            equal = Some(match equal {
                Some(equal) => and(&equal, &same)?,
                None => same,
            });
        }
        if let Some(equal) = equal {
            pairs.keep(&equal, table);
        }
        if let (Some(filter), false) = (&self.program.filter, pairs.stored.is_empty()) {
            let keep = self.evaluate(filter, table, &pairs)?;
            pairs.keep(&keep, table);
        }
        Ok(pairs)
    }

    fn evaluate(&self, filter: &PairFilter, table: &Table, pairs: &Pairs) -> Result<BooleanArray> {
        let columns = filter
            .columns
            .iter()
            .map(|column| pairs.column(*column, self.side, self.probe, table))
            .collect::<Result<Vec<_>>>()?;
        let rows = pairs.stored.len();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch =
            RecordBatch::try_new_with_options(Arc::clone(&filter.schema), columns, &options)?;
        let keep = filter.predicate.evaluate(&batch)?.into_array(rows)?;
        keep.as_boolean_opt()
            .cloned()
            .ok_or_else(|| Error::internal("a join filter gave no truth values"))
    }
}

impl Pairs {
    /// A column of either side, one value per pair.
    pub(super) fn column(
        &self,
        column: SideColumn,
        probe_side: Side,
        probe: &Keyed,
        table: &Table,
    ) -> Result<ArrayRef> {
        if column.side == probe_side {
            self.column_of_probe(probe, column.column)
        } else {
            table.rows.column(column.column, &self.places)
        }
    }

    fn column_of_probe(&self, probe: &Keyed, column: usize) -> Result<ArrayRef> {
        let array = probe.batch.columns().get(column);
        let array = array.ok_or_else(|| Error::internal("a join has no such column"))?;
        Ok(take(array, &self.probe, None)?)
    }

    fn keep(&mut self, mask: &BooleanArray, table: &Table) {
        if mask.null_count() == 0 && mask.true_count() == mask.len() {
            return;
        }
        let kept = |at: &usize| mask.is_valid(*at) && mask.value(*at);
        let (probe, stored) = (0..mask.len())
            .filter(kept)
            .filter_map(|at| Some((self.probe.values().get(at)?, self.stored.get(at)?)))
            .map(|(probe, stored)| (*probe, *stored))
            .unzip::<u32, u32, Vec<u32>, Vec<u32>>();
        self.probe = UInt32Array::from(probe);
        self.places = table.rows.places(&stored);
        self.stored = stored;
    }
}
