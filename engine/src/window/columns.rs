//! Computes the columns of a batch that an aggregation reads.

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::expressions::Literal;

use super::aggregate::Phase;
use super::program::Program;
use crate::error::{Error, Result};

/// Computes columns; keeps those of constants, such as the 1 of `count(*)`, from batch to batch.
#[derive(Debug, Clone, Default)]
pub(super) struct Evaluator {
    constants: Vec<Option<ArrayRef>>,
}

impl Evaluator {
    /// The columns of a batch, in an order that brings the rows of a pane together.
    pub(super) fn columns(
        &mut self,
        program: &Program,
        batch: &RecordBatch,
        order: Option<&UInt32Array>,
    ) -> Result<Vec<ArrayRef>> {
        if program.phase == Phase::Final {
            let states = batch.columns().iter().skip(program.ids());
            return states.map(|column| reorder(column, order)).collect();
        }
        self.constants.resize(program.exprs.len(), None);
        let rows = batch.num_rows();
        let mut columns = Vec::with_capacity(program.exprs.len());
        for (expr, constant) in program.exprs.iter().zip(&mut self.constants) {
            if !(**expr).is::<Literal>() {
                columns.push(reorder(&expr.evaluate(batch)?.into_array(rows)?, order)?);
                continue;
            }
            let known = match constant {
                Some(known) if known.len() >= rows => known,
                _ => constant.insert(expr.evaluate(batch)?.into_array(rows)?),
            };
            columns.push(known.slice(0, order.map_or(rows, |o| o.values().len())));
        }
        Ok(columns)
    }
}

fn reorder(column: &ArrayRef, order: Option<&UInt32Array>) -> Result<ArrayRef> {
    Ok(match order {
        Some(order) => take(column, order, None)?,
        None => ArrayRef::clone(column),
    })
}

/// Gives a column the type that its schema declares: accumulators differ from it at most in the
/// names within nested types, or in the width of offsets.
pub(super) fn fit(column: ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    if column.data_type() == data_type {
        return Ok(column);
    }
    cast(&column, data_type).map_err(|error| {
        Error::internal(format!(
            "an aggregate gave {} for {data_type}",
            column.data_type()
        ))
        .caused_by(error)
    })
}
