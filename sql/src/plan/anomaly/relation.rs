//! Plans `FROM DETECT_ANOMALIES(TABLE t, time_col => DESCRIPTOR(ts), cols => ARRAY['a'], group_by => ARRAY['k'], ...)`:
//! the table's columns, then what the verdict says, each as a column.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::Result as DfResult;
use datafusion::functions::core::expr_ext::FieldAccessor;
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName,
    ObjectNamePart, Spanned, TableFactor, Value,
};
use weir_engine::anomaly::{ANOMALY_ID, data_type};
use weir_engine::error::{Error, Kind, Place, Result, codes};

use super::extract::name_of;
use super::node::{AnomalyNode, Judging};
use crate::anomaly::options::Options;
use crate::anomaly::{FUNCTION, TABLE_FUNCTION};
use crate::parse::anomaly::set;
use crate::plan::errors::place_of;
use crate::plan::window_relation::table_of;

const FORM: &str = "write DETECT_ANOMALIES(TABLE t, time_col => DESCRIPTOR(time), \
                    cols => ARRAY['value'], group_by => ARRAY['key'], method => 'auto')";

/// Takes the table function out of DataFusion's hands.
#[derive(Debug)]
pub(in crate::plan) struct Detections;

impl RelationPlanner for Detections {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<RelationPlanning> {
        match &relation {
            TableFactor::Table {
                name,
                args: Some(args),
                alias,
                ..
            } if is_detections(name) => {
                let alias = alias.clone();
                let place = place_of(name.span());
                let call = Call::read(&args.args, place)?;
                let plan = call.plan(context)?;
                let planned = PlannedRelation::new(plan, alias);
                Ok(RelationPlanning::Planned(Box::new(planned)))
            }
            _ => Ok(RelationPlanning::Original(Box::new(relation))),
        }
    }
}

fn is_detections(name: &ObjectName) -> bool {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => ident.value.eq_ignore_ascii_case(TABLE_FUNCTION),
        _ => false,
    }
}

/// A call as it stands in the script.
struct Call {
    place: Option<Place>,
    table: TableFactor,
    time: SqlExpr,
    columns: Vec<SqlExpr>,
    keys: Vec<SqlExpr>,
    options: Options,
}

impl Call {
    fn read(arguments: &[FunctionArg], place: Option<Place>) -> Result<Self> {
        let (mut table, mut time) = (None, None);
        let (mut columns, mut keys, mut options) = (Vec::new(), Vec::new(), Options::default());
        for argument in arguments {
            let at = place_of(argument.span()).or(place);
            match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) if table.is_none() => {
                    let found = table_of(expr);
                    let message = "the first argument of DETECT_ANOMALIES must be a table, a view \
                                   or a query in parentheses";
                    table = Some(found.ok_or_else(|| wrong(message).at(at))?);
                }
                FunctionArg::Named { name, arg, .. } => {
                    let FunctionArgExpr::Expr(expr) = arg else {
                        return Err(wrong(format!("{name} must be a value")).at(at));
                    };
                    match name.value.to_lowercase().as_str() {
                        "time_col" => time = one(columns_of(expr)),
                        "cols" => columns = columns_of(expr),
                        "group_by" => keys = columns_of(expr),
                        _ => set(&mut options, name, arg)?,
                    }
                }
                other => {
                    let message = format!("DETECT_ANOMALIES takes no argument of the form {other}");
                    return Err(wrong(message).at(at));
                }
            }
        }
        let missing = |what: &str| wrong(format!("DETECT_ANOMALIES needs {what}")).at(place);
        if columns.is_empty() {
            return Err(missing("cols: the columns that are judged"));
        }
        Ok(Self {
            place,
            table: table.ok_or_else(|| missing("a table"))?,
            time: time.ok_or_else(|| missing("time_col: the column of time"))?,
            columns,
            keys,
            options,
        })
    }

    fn plan(self, context: &mut dyn RelationPlannerContext) -> DfResult<LogicalPlan> {
        let input = context.plan(self.table)?;
        let schema = Arc::clone(input.schema());
        let DataType::Struct(fields) = data_type() else {
            return Err(Error::internal("a verdict is no struct").into());
        };
        let taken = fields
            .iter()
            .filter(|field| field.name() != ANOMALY_ID)
            .find(|field| schema.has_column_with_unqualified_name(field.name()));
        if let Some(taken) = taken {
            let message = format!(
                "the table in DETECT_ANOMALIES has a column \"{}\" already",
                taken.name()
            );
            let hint = format!(
                "give it another name: DETECT_ANOMALIES((SELECT {} AS other, ... FROM t), ...)",
                taken.name()
            );
            let error = Error::new(Kind::Invalid, codes::ANOMALY, message).hint(hint);
            return Err(error.at(self.place).into());
        }
        let mut columns = |exprs: Vec<SqlExpr>| -> DfResult<Vec<Expr>> {
            let exprs = exprs.into_iter();
            exprs
                .map(|expr| context.sql_to_expr(expr, &schema))
                .collect()
        };
        let values = columns(self.columns)?;
        let judging = Judging {
            values: values.into_iter().map(|e| (name_of(&e), e)).collect(),
            partition: columns(self.keys)?,
            order: columns(vec![self.time])?
                .into_iter()
                .map(|time| Sort::new(time, true, false))
                .collect(),
            options: self.options.to_text(),
            refers: self.options.refers(),
        };
        let rows = input.schema().columns().into_iter().map(Expr::Column);
        let rows: Vec<Expr> = rows.collect();
        // Its fields are the columns that are seen.
        let mut name = FUNCTION.to_owned();
        while schema.has_column_with_unqualified_name(&name) {
            name.push('_');
        }
        let node = AnomalyNode::plan(input, judging, name.clone());
        let node = node.map_err(|error| at(error, self.place))?;
        let verdict = datafusion::logical_expr::ident(name);
        // A table may well have an id, and nobody gives feedback on what has no model.
        let said = fields.iter().filter(|field| field.name() != ANOMALY_ID);
        let said = said.map(|field| {
            verdict
                .clone()
                .field(field.name().as_str())
                .alias(field.name())
        });
        LogicalPlanBuilder::from(LogicalPlan::Extension(Extension {
            node: Arc::new(node),
        }))
        .project(rows.into_iter().chain(said))?
        .build()
    }
}

/// Gives an error of Weir's a place, if it has none.
fn at(
    error: datafusion::common::DataFusionError,
    place: Option<Place>,
) -> datafusion::common::DataFusionError {
    Error::from(error).at(place).into()
}

/// The columns that an argument names: `a`, `'a'`, `ARRAY['a', 'b']`, `DESCRIPTOR(a, b)`.
fn columns_of(expr: &SqlExpr) -> Vec<SqlExpr> {
    match expr {
        SqlExpr::Nested(inner) => columns_of(inner),
        SqlExpr::Array(array) => array.elem.iter().flat_map(columns_of).collect(),
        SqlExpr::Tuple(parts) => parts.iter().flat_map(columns_of).collect(),
        SqlExpr::Function(call) if call.name.to_string().eq_ignore_ascii_case("descriptor") => {
            let FunctionArguments::List(list) = &call.args else {
                return Vec::new();
            };
            let exprs = list.args.iter().filter_map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                _ => None,
            });
            exprs.flat_map(columns_of).collect()
        }
        SqlExpr::Value(value) => match &value.value {
            Value::SingleQuotedString(name) => vec![SqlExpr::Identifier(Ident {
                value: name.clone(),
                quote_style: Some('"'),
                span: value.span,
            })],
            _ => vec![expr.clone()],
        },
        other => vec![other.clone()],
    }
}

fn one(mut columns: Vec<SqlExpr>) -> Option<SqlExpr> {
    match columns.len() {
        1 => columns.pop(),
        _ => None,
    }
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, codes::ANOMALY, message).hint(FORM)
}
