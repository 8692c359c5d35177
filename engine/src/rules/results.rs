//! What rules have found, as rows of the table `weir.quality_results`: one per rule and epoch for rules
//! over rows, one per verdict for rules over many rows.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, ListBuilder, StringArray, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use serde_json::Value;

use super::kept::moment;
use super::ledger::Counts;
use super::rule::Switch;
use super::tally::{RuleTally, TableTally};
use crate::error::Result;

/// The name of the table.
pub const RESULTS: &str = "quality_results";

/// What a rule found in a pane.
#[derive(Debug, Clone)]
pub(crate) struct RuleResult {
    pub(crate) table: String,
    /// The rule, with the counts of the pane.
    pub(crate) rule: RuleTally,
    /// What it looked at: `row`, `table`, `window` and so on.
    pub(crate) scope: &'static str,
    /// The values by which rows are divided, as JSON.
    pub(crate) segment: Option<String>,
    /// Begin and end of the pane, in microseconds since 1970.
    pub(crate) pane: (Option<i64>, Option<i64>),
    /// Whether it holds; `None` where it has no answer.
    pub(crate) passed: Option<bool>,
    /// What was measured, as JSON.
    pub(crate) observed: Option<String>,
    /// A few rows that break it, as JSON.
    pub(crate) samples: Vec<String>,
    /// When it was found, in microseconds since 1970.
    pub(crate) at: i64,
}

impl RuleResult {
    /// What the rules over the rows of a table have counted in an epoch.
    pub(crate) fn of_rows<'a>(
        tally: &'a TableTally,
        counts: &'a Counts,
        seen: (i64, i64),
    ) -> impl Iterator<Item = Self> + 'a {
        let rules = tally.rules.iter().enumerate();
        let asked = rules.filter(|(_, rule)| rule.switch != Switch::Off);
        let rules = asked.filter(|(_, rule)| rule.unit == super::tally::Unit::Rows);
        rules.map(move |(at, rule)| Self {
            table: tally.table.clone(),
            rule: rule.clone(),
            scope: "row",
            segment: None,
            pane: (Some(seen.0), Some(seen.1)),
            passed: (rule.evaluated > 0).then_some(rule.violated == 0),
            observed: None,
            samples: counts.samples.get(at).cloned().unwrap_or_default(),
            at: seen.1,
        })
    }

    /// What ends the job: rows break a rule, of which these are some.
    pub(super) fn fatal(
        table: &str,
        rule: &RuleTally,
        [evaluated, violated, unknown]: [u64; 3],
        samples: Vec<String>,
        at: i64,
    ) -> Self {
        Self {
            table: table.to_owned(),
            rule: RuleTally {
                evaluated,
                violated,
                unknown,
                ..rule.clone()
            },
            scope: "row",
            segment: None,
            pane: (Some(at), Some(at)),
            passed: Some(false),
            observed: None,
            samples,
            at,
        }
    }

    /// How well the data holds the rule, from 0 to 1; `None` where the rule has no answer: nothing is not
    /// good.
    fn score(&self) -> Option<f64> {
        (self.rule.evaluated > 0)
            .then(|| 1.0 - self.rule.violated as f64 / self.rule.evaluated as f64)
    }
}

/// The columns of the table.
pub fn results_schema() -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    let count = |name: &str| Field::new(name, DataType::Int64, false);
    let number = |name: &str, nullable| Field::new(name, DataType::Float64, nullable);
    let time = |name: &str, nullable| Field::new(name, moment(), nullable);
    let item = Field::new("item", DataType::Utf8, true);
    let fields = vec![
        text("pipeline", false),
        text("run", false),
        text("table_name", false),
        text("rule", false),
        text("rule_version", false),
        text("scope", false),
        text("expectation", false),
        Field::new("columns", DataType::List(Arc::new(item)), false),
        text("dimension", false),
        text("severity", false),
        number("weight", false),
        text("action", false),
        // Null in what a version without it has kept.
        Field::new("dry_run", DataType::Boolean, true),
        text("segment", true),
        time("pane_start", true),
        time("pane_end", true),
        Field::new("passed", DataType::Boolean, true),
        count("evaluated"),
        count("violated"),
        count("unknown"),
        number("score", true),
        text("observed", true),
        text("samples", true),
        count("epoch"),
        time("recorded_at", false),
    ];
    Arc::new(Schema::new(fields))
}

/// Results as rows of the table.
pub(crate) fn results_batch(
    results: &[RuleResult],
    (pipeline, run): (&str, &str),
    epoch: u64,
) -> Result<RecordBatch> {
    let text = |of: fn(&RuleResult) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(results.iter().map(of)))
    };
    let maybe = |of: fn(&RuleResult) -> Option<&str>| -> ArrayRef {
        Arc::new(results.iter().map(of).collect::<StringArray>())
    };
    let count = |of: fn(&RuleResult) -> u64| -> ArrayRef {
        let counts = results.iter().map(|result| of(result) as i64);
        Arc::new(Int64Array::from_iter_values(counts))
    };
    let time = |of: fn(&RuleResult) -> Option<i64>| -> ArrayRef {
        let times: TimestampMicrosecondArray = results.iter().map(of).collect();
        Arc::new(times.with_timezone("UTC"))
    };
    let mut columns = ListBuilder::new(StringBuilder::new());
    for result in results {
        let names = result.rule.columns.iter();
        names.for_each(|name| columns.values().append_value(name));
        columns.append(true);
    }
    let dry = results.iter();
    let dry = dry.map(|result| Some(result.rule.switch == Switch::DryRun));
    let weights = results.iter().map(|result| result.rule.grade.weight);
    let samples = results.iter().map(|result| {
        let rows = result.samples.iter();
        let rows = rows.map(|row| serde_json::from_str(row).unwrap_or(Value::String(row.clone())));
        let rows: Vec<Value> = rows.collect();
        (!rows.is_empty()).then(|| Value::Array(rows).to_string())
    });
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![pipeline; results.len()])),
        Arc::new(StringArray::from(vec![run; results.len()])),
        text(|result| &result.table),
        text(|result| &result.rule.name),
        text(|result| &result.rule.version),
        text(|result| result.scope),
        text(|result| &result.rule.expectation),
        Arc::new(columns.finish()),
        text(|result| &result.rule.grade.dimension),
        text(|result| &result.rule.grade.severity),
        Arc::new(Float64Array::from_iter_values(weights)),
        text(|result| &result.rule.action),
        Arc::new(dry.collect::<BooleanArray>()),
        maybe(|result| result.segment.as_deref()),
        time(|result| result.pane.0),
        time(|result| result.pane.1),
        Arc::new(results.iter().map(|r| r.passed).collect::<BooleanArray>()),
        count(|result| result.rule.evaluated),
        count(|result| result.rule.violated),
        count(|result| result.rule.unknown),
        Arc::new(
            results
                .iter()
                .map(RuleResult::score)
                .collect::<Float64Array>(),
        ),
        maybe(|result| result.observed.as_deref()),
        Arc::new(samples.collect::<StringArray>()),
        Arc::new(Int64Array::from(vec![epoch as i64; results.len()])),
        time(|result| Some(result.at)),
    ];
    Ok(RecordBatch::try_new(results_schema(), arrays)?)
}
