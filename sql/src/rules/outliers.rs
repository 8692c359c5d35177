//! Plans `NO OUTLIERS`: its column has to be a number.

use std::sync::Arc;

use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Expr, cast};
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::options::unknown;
use weir_engine::rules::keyed::{Ask, Far};

use super::planning::Ruled;
use crate::ast::Name;
use crate::plan::Planner;

/// What the rule asks of the values of a column.
pub(super) fn ask(
    planner: &Planner,
    ruled: &Ruled<'_>,
    column: &Name,
    (last, far): (usize, Far),
) -> Result<Ask> {
    let Ok(field) = ruled.schema.field_with_name(&column.text) else {
        let known = ruled
            .schema
            .fields()
            .iter()
            .map(|field| field.name().as_str());
        return Err(unknown(codes::UNKNOWN_COLUMN, "column", &column.text, known).at(column.place));
    };
    if !field.data_type().is_numeric() {
        let message = format!("\"{}\" is {}, not a number", column.text, field.data_type());
        return Err(Error::new(Kind::Invalid, codes::TYPE, message)
            .hint("NO OUTLIERS compares a number with those before it")
            .at(column.place));
    }
    let schema = DFSchema::try_from(Arc::clone(ruled.schema))?;
    let value = Expr::Column(Column::new_unqualified(&column.text));
    let value = cast(value, arrow::datatypes::DataType::Float64);
    Ok(Ask::Outliers {
        value: planner.compile(value, &schema)?,
        last,
        far,
    })
}
