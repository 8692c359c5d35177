//! What a job is given: environment, memory, batch size, dead letters, stop signal.

use std::sync::Arc;

use datafusion_execution::TaskContext as DataFusionContext;
use datafusion_execution::memory_pool::MemoryPool;
use tokio::sync::watch;

use crate::dead_letter::DeadLetters;
use crate::env::Env;
use crate::metrics::{Metrics, SubtaskMetrics};

/// How a job is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Go on.
    Run,
    /// Sources end at once; everything in flight is processed and committed.
    Drain,
    /// Tasks end at once; nothing more is committed.
    Now,
}

/// What all tasks of one job share: cheap to clone.
#[derive(Debug, Clone)]
pub struct JobContext {
    /// Time, chance, tasks.
    pub env: Env,
    /// The one account of memory.
    pub memory: Arc<dyn MemoryPool>,
    /// Rows of a batch.
    pub batch_rows: usize,
    /// Where rows go that cannot be processed.
    pub dead_letters: DeadLetters,
    /// How islands run: the same memory, the same object stores.
    pub datafusion: Arc<DataFusionContext>,
    /// What the tasks count.
    pub metrics: Metrics,
    /// The stop signal.
    pub stop: watch::Receiver<Stop>,
    /// The name of the pipeline: with the node's id it names what lives longer than a run.
    pub pipeline: Arc<str>,
    /// Names this run: file names hold it, so that two runs never collide.
    pub run_id: Arc<str>,
}

impl JobContext {
    /// Whether the job was asked to end in this way or a harder one.
    pub fn is_stopping(&self, stop: Stop) -> bool {
        *self.stop.borrow() >= stop
    }
}

/// What one subtask of one node is given.
#[derive(Debug, Clone)]
pub struct TaskContext {
    /// The job's part.
    pub job: JobContext,
    /// The node's id in the graph.
    pub node: Arc<str>,
    /// The number of the subtask, from 0.
    pub subtask: u32,
    /// How many subtasks the node has.
    pub parallelism: u32,
    /// What this subtask counts.
    pub metrics: Arc<SubtaskMetrics>,
}
