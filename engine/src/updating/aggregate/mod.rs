//! GROUP BY without a window: one result per key that changes as rows come.
//!
//! One batch gives at most one change per key: Insert for a new group, a pair of updates when the
//! result differs, Delete when the last row of a group is taken back. Without keys there is one
//! group; it is never deleted, and an input without rows gives its one row at the end.
//!
//! Over a changelog COUNT, SUM and AVG are exact however rows are taken back, sums of floats too;
//! MIN and MAX look at one row of those that are kept. All other aggregates are computed anew from
//! the group's kept rows when it has changed.

mod call;
mod emit;
mod entries;
mod exact;
mod feeding;
mod groups;
mod operator;
mod program;
mod rows;
mod sets;
mod shares;
mod state;
#[cfg(test)]
mod tests;
mod value;

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::aggregate::AggregateFunctionExpr;

use self::program::Program;
use crate::error::Result;
use crate::job::TaskContext;
use crate::operator::{Consumes, Operator, OperatorFactory};
use crate::spill::{self, Spillable};
use crate::updating::codec::evaluate;

/// When changed results are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    /// With each batch.
    OnUpdate,
    /// Once in this time, by the clock: what changes several times in between is sent once.
    Every(Duration),
}

/// One column of the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputColumn {
    /// A key, by its number.
    Key(usize),
    /// An aggregate's result, by its number.
    Aggregate(usize),
}

/// `SELECT output FROM input GROUP BY keys`.
#[derive(Debug, Clone)]
pub struct AggregateSpec {
    /// The keys with their names; none means one group for all rows, in one subtask. The exchange
    /// in front hashes by these expressions in this order.
    pub keys: Vec<(Arc<dyn PhysicalExpr>, String)>,
    /// The aggregates, over the input's columns. None is DISTINCT.
    pub aggregates: Vec<Arc<AggregateFunctionExpr>>,
    /// FILTER (WHERE ...) of each aggregate.
    pub filters: Vec<Option<Arc<dyn PhysicalExpr>>>,
    /// The rows that come in: a changelog when its last column is `_op`.
    pub input: SchemaRef,
    /// The columns of the results.
    pub output: Vec<OutputColumn>,
    /// The results' schema, without `_op`.
    pub schema: SchemaRef,
    /// When changes are sent.
    pub emit: Emit,
    /// How long a group is kept that no row touches, by the clock. Its result stays with who reads
    /// the changelog; later rows of the key begin a new group. In a changelog, a row of the old group
    /// that is taken back from the new one makes its result wrong until it is empty: choose a time
    /// longer than rows live.
    pub ttl: Option<Duration>,
}

/// Makes the operators of an updating aggregation.
///
/// The schema that comes out is that of the spec with `_op` at its end.
#[derive(Debug)]
pub struct AggregateFactory {
    program: Arc<Program>,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    text: String,
}

/// The groups by key, for memory that does not hold all of them.
#[derive(Debug)]
struct ByKey {
    program: Arc<Program>,
    keys: Vec<Arc<dyn PhysicalExpr>>,
}

impl Spillable for ByKey {
    fn what(&self) -> &'static str {
        "groups"
    }

    fn make(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        operator::create(&self.program, context)
    }

    fn hashes(&self, _input: usize, rows: &RecordBatch) -> Result<Vec<u64>> {
        spill::hashes_of(&evaluate(&self.keys, rows)?, rows.num_rows())
    }

    fn state_hashes(&self, state: &RecordBatch) -> Result<Option<Vec<u64>>> {
        let keys = state.columns().get(..self.keys.len()).unwrap_or_default();
        spill::hashes_of(keys, state.num_rows()).map(Some)
    }

    fn visited_every(&self) -> Option<Duration> {
        spill::visited_for(self.program.ttl)
    }

    fn gives_by_clock(&self) -> bool {
        self.program.emit != Emit::OnUpdate
    }
}

impl AggregateFactory {
    /// Checks the parts against each other; refuses aggregates whose rows cannot be kept as keys
    /// where that is needed.
    pub fn try_new(spec: AggregateSpec) -> Result<Self> {
        let text = describe(&spec);
        let keys = spec.keys.iter().map(|(key, _)| Arc::clone(key));
        Ok(Self {
            keys: keys.collect(),
            program: Arc::new(Program::try_new(spec)?),
            text,
        })
    }
}

impl OperatorFactory for AggregateFactory {
    fn gathers(&self) -> bool {
        true
    }

    fn outlives_input(&self) -> bool {
        true
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.program.schema)
    }

    fn create(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        if self.program.is_global() {
            return operator::create(&self.program, context);
        }
        let (program, keys) = (Arc::clone(&self.program), self.keys.clone());
        spill::create(Arc::new(ByKey { program, keys }), context)
    }

    fn describe(&self) -> String {
        self.text.clone()
    }

    fn fingerprint(&self) -> Option<String> {
        Some(self.program.fingerprint())
    }

    fn consumes(&self) -> Consumes {
        Consumes::Folds
    }
}

fn describe(spec: &AggregateSpec) -> String {
    let mut text = "UpdatingAggregate".to_owned();
    let keys: Vec<_> = spec.keys.iter().map(|(_, name)| name.as_str()).collect();
    if !keys.is_empty() {
        text.push_str(&format!(" keys [{}]", keys.join(", ")));
    }
    text.push_str(" aggregates [");
    for (i, aggregate) in spec.aggregates.iter().enumerate() {
        text.push_str(if i == 0 { "" } else { ", " });
        text.push_str(
            aggregate
                .human_display()
                .unwrap_or_else(|| aggregate.name()),
        );
        if let Some(Some(filter)) = spec.filters.get(i) {
            text.push_str(&format!(" FILTER ({filter})"));
        }
    }
    text.push(']');
    if let Emit::Every(time) = spec.emit {
        text.push_str(&format!(" every {time:?}"));
    }
    if let Some(ttl) = spec.ttl {
        text.push_str(&format!(" ttl {ttl:?}"));
    }
    text
}
