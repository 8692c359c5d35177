//! Plans `FROM TUMBLE(...)`, `HOP(...)` and `CUMULATE(...)`: checks the arguments, each error at
//! its place, and makes the logical node.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, Result as DfResult};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Spanned,
    TableAlias, TableFactor,
};
use weir_engine::error::{Error, Kind, Place, Result, codes};
use weir_engine::options::unknown;
use weir_engine::window::{WindowKind, WindowSpec};

use super::errors::place_of;
use super::window_function::{Function, micros};
use super::window_table::{WINDOW_END, WINDOW_START, WindowTableNode};

/// Takes the window table functions out of DataFusion's hands.
#[derive(Debug)]
pub(crate) struct WindowRelations;

/// A call as it stands in the script.
struct Call {
    function: Function,
    place: Option<Place>,
    arguments: Vec<FunctionArg>,
    alias: Option<TableAlias>,
}

impl RelationPlanner for WindowRelations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<RelationPlanning> {
        if let TableFactor::Table {
            name,
            args: Some(_),
            ..
        } = &relation
            && Function::find(name).is_none()
        {
            let known = ["tumble", "hop", "cumulate"].into_iter();
            let found = name.to_string();
            let error = unknown(codes::UNKNOWN_FUNCTION, "table function", &found, known);
            return Err(error.at(place_of(name.span())).into());
        }
        let call = match Call::find(relation) {
            Ok(call) => call,
            Err(other) => return Ok(RelationPlanning::Original(other)),
        };
        let alias = call.alias.clone();
        let plan = call.plan(context)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(
            plan, alias,
        ))))
    }
}

impl Call {
    /// Finds a call, plain or within Flink's `TABLE(...)`; gives other relations back.
    fn find(relation: TableFactor) -> std::result::Result<Self, Box<TableFactor>> {
        if let TableFactor::Table {
            name,
            alias,
            args: Some(args),
            ..
        } = &relation
            && let Some(function) = Function::find(name)
        {
            return Ok(Self {
                function,
                place: place_of(name.span()),
                arguments: args.args.clone(),
                alias: alias.clone(),
            });
        }
        match relation {
            TableFactor::TableFunction {
                expr: SqlExpr::Function(call),
                alias,
            } => {
                let place = place_of(call.name.span());
                match (Function::find(&call.name), call.args) {
                    (Some(function), FunctionArguments::List(list)) => Ok(Self {
                        function,
                        place,
                        arguments: list.args,
                        alias,
                    }),
                    (_, args) => Err(Box::new(TableFactor::TableFunction {
                        expr: SqlExpr::Function(datafusion::sql::sqlparser::ast::Function {
                            args,
                            ..call
                        }),
                        alias,
                    })),
                }
            }
            other => Err(Box::new(other)),
        }
    }

    fn wrong(&self, message: impl Into<String>) -> Error {
        Error::new(Kind::Invalid, codes::WINDOW, message)
            .hint(format!("write {}", self.function.form()))
    }

    fn plan(self, context: &mut dyn RelationPlannerContext) -> DfResult<LogicalPlan> {
        if self.function == Function::Session {
            return Err(Error::new(
                Kind::Invalid,
                codes::UNSUPPORTED,
                "SESSION windows are not supported yet",
            )
            .hint("use TUMBLE, HOP or CUMULATE")
            .at(self.place)
            .into());
        }
        let name = self.function.name();
        let mut arguments = Vec::with_capacity(self.arguments.len());
        for argument in &self.arguments {
            match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => arguments.push(expr),
                other => {
                    return Err(self
                        .wrong(format!("{name} takes no argument of the form {other}"))
                        .at(place_of(other.span()).or(self.place))
                        .into());
                }
            }
        }
        let names = self.function.intervals();
        let count = arguments.len();
        let [table, time, intervals @ ..] = arguments.as_slice() else {
            return Err(self.count_error(count).at(self.place).into());
        };
        if intervals.len() < names.len() || intervals.len() > names.len() + 1 {
            return Err(self.count_error(count).at(self.place).into());
        }
        let input = context.plan(self.table(table)?)?;
        let column = self.time_column(time, &input, context)?;
        let mut lengths = Vec::with_capacity(intervals.len());
        for (expr, what) in intervals
            .iter()
            .zip(names.iter().copied().chain(["offset"]))
        {
            lengths.push(self.interval(expr, what, context)?);
        }
        let place = intervals
            .first()
            .and_then(|e| place_of(e.span()))
            .or(self.place);
        let spec = self.spec(&lengths).map_err(|error| error.at(place))?;
        for taken in [WINDOW_START, WINDOW_END] {
            if input
                .schema()
                .fields()
                .iter()
                .any(|field| field.name() == taken)
            {
                return Err(Error::new(
                    Kind::Invalid,
                    codes::WINDOW,
                    format!("the table in {name} has a column \"{taken}\" already"),
                )
                .hint(format!(
                    "give it another name: SELECT {taken} AS other, ..."
                ))
                .at(self.place)
                .into());
            }
        }
        let node = WindowTableNode::try_new(input, column, spec)?;
        Ok(LogicalPlan::Extension(Extension {
            node: Arc::new(node),
        }))
    }

    fn count_error(&self, count: usize) -> Error {
        let wanted = self.function.intervals().len() + 2;
        self.wrong(format!(
            "{} takes {wanted} or {} arguments, not {count}",
            self.function.name(),
            wanted + 1
        ))
    }

    /// The first argument: a table's name, `TABLE(name)` or a query in parentheses.
    fn table(&self, expr: &SqlExpr) -> Result<TableFactor> {
        let named = |idents: Vec<Ident>| table_factor(ObjectName::from(idents));
        match expr {
            SqlExpr::Identifier(ident) => Ok(named(vec![ident.clone()])),
            SqlExpr::CompoundIdentifier(idents) => Ok(named(idents.clone())),
            SqlExpr::Subquery(query) => Ok(TableFactor::Derived {
                lateral: false,
                subquery: query.clone(),
                alias: None,
                sample: None,
            }),
            SqlExpr::Function(call) if call.name.to_string().eq_ignore_ascii_case("table") => {
                match single_argument(&call.args) {
                    Some(inner) => self.table(inner),
                    None => Err(self.table_error(expr)),
                }
            }
            SqlExpr::Nested(inner) => self.table(inner),
            _ => Err(self.table_error(expr)),
        }
    }

    fn table_error(&self, expr: &SqlExpr) -> Error {
        self.wrong(format!(
            "the first argument of {} must be a table, a view or a query in parentheses",
            self.function.name()
        ))
        .at(place_of(expr.span()).or(self.place))
    }

    /// The second argument: a column, or `DESCRIPTOR(column)`.
    fn time_column(
        &self,
        expr: &SqlExpr,
        input: &LogicalPlan,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<Column> {
        let expr = match expr {
            SqlExpr::Function(call) if call.name.to_string().eq_ignore_ascii_case("descriptor") => {
                single_argument(&call.args).unwrap_or(expr)
            }
            other => other,
        };
        let place = place_of(expr.span()).or(self.place);
        if !matches!(
            expr,
            SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_)
        ) {
            return Err(self
                .wrong(format!(
                    "the time of {} must be a column",
                    self.function.name()
                ))
                .at(place)
                .into());
        }
        let Expr::Column(column) = context.sql_to_expr(expr.clone(), input.schema())? else {
            return Err(self
                .wrong(format!(
                    "the time of {} must be a column",
                    self.function.name()
                ))
                .at(place)
                .into());
        };
        let (_, field) = input.schema().qualified_field_from_column(&column)?;
        if !matches!(field.data_type(), DataType::Timestamp(..)) {
            return Err(Error::new(
                Kind::Invalid,
                codes::WINDOW,
                format!(
                    "the time of {} must be a timestamp, but \"{}\" is {}",
                    self.function.name(),
                    field.name(),
                    field.data_type()
                ),
            )
            .hint("add a computed column to the source: name TIMESTAMP AS (CAST(...))")
            .at(place)
            .into());
        }
        Ok(column)
    }

    /// A constant interval in microseconds.
    fn interval(
        &self,
        expr: &SqlExpr,
        what: &str,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<i64> {
        let place = place_of(expr.span()).or(self.place);
        let name = self.function.name();
        let planned = context.sql_to_expr(expr.clone(), &DFSchema::empty())?;
        let simplifier = ExprSimplifier::new(SimplifyContext::builder().build());
        let value = match simplifier.simplify(planned) {
            Ok(Expr::Literal(value, _)) => value,
            _ => {
                return Err(self
                    .wrong(format!("the {what} of {name} must be a constant interval"))
                    .at(place)
                    .into());
            }
        };
        micros(&value).map_err(|why| {
            self.wrong(format!("the {what} of {name} {why}"))
                .at(place)
                .into()
        })
    }

    fn spec(&self, lengths: &[i64]) -> Result<WindowSpec> {
        let (kind, offset) = match (self.function, lengths) {
            (Function::Hop, [slide, size, offset @ ..]) => (
                WindowKind::Hop {
                    slide: *slide,
                    size: *size,
                },
                offset,
            ),
            (Function::Cumulate, [step, size, offset @ ..]) => (
                WindowKind::Cumulate {
                    step: *step,
                    size: *size,
                },
                offset,
            ),
            (_, [size, offset @ ..]) => (WindowKind::Tumble { size: *size }, offset),
            (_, []) => return Err(self.count_error(2)),
        };
        WindowSpec::new(kind, offset.first().copied().unwrap_or(0))
    }
}

fn single_argument(arguments: &FunctionArguments) -> Option<&SqlExpr> {
    let FunctionArguments::List(list) = arguments else {
        return None;
    };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))] => Some(expr),
        _ => None,
    }
}

fn table_factor(name: ObjectName) -> TableFactor {
    TableFactor::Table {
        name,
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}
