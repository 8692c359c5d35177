//! Bare queries: one island, run at once, over what the sources hold now.

use std::sync::Arc;

use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use weir_engine::dead_letter::{DeadLetters, MemoryStore};
use weir_engine::error::{Place, Result};
use weir_engine::island;
use weir_engine::job::JobContext;
use weir_engine::metrics::Metrics;

use super::Session;
use crate::lower::agree;

impl Session {
    /// Runs a query; rows that cannot be decoded are left out, as a pipeline's dead letters are, and so
    /// are those that rules keep back. Nothing is kept of either.
    pub(crate) async fn run_query(
        &self,
        plan: &LogicalPlan,
        place: Option<Place>,
    ) -> Result<SendableRecordBatchStream> {
        let island = self.planner.island(plan, place).await?;
        agree(&island).map_err(|error| error.at(place))?;
        self.run_island(island).await
    }

    pub(crate) async fn run_island(
        &self,
        island: Arc<dyn ExecutionPlan>,
    ) -> Result<SendableRecordBatchStream> {
        let job = JobContext {
            env: self.env.clone(),
            memory: Arc::clone(&self.runtime.memory_pool),
            batch_rows: self.settings.batch_rows(),
            dead_letters: DeadLetters::new(Arc::new(MemoryStore::default())).muted(),
            datafusion: self.planner.state().task_ctx(),
            metrics: Metrics::default(),
            stop: self.stop.subscribe(),
            pipeline: "query".into(),
            run_id: self.env.next_id().into(),
        };
        self.load_references(&island, &job).await?;
        Ok(execute_stream(island, island::context(&job))?)
    }
}
