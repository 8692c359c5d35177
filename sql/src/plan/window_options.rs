//! The options of a window table function: `TUMBLE(...) WITH (allowed_lateness = '1 minute')`.

use datafusion::common::Result as DfResult;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr as SqlExpr, Spanned};
use weir_engine::error::{Error, Kind, codes};
use weir_engine::options::{parse_duration, unknown};

use super::errors::place_of;
use super::window_relation::Call;

/// The option that lets windows take late rows in.
const LATENESS: &str = "allowed_lateness";

impl Call {
    /// `WITH (allowed_lateness = '1 minute')`, in microseconds.
    pub(super) fn lateness(&self, context: &mut dyn RelationPlannerContext) -> DfResult<i64> {
        let mut given = None;
        for option in &self.options {
            let place = place_of(option.span()).or(self.place);
            let SqlExpr::BinaryOp {
                left,
                op: BinaryOperator::Eq,
                right,
            } = option
            else {
                let error = self.option_error(format!("'{option}' is not an option"));
                return Err(error.at(place).into());
            };
            let name = left.to_string().to_lowercase();
            if name != LATENESS {
                let error = unknown(
                    codes::UNKNOWN_OPTION,
                    "option",
                    &name,
                    [LATENESS].into_iter(),
                );
                return Err(error.at(place).into());
            }
            let length = match &**right {
                SqlExpr::Value(value) => value
                    .value
                    .clone()
                    .into_string()
                    .and_then(|text| parse_duration(&text))
                    .and_then(|time| i64::try_from(time.as_micros()).ok())
                    .ok_or_else(|| {
                        let what = format!("{LATENESS}: {right} is not a time span");
                        self.option_error(what).at(place)
                    })?,
                other => self.interval(other, LATENESS, context)?,
            };
            if length < 0 || given.replace(length).is_some() {
                let error = self.option_error(format!("{LATENESS} must be one time span"));
                return Err(error.at(place).into());
            }
        }
        Ok(given.unwrap_or(0))
    }

    fn option_error(&self, message: String) -> Error {
        Error::new(Kind::Invalid, codes::WINDOW, message).hint(format!(
            "write {}(...) WITH ({LATENESS} = '1 minute')",
            self.function.name()
        ))
    }
}
