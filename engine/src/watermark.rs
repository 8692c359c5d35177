//! Which row of a batch decides its watermark: where the expression only shifts a column by a
//! constant, the row with the extreme of that column does, and the expression is evaluated once.
//! (Interval arithmetic on every row took half of the time of a windowed count.)

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow::record_batch::RecordBatch;
use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, Column, Literal};
use std::sync::Arc;

/// Which end of the rows is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The latest row.
    High,
    /// The earliest row.
    Low,
}

/// The column that an expression shifts by a constant, if that is all it does.
fn shifted_column(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    if let Some(column) = expr.downcast_ref::<Column>() {
        return Some(column.index());
    }
    let binary = expr.downcast_ref::<BinaryExpr>()?;
    let shifts = matches!(binary.op(), Operator::Minus | Operator::Plus)
        && binary.right().downcast_ref::<Literal>().is_some();
    if shifts {
        shifted_column(binary.left())
    } else {
        None
    }
}

/// The part of a batch that decides its watermark: one row, or the whole batch where the
/// expression is more than a shift.
pub(crate) fn deciding_rows(
    expr: &Arc<dyn PhysicalExpr>,
    batch: &RecordBatch,
    end: End,
) -> RecordBatch {
    let row = shifted_column(expr)
        .and_then(|column| batch.columns().get(column))
        .and_then(|array| extreme(array, end));
    row.map_or_else(|| batch.clone(), |row| batch.slice(row, 1))
}

/// The row of the extreme of a timestamp column; `None` for other types and for nulls alone.
fn extreme(array: &Arc<dyn Array>, end: End) -> Option<usize> {
    macro_rules! find {
        ($kind:ty) => {{
            let array = array.as_primitive::<$kind>();
            let best = match end {
                End::High => arrow::compute::max(array),
                End::Low => arrow::compute::min(array),
            }?;
            // Rows come about in time order: the search starts where the extreme is likely to be.
            let row = match end {
                End::High => array.values().iter().rposition(|value| *value == best),
                End::Low => array.values().iter().position(|value| *value == best),
            }?;
            // A null slot may hold the same bits: then the whole batch decides.
            array.is_valid(row).then_some(row)
        }};
    }
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => find!(TimestampSecondType),
        DataType::Timestamp(TimeUnit::Millisecond, _) => find!(TimestampMillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => find!(TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => find!(TimestampNanosecondType),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, TimestampMicrosecondArray};
    use datafusion_physical_expr::expressions::{binary, col, lit};

    use super::*;

    fn batch(times: Vec<Option<i64>>) -> RecordBatch {
        let rows = times.len() as i64;
        let ts: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times));
        let v: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        RecordBatch::try_from_iter_with_nullable([("ts", ts, true), ("v", v, true)]).unwrap()
    }

    fn rows(batch: &RecordBatch, expr: &Arc<dyn PhysicalExpr>, end: End) -> Vec<i64> {
        let part = deciding_rows(expr, batch, end);
        let v = part.column(1).as_primitive::<arrow::datatypes::Int64Type>();
        v.values().to_vec()
    }

    #[test]
    fn a_shift_is_decided_by_one_row() {
        let batch = batch(vec![None, Some(5), Some(9), Some(-3), Some(9)]);
        let schema = batch.schema();
        let ts = col("ts", &schema).unwrap();
        assert_eq!(rows(&batch, &ts, End::High), [4]);
        assert_eq!(rows(&batch, &ts, End::Low), [3]);
        let second = lit(datafusion_common::ScalarValue::new_interval_mdn(
            0,
            0,
            1_000_000_000,
        ));
        let shifted = binary(ts, Operator::Minus, second, &schema).unwrap();
        assert_eq!(rows(&batch, &shifted, End::High), [4]);
    }

    #[test]
    fn all_rows_decide_where_it_is_more_than_a_shift_or_a_null_hides_the_value() {
        let plain = batch(vec![Some(5), Some(9)]);
        let schema = plain.schema();
        let twice = binary(
            col("v", &schema).unwrap(),
            Operator::Multiply,
            lit(2_i64),
            &schema,
        )
        .unwrap();
        assert_eq!(rows(&plain, &twice, End::High), [0, 1]);
        // The slot of a null holds 0 here, which is the minimum of the others too.
        let hidden = batch(vec![None, Some(0), Some(7)]);
        let ts = col("ts", &hidden.schema()).unwrap();
        assert_eq!(rows(&hidden, &ts, End::Low), [0, 1, 2]);
        let nulls = batch(vec![None, None]);
        assert_eq!(rows(&nulls, &ts, End::High), [0, 1]);
    }
}
