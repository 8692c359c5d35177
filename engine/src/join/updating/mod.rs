//! Joins that nothing bounds: all rows of both sides are kept, and results are updated.

mod net;
mod operator;
mod removal;

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::program::Program;
use super::shape::Shape;
use super::spec::{JoinKind, JoinSpec, Side};
use super::state::state_hashes;
use super::timing::Timing;
use crate::changelog;
use crate::error::Result;
use crate::job::TaskContext;
use crate::operator::{Consumes, Operator, OperatorFactory};
use crate::spill::{self, Spillable};
use operator::UpdatingJoin;

/// Makes joins of two streams that are kept whole.
///
/// Inputs may be changelogs. The results are a changelog ([`OperatorFactory::schema`] says so)
/// unless no result is ever taken back: an inner or semi join of streams that only insert.
/// Deletions come before the insertions that replace them.
#[derive(Debug)]
pub struct UpdatingJoinFactory {
    shape: Arc<Shape>,
    schema: SchemaRef,
    ttl: Option<Duration>,
}

impl UpdatingJoinFactory {
    /// Checks a join. Rows that came longer ago than `ttl` are dropped without a word: results
    /// that they are in stay as they are, and what comes later does not meet them.
    pub fn try_new(spec: JoinSpec, ttl: Option<Duration>) -> Result<Self> {
        let inserts_only = !spec
            .inputs
            .iter()
            .any(|input| changelog::is_changelog(input));
        let taken_back = !matches!(spec.kind, JoinKind::Inner | JoinKind::LeftSemi);
        let schema = if inserts_only && !taken_back {
            Arc::clone(&spec.schema)
        } else {
            changelog::changelog_schema(&spec.schema)
        };
        let program = Program::try_new(spec.clone(), None)?;
        let counts = [Side::Left, Side::Right].map(|side| {
            let deletes = changelog::is_changelog(side.get::<SchemaRef>(&spec.inputs));
            program.kind.counts(side) || deletes || ttl.is_some()
        });
        Ok(Self {
            shape: Arc::new(Shape {
                program,
                timing: Timing::Forever,
                counts,
                times: ttl.is_some(),
            }),
            schema,
            ttl,
        })
    }
}

/// The rows by key, for memory that does not hold all of them.
#[derive(Debug)]
struct ByKey {
    shape: Arc<Shape>,
    schema: SchemaRef,
    ttl: Option<Duration>,
}

impl Spillable for ByKey {
    fn what(&self) -> &'static str {
        "rows that a join keeps"
    }

    fn make(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        let schema = Arc::clone(&self.schema);
        let join = UpdatingJoin::new(&self.shape, schema, self.ttl, context);
        Ok(Box::new(join))
    }

    fn hashes(&self, input: usize, rows: &RecordBatch) -> Result<Vec<u64>> {
        self.shape.program.hashes(Side::of_input(input), rows)
    }

    fn state_hashes(&self, state: &RecordBatch) -> Result<Option<Vec<u64>>> {
        state_hashes(&self.shape.program, state)
    }

    fn visited_every(&self) -> Option<Duration> {
        spill::visited_for(self.ttl)
    }
}

impl OperatorFactory for UpdatingJoinFactory {
    fn outlives_input(&self) -> bool {
        true
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn create(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        let join = ByKey {
            shape: Arc::clone(&self.shape),
            schema: Arc::clone(&self.schema),
            ttl: self.ttl,
        };
        if join.shape.program.has_keys() {
            return spill::create(Arc::new(join), context);
        }
        join.make(context)
    }

    fn describe(&self) -> String {
        let ttl = self.ttl.map(|ttl| format!(" kept for {ttl:?}"));
        let text = self.shape.program.text();
        format!("Updating join {text}{}", ttl.unwrap_or_default())
    }

    fn fingerprint(&self) -> Option<String> {
        // What is kept of rows depends on the inputs and on whether there is a time to live.
        let shape = &self.shape;
        Some(format!(
            "{:?} {} {}",
            shape.counts,
            shape.times,
            shape.fingerprint()
        ))
    }

    fn consumes(&self) -> Consumes {
        Consumes::Folds
    }
}
