//! What the rules of a table say of a batch: per rule, the rows that break it and those for which it
//! has no answer. No bitmap is made where there is no such row.

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::record_batch::RecordBatch;

use super::rule::Rule;
use crate::error::{Error, Result};

/// What one rule says of a batch.
#[derive(Debug, Clone, Default)]
pub(super) struct Verdict {
    /// Rows that it is about and has an answer for.
    pub(super) evaluated: u64,
    /// The rows that break it; `None` if none does.
    pub(super) violated: Option<BooleanBuffer>,
    /// The rows that it is about and has no answer for.
    pub(super) unknown: Option<BooleanBuffer>,
}

impl Verdict {
    /// Asks a rule about the rows of a batch.
    pub(super) fn of(rule: &Rule, batch: &RecordBatch) -> Result<Self> {
        let told = |error: Error| match error.detail_text() {
            None => error.detail(format!("rule \"{}\" can't be computed of a row", rule.name)),
            Some(_) => error,
        };
        Self::asked(rule, batch).map_err(told)
    }

    fn asked(rule: &Rule, batch: &RecordBatch) -> Result<Self> {
        let rows = batch.num_rows();
        let Some(when) = &rule.when else {
            let answer = rule.expect.evaluate(batch)?.into_array(rows)?;
            return Self::read(rule, truth(&answer)?, None);
        };
        let when = when.evaluate(batch)?.into_array(rows)?;
        let applies = is_true(truth(&when)?);
        match applies.count_set_bits() {
            0 => Ok(Self::default()),
            all if all == rows => {
                let answer = rule.expect.evaluate(batch)?.into_array(rows)?;
                Self::read(rule, truth(&answer)?, None)
            }
            _ => {
                // The condition guards the expression: it is computed for no other row.
                let selection = BooleanArray::new(applies.clone(), None);
                let answer = rule.expect.evaluate_selection(batch, &selection)?;
                let answer = answer.into_array(rows)?;
                Self::read(rule, truth(&answer)?, Some(&applies))
            }
        }
    }

    /// What was found out otherwise: of the rows that the rule is about those with an answer, and those
    /// that break it.
    pub(super) fn found(
        rule: &Rule,
        about: &BooleanBuffer,
        known: BooleanBuffer,
        broken: BooleanBuffer,
    ) -> Self {
        let unknown = about & &!&known;
        let (violated, evaluated) = match rule.unknown_violates {
            true => (&broken | &unknown, about.count_set_bits()),
            false => (broken, known.count_set_bits()),
        };
        Self {
            evaluated: evaluated as u64,
            violated: some(violated),
            unknown: some(unknown),
        }
    }

    fn read(rule: &Rule, answer: &BooleanArray, applies: Option<&BooleanBuffer>) -> Result<Self> {
        let about = applies.map_or(answer.len(), BooleanBuffer::count_set_bits);
        let among = |bits: BooleanBuffer| match applies {
            Some(applies) => &bits & applies,
            None => bits,
        };
        let broken = !answer.values();
        let (broken, unknown) = match answer.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => (among(broken), None),
            Some(nulls) => {
                let unknown = some(among(!nulls.inner()));
                (among(&broken & nulls.inner()), unknown)
            }
        };
        let open = unknown.as_ref().map_or(0, BooleanBuffer::count_set_bits);
        let (violated, answered) = match &unknown {
            Some(unknown) if rule.unknown_violates => (&broken | unknown, about),
            _ => (broken, about - open),
        };
        Ok(Self {
            evaluated: answered as u64,
            violated: some(violated),
            unknown,
        })
    }
}

fn some(bits: BooleanBuffer) -> Option<BooleanBuffer> {
    (bits.count_set_bits() > 0).then_some(bits)
}

pub(super) fn truth(array: &dyn Array) -> Result<&BooleanArray> {
    array
        .as_boolean_opt()
        .ok_or_else(|| Error::internal("a rule gave no truth values"))
}

/// The rows for which it is neither false nor null.
pub(super) fn is_true(array: &BooleanArray) -> BooleanBuffer {
    match array.nulls() {
        Some(nulls) => array.values() & nulls.inner(),
        None => array.values().clone(),
    }
}
