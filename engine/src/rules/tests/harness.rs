//! Rows and rules for the tests, and the task that judges them.

use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion_common::ScalarValue;
use datafusion_execution::TaskContext as DataFusionContext;
use datafusion_execution::memory_pool::UnboundedMemoryPool;
use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, Column, Literal};
use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::watch;

use crate::dead_letter::{DeadLetters, MemoryStore};
use crate::env::{Env, SystemClock, TokioSpawner};
use crate::job::{JobContext, Stop, TaskContext};
use crate::metrics::{Metrics, SubtaskMetrics};
use crate::rules::{Action, Grade, Rule, Switch};

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) a: Option<i64>,
    pub(super) b: Option<i64>,
}

impl Row {
    pub(super) fn random(rng: &mut StdRng, id: i64) -> Self {
        let mut value = || rng.random_bool(0.85).then(|| rng.random_range(-1..10));
        Self {
            id,
            a: value(),
            b: value(),
        }
    }
}

pub(super) fn schema() -> SchemaRef {
    let fields = ["id", "a", "b"].map(|name| Field::new(name, DataType::Int64, true));
    Arc::new(Schema::new(fields.to_vec()))
}

pub(super) fn batch(rows: &[Row]) -> RecordBatch {
    let column =
        |of: fn(&Row) -> Option<i64>| Arc::new(rows.iter().map(of).collect::<Int64Array>());
    RecordBatch::try_new(
        schema(),
        vec![
            column(|row| Some(row.id)),
            column(|row| row.a),
            column(|row| row.b),
        ],
    )
    .unwrap()
}

pub(super) fn column(name: &str) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new_with_schema(name, &schema()).unwrap())
}

pub(super) fn number(value: i64) -> Arc<dyn PhysicalExpr> {
    Arc::new(Literal::new(ScalarValue::Int64(Some(value))))
}

pub(super) fn binary(
    left: Arc<dyn PhysicalExpr>,
    op: Operator,
    right: Arc<dyn PhysicalExpr>,
) -> Arc<dyn PhysicalExpr> {
    Arc::new(BinaryExpr::new(left, op, right))
}

pub(super) fn greater(name: &str, bound: i64) -> Arc<dyn PhysicalExpr> {
    binary(column(name), Operator::Gt, number(bound))
}

pub(super) fn more(left: &str, right: &str) -> Arc<dyn PhysicalExpr> {
    binary(column(left), Operator::Gt, column(right))
}

pub(in crate::rules) fn rule(name: &str, expect: Arc<dyn PhysicalExpr>, action: Action) -> Rule {
    Rule {
        name: name.to_owned(),
        text: format!("EXPECT ({expect}) {action}"),
        when: None,
        expect,
        keyed: None,
        gate: None,
        action,
        unknown_violates: false,
        overflow: None,
        grade: grade(),
        switch: Switch::On,
    }
}

pub(in crate::rules) fn grade() -> Grade {
    Grade {
        dimension: "validity".to_owned(),
        severity: "warning".to_owned(),
        weight: 1.0,
    }
}

/// A task without checkpoints, and what it keeps aside.
pub(super) fn task(store: &Arc<MemoryStore>) -> (TaskContext, DeadLetters) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let handle = runtime.handle();
    let spawner = TokioSpawner::new(handle.clone(), handle.clone());
    let store: Arc<MemoryStore> = Arc::clone(store);
    let letters = DeadLetters::new(store);
    let (_, stop) = watch::channel(Stop::Run);
    let job = JobContext {
        env: Env::new(Arc::new(SystemClock::default()), Arc::new(spawner), 1),
        memory: Arc::new(UnboundedMemoryPool::default()),
        batch_rows: 8,
        dead_letters: letters.clone(),
        datafusion: Arc::new(DataFusionContext::default()),
        metrics: Metrics::default(),
        stop,
        pipeline: "test".into(),
        run_id: Arc::from("test"),
    };
    let task = TaskContext {
        job,
        node: Arc::from("rules"),
        subtask: 0,
        parallelism: 1,
        metrics: Arc::new(SubtaskMetrics::default()),
    };
    (task, letters)
}

/// The same task, as one whose counts another one keeps.
pub(super) fn muted(task: &TaskContext) -> TaskContext {
    let mut task = task.clone();
    task.job.dead_letters = task.job.dead_letters.muted();
    task
}
