//! Whether pre-aggregation before a shuffle pays, and what is done where it does not.
//!
//! With few rows per key and pane a row is hashed twice and the shuffle carries as many rows as
//! without. Then rows are turned into states one by one, and only the final phase hashes them.

use std::fmt;

use arrow::array::UInt32Array;
use arrow::record_batch::RecordBatch;
use datafusion_expr::GroupsAccumulator;

use super::columns::{Evaluator, fit};
use super::program::{Aggregate, Program};
use super::results;
use super::split::{Share, Split};
use super::table::{filter_of, pick};
use crate::error::Result;

/// Rows over which the saving is judged: finished panes only, since an unfinished one has seen most
/// of its keys but few of its rows.
const JUDGED_ROWS: u64 = 100_000;
/// Rows that are passed on before pre-aggregation is tried again: streams change.
const PASSED_ROWS: u64 = 1 << 22;

/// Judges finished panes.
pub(super) struct Saving {
    rows: u64,
    groups: u64,
    /// Rows still to pass on.
    pass: u64,
    /// Set when every aggregate can turn rows into states quickly.
    converters: Option<Vec<Box<dyn GroupsAccumulator>>>,
}

impl fmt::Debug for Saving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Saving")
            .field("rows", &self.rows)
            .field("groups", &self.groups)
            .field("pass", &self.pass)
            .finish_non_exhaustive()
    }
}

impl Saving {
    pub(super) fn new(program: &Program) -> Result<Self> {
        // Without keys all rows are one group; adapters convert row by row, slower than hashing.
        let quick = !program.keys.is_empty()
            && program
                .aggregates
                .iter()
                .all(|a| a.expr.groups_accumulator_supported());
        let converters = quick
            .then(|| {
                program
                    .aggregates
                    .iter()
                    .map(Aggregate::accumulator)
                    .collect()
            })
            .transpose()?;
        Ok(Self {
            rows: 0,
            groups: 0,
            pass: 0,
            converters,
        })
    }

    /// A pane is finished; decides once enough rows are seen.
    pub(super) fn finished(&mut self, rows: u64, groups: usize) {
        self.rows += rows;
        self.groups += groups as u64;
        if self.rows < JUDGED_ROWS {
            return;
        }
        if self.converters.is_some() && self.groups > self.rows / 2 {
            self.pass = PASSED_ROWS;
        }
        (self.rows, self.groups) = (0, 0);
    }

    /// Whether the next rows are passed on as they are.
    pub(super) fn passes(&self) -> bool {
        self.pass > 0
    }

    /// Turns rows into states. `None` when an aggregate can't: then it is not tried again.
    pub(super) fn pass(
        &mut self,
        program: &Program,
        evaluator: &mut Evaluator,
        batch: &RecordBatch,
        split: &Split,
        live: &[Share],
    ) -> Result<Option<RecordBatch>> {
        let Some(converters) = &self.converters else {
            return Ok(None);
        };
        let rows = live.iter().map(|s| s.rows).sum::<usize>();
        let order = selection(batch.num_rows(), split, live, rows);
        let columns = evaluator.columns(program, batch, order.as_ref())?;
        let mut states = pick(&columns, &program.keys)?;
        for (aggregate, converter) in program.aggregates.iter().zip(converters) {
            let args = pick(&columns, &aggregate.args)?;
            match converter.convert_to_state(&args, filter_of(aggregate, &columns)?) {
                Ok(state) => states.extend(state),
                Err(_) => {
                    (self.converters, self.pass) = (None, 0);
                    return Ok(None);
                }
            }
        }
        let runs: Vec<_> = live.iter().map(|s| (s.pane, s.rows)).collect();
        let mut all = results::id_columns(program, &runs);
        for (state, field) in states.into_iter().zip(&program.part_fields) {
            all.push(fit(state, field.data_type())?);
        }
        self.pass = self.pass.saturating_sub(rows as u64);
        results::batch(program.schema(), all, rows).map(Some)
    }
}

/// The rows of live shares, in their order; `None` when that is all rows as they are.
fn selection(batch_rows: usize, split: &Split, live: &[Share], rows: usize) -> Option<UInt32Array> {
    if split.order.is_none() && rows == batch_rows {
        return None;
    }
    let mut selected = Vec::with_capacity(rows);
    for share in live {
        let range = share.offset..share.offset + share.rows;
        match split
            .order
            .as_ref()
            .and_then(|o| o.values().get(range.clone()))
        {
            Some(rows) => selected.extend_from_slice(rows),
            None => selected.extend(range.filter_map(|row| u32::try_from(row).ok())),
        }
    }
    Some(selected.into())
}
