//! The rows between two checkpoints: measured as they come, none is kept.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;

use super::LastSpec;
use crate::error::Result;
use crate::job::TaskContext;
use crate::operator::{Extent, Operator, Output, StateBatches};
use crate::rules::gate::{Measures, Measuring};
use crate::updating::Account;

/// Measures what comes between two barriers.
#[derive(Debug)]
pub(super) struct Epoch {
    measures: Arc<Measures>,
    measuring: Measuring,
    /// The column that says which rows the rule is about.
    when: Option<usize>,
    /// The job ends with its input, so that all of it is one batch.
    bounded: bool,
    account: Account,
}

impl Epoch {
    pub(super) fn new(spec: &LastSpec, context: &TaskContext) -> Result<Self> {
        Ok(Self {
            measuring: Measuring::new(&spec.measures)?,
            measures: Arc::clone(&spec.measures),
            when: spec.when,
            bounded: spec.bounded,
            account: Account::new("measures", context),
        })
    }

    /// Gives what was measured: an epoch without rows is no batch, a job without rows is one.
    fn give(&mut self, out: &mut Output) -> Result<()> {
        if self.measuring.rows() > 0 || self.bounded {
            let measuring = std::mem::replace(&mut self.measuring, Measuring::new(&self.measures)?);
            out.send(measuring.finish()?);
        }
        self.account.set(self.measuring.bytes())
    }
}

impl Operator for Epoch {
    fn process(&mut self, _input: usize, batch: RecordBatch, _out: &mut Output) -> Result<()> {
        let when = self.when.and_then(|at| batch.columns().get(at));
        match when.and_then(|when| when.as_boolean_opt()) {
            Some(when) => self.measuring.add(&filter_record_batch(&batch, when)?)?,
            None => self.measuring.add(&batch)?,
        }
        self.account.set(self.measuring.bytes())
    }

    fn snapshot(&mut self, _extent: Extent, out: &mut Output) -> Result<StateBatches> {
        if !self.bounded {
            self.give(out)?;
        }
        Ok(Box::new(std::iter::empty()))
    }

    fn end(&mut self, out: &mut Output) -> Result<()> {
        self.give(out)
    }
}
