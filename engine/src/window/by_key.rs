//! Windows whose results are updated, by their keys, for memory that does not hold all of them: what
//! they have given is kept beside their panes, and goes to disk with them.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::PhysicalExpr;

use super::emit::Emit;
use super::program::Program;
use super::{operator, state};
use crate::error::Result;
use crate::job::TaskContext;
use crate::operator::Operator;
use crate::spill::{self, Spillable};
use crate::updating::codec::evaluate;

/// What the windows of all subtasks share.
#[derive(Debug)]
pub(super) struct ByKey {
    pub(super) program: Arc<Program>,
    /// The keys of rows that come in, as the exchange in front has them.
    pub(super) keys: Vec<Arc<dyn PhysicalExpr>>,
}

impl Spillable for ByKey {
    fn what(&self) -> &'static str {
        "open windows and what they have given"
    }

    fn make(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        operator::create(&self.program, context)
    }

    fn hashes(&self, _input: usize, rows: &RecordBatch) -> Result<Vec<u64>> {
        spill::hashes_of(&evaluate(&self.keys, rows)?, rows.num_rows())
    }

    fn state_hashes(&self, batch: &RecordBatch) -> Result<Option<Vec<u64>>> {
        let Some(keys) = state::keys(&self.program, batch)? else {
            return Ok(None);
        };
        spill::hashes_of(&keys, batch.num_rows()).map(Some)
    }

    fn follows_watermarks(&self) -> bool {
        true
    }

    fn gives_by_clock(&self) -> bool {
        matches!(self.program.firing.emit, Emit::Every(_))
    }
}
