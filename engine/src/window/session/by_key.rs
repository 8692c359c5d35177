//! Sessions by their keys, for memory that does not hold all of them.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::PhysicalExpr;

use super::payload::Payload;
use super::{operator, state};
use crate::error::Result;
use crate::job::TaskContext;
use crate::operator::Operator;
use crate::spill::{self, Spillable};
use crate::updating::codec::evaluate;
use crate::window::emit::Emit;

/// What the sessions of all subtasks share.
#[derive(Debug, Clone)]
pub(super) struct ByKey {
    pub(super) payload: Payload,
    pub(super) time_column: usize,
    pub(super) gap: i64,
    pub(super) sources: Arc<str>,
    /// The keys of rows that come in, as the exchange in front has them.
    pub(super) keys: Vec<Arc<dyn PhysicalExpr>>,
}

impl ByKey {
    /// Makes the operator of one subtask.
    pub(super) fn create(self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        if self.keys.is_empty() {
            return self.make(context);
        }
        spill::create(Arc::new(self), context)
    }
}

impl Spillable for ByKey {
    fn what(&self) -> &'static str {
        match self.payload.firing().is_updating() {
            true => "sessions and what they have given",
            false => "open sessions",
        }
    }

    fn make(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        let payload = self.payload.clone();
        operator::create(payload, self.time_column, self.gap, &self.sources, context)
    }

    fn hashes(&self, _input: usize, rows: &RecordBatch) -> Result<Vec<u64>> {
        spill::hashes_of(&evaluate(&self.keys, rows)?, rows.num_rows())
    }

    fn state_hashes(&self, batch: &RecordBatch) -> Result<Option<Vec<u64>>> {
        let Some(keys) = state::keys(&self.payload, batch)? else {
            return Ok(None);
        };
        spill::hashes_of(&keys, batch.num_rows()).map(Some)
    }

    fn follows_watermarks(&self) -> bool {
        true
    }

    fn gives_by_clock(&self) -> bool {
        matches!(self.payload.firing().emit, Emit::Every(_))
    }
}
