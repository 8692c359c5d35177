//! The rules of a table that look at the same rows: what rows wait for at one place of the graph.

use std::fmt;
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::buffer::BooleanBuffer;
use arrow::compute::{filter_record_batch, not};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::PhysicalExpr;

use super::{Gate, Over};
use crate::error::{Error, Result};
use crate::rules::judge::Judge;
use crate::rules::rule::{Rule, names_in};
use crate::rules::verdict::{is_true, truth};
use crate::window::length::Length;

/// The rules of a table that have one scope, one WHEN, and divide the rows alike.
#[derive(Debug, Clone)]
pub struct GateStage {
    pub(super) judge: Arc<Judge>,
    pub(super) schema: SchemaRef,
    /// The numbers of its rules among those of the table.
    rules: Vec<usize>,
    /// Rows on hold are found by it, also when a window or a bound has changed.
    name: String,
    /// All rows go through one subtask.
    is_single: bool,
    /// No other gate of the table comes behind it: rows that come back from quarantine enter here.
    pub(super) takes: bool,
    /// Nothing of the table's rules comes behind it.
    pub(super) is_last: bool,
    /// How far the watermark is behind the rows, where that is known.
    lateness: Option<i64>,
}

impl GateStage {
    /// The stages of a table's rules; `followed` if rules over keys come behind, for which the order counts
    /// in which rows arrive.
    pub(in crate::rules) fn all(
        judge: &Arc<Judge>,
        schema: &SchemaRef,
        followed: bool,
        lateness: Option<i64>,
    ) -> Vec<Self> {
        let mut stages: Vec<Self> = Vec::new();
        for (at, rule) in judge.rules().iter().enumerate() {
            let Some(gate) = &rule.gate else {
                continue;
            };
            let same = |stage: &&mut Self| {
                let mut others = stage.gates();
                others.next().is_some_and(|(_, other, of)| {
                    of.over == gate.over
                        && of.segments() == gate.segments()
                        && of.bounded == gate.bounded
                        && other.when == rule.when
                })
            };
            if let Some(stage) = stages.iter_mut().find(same) {
                stage.rules.push(at);
                continue;
            }
            let every = matches!(gate.over, Over::Window { every: true, .. });
            stages.push(Self {
                judge: Arc::clone(judge),
                schema: Arc::clone(schema),
                rules: vec![at],
                name: String::new(),
                // Which windows have no rows is known where all rows are.
                is_single: followed || every || gate.segments().is_empty(),
                takes: false,
                is_last: false,
                lateness,
            });
        }
        let mut names: Vec<String> = Vec::new();
        for stage in &mut stages {
            let name = stage.scope();
            let same = names.iter().filter(|other| **other == name).count();
            stage.name = match same {
                0 => name.clone(),
                more => format!("{name}.{}", more + 1),
            };
            names.push(name);
        }
        if let Some(last) = stages.last_mut() {
            last.takes = true;
            last.is_last = !followed;
        }
        stages
    }

    /// What its rules look at, apart from their windows' length.
    fn scope(&self) -> String {
        let Ok(gate) = self.first() else {
            return String::new();
        };
        let what = if gate.over.is_window() {
            "window"
        } else {
            "batch"
        };
        let segments: Vec<String> = gate.segments().iter().flat_map(names_in).collect();
        match segments.is_empty() {
            true => what.to_owned(),
            false => format!("{what} per {}", segments.join(",")),
        }
    }

    /// Tells it from the other stages of the table.
    pub(in crate::rules) fn name(&self) -> &str {
        &self.name
    }

    /// What the exchange in front goes by; `None` if all rows go to one subtask.
    pub fn exchange(&self) -> Option<Vec<Arc<dyn PhysicalExpr>>> {
        let gate = self.first().ok().filter(|_| !self.is_single)?;
        Some(gate.segments().to_vec())
    }

    /// The rows that come and go.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Its rules, with their numbers among those of the table.
    pub(super) fn gates(&self) -> impl Iterator<Item = (usize, &Rule, &Arc<Gate>)> {
        self.rules.iter().filter_map(|at| {
            let rule = self.judge.rules().get(*at)?;
            Some((*at, rule, rule.gate.as_ref()?))
        })
    }

    /// The first of its rules: they agree in what they look at.
    pub(super) fn first(&self) -> Result<&Gate> {
        let first = self.gates().next().map(|(_, _, gate)| &**gate);
        first.ok_or_else(|| Error::internal("rows wait for no rule"))
    }

    /// Whether rows wait.
    pub(super) fn holds(&self) -> bool {
        self.gates().any(|(_, _, gate)| gate.holds())
    }

    /// The rows that its rules are about, and the others.
    pub(super) fn about(&self, rows: RecordBatch) -> Result<(RecordBatch, Option<RecordBatch>)> {
        let first = self.gates().next().map(|(_, rule, _)| rule);
        let Some(rule) = first.filter(|rule| rule.when.is_some()) else {
            return Ok((rows, None));
        };
        let about = BooleanArray::new(about(rule, &rows)?, None);
        if about.true_count() == rows.num_rows() {
            return Ok((rows, None));
        }
        let others = filter_record_batch(&rows, &not(&about)?)?;
        Ok((filter_record_batch(&rows, &about)?, Some(others)))
    }

    /// Names the state: rules with other windows and bounds go on with the rows on hold, which subtasks have
    /// by segment.
    pub(super) fn fingerprint(&self) -> String {
        let segments = self.first().ok().into_iter().flat_map(Gate::segments);
        let segments: Vec<String> = segments.flat_map(names_in).collect();
        let types = self.schema.fields().iter();
        let types: Vec<_> = types
            .map(|f| format!("{} {}", f.name(), f.data_type()))
            .collect();
        format!("rows on hold per {segments:?}: {}", types.join(", "))
    }

    /// For how long rows wait.
    fn latency(&self) -> String {
        let Ok(gate) = self.first() else {
            return String::new();
        };
        if !self.holds() {
            return " latency=[0s: rows pass, the batch is judged before it is visible]".to_owned();
        }
        match (&gate.over, gate.bounded, self.lateness) {
            (_, true, _) => " latency=[until the end of the job]".to_owned(),
            (Over::Batch | Over::Table, false, _) => {
                " latency=[until the next checkpoint]".to_owned()
            }
            (Over::Window { spec, .. }, false, Some(late)) => {
                let (size, all) = (
                    Length(spec.size()),
                    Length(spec.size().saturating_add(late)),
                );
                format!(
                    " latency=[{all}: window {size} + lateness {}]",
                    Length(late)
                )
            }
            (Over::Window { spec, .. }, false, None) => {
                let size = Length(spec.size());
                format!(" latency=[window {size} + lateness of the watermark]")
            }
        }
    }
}

/// The rows that a rule is about.
pub(super) fn about(rule: &Rule, rows: &RecordBatch) -> Result<BooleanBuffer> {
    match &rule.when {
        Some(when) => {
            let when = when.evaluate(rows)?.into_array(rows.num_rows())?;
            Ok(is_true(truth(&when)?))
        }
        None => Ok(BooleanBuffer::new_set(rows.num_rows())),
    }
}

impl fmt::Display for GateStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.gates().map(|(_, rule, _)| rule.to_string());
        write!(
            f,
            "rules=[{}]{}",
            rules.collect::<Vec<_>>().join("; "),
            self.latency()
        )
    }
}
