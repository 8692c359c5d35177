//! Quarantine tables as DataFusion sees them: the rows that rules have kept back, with what has
//! become of each, as of the statement that reads them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use weir_engine::env::Env;
use weir_engine::error::Result;
use weir_engine::quarantine::{Kept, Quarantine};

use super::parts::Parts;

/// The schema in which quarantine tables are.
pub(crate) const SCHEMA: &str = "quarantine";

/// A quarantine table.
#[derive(Debug, Clone)]
pub(crate) struct QuarantineTable {
    /// Its name, without the schema.
    pub(crate) name: String,
    /// The pipeline's quarantine, if it has rows.
    pub(crate) store: Option<Arc<dyn Quarantine>>,
    /// The columns while it has none.
    pub(crate) columns: Option<SchemaRef>,
    /// Where reading runs.
    pub(crate) env: Env,
}

impl QuarantineTable {
    /// Its name in statements.
    pub(crate) fn full_name(&self) -> String {
        format!("{SCHEMA}.{}", self.name)
    }

    /// The rows as they are now.
    pub(crate) fn open(&self) -> Result<QuarantineRows> {
        let kept = match &self.store {
            Some(store) => store.open(&self.name)?,
            None => None,
        };
        let schema = match (&kept, &self.columns) {
            (Some(kept), _) => kept.schema(),
            (None, Some(columns)) => Arc::clone(columns),
            (None, None) => Arc::new(arrow::datatypes::Schema::empty()),
        };
        Ok(QuarantineRows {
            schema,
            kept,
            env: self.env.clone(),
        })
    }
}

/// The rows of a quarantine table at one time.
#[derive(Debug, Clone)]
pub(crate) struct QuarantineRows {
    schema: SchemaRef,
    kept: Option<Arc<dyn Kept>>,
    env: Env,
}

impl QuarantineRows {
    /// The last request that the rows' statuses are as of.
    pub(crate) fn last(&self) -> u64 {
        self.kept.as_ref().map_or(0, |kept| kept.last())
    }
}

impl TableProvider for QuarantineRows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    // Written by hand: `#[async_trait]` over Expr costs seconds of compile time.
    fn scan<'a, 'b, 'c, 'd, 'out>(
        &'a self,
        state: &'b dyn Session,
        projection: Option<&'c Vec<usize>>,
        _filters: &'d [Expr],
        _limit: Option<usize>,
    ) -> Pin<Box<dyn Future<Output = DfResult<Arc<dyn ExecutionPlan>>> + Send + 'out>>
    where
        'a: 'out,
        'b: 'out,
        'c: 'out,
        'd: 'out,
        Self: 'out,
    {
        let count = self.kept.as_ref().map_or(0, |kept| kept.parts());
        let (kept, env) = (self.kept.clone(), self.env.clone());
        let parts = Parts::new(&self.schema, count, move |number| {
            let (kept, env) = (kept.clone(), env.clone());
            async move {
                let read = move || kept.map_or(Ok(Vec::new()), |kept| kept.read(number));
                env.blocking(read).await?
            }
        });
        let plan = parts.plan(state.config().target_partitions(), projection);
        Box::pin(async move { plan })
    }
}
