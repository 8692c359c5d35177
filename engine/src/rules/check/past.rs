//! What a rule has measured before: `prev => HISTORY(7)`.
//!
//! Each verdict adds what it was about to the memory of its rule and segment, by the end of its window, or by the
//! time of the verdict where there is none. A window that is judged again replaces what it was. The memory begins
//! with what earlier runs have told, and goes on in checkpoints.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, TimeUnit};
use datafusion_physical_expr::PhysicalExpr;

use super::verdict::{segment, times};
use super::{Ask, Check, ChecksSpec};
use crate::error::{Error, Result};
use crate::rules::rule::version_of;
use crate::updating::Format;
use crate::updating::state::unreadable;

/// The part of the state.
pub(super) const PAST: &str = "past";
/// Verdicts that are remembered beyond those that are asked for: windows that are judged late come between.
const SLACK: usize = 8;
/// Bytes of a verdict in the memory, about.
const VERDICT_BYTES: usize = 64;

/// What a rule asks of its verdicts so far.
#[derive(Debug, Clone)]
pub struct Past {
    /// The measures that the expression is over, columns by their number.
    pub inputs: Vec<usize>,
    /// What was before; the expression has these behind the measures.
    pub terms: Vec<Term>,
    /// What has to be true.
    pub truth: Arc<dyn PhysicalExpr>,
    /// What earlier runs have told.
    pub earlier: Vec<Earlier>,
}

/// Something that was measured before.
#[derive(Debug, Clone)]
pub struct Term {
    /// Its name in the expression.
    pub name: String,
    /// The measure as results tell of it.
    pub of: String,
    /// The column of the measure.
    pub measure: usize,
    /// How many verdicts ago; for a sum of several, how many there are at most.
    pub back: usize,
    /// What is taken of them.
    pub fold: Fold,
}

/// What is taken of the verdicts before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fold {
    /// That so many verdicts ago.
    At,
    /// The mean of the last ones.
    Mean,
    /// The least of the last ones.
    Least,
    /// The greatest of the last ones.
    Greatest,
    /// The sum of the last ones.
    Sum,
}

/// An earlier verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Earlier {
    /// The segment, as JSON.
    pub segment: Option<String>,
    /// The end of the window, or the time of the verdict.
    pub end: i64,
    /// What was measured, by term.
    pub values: Vec<Option<f64>>,
}

impl Term {
    /// What it is, of the values before from the last on.
    fn of(&self, mut before: impl Iterator<Item = Option<f64>>) -> Option<f64> {
        if self.fold == Fold::At {
            return before.nth(self.back.checked_sub(1)?).flatten();
        }
        let values: Vec<f64> = before.take(self.back).flatten().collect();
        let sum = || values.iter().sum::<f64>();
        let some = !values.is_empty();
        some.then(|| match self.fold {
            Fold::At | Fold::Sum => sum(),
            Fold::Mean => sum() / values.len() as f64,
            Fold::Least => values.iter().copied().fold(f64::INFINITY, f64::min),
            Fold::Greatest => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }
}

type Verdicts = BTreeMap<i64, Vec<Option<f64>>>;

/// What rules have measured, by rule and segment.
#[derive(Debug)]
pub(super) struct Memory {
    verdicts: HashMap<(usize, Option<String>), Verdicts>,
}

/// What a rule asks of its past, if it does.
fn past_of(check: &Check) -> Option<&Past> {
    match &check.ask {
        Ask::Past(past) => Some(past),
        _ => None,
    }
}

impl Memory {
    /// The memory of rules, if one of them has any.
    pub(super) fn of(spec: &ChecksSpec) -> Option<Self> {
        let mut memory = Self {
            verdicts: HashMap::new(),
        };
        let mut any = false;
        for (at, check) in spec.checks.iter().enumerate() {
            if let Some(past) = past_of(check) {
                any = true;
                for earlier in &past.earlier {
                    memory.add(
                        (at, past),
                        &earlier.segment,
                        earlier.end,
                        earlier.values.clone(),
                    );
                }
            }
        }
        any.then_some(memory)
    }

    fn add(
        &mut self,
        (at, past): (usize, &Past),
        segment: &Option<String>,
        end: i64,
        values: Vec<Option<f64>>,
    ) {
        let most = past.terms.iter().map(|term| term.back).max().unwrap_or(0) + SLACK;
        let verdicts = self.verdicts.entry((at, segment.clone())).or_default();
        verdicts.insert(end, values);
        while verdicts.len() > most {
            verdicts.pop_first();
        }
    }

    /// Rows of measures with what was before each of them, and remembers them.
    pub(super) fn recall(
        &mut self,
        spec: &ChecksSpec,
        (at, past): (usize, &Past),
        rows: &RecordBatch,
        now: i64,
    ) -> Result<RecordBatch> {
        let count = rows.num_rows();
        let measured = past.terms.iter().map(|term| floats(rows, term.measure));
        let measured = measured.collect::<Result<Vec<_>>>()?;
        let ends = match spec.window {
            Some((_, end)) => times(rows, end)?,
            None => vec![None; count],
        };
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_key(|row| ends.get(*row).copied().flatten());
        let mut recalled = vec![vec![None; count]; past.terms.len()];
        for row in order {
            let segment = segment(spec, rows, row);
            let verdicts = self.verdicts.get(&(at, segment.clone()));
            let end = match ends.get(row).copied().flatten() {
                Some(end) => end,
                // Verdicts without a window are in the order in which they come.
                None => {
                    let last = verdicts.and_then(|verdicts| verdicts.last_key_value());
                    last.map_or(now, |(last, _)| now.max(last + 1))
                }
            };
            for ((number, term), recalled) in past.terms.iter().enumerate().zip(&mut recalled) {
                let before = verdicts
                    .into_iter()
                    .flat_map(|verdicts| verdicts.range(..end).rev());
                let before = before.map(|(_, values)| values.get(number).copied().flatten());
                if let Some(place) = recalled.get_mut(row) {
                    *place = term.of(before);
                }
            }
            let values = measured
                .iter()
                .map(|values| values.get(row).copied().flatten());
            self.add((at, past), &segment, end, values.collect());
        }
        extended(rows, past, recalled)
    }

    /// Bytes that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        self.verdicts
            .values()
            .map(|verdicts| verdicts.len() * VERDICT_BYTES)
            .sum()
    }

    /// All of it, for a checkpoint.
    pub(super) fn state(&self, spec: &ChecksSpec, format: Format) -> Result<RecordBatch> {
        let (mut rules, mut versions, mut segments) = (Vec::new(), Vec::new(), Vec::new());
        let (mut ends, mut numbers, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for ((at, segment), verdicts) in &self.verdicts {
            let Some(check) = spec.checks.get(*at) else {
                continue;
            };
            for (end, measured) in verdicts {
                for (number, value) in measured.iter().enumerate() {
                    rules.push(check.name.clone());
                    versions.push(version_of(&check.text));
                    segments.push(segment.clone());
                    ends.push(*end);
                    numbers.push(number as i64);
                    values.push(*value);
                }
            }
        }
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("rule", Arc::new(StringArray::from(rules))),
            ("version", Arc::new(StringArray::from(versions))),
            ("segment", Arc::new(StringArray::from(segments))),
            ("end", Arc::new(Int64Array::from(ends))),
            ("term", Arc::new(Int64Array::from(numbers))),
            ("value", Arc::new(Float64Array::from(values))),
        ];
        let fields = columns
            .iter()
            .map(|(name, column)| Arc::new(Field::new(*name, column.data_type().clone(), true)));
        let schema = format.schema(PAST, fields.collect());
        let columns = columns.into_iter().map(|(_, column)| column).collect();
        Ok(RecordBatch::try_new(schema, columns)?)
    }

    /// Takes what [`Self::state`] gave in place of what it began with.
    pub(super) fn restore(&mut self, spec: &ChecksSpec, batch: &RecordBatch) -> Result<()> {
        let wrong = || unreadable("what rules have measured is none".to_owned());
        let [rules, versions, segments, ends, numbers, values] = batch.columns() else {
            return Err(wrong());
        };
        let text = |column: &ArrayRef| column.as_string_opt::<i32>().cloned();
        let whole = |column: &ArrayRef| column.as_primitive_opt::<Int64Type>().cloned();
        let (Some(rules), Some(versions), Some(segments)) =
            (text(rules), text(versions), text(segments))
        else {
            return Err(wrong());
        };
        let values = values.as_primitive_opt::<Float64Type>();
        let (Some(ends), Some(numbers), Some(values)) = (whole(ends), whole(numbers), values)
        else {
            return Err(wrong());
        };
        let mut restored: HashMap<(usize, Option<String>), Verdicts> = HashMap::new();
        for row in 0..batch.num_rows() {
            let known = spec.checks.iter().position(|check| {
                check.name == rules.value(row) && version_of(&check.text) == versions.value(row)
            });
            let Some((at, past)) = known.and_then(|at| Some((at, past_of(spec.checks.get(at)?)?)))
            else {
                continue;
            };
            let segment = segments
                .is_valid(row)
                .then(|| segments.value(row).to_owned());
            let verdict = restored
                .entry((at, segment))
                .or_default()
                .entry(ends.value(row));
            let verdict = verdict.or_insert_with(|| vec![None; past.terms.len()]);
            if let Some(place) = verdict.get_mut(numbers.value(row) as usize) {
                *place = values.is_valid(row).then(|| values.value(row));
            }
        }
        let rules: Vec<usize> = restored.keys().map(|(at, _)| *at).collect();
        self.verdicts.retain(|(at, _), _| !rules.contains(at));
        self.verdicts.extend(restored);
        Ok(())
    }
}

fn floats(rows: &RecordBatch, at: usize) -> Result<Vec<Option<f64>>> {
    let column = rows.columns().get(at);
    let column = column.ok_or_else(|| Error::internal("a measure is not there"))?;
    if matches!(column.data_type(), DataType::Duration(_)) {
        // In seconds, as `extract(epoch FROM ..)` has them.
        let micros = cast(column, &DataType::Duration(TimeUnit::Microsecond))?;
        let micros = cast(&micros, &DataType::Int64)?;
        let micros = micros.as_primitive::<Int64Type>().iter();
        return Ok(micros.map(|value| Some(value? as f64 / 1e6)).collect());
    }
    let values = cast(column, &DataType::Float64)?;
    Ok(values.as_primitive::<Float64Type>().iter().collect())
}

/// Rows with the terms behind them.
fn extended(
    rows: &RecordBatch,
    past: &Past,
    recalled: Vec<Vec<Option<f64>>>,
) -> Result<RecordBatch> {
    let mut fields = rows.schema_ref().fields().to_vec();
    let mut columns = rows.columns().to_vec();
    for (term, values) in past.terms.iter().zip(recalled) {
        fields.push(Arc::new(Field::new(&term.name, DataType::Float64, true)));
        columns.push(Arc::new(Float64Array::from(values)));
    }
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}

/// Whether the expression is true, of rows that have their past behind them.
pub(super) fn truths(past: &Past, rows: &RecordBatch) -> Result<ArrayRef> {
    let width = rows.num_columns();
    let terms = width.saturating_sub(past.terms.len())..width;
    let inputs: Vec<usize> = past.inputs.iter().copied().chain(terms).collect();
    let inputs = rows.project(&inputs)?;
    Ok(past.truth.evaluate(&inputs)?.into_array(rows.num_rows())?)
}
