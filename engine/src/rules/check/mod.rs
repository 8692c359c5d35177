//! Rules over many rows: what an aggregation has measured, and what follows when it is not as expected.
//!
//! Rows are aggregated by the operators that aggregate for queries: windows, groups that change, or an
//! island in batch. What they give comes to one [`Checks`](operator) operator per set of rules that share
//! scope and segments. It says of each row of measures whether the rules hold, counts, and ends the job
//! where a rule says so. Rules over windows get their verdict when the window is closed; those over a
//! table so far at each checkpoint and at the end, if something has changed. Where rows fail to come,
//! [`silence`] gives the verdicts that no row would.

mod frozen;
mod held;
mod operator;
mod past;
mod silence;
mod telling;
mod timers;
mod verdict;

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

pub(super) use self::operator::Checks;
pub use self::past::{Earlier, Fold, Past, Term};
pub(super) use self::verdict::{Finding, findings, measured};
use super::baseline::Baseline;
use super::judge::Table;
use super::rule::{Grade, Switch, version_of};
use super::tally::{RuleTally, Unit};
use crate::changelog::is_changelog;
use crate::error::{Error, Result};
use crate::job::TaskContext;
use crate::operator::{Consumes, Operator, OperatorFactory};
use crate::updating::RowCodec;

/// What happens when a rule over many rows does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consequence {
    /// It is counted and told.
    Warn,
    /// The rows go to the quarantine table of this name: they have waited for the verdict.
    Quarantine(Arc<str>),
    /// The job ends; what is not visible yet stays so.
    Fail,
}

/// What a rule asks of a row of measures; columns by their number.
#[derive(Debug, Clone)]
pub enum Ask {
    /// Whether this column is true.
    Truth(usize),
    /// Whether an expression is true over measures and what they were before.
    Past(Box<Past>),
    /// Whether a share of rows holds a rule over rows.
    Share {
        /// Rows for which it has an answer.
        evaluated: usize,
        /// Those of them that break it.
        violated: usize,
        /// Rows for which it has none.
        unknown: usize,
        /// The share that has to hold it.
        least: f64,
    },
    /// Whether the newest time is no older than so many microseconds, by the clock.
    Fresh {
        /// The newest time.
        newest: usize,
        /// Microseconds.
        within: i64,
    },
    /// Whether rows have come since the time before, each day at this microsecond of the day.
    Daily {
        /// Rows so far.
        rows: usize,
        /// Microseconds after midnight.
        at: i64,
    },
}

impl Ask {
    /// Whether the clock decides it, not the rows.
    fn is_timed(&self) -> bool {
        matches!(self, Self::Fresh { .. } | Self::Daily { .. })
    }
}

/// One rule over many rows.
#[derive(Debug, Clone)]
pub struct Check {
    /// The name of the constraint.
    pub name: String,
    /// The whole clause as it was understood.
    pub text: String,
    /// What it asks.
    pub ask: Ask,
    /// What happens when it does not hold.
    pub consequence: Consequence,
    /// Whether that is done: no rule is here that is off.
    pub switch: Switch,
    /// Whether it does not hold where it has no answer.
    pub unknown_violates: bool,
    /// What it weighs.
    pub grade: Grade,
    /// The columns of the table that decide it.
    pub columns: Vec<String>,
    /// The measures to tell of, with their names.
    pub observed: Vec<(String, usize)>,
}

impl Check {
    fn tally(&self) -> RuleTally {
        let action = match &self.consequence {
            Consequence::Warn => "warn".to_owned(),
            Consequence::Quarantine(into) => format!("quarantine into {into}"),
            Consequence::Fail => "fail update".to_owned(),
        };
        RuleTally {
            name: self.name.clone(),
            version: version_of(&self.text),
            action: self.switch.told(action),
            expectation: self.text.clone(),
            columns: self.columns.clone(),
            unit: Unit::Verdicts,
            grade: self.grade.clone(),
            switch: self.switch,
            evaluated: 0,
            violated: 0,
            unknown: 0,
        }
    }
}

/// Rules of one table that share scope and segments, over rows of measures.
#[derive(Debug, Clone)]
pub struct ChecksSpec {
    /// The table.
    pub table: String,
    /// What the rules look at: `table`, `window`, `every`, `fresh`.
    pub scope: &'static str,
    /// The measures; the last column may be the kind of a change.
    pub input: SchemaRef,
    /// The columns by which rows are divided.
    pub segments: Vec<usize>,
    /// Start and end of the window.
    pub window: Option<(usize, usize)>,
    /// Whether the job ends with its input: the clock decides nothing before.
    pub bounded: bool,
    /// The length of windows that follow each other, where one without rows is judged too, with the
    /// measures of no row.
    pub every: Option<(i64, RecordBatch)>,
    /// What they compare with: a checkpoint keeps it.
    pub baselines: Vec<Arc<Baseline>>,
    /// The rules.
    pub checks: Vec<Check>,
}

/// Makes the operator that judges measures.
#[derive(Debug)]
pub struct ChecksFactory {
    spec: Arc<ChecksSpec>,
    codec: Arc<Codecs>,
    none: SchemaRef,
}

/// How measures are kept.
#[derive(Debug)]
struct Codecs {
    segments: RowCodec,
    rows: RowCodec,
}

impl ChecksFactory {
    /// Makes the operator; there is one subtask of it.
    pub fn try_new(spec: ChecksSpec) -> Result<Self> {
        let rows = crate::changelog::rows_schema(&spec.input);
        let types = |columns: &[usize]| -> Result<RowCodec> {
            let fields = columns.iter().map(|at| rows.fields().get(*at));
            let types = fields.map(|field| field.map(|field| field.data_type().clone()));
            let types: Option<Vec<_>> = types.collect();
            RowCodec::of(types.ok_or_else(|| Error::internal("a measure is not there"))?)
        };
        let all: Vec<usize> = (0..rows.fields().len()).collect();
        if spec.window.is_some() && is_changelog(&spec.input) {
            return Err(Error::internal("windows that change cannot be judged"));
        }
        Ok(Self {
            codec: Arc::new(Codecs {
                segments: types(&spec.segments)?,
                rows: types(&all)?,
            }),
            spec: Arc::new(spec),
            none: Arc::new(Schema::empty()),
        })
    }
}

impl ChecksFactory {
    /// Makes what judges the measures of one place of the graph.
    pub(super) fn checks(&self, page: String, context: &TaskContext) -> Checks {
        let rules = self.spec.checks.iter().map(Check::tally).collect();
        let table = Table::of_checks(&self.spec.table, page, rules);
        let spec = Arc::clone(&self.spec);
        Checks::new(spec, Arc::clone(&self.codec), table, context)
    }
}

impl OperatorFactory for ChecksFactory {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.none)
    }

    fn create(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.checks(context.node.to_string(), context)))
    }

    fn describe(&self) -> String {
        let rules = self.spec.checks.iter();
        let rules: Vec<String> = rules
            .map(|check| format!("{}: {}", check.name, check.text))
            .collect();
        let (table, scope) = (&self.spec.table, self.spec.scope);
        format!("Checks {table} ({scope}): [{}]", rules.join("; "))
    }

    fn fingerprint(&self) -> Option<String> {
        let types = (self.codec.rows.types(), &self.spec.segments);
        Some(format!("checks {} {types:?}", self.spec.scope))
    }

    fn outlives_input(&self) -> bool {
        true
    }

    fn consumes(&self) -> Consumes {
        Consumes::Folds
    }
}
