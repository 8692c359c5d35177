//! A ruled view within another query: the rows that the view shows.
//!
//! The view itself judges its rows, counts them and keeps the bad ones. A query that reads it
//! computes its rows anew, and leaves out, repairs or fails on the same ones.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::not;
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility, lit, when,
};
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::rules::Action;

use super::Planned;

/// The rows of a view's plan that its rules let through. Those over more than one row are left out: a view
/// of which they keep rows back is not read, see [`withheld`].
pub(crate) fn published(view: &str, plan: LogicalPlan, rules: &[Planned]) -> Result<LogicalPlan> {
    let single = |rule: &&Planned| rule.rule.is_single();
    let any = |wanted: fn(&Action) -> bool| {
        let chosen = rules.iter().filter(single);
        let chosen = chosen.filter(|rule| rule.rule.acts() && wanted(&rule.rule.action));
        chosen
            .map(broken)
            .try_fold(None, |all: Option<Expr>, next| {
                let next = next?;
                Ok::<_, Error>(Some(match all {
                    Some(all) => all.or(next),
                    None => next,
                }))
            })
    };
    let kept_back = any(|action| matches!(action, Action::Drop | Action::Quarantine(_)))?;
    let fails = any(|action| matches!(action, Action::Fail))?;
    let columns = plan.schema().columns();
    let mut builder = LogicalPlanBuilder::from(plan);
    if kept_back.is_some() || fails.is_some() {
        let arguments = vec![kept_back.unwrap_or(lit(false)), fails.unwrap_or(lit(false))];
        let function = ScalarUDF::from(Published::of(view));
        let call = ScalarFunction::new_udf(Arc::new(function), arguments);
        builder = builder.filter(Expr::ScalarFunction(call))?;
    }
    let sets = rules.iter().filter(single);
    let sets = sets.filter(|rule| rule.rule.acts() && !rule.set.is_empty());
    let sets: Vec<&Planned> = sets.collect();
    if sets.is_empty() {
        return Ok(builder.build()?);
    }
    let mut exprs = Vec::new();
    for column in columns {
        let name = column.name.clone();
        let mut value = Expr::Column(column);
        for rule in &sets {
            let new = rule.set.iter().find(|(set, _)| *set == name);
            if let Some((_, new)) = new {
                value = when(broken(rule)?, new.clone()).otherwise(value)?;
            }
        }
        exprs.push(value.alias(name));
    }
    Ok(builder.project(exprs)?.build()?)
}

/// The name of a rule because of which a view cannot be read: it changes what the view shows, by the
/// order in which rows come or by which of them come together, and a query that computes them anew has them
/// otherwise.
pub(crate) fn withheld(rules: &[Planned]) -> Option<&str> {
    let withholds = |rule: &&Planned| match &rule.rule.gate {
        // The job ends with the rows that they fail.
        Some(gate) => gate.quarantines(),
        None => rule.rule.keyed.is_some() && !matches!(rule.rule.action, Action::Warn),
    };
    let mut acting = rules.iter().filter(|rule| rule.rule.acts());
    let found = acting.find(withholds);
    found.map(|rule| rule.rule.name.as_str())
}

/// Whether a row breaks a rule; never null.
fn broken(rule: &Planned) -> Result<Expr> {
    let expect = rule.expect.clone();
    let broken = match rule.rule.unknown_violates {
        true => expect.is_not_true(),
        false => expect.is_false(),
    };
    match &rule.when {
        Some(about) => Ok(when(about.clone(), broken).otherwise(lit(false))?),
        None => Ok(broken),
    }
}

/// Whether a row of a view is shown, by whether it is kept back and whether it fails the view. It
/// counts as volatile, so that it stays where it is: the plan of the view below it is left alone.
#[derive(Debug)]
struct Published {
    view: String,
    signature: Signature,
}

impl Published {
    fn of(view: &str) -> Self {
        let arguments = vec![DataType::Boolean, DataType::Boolean];
        Self {
            view: view.to_owned(),
            signature: Signature::exact(arguments, Volatility::Volatile),
        }
    }
}

impl PartialEq for Published {
    fn eq(&self, other: &Self) -> bool {
        self.view == other.view
    }
}

impl Eq for Published {}

impl Hash for Published {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.view.hash(state);
    }
}

impl ScalarUDFImpl for Published {
    fn name(&self) -> &'static str {
        "published"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let rows = args.number_rows;
        let mut arrays = args.args.into_iter().map(|value| value.into_array(rows));
        let (Some(kept_back), Some(fails)) = (arrays.next(), arrays.next()) else {
            return Err(DataFusionError::Internal(
                "published takes two arguments".to_owned(),
            ));
        };
        let (kept_back, fails) = (kept_back?, fails?);
        if truth(&fails)?.true_count() > 0 {
            let message = format!(
                "a row of \"{}\" breaks a rule that fails the update",
                self.view
            );
            let error = Error::new(Kind::Data, codes::RULE_BROKEN, message);
            return Err(error.into());
        }
        Ok(ColumnarValue::Array(Arc::new(not(truth(&kept_back)?)?)))
    }
}

fn truth(array: &dyn Array) -> DfResult<&BooleanArray> {
    let found = array.as_boolean_opt();
    found.ok_or_else(|| DataFusionError::Internal("no truth values".to_owned()))
}
