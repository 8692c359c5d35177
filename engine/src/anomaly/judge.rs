//! Rows in order, and what comes of them: their columns with the verdicts behind.

use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::record_batch::RecordBatch;
use weir_anomaly::Model;

use super::feedback::{Said, id_of};
use super::program::Program;
use super::verdict::VerdictBuilder;
use crate::error::Result;

/// Where the models of keys are.
pub(super) trait Lookup {
    /// The model of the key with these bytes.
    fn model(&mut self, key: &[u8]) -> Result<&mut Model>;
}

/// Judges rows in the order in which they stand. Rows without a time go on without a verdict.
pub(super) fn judge(
    program: &Program,
    rows: &RecordBatch,
    times: &Int64Array,
    (models, said): (&mut impl Lookup, &[Said]),
) -> Result<RecordBatch> {
    let count = rows.num_rows();
    let keys = match &program.keys {
        Some(codec) => Some(codec.encode(&program.keys(rows)?)?),
        None => None,
    };
    let values = program.values(rows)?;
    let mut verdicts = VerdictBuilder::new(&program.names, count);
    let mut buffer = Vec::with_capacity(program.names.len());
    for (row, time) in times.iter().enumerate() {
        let Some(time) = time else {
            verdicts.push(None, None)?;
            continue;
        };
        let key = keys.as_ref().map(|keys| keys.row(row));
        let key = key.as_ref().map_or(&[][..], |key| key.data());
        let model = models.model(key)?;
        let verdict = values.observe(model, time, row, &mut buffer);
        let id = verdict.is_anomaly.then(|| {
            let key = program.key_of(key);
            // What was said of it in an earlier run is known as soon as it is told again.
            let known = said
                .iter()
                .filter(|said| (said.key, said.mark) == (key, verdict.mark));
            for said in known {
                model.feedback(said.mark, said.feedback, said.at);
            }
            id_of(key, &verdict)
        });
        verdicts.push(Some(&verdict), id)?;
    }
    let mut columns = rows.columns().to_vec();
    columns.push(verdicts.finish()?);
    Ok(RecordBatch::try_new(Arc::clone(&program.schema), columns)?)
}
