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
    /// Bytes in memory.
    pub bytes: Option<usize>,
    /// How many values are null.
    pub nulls: Option<usize>,
    /// The least and the greatest value.
    pub range: Option<(ScalarValue, ScalarValue)>,
}

impl Estimate {
    /// The same of columns that are computed from these.
    pub(crate) fn project(&self, columns: &[(Arc<dyn PhysicalExpr>, FieldRef)]) -> Self {
        let computed = columns.iter().map(|(expr, field)| {
            let column = expr.downcast_ref::<Column>();
            let known = column.and_then(|column| self.columns.get(column.index()));
            let mut known = known.cloned().unwrap_or_default();
            let width = field.data_type().primitive_width();
            known.bytes = width.map(|width| self.rows.saturating_mul(width));
            known
        });
        Self {
            rows: self.rows,
            columns: computed.collect(),
        }
    }

    /// What DataFusion is told.
    pub(crate) fn statistics(&self) -> Statistics {
        let known = |value: Option<usize>| value.map_or(Precision::Absent, Precision::Inexact);
        let columns = self.columns.iter().map(|column| ColumnStatistics {
            null_count: known(column.nulls),
            distinct_count: known(column.distinct_max().filter(|most| *most < self.rows)),
            byte_size: known(column.bytes),
            ..ColumnStatistics::new_unknown()
        });
        let bytes = self.columns.iter().try_fold(0, |sum: usize, column| {
            Some(sum.saturating_add(column.bytes?))
        });
        Statistics {
            num_rows: Precision::Inexact(self.rows),
            total_byte_size: known(bytes),
            column_statistics: columns.collect(),
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

    fn column(bytes: usize, range: Option<(ScalarValue, ScalarValue)>) -> ColumnEstimate {
        ColumnEstimate {
            bytes: Some(bytes),
            nulls: Some(1),
            range,
        }
    }

    #[test]
    fn nothing_is_exact_and_no_value_is_told() {
        let range = Some((ScalarValue::from(3i64), ScalarValue::from(3i64)));
        let estimate = Estimate {
            rows: 10,
            columns: vec![column(80, range)],
        };
        let told = estimate.statistics();
        assert_eq!(told, told.clone().to_inexact());
        assert_eq!(told.num_rows, Precision::Inexact(10));
        assert_eq!(told.total_byte_size, Precision::Inexact(80));
        let column = &told.column_statistics[0];
        assert_eq!(column.min_value, Precision::Absent);
        assert_eq!(column.max_value, Precision::Absent);
        assert_eq!(column.distinct_count, Precision::Inexact(1));
    }

    #[test]
    fn whole_numbers_and_days_have_as_many_values_as_lie_between() {
        let most = |least: ScalarValue, greatest: ScalarValue| {
            column(0, Some((least, greatest))).distinct_max()
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
    fn computed_columns_keep_their_width_only() {
        let estimate = Estimate {
            rows: 10,
            columns: vec![column(7, None), column(100, None)],
        };
        let field = |data_type| Arc::new(Field::new("c", data_type, true));
        let columns: Vec<(Arc<dyn PhysicalExpr>, FieldRef)> = vec![
            (Arc::new(Column::new("b", 1)), field(DataType::Utf8)),
            (Arc::new(Column::new("a", 0)), field(DataType::Int64)),
            (lit(1i32), field(DataType::Int32)),
            (lit("x"), field(DataType::Utf8)),
        ];
        let projected = estimate.project(&columns);
        let bytes: Vec<_> = projected.columns.iter().map(|c| c.bytes).collect();
        assert_eq!(bytes, [Some(100), Some(80), Some(40), None]);
        assert_eq!(projected.statistics().total_byte_size, Precision::Absent);
    }
}
