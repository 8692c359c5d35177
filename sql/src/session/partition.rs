//! `partition_by = 'date(ts), status'`: the expressions become columns of the query.

use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, ObjectNamePart, SelectItem};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use weir_engine::error::{Error, Kind, Place, Result, codes};

use crate::catalog::create_sink::SinkTable;
use crate::plan::Planner;

/// Appends the partition columns that the query has not yet, and names them all.
pub(super) fn append(
    planner: &Planner,
    plan: LogicalPlan,
    sink: &SinkTable,
) -> Result<(LogicalPlan, Vec<String>)> {
    let Some(option) = &sink.partition_by else {
        return Ok((plan, Vec::new()));
    };
    let place = option.place.or(Some(sink.place));
    let mut names = Vec::new();
    let mut exprs: Vec<Expr> = plan
        .schema()
        .columns()
        .into_iter()
        .map(Expr::Column)
        .collect();
    let existing = exprs.len();
    for item in parse(&option.text, place)? {
        let (sql, alias) = match item {
            SelectItem::UnnamedExpr(sql) => (sql, None),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias.value)),
            other => {
                return Err(wrong(format!("'{other}' is not an expression"), place));
            }
        };
        // The places in the option's text are not those of the script.
        let planned = planner
            .expr(&sql, plan.schema(), None)
            .map_err(|error| moved(&error, place))?;
        if let (Expr::Column(column), None) = (&planned, &alias) {
            names.push(column.name.clone());
            continue;
        }
        let name = match alias.or_else(|| own_name(&sql)) {
            Some(name) => name,
            None => {
                return Err(wrong(format!("'{sql}' needs a name"), place)
                    .hint(format!("write {sql} AS name")));
            }
        };
        if plan
            .schema()
            .fields()
            .iter()
            .any(|field| *field.name() == name)
            || names.contains(&name)
        {
            return Err(
                wrong(format!("there is a column \"{name}\" already"), place)
                    .hint(format!("write {sql} AS another_name")),
            );
        }
        exprs.push(planned.alias(&name));
        names.push(name);
    }
    if exprs.len() == existing {
        return Ok((plan, names));
    }
    let plan = LogicalPlanBuilder::from(plan).project(exprs)?.build()?;
    Ok((plan, names))
}

/// The same error at the option.
fn moved(error: &Error, place: Option<Place>) -> Error {
    let mut moved = Error::new(error.kind(), error.code(), error.message()).at(place);
    if let Some(detail) = error.detail_text() {
        moved = moved.detail(detail);
    }
    match error.hint_text() {
        Some(hint) => moved.hint(hint),
        None => moved,
    }
}

fn wrong(why: String, place: Option<Place>) -> Error {
    Error::new(
        Kind::Invalid,
        codes::OPTION,
        format!("option \"partition_by\": {why}"),
    )
    .at(place)
}

fn parse(text: &str, place: Option<Place>) -> Result<Vec<SelectItem>> {
    let dialect = PostgreSqlDialect {};
    let parsed = Parser::new(&dialect)
        .try_with_sql(text)
        .and_then(|mut parser| {
            let items = parser.parse_comma_separated(Parser::parse_select_item)?;
            parser.expect_token(&Token::EOF)?;
            Ok(items)
        });
    parsed.map_err(|error| {
        let error = error.to_string();
        let error = error.strip_prefix("sql parser error: ").unwrap_or(&error);
        Error::new(
            Kind::Invalid,
            codes::OPTION,
            "option \"partition_by\" is not a list of expressions",
        )
        .detail(error)
        .hint("partition_by = 'date(ts), status'")
        .at(place)
    })
}

/// The name of a call is that of its function.
fn own_name(sql: &SqlExpr) -> Option<String> {
    match sql {
        SqlExpr::Function(call) => match call.name.0.last() {
            Some(ObjectNamePart::Identifier(ident)) => Some(ident.value.to_lowercase()),
            _ => None,
        },
        SqlExpr::Nested(inner) => own_name(inner),
        _ => None,
    }
}
