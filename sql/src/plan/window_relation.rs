//! Plans `FROM TUMBLE(...)`, `HOP(...)`, `CUMULATE(...)` and `SESSION(...)`: checks the arguments, each error at
//! its place, and makes the logical node.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, Result as DfResult, ScalarValue};
use datafusion::datasource::source_as_provider;
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
use weir_engine::options::{parse_duration, unknown};
use weir_engine::window::{WindowKind, WindowSpec};

use super::errors::place_of;
use super::window_function::{Function, micros};
use super::window_table::{WINDOW_END, WINDOW_START, WindowTableNode, Windowing};
use crate::catalog::source::SourceTable;

/// Takes the window table functions out of DataFusion's hands.
#[derive(Debug)]
pub(crate) struct WindowRelations;

/// A call as it stands in the script.
pub(super) struct Call {
    pub(super) function: Function,
    pub(super) place: Option<Place>,
    arguments: Vec<FunctionArg>,
    /// What stands in `WITH (...)` behind it.
    pub(super) options: Vec<SqlExpr>,
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
            let known = ["tumble", "hop", "cumulate", "session", "detect_anomalies"].into_iter();
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
            with_hints,
            ..
        } = &relation
            && let Some(function) = Function::find(name)
        {
            return Ok(Self {
                function,
                place: place_of(name.span()),
                arguments: args.args.clone(),
                options: with_hints.clone(),
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
                        options: Vec::new(),
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
        let [table, rest @ ..] = arguments.as_slice() else {
            return Err(self.count_error(count).at(self.place).into());
        };
        let (time, rest) = match rest.split_first() {
            Some((first, lengths)) if is_time(first) => (Some(*first), lengths),
            _ => (None, rest),
        };
        if rest.len() < names.len() || rest.len() > names.len() + self.function.more_max() {
            return Err(self.count_error(count).at(self.place).into());
        }
        let input = context.plan(self.table(table)?)?;
        let column = match time {
            Some(time) => self.time_column(time, &input, context)?,
            None => self.watermark_column(&input)?,
        };
        let windowing = self.windowing(rest, &input, context)?;
        let lateness = self.lateness(context)?;
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
        let node = WindowTableNode::try_new(input, column, windowing, lateness)?;
        Ok(LogicalPlan::Extension(Extension {
            node: Arc::new(node),
        }))
    }

    fn count_error(&self, count: usize) -> Error {
        let wanted = self.function.intervals().len() + 2;
        let wanted = match self.function {
            Function::Session => format!("{wanted} or more"),
            _ => format!("{wanted} or {}", wanted + 1),
        };
        let name = self.function.name();
        self.wrong(format!("{name} takes {wanted} arguments, not {count}"))
    }

    /// What stands behind the time column: lengths, then an offset or the keys of sessions.
    fn windowing(
        &self,
        rest: &[&SqlExpr],
        input: &LogicalPlan,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<Windowing> {
        if self.function == Function::Session {
            let Some((gap, keys)) = rest.split_first() else {
                return Err(self.count_error(2).at(self.place).into());
            };
            let length = self.interval(gap, "gap", context)?;
            if length <= 0 {
                return Err(self
                    .wrong("the gap of SESSION must be longer than nothing")
                    .at(place_of(gap.span()).or(self.place))
                    .into());
            }
            let keys = keys
                .iter()
                .map(|key| self.column(key, "a key", input, context));
            let keys = keys.collect::<DfResult<Vec<_>>>()?;
            return Ok(Windowing::Session { gap: length, keys });
        }
        let names = self.function.intervals().iter().copied().chain(["offset"]);
        let lengths = rest
            .iter()
            .zip(names)
            .map(|(expr, what)| self.interval(expr, what, context))
            .collect::<DfResult<Vec<_>>>()?;
        let place = rest.first().and_then(|e| place_of(e.span())).or(self.place);
        let spec = self.spec(&lengths).map_err(|error| error.at(place))?;
        Ok(Windowing::Fixed(spec))
    }

    /// The first argument: a table's name, `TABLE(name)` or a query in parentheses.
    fn table(&self, expr: &SqlExpr) -> Result<TableFactor> {
        table_of(expr).ok_or_else(|| self.table_error(expr))
    }

    fn table_error(&self, expr: &SqlExpr) -> Error {
        self.wrong(format!(
            "the first argument of {} must be a table, a view or a query in parentheses",
            self.function.name()
        ))
        .at(place_of(expr.span()).or(self.place))
    }

    /// The column of the watermark of a source, for a call that names no time.
    fn watermark_column(&self, input: &LogicalPlan) -> Result<Column> {
        let found = watermark_of(input).filter(|column| input.schema().has_column(column));
        found.ok_or_else(|| {
            let name = self.function.name();
            let message =
                format!("{name} has no time, and its table is no source with a watermark");
            self.wrong(message).at(self.place)
        })
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
        let column = self.column(expr, "the time", input, context)?;
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

    /// A column by its name.
    fn column(
        &self,
        expr: &SqlExpr,
        what: &str,
        input: &LogicalPlan,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<Column> {
        let is_name = matches!(
            expr,
            SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_)
        );
        if is_name
            && let Expr::Column(column) = context.sql_to_expr(expr.clone(), input.schema())?
        {
            return Ok(column);
        }
        let name = self.function.name();
        Err(self
            .wrong(format!("{what} of {name} must be a column"))
            .at(place_of(expr.span()).or(self.place))
            .into())
    }

    /// A constant interval in microseconds.
    pub(super) fn interval(
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
        let value = match &value {
            // '5m' is a length too.
            ScalarValue::Utf8(Some(text)) => match parse_duration(text) {
                Some(length) => return Ok(i64::try_from(length.as_micros()).unwrap_or(i64::MAX)),
                None => value,
            },
            _ => value,
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

/// Whether an argument names a column, and no length.
fn is_time(expr: &SqlExpr) -> bool {
    !matches!(
        expr,
        SqlExpr::Interval(_) | SqlExpr::Value(_) | SqlExpr::BinaryOp { .. }
    )
}

/// The column of the watermark, where a plan is a source under its name.
fn watermark_of(plan: &LogicalPlan) -> Option<Column> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => {
            let column = watermark_of(&alias.input)?;
            Some(Column::new(Some(alias.alias.clone()), column.name))
        }
        LogicalPlan::TableScan(scan) => {
            let provider = source_as_provider(&scan.source).ok()?;
            let source = provider.downcast_ref::<SourceTable>()?;
            let name = source.watermark()?.name.clone();
            Some(Column::new(Some(scan.table_name.clone()), name))
        }
        _ => None,
    }
}

/// The table that an argument names: a table's name, `TABLE(name)` or a query in parentheses.
pub(super) fn table_of(expr: &SqlExpr) -> Option<TableFactor> {
    let named = |idents: Vec<Ident>| table_factor(ObjectName::from(idents));
    match expr {
        SqlExpr::Identifier(ident) => Some(named(vec![ident.clone()])),
        SqlExpr::CompoundIdentifier(idents) => Some(named(idents.clone())),
        SqlExpr::Subquery(query) => Some(TableFactor::Derived {
            lateral: false,
            subquery: query.clone(),
            alias: None,
            sample: None,
        }),
        SqlExpr::Function(call) if call.name.to_string().eq_ignore_ascii_case("table") => {
            table_of(single_argument(&call.args)?)
        }
        SqlExpr::Nested(inner) => table_of(inner),
        _ => None,
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
