//! What rules have found of a table, in one line for each rule.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimestampMicrosecondType};
use arrow::temporal_conversions::timestamp_us_to_datetime;
use serde_json::{Map, Value};
use weir_engine::error::{Error, Result};
use weir_engine::limits;

use crate::ast::Constraint;

/// All that one rule has found.
#[derive(Debug, Default)]
struct Verdict {
    /// Whether all of it holds; `None` where there is no answer.
    passed: Option<bool>,
    counts: [i64; 3],
    results: usize,
    observed: Option<String>,
    /// Rows that break it, or what was measured where it does not hold.
    samples: Vec<Value>,
}

/// Rows of `weir.quality_results`, one line for each rule in their order, with the rules that do not hold.
/// Results of other tables, whose rows are read on the way, are left out.
pub(crate) fn verdicts<'a>(
    table_name: &str,
    rules: &'a [Constraint],
    results: &[RecordBatch],
) -> Result<(RecordBatch, Vec<&'a Constraint>)> {
    let mut all: Vec<Verdict> = rules.iter().map(|_| Verdict::default()).collect();
    for rows in results {
        let (tables, names) = (text(rows, "table_name")?, text(rows, "rule")?);
        for row in (0..rows.num_rows()).filter(|row| tables.value(*row) == table_name) {
            let rule = rules
                .iter()
                .position(|rule| rule.name.text == names.value(row));
            if let Some(verdict) = rule.and_then(|at| all.get_mut(at)) {
                verdict.add(rows, row)?;
            }
        }
    }
    let broken = rules.iter().zip(&all);
    let broken = broken.filter(|(_, verdict)| verdict.passed == Some(false));
    let broken = broken.map(|(rule, _)| rule).collect();
    Ok((table(rules, &all)?, broken))
}

impl Verdict {
    fn add(&mut self, rows: &RecordBatch, row: usize) -> Result<()> {
        let passed = column(rows, "passed")?.as_boolean();
        if passed.is_valid(row) {
            self.passed = Some(self.passed.unwrap_or(true) && passed.value(row));
        }
        for (sum, name) in self
            .counts
            .iter_mut()
            .zip(["evaluated", "violated", "unknown"])
        {
            *sum += column(rows, name)?.as_primitive::<Int64Type>().value(row);
        }
        let maybe = |name| {
            let texts = text(rows, name)?;
            Ok::<_, Error>(texts.is_valid(row).then(|| texts.value(row)))
        };
        let parsed = |text: Option<&str>| text.and_then(|text| serde_json::from_str(text).ok());
        let observed = maybe("observed")?;
        self.results += 1;
        self.observed = observed.filter(|_| self.results == 1).map(str::to_owned);
        let mut samples = Vec::new();
        if let Some(Value::Array(found)) = parsed(maybe("samples")?) {
            samples = found;
        } else if passed.is_valid(row) && !passed.value(row) {
            let mut told = Map::new();
            if let Some(segment) = parsed(maybe("segment")?) {
                told.insert("segment".to_owned(), segment);
            }
            let windowed = ["window", "every"].contains(&text(rows, "scope")?.value(row));
            let start = column(rows, "pane_start")?.as_primitive::<TimestampMicrosecondType>();
            if windowed && let Some(time) = timestamp_us_to_datetime(start.value(row)) {
                told.insert("window_start".to_owned(), Value::String(time.to_string()));
            }
            if let Some(observed) = parsed(observed) {
                told.insert("observed".to_owned(), observed);
            }
            samples.push(Value::Object(told));
        }
        let room = limits::RULE_SAMPLES_MAX.saturating_sub(self.samples.len());
        self.samples.extend(samples.into_iter().take(room));
        Ok(())
    }

    fn score(&self) -> Option<f64> {
        let [evaluated, violated, _] = self.counts;
        (evaluated > 0).then(|| 1.0 - violated as f64 / evaluated as f64)
    }
}

fn table(rules: &[Constraint], all: &[Verdict]) -> Result<RecordBatch> {
    let texts = |of: fn(&Constraint) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rules.iter().map(of)))
    };
    let count = |at: usize| -> ArrayRef {
        let counts = all.iter().map(|verdict| verdict.counts.get(at).copied());
        Arc::new(counts.collect::<Int64Array>())
    };
    let samples = all.iter().map(|verdict| {
        let samples = verdict.samples.clone();
        (!samples.is_empty()).then(|| Value::Array(samples).to_string())
    });
    let observed = all.iter().map(|verdict| verdict.observed.as_deref());
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("constraint", texts(|rule| &rule.name.text)),
        ("severity", texts(|rule| &rule.grade.severity)),
        (
            "passed",
            Arc::new(
                all.iter()
                    .map(|verdict| verdict.passed)
                    .collect::<BooleanArray>(),
            ),
        ),
        ("evaluated", count(0)),
        ("violated", count(1)),
        ("unknown", count(2)),
        (
            "score",
            Arc::new(all.iter().map(Verdict::score).collect::<Float64Array>()),
        ),
        ("observed", Arc::new(observed.collect::<StringArray>())),
        ("samples", Arc::new(samples.collect::<StringArray>())),
    ];
    let field = |(name, column): &(&str, ArrayRef)| {
        let data_type: DataType = column.data_type().clone();
        Field::new(*name, data_type, true)
    };
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    Ok(RecordBatch::try_new(schema, columns)?)
}

fn column<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    let found = rows.column_by_name(name);
    found.ok_or_else(|| Error::internal(format!("a result of a rule has no {name}")))
}

fn text<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a StringArray> {
    let found = column(rows, name)?.as_string_opt::<i32>();
    found.ok_or_else(|| Error::internal(format!("{name} of a result is no text")))
}
