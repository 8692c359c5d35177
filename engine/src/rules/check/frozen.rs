//! What rules compare with, in a checkpoint: it was frozen when the job started first, and stays so.

use std::sync::Arc;

use arrow::array::{AsArray, BinaryArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field};

use super::ChecksSpec;
use crate::error::Result;
use crate::updating::Format;
use crate::updating::state::unreadable;

/// The part of the state.
pub(super) const BASELINES: &str = "baselines";

/// What the rules compare with, for a checkpoint; `None` if they don't.
pub(super) fn state(spec: &ChecksSpec, of: &Format) -> Result<Option<RecordBatch>> {
    if spec.baselines.is_empty() {
        return Ok(None);
    }
    let fields = vec![
        Arc::new(Field::new("name", DataType::Utf8, false)),
        Arc::new(Field::new("value", DataType::Binary, false)),
    ];
    let names = spec.baselines.iter().map(|baseline| baseline.name());
    let values = spec.baselines.iter().map(|baseline| baseline.get());
    let values = values.collect::<Result<Vec<_>>>()?;
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(names)),
        Arc::new(BinaryArray::from_iter_values(values)),
    ];
    let schema = of.schema(BASELINES, fields);
    Ok(Some(RecordBatch::try_new(schema, columns)?))
}

/// Goes on with what [`state`] gave: not with what there is now.
pub(super) fn restore(spec: &ChecksSpec, batch: &RecordBatch) -> Result<()> {
    let columns = batch.columns();
    let names = columns
        .first()
        .and_then(|names| names.as_string_opt::<i32>());
    let values = columns
        .get(1)
        .and_then(|values| values.as_binary_opt::<i32>());
    let (Some(names), Some(values)) = (names, values) else {
        return Err(unreadable("what rules compare with is none".to_owned()));
    };
    for (name, value) in names.iter().zip(values) {
        let known = spec.baselines.iter().find(|b| Some(b.name()) == name);
        if let (Some(baseline), Some(value)) = (known, value) {
            baseline.set(value.into());
        }
    }
    Ok(())
}
