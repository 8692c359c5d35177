//! What a window aggregation is, without its state: keys, aggregates, windows, phase.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::aggregate::AggregateFunctionExpr;

use super::by_key::ByKey;
use super::emit::Firing;
use super::length::Length;
use super::operator;
use super::program::Program;
use super::session;
use super::spec::WindowSpec;
use crate::error::Result;
use crate::job::TaskContext;
use crate::operator::{Consumes, Operator, OperatorFactory};
use crate::spill;

/// How a row finds its windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assign {
    /// By its event time. A row whose time is null (or 146,000 years away) is in no window: it is
    /// dropped and counted as late, as is one whose last window the watermark has closed.
    Time {
        /// The input column with the event time.
        column: usize,
        /// The windows.
        spec: WindowSpec,
    },
    /// By its event time and its keys: rows of equal keys that are less than the gap apart are in
    /// one window, from the first of them to the last plus the gap. Needs [`Phase::Single`] behind
    /// an exchange by the keys. A row is late when the session that it would make by itself is
    /// over, and none that it would lengthen is open.
    Session {
        /// The input column with the event time.
        column: usize,
        /// Microseconds without a row after which a session is over.
        gap: i64,
    },
    /// The row carries its window: it comes from a window table function or from another window
    /// aggregation. A window closes when the watermark reaches its end. With the start alone
    /// nothing says when a window is over, so that it closes at the end of the input only: pass the
    /// end wherever the plan has it.
    Columns {
        /// The input column with the window's start.
        start: Option<usize>,
        /// The input column with the window's end.
        end: Option<usize>,
    },
}

/// One column of the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputColumn {
    /// The window's first moment.
    WindowStart,
    /// The first moment after the window.
    WindowEnd,
    /// A key, by its number.
    Key(usize),
    /// An aggregate's result, by its number.
    Aggregate(usize),
}

/// `SELECT output FROM input GROUP BY window, keys`. The same for all phases of one aggregation.
#[derive(Debug, Clone)]
pub struct AggregateSpec {
    /// How a row finds its windows.
    pub assign: Assign,
    /// The keys besides the window, with their names.
    pub keys: Vec<(Arc<dyn PhysicalExpr>, String)>,
    /// The aggregates, over the input's columns.
    pub aggregates: Vec<Arc<AggregateFunctionExpr>>,
    /// FILTER (WHERE ...) of each aggregate.
    pub filters: Vec<Option<Arc<dyn PhysicalExpr>>>,
    /// The rows that are aggregated (in all phases: what goes into [`Phase::Local`]).
    pub input: SchemaRef,
    /// The columns of the results.
    pub output: Vec<OutputColumn>,
    /// The results' schema; window columns may be of any timestamp type. Where results are updated
    /// (see [`Firing::is_updating`]) the factory's schema has the kind of each row besides.
    pub schema: SchemaRef,
    /// When results come out.
    pub firing: Firing,
    /// The name of the source, or of the sources, that the rows come from: late rows are kept
    /// under it.
    pub sources: Arc<str>,
}

/// Which part of the work a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Rows in, partial states out: before the shuffle.
    Local,
    /// Partial states in, results out: after the shuffle.
    Final,
    /// Rows in, results out.
    Single,
}

/// Whether the aggregation must see all rows of a group in one place: an aggregate with ORDER BY
/// that cannot put partial results in order keeps the rows and sorts them when the window closes.
/// So must sessions, whose windows are known only where all rows of a key are.
pub fn needs_single_phase(spec: &AggregateSpec) -> bool {
    matches!(spec.assign, Assign::Session { .. }) || keeps_rows(spec)
}

/// Whether rows are kept and sorted when the window closes.
pub(super) fn keeps_rows(spec: &AggregateSpec) -> bool {
    spec.aggregates
        .iter()
        .any(|a| a.order_sensitivity().hard_requires())
}

/// Makes the operators of a window aggregation.
#[derive(Debug)]
pub struct WindowAggregateFactory {
    program: Arc<Program>,
    /// The keys of rows that come in, as the exchange in front of the last phase has them.
    keys: Vec<Arc<dyn PhysicalExpr>>,
    text: String,
}

impl WindowAggregateFactory {
    /// Checks the parts against each other.
    pub fn try_new(spec: AggregateSpec, phase: Phase) -> Result<Self> {
        let text = describe(&spec, phase);
        let keys = spec.keys.iter().map(|(key, _)| Arc::clone(key)).collect();
        let program = Arc::new(Program::try_new(spec, phase)?);
        let keys = match phase {
            Phase::Final => program.shuffle_keys(),
            Phase::Local | Phase::Single => keys,
        };
        Ok(Self {
            program,
            keys,
            text,
        })
    }

    /// The key columns of what [`Phase::Local`] gives: partial states of one group meet by them.
    /// Without keys there are none: all states then go to one subtask.
    pub fn shuffle_keys(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        self.program.shuffle_keys()
    }
}

impl OperatorFactory for WindowAggregateFactory {
    fn schema(&self) -> SchemaRef {
        self.program.schema()
    }

    fn create(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        match self.program.assign {
            Assign::Session { column, gap } => {
                session::aggregate(&self.program, column, gap, &self.keys, context)
            }
            Assign::Time { .. } | Assign::Columns { .. } => {
                let updates = self.program.firing.is_updating();
                if !updates || self.program.phase == Phase::Local || self.keys.is_empty() {
                    return operator::create(&self.program, context);
                }
                let (program, keys) = (Arc::clone(&self.program), self.keys.clone());
                spill::create(Arc::new(ByKey { program, keys }), context)
            }
        }
    }

    fn describe(&self) -> String {
        self.text.clone()
    }

    fn fingerprint(&self) -> Option<String> {
        self.program.fingerprint()
    }

    fn consumes(&self) -> Consumes {
        Consumes::Folds
    }
}

fn describe(spec: &AggregateSpec, phase: Phase) -> String {
    let name = |column: usize| {
        spec.input
            .fields()
            .get(column)
            .map_or("?", |f| f.name().as_str())
    };
    let mut text = match phase {
        Phase::Local => "WindowAggregate local ".to_owned(),
        Phase::Final => "WindowAggregate final ".to_owned(),
        Phase::Single => "WindowAggregate ".to_owned(),
    };
    match spec.assign {
        Assign::Time { column, spec } => text.push_str(&format!("{spec} on {}", name(column))),
        Assign::Session { column, gap } => {
            text.push_str(&format!("SESSION({}) on {}", Length(gap), name(column)));
        }
        Assign::Columns { start, end } => {
            let columns: Vec<_> = start.into_iter().chain(end).map(name).collect();
            text.push_str(&format!("by {}", columns.join(", ")));
        }
    }
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
    text.push_str(&spec.firing.to_string());
    text
}
