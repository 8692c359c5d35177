//! The keys of a table that rules refer to: read whole when a job starts, and asked by its rules.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::record_batch::RecordBatch;
use datafusion_execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion_physical_plan::{ExecutionPlan, execute_stream};
use futures::TryStreamExt;
use parking_lot::Mutex;

use super::keyed::fingerprint::{Low, values};
use crate::error::{Error, Kind, Result, codes};
use crate::island;
use crate::job::JobContext;

/// The columns of a table that rows refer to.
#[derive(Debug)]
pub struct Reference {
    name: String,
    /// What gives the keys.
    plan: Mutex<Option<Arc<dyn ExecutionPlan>>>,
    keys: Mutex<Option<Arc<Keys>>>,
}

/// The keys that are there, as numbers.
#[derive(Debug)]
struct Keys {
    held: HashSet<u128, BuildHasherDefault<Low>>,
    /// Given back when the next job reads the table, or the last rule is gone.
    memory: MemoryReservation,
}

impl Keys {
    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let known = known(batch.columns(), batch.num_rows());
        let numbers = values(batch.columns(), batch.num_rows())?;
        let numbers = numbers.into_iter().zip(known);
        self.held
            .extend(numbers.filter(|(_, known)| *known).map(|(n, _)| n));
        // An eighth of a table is always free, and each place has a byte beside it.
        let bytes = self.held.capacity() * 8 / 7 * (size_of::<u128>() + 1);
        Ok(self.memory.try_resize(bytes)?)
    }
}

impl Reference {
    /// A table as the script names it, for people: `customers(id)`.
    pub fn new(name: String) -> Self {
        Self {
            name,
            plan: Mutex::default(),
            keys: Mutex::default(),
        }
    }

    /// The name of the table with the columns.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says how the keys are read by the next job.
    pub fn set_plan(&self, plan: Arc<dyn ExecutionPlan>) {
        *self.plan.lock() = Some(plan);
    }

    /// Reads the keys. What is bad in the table is neither kept nor counted: who reads its rows does.
    pub async fn load(&self, job: &JobContext) -> Result<()> {
        let plan = self.plan.lock().clone();
        let plan = plan.ok_or_else(|| Error::internal("nobody said how keys are read"))?;
        let mut job = job.clone();
        job.dead_letters = job.dead_letters.muted();
        let consumer = MemoryConsumer::new(format!("keys of {}", self.name));
        let mut keys = Keys {
            held: HashSet::default(),
            memory: consumer.register(&job.memory),
        };
        let mut batches = execute_stream(plan, island::context(&job))?;
        while let Some(batch) = batches.try_next().await? {
            keys.add(&batch).map_err(|error| self.too_large(error))?;
        }
        *self.keys.lock() = Some(Arc::new(keys));
        Ok(())
    }

    fn too_large(&self, error: Error) -> Error {
        let message = format!("the keys of {} do not fit in memory", self.name);
        Error::new(Kind::Limit, codes::MEMORY, message)
            .hint("give the job more memory with --memory, or refer to fewer rows by a view")
            .caused_by(error)
    }

    /// Says of each row whether its values are there; null where one of them is null.
    pub fn holds(&self, columns: &[ArrayRef], rows: usize) -> Result<BooleanArray> {
        if rows == 0 {
            return Ok(BooleanArray::from(Vec::<bool>::new()));
        }
        let keys = self.keys.lock().clone();
        let keys = keys.ok_or_else(|| Error::internal("the keys of a rule were not read"))?;
        let numbers = values(columns, rows)?.into_iter().zip(known(columns, rows));
        let holds = |(number, known): (u128, bool)| known.then(|| keys.held.contains(&number));
        Ok(numbers.map(holds).collect())
    }
}

/// The rows in which no column is null.
fn known(columns: &[ArrayRef], rows: usize) -> Vec<bool> {
    let mut known = vec![true; rows];
    for nulls in columns.iter().filter_map(|column| column.logical_nulls()) {
        for (known, valid) in known.iter_mut().zip(nulls.iter()) {
            *known &= valid;
        }
    }
    known
}
