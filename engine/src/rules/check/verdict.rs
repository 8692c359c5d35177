//! Verdicts over rows of measures. Pure: they follow from the row and, where the clock decides, the time.

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use serde_json::{Map, Value};

use super::past::truths;
use super::{Ask, Check, ChecksSpec};
use crate::error::{Error, Result};
use crate::rules::kept::value_of;

/// What a rule says of one row of measures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::rules) struct Finding {
    /// Whether it holds; `None` where it has no answer.
    pub(in crate::rules) passed: Option<bool>,
    /// Evaluated, violated and unknown: of rows for a share, else of this verdict.
    pub(super) counts: [u64; 3],
}

impl Finding {
    pub(super) fn of(passed: Option<bool>, unknown_violates: bool) -> Self {
        match (passed, unknown_violates) {
            (Some(true), _) => Self {
                passed,
                counts: [1, 0, 0],
            },
            (Some(false), _) | (None, true) => Self {
                passed: Some(false),
                counts: [1, 1, 0],
            },
            (None, false) => Self {
                passed,
                counts: [0, 0, 1],
            },
        }
    }

    /// The verdict itself in numbers, whatever it was made of.
    pub(super) fn verdict(&self) -> [u64; 3] {
        match self.passed {
            Some(true) => [1, 0, 0],
            Some(false) => [1, 1, 0],
            None => [0, 0, 1],
        }
    }
}

/// What a rule says of each row of measures at a time of day; nothing of rules that go by events.
pub(in crate::rules) fn findings(
    check: &Check,
    rows: &RecordBatch,
    now: i64,
) -> Result<Vec<Finding>> {
    let of = |passed| Finding::of(passed, check.unknown_violates);
    let all = 0..rows.num_rows();
    match &check.ask {
        Ask::Truth(at) => verdicts(column(rows, *at)?, of),
        Ask::Past(past) => verdicts(&truths(past, rows)?, of),
        Ask::Share {
            evaluated,
            violated,
            unknown,
            least,
        } => {
            let counts = [evaluated, violated, unknown].map(|at| numbers(rows, *at));
            let [evaluated, violated, unknown] = counts;
            let (evaluated, violated, unknown) = (evaluated?, violated?, unknown?);
            let row = |row: usize| {
                let [mut asked, mut broken, mut open] =
                    [&evaluated, &violated, &unknown].map(|n| n.value(row).max(0) as u64);
                if check.unknown_violates {
                    (asked, broken, open) = (asked + open, broken + open, 0);
                }
                let enough = (asked - broken.min(asked)) as f64 >= least * asked as f64;
                Finding {
                    passed: (asked > 0).then_some(enough),
                    counts: [asked, broken, open],
                }
            };
            Ok(all.map(row).collect())
        }
        Ask::Fresh { newest, within } => {
            let times = times(rows, *newest)?;
            let fresh = |row: usize| {
                let newest = times.get(row).copied().flatten()?;
                Some(now.saturating_sub(newest) <= *within)
            };
            // A table in which no row has come is not fresh.
            Ok(all
                .map(|row| of(Some(fresh(row).unwrap_or(false))))
                .collect())
        }
        Ask::Daily { .. } => Ok(Vec::new()),
    }
}

fn verdicts(truth: &ArrayRef, of: impl Fn(Option<bool>) -> Finding) -> Result<Vec<Finding>> {
    let truth = cast(truth, &DataType::Boolean)?;
    Ok(truth.as_boolean().iter().map(of).collect())
}

/// The times of a column in microseconds since 1970.
pub(super) fn times(rows: &RecordBatch, at: usize) -> Result<Vec<Option<i64>>> {
    let times = cast(
        column(rows, at)?,
        &DataType::Timestamp(TimeUnit::Microsecond, None),
    )?;
    Ok(times
        .as_primitive::<TimestampMicrosecondType>()
        .iter()
        .collect())
}

pub(super) fn numbers(rows: &RecordBatch, at: usize) -> Result<Int64Array> {
    let numbers = cast(column(rows, at)?, &DataType::Int64)?;
    Ok(numbers
        .as_primitive::<arrow::datatypes::Int64Type>()
        .clone())
}

fn column(rows: &RecordBatch, at: usize) -> Result<&ArrayRef> {
    let column = rows.columns().get(at);
    column.ok_or_else(|| Error::internal("a measure is not there"))
}

/// The segment of a row, as JSON; `None` where rows are not divided.
pub(super) fn segment(spec: &ChecksSpec, rows: &RecordBatch, row: usize) -> Option<String> {
    if spec.segments.is_empty() {
        return None;
    }
    let schema = rows.schema_ref();
    let named = spec.segments.iter().filter_map(|at| {
        let name = schema.fields().get(*at)?.name();
        Some((name.clone(), value_of(rows, *at, row)?))
    });
    Some(Value::Object(named.collect::<Map<_, _>>()).to_string())
}

/// What a rule has seen in a row, as JSON.
pub(super) fn observed(check: &Check, rows: &RecordBatch, row: usize) -> Option<String> {
    let mut named = measured(check, rows, row);
    if let Ask::Past(past) = &check.ask {
        let first = rows.num_columns().saturating_sub(past.terms.len());
        let terms = past.terms.iter().zip(first..);
        named.extend(
            terms.filter_map(|(term, at)| Some((term.name.clone(), value_of(rows, at, row)?))),
        );
    }
    (!named.is_empty()).then(|| Value::Object(named).to_string())
}

/// What a rule has measured, by its names.
pub(in crate::rules) fn measured(
    check: &Check,
    rows: &RecordBatch,
    row: usize,
) -> Map<String, Value> {
    let named = check.observed.iter();
    let named = named.filter_map(|(name, at)| Some((name.clone(), value_of(rows, *at, row)?)));
    named.collect()
}
