//! What the rules of a stage remember, in batches: the form of checkpoints and of the disk.
//!
//! Each batch is of one part: the keys that a rule has lost, those that it has kept with what it
//! remembers of them, or rows that wait for their turn.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::fingerprint::{WIDTH, column, hash_of, numbers};
use super::memory::{Memory, Saved};
use crate::error::Result;
use crate::key_group::KeyGroups;
use crate::operator::StateBatches;
use crate::updating::Format;
use crate::updating::state::unreadable;

pub(super) const FORMAT: Format = Format {
    name: "weir.rules.keyed",
    version: "1",
};
/// Rows that wait for the watermark.
pub(super) const WAITING: &str = "waiting";
/// What earlier checkpoints have of such rows holds no more.
pub(super) const NONE_WAIT: &str = "none-wait";
const GONE: &str = "gone-";
const KEPT: &str = "kept-";

/// What a batch of state is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Gone(usize),
    Kept(usize),
    Waiting,
    NoneWait,
}

impl Part {
    pub(super) fn of(batch: &RecordBatch) -> Result<Self> {
        let name = FORMAT.part(batch)?;
        let rule = |prefix: &str| name.strip_prefix(prefix)?.parse::<usize>().ok();
        match (rule(GONE), rule(KEPT), name) {
            (Some(rule), _, _) => Ok(Self::Gone(rule)),
            (_, Some(rule), _) => Ok(Self::Kept(rule)),
            (_, _, WAITING) => Ok(Self::Waiting),
            (_, _, NONE_WAIT) => Ok(Self::NoneWait),
            (_, _, other) => Err(unreadable(format!("it has an unknown part, \"{other}\""))),
        }
    }
}

/// The batches of all rules; they are made on the thread that takes them.
pub(super) fn save(memories: &mut [Box<dyn Memory>], all: bool, rows_max: usize) -> StateBatches {
    let mut batches: StateBatches = Box::new(std::iter::empty());
    for (rule, memory) in memories.iter_mut().enumerate() {
        batches = Box::new(batches.chain(of_rule(rule, memory.save(all), rows_max)));
    }
    batches
}

/// The batches of one rule.
pub(super) fn of_rule(
    rule: usize,
    saved: Saved,
    rows_max: usize,
) -> impl Iterator<Item = Result<RecordBatch>> + Send {
    let Saved { gone, keys, values } = saved;
    let chunks = |count: usize| (0..count.div_ceil(rows_max)).map(move |n| n * rows_max);
    let kept = chunks(keys.len());
    let gone = chunks(gone.len()).map(move |from| {
        let keys = gone.iter().skip(from).take(rows_max).copied();
        let keys: ArrayRef = Arc::new(column(keys)?);
        Ok(RecordBatch::try_new(
            schema(&format!("{GONE}{rule}"), &[]),
            vec![keys],
        )?)
    });
    let kept = kept.map(move |from| {
        let some = keys.iter().skip(from).take(rows_max).copied();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(column(some)?)];
        columns.extend(values.columns(from, rows_max)?);
        let schema = schema(&format!("{KEPT}{rule}"), &values.types());
        Ok(RecordBatch::try_new(schema, columns)?)
    });
    gone.chain(kept)
}

fn schema(part: &str, types: &[DataType]) -> SchemaRef {
    let mut fields = vec![Arc::new(Field::new(
        "_key",
        DataType::FixedSizeBinary(WIDTH),
        false,
    ))];
    let values = types.iter().enumerate();
    fields
        .extend(values.map(|(at, t)| Arc::new(Field::new(format!("_value{at}"), t.clone(), true))));
    FORMAT.schema(part, fields)
}

/// The hashes of the keys of a batch of a rule's state.
pub(super) fn hashes(batch: &RecordBatch) -> Result<Vec<u64>> {
    Ok(keys(batch)?.into_iter().map(hash_of).collect())
}

/// Gives a batch back to the rule that it is of, as far as its keys are of these groups.
pub(super) fn restore(
    memory: &mut dyn Memory,
    batch: &RecordBatch,
    kept: bool,
    groups: &KeyGroups,
) -> Result<()> {
    let all = keys(batch)?;
    let holds = |key: &u128| groups.holds(hash_of(*key));
    let mask: arrow::array::BooleanArray = all.iter().map(|key| Some(holds(key))).collect();
    let found: Vec<u128> = all.into_iter().filter(holds).collect();
    if !kept {
        memory.lose(&found);
        return Ok(());
    }
    let values = batch.columns().iter().skip(1);
    let values = values.map(|column| Ok(arrow::compute::filter(column, &mask)?));
    let values = values.collect::<Result<Vec<_>>>()?;
    memory.restore(&found, &values)
}

fn keys(batch: &RecordBatch) -> Result<Vec<u128>> {
    match batch.columns().first() {
        Some(keys) => numbers(keys),
        None => Err(unreadable("a rule's keys are missing".to_owned())),
    }
}
