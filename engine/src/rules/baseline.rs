//! What rules compare with: one value of bytes, read once when a job starts, and the same when the job goes on
//! from a checkpoint.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion_physical_plan::{ExecutionPlan, execute_stream};
use futures::TryStreamExt;
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::island;
use crate::job::JobContext;

/// A value that is frozen when a job starts.
#[derive(Debug)]
pub struct Baseline {
    name: String,
    /// What gives it: one row with one column.
    plan: Mutex<Option<Arc<dyn ExecutionPlan>>>,
    value: Mutex<Option<Arc<[u8]>>>,
}

impl Baseline {
    /// One by the name under which plans show it.
    pub fn new(name: String) -> Self {
        Self {
            name,
            plan: Mutex::default(),
            value: Mutex::default(),
        }
    }

    /// The name under which plans show it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says how it is read by the next job.
    pub fn set_plan(&self, plan: Arc<dyn ExecutionPlan>) {
        *self.plan.lock() = Some(plan);
    }

    /// Sets it: it was kept, or a checkpoint has it.
    pub fn set(&self, value: Arc<[u8]>) {
        *self.value.lock() = Some(value);
    }

    /// The value.
    pub fn get(&self) -> Result<Arc<[u8]>> {
        let value = self.value.lock().clone();
        value.ok_or_else(|| Error::internal(format!("{} was not read", self.name)))
    }

    /// Reads it, if it is not kept. What is bad in its table is neither kept nor counted: who reads the rows does.
    pub async fn load(&self, job: &JobContext) -> Result<()> {
        let Some(plan) = self.plan.lock().clone() else {
            return Ok(());
        };
        let mut job = job.clone();
        job.dead_letters = job.dead_letters.muted();
        let mut batches = execute_stream(plan, island::context(&job))?;
        while let Some(batch) = batches.try_next().await? {
            if let Some(column) = batch.columns().first().filter(|column| !column.is_empty()) {
                let column = cast(column, &DataType::Binary)?;
                self.set(column.as_binary::<i32>().value(0).into());
            }
        }
        self.get().map(drop)
    }
}
