//! How much a source holds, as far as it can be told before it is read: what DataFusion chooses the
//! sides of joins and the number of partitions by.
//!
//! A wrong estimate makes a plan slow, never wrong. So there is nothing exact in
//! [`Estimate::statistics`], and no least or greatest value either: DataFusion concludes from these
//! that a filter lets through one value or none, which a file that has changed since, or a NaN that
//! no footer tells of, would disprove.

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion_common::stats::Precision;
use datafusion_common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;

/// What is known of a source's rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Estimate {
    /// How many there are.
    pub rows: usize,
    /// Of each column that was asked about.
    pub columns: Vec<ColumnEstimate>,
}

/// What is known of a column.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ColumnEstimate {
    /// How many values are null.
    pub nulls: Option<usize>,
    /// The least and the greatest value.
    pub range: Option<(ScalarValue, ScalarValue)>,
}

impl Estimate {
    /// What DataFusion is told of columns that are computed from these. Bytes are told of values of one
    /// width: it takes them before the rows where it knows both, and those of texts misled it.
    pub(crate) fn statistics(&self, columns: &[(Arc<dyn PhysicalExpr>, FieldRef)]) -> Statistics {
        let told = |value: Option<usize>| value.map_or(Precision::Absent, Precision::Inexact);
        let statistics = columns.iter().map(|(expr, field)| {
            let column = expr.downcast_ref::<Column>();
            let known = column.and_then(|column| self.columns.get(column.index()));
            let distinct = known.and_then(ColumnEstimate::distinct_max);
            let width = field.data_type().primitive_width();
            ColumnStatistics {
                null_count: told(known.and_then(|known| known.nulls)),
                distinct_count: told(distinct.filter(|most| *most < self.rows)),
                byte_size: told(width.map(|width| self.rows.saturating_mul(width))),
                ..ColumnStatistics::new_unknown()
            }
        });
        let statistics: Vec<_> = statistics.collect();
        let bytes = statistics.iter().try_fold(0, |sum: usize, column| {
            Some(sum.saturating_add(*column.byte_size.get_value()?))
        });
        Statistics {
            num_rows: Precision::Inexact(self.rows),
            total_byte_size: told(bytes),
            column_statistics: statistics,
        }
    }
}

impl ColumnEstimate {
    /// As many values as there can be between the least and the greatest.
    fn distinct_max(&self) -> Option<usize> {
        let (least, greatest) = self.range.as_ref()?;
        let counts = least.data_type().is_integer() || matches!(least, ScalarValue::Date32(_));
        let between = counts.then(|| greatest.distance(least)).flatten()?;
        Some(between.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};
    use datafusion_physical_expr::expressions::lit;

    use super::*;

    type Output = (Arc<dyn PhysicalExpr>, FieldRef);

    fn column(range: Option<(ScalarValue, ScalarValue)>) -> ColumnEstimate {
        let nulls = Some(1);
        ColumnEstimate { nulls, range }
    }

    fn output(expr: Arc<dyn PhysicalExpr>, data_type: DataType) -> Output {
        (expr, Arc::new(Field::new("c", data_type, true)))
    }

    #[test]
    fn nothing_is_exact_and_no_value_is_told() {
        let range = Some((ScalarValue::from(3i64), ScalarValue::from(3i64)));
        let estimate = Estimate {
            rows: 10,
            columns: vec![column(range)],
        };
        let told = estimate.statistics(&[output(Arc::new(Column::new("a", 0)), DataType::Int64)]);
        assert_eq!(told, told.clone().to_inexact());
        assert_eq!(told.num_rows, Precision::Inexact(10));
        assert_eq!(told.total_byte_size, Precision::Inexact(80));
        let column = &told.column_statistics[0];
        assert_eq!(column.min_value, Precision::Absent);
        assert_eq!(column.max_value, Precision::Absent);
        assert_eq!(column.null_count, Precision::Inexact(1));
        assert_eq!(column.distinct_count, Precision::Inexact(1));
    }

    #[test]
    fn whole_numbers_and_days_have_as_many_values_as_lie_between() {
        let most = |least: ScalarValue, greatest: ScalarValue| {
            column(Some((least, greatest))).distinct_max()
        };
        assert_eq!(most((-2i32).into(), 7i32.into()), Some(10));
        let day = |day| ScalarValue::Date32(Some(day));
        assert_eq!(most(day(1), day(3)), Some(3));
        assert_eq!(most(1.0f64.into(), 2.0f64.into()), None);
        assert_eq!(most(ScalarValue::Int64(None), 1i64.into()), None);
        let all = most(i64::MIN.into(), i64::MAX.into());
        assert_eq!(all, Some(usize::MAX));
    }

    #[test]
    fn computed_columns_have_their_width_and_nothing_else() {
        let estimate = Estimate {
            rows: 10,
            columns: vec![column(None), column(None)],
        };
        let told = estimate.statistics(&[
            output(Arc::new(Column::new("b", 1)), DataType::Utf8),
            output(Arc::new(Column::new("a", 0)), DataType::Int64),
            output(lit(1i32), DataType::Int32),
            output(lit("x"), DataType::Utf8),
        ]);
        let columns = told.column_statistics.iter();
        let told_of: Vec<_> = columns.map(|c| (c.byte_size, c.null_count)).collect();
        let (none, of) = (Precision::Absent, Precision::Inexact);
        assert_eq!(
            told_of,
            [(none, of(1)), (of(80), of(1)), (of(40), none), (none, none)]
        );
        assert_eq!(told.total_byte_size, none);
    }
}
