//! The query of rules that are measured together.

use arrow::datatypes::DataType;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, Query, SetExpr, Spanned, Value,
};
use weir_engine::error::{Error, Kind, Place, Result, codes};
use weir_engine::rules::{Ask, Check, version_of};

use super::against::{both, difference};
use super::measures::{Columns, arrives, base, time_of};
use super::{CheckPlan, Checked, THIS, ask, check_clauses, last};
use crate::ast::{Constraint, Expectation, Name, Scope};
use crate::parse::skeleton::{self, quoted};
use crate::plan::errors::place_of;
use crate::plan::{Planner, mixed};
use crate::rules::of_set;
use crate::rules::text::scope_text;

/// Rules that one query measures.
pub(super) struct Group<'a> {
    pub(super) rules: Vec<&'a Constraint>,
}

/// What a query is made of.
struct Parts {
    columns: Columns,
    from: String,
    keys: Vec<String>,
}

impl<'a> Group<'a> {
    pub(super) fn of(rule: &'a Constraint) -> Self {
        Self { rules: vec![rule] }
    }

    /// Whether a rule is measured by the same query.
    pub(super) fn takes(&self, rule: &Constraint) -> bool {
        let same = |first: &Constraint| {
            !is_alone(first)
                && !is_alone(rule)
                && scope_of(first) == scope_of(rule)
                && scope_text(first) == scope_text(rule)
                && base(first) == base(rule)
                && names(&first.per) == names(&rule.per)
                && first.when.as_ref().map(ToString::to_string)
                    == rule.when.as_ref().map(ToString::to_string)
        };
        self.rules.first().is_some_and(|first| same(first))
    }

    /// Names what the rules of the group have in common: its state is found again by it.
    fn id(&self, first: &Constraint) -> String {
        if is_alone(first) {
            return first.name.text.clone();
        }
        let when = first.when.as_ref().map(ToString::to_string);
        let per = names(&first.per).join(",");
        let scope = match arrives(first) {
            true => format!("{} arrivals", scope_of(first)),
            false => scope_of(first).to_owned(),
        };
        let text = format!("{} ({per}) {}", scope_text(first), when.unwrap_or_default());
        format!("{scope} {}", version_of(&text))
    }

    /// Says of the rule of a set where the set is used: the rule is that before the place of the error.
    pub(super) fn told(&self, error: Error) -> Error {
        let place = error.place();
        let before = self.rules.iter().filter(|rule| Some(rule.place) <= place);
        let rule = before.max_by_key(|rule| rule.place);
        match rule.or(self.rules.first()) {
            Some(rule) => of_set(error, rule),
            None => error,
        }
    }

    /// Plans the query.
    pub(super) fn plan(&self, planner: &Planner, table: &Checked<'_>) -> Result<CheckPlan> {
        let Some(first) = self.rules.first() else {
            return Err(Error::internal("a query of no rule"));
        };
        if last::is_measured(first) {
            return last::plan(planner, table, first);
        }
        let mut parts = self.parts(first, table)?;
        let segments = first.per.len();
        let windowed = parts.keys.len() > segments;
        let mut checks = Vec::new();
        for rule in &self.rules {
            checks.push(ask::check(planner, table, rule, &mut parts.columns)?);
        }
        let place = first.place;
        let plan = self.run(planner, table, &parts, first)?;
        for check in &checks {
            check_truth(check, &plan, &self.rules, 0)?;
        }
        let is_normal = matches!(first.expectation, Expectation::Normal { .. });
        let every = match &first.scope {
            // A model learns from what is there.
            Some(Scope::Every(length)) if !is_normal => {
                let length = planner.interval(length, place)?;
                if length <= 0 {
                    let error = Error::new(Kind::Invalid, codes::RULE, "EVERY needs a time");
                    return Err(error.at(Some(place)));
                }
                Some((length, of_nothing(planner, table, &parts, first)?))
            }
            _ => None,
        };
        Ok(CheckPlan {
            id: self.id(first),
            scope: scope_of(first),
            by_batch: matches!(first.scope, Some(Scope::Batch)),
            plan,
            segments,
            windowed,
            last: None,
            every,
            checks,
            place,
        })
    }

    /// The table, windows and keys of the query.
    fn parts(&self, first: &Constraint, table: &Checked<'_>) -> Result<Parts> {
        let mut columns = Columns::default();
        let mut keys: Vec<String> = first.per.iter().map(|name| quoted(&name.text)).collect();
        for (name, key) in first.per.iter().zip(&keys) {
            columns.push(skeleton::expression(key, &[])?, &name.text);
        }
        let this = quoted(base(first));
        let mut from = this.clone();
        let window = match &first.scope {
            Some(Scope::Window {
                function,
                column,
                lengths,
            }) => Some((
                *function,
                time_of(first, table, &column.text),
                lengths.clone(),
            )),
            Some(Scope::Every(length)) => {
                let time = table.time.unwrap_or_default();
                let time = time_of(first, table, time);
                Some(("tumble", time, vec![length.as_ref().clone()]))
            }
            _ => None,
        };
        if let Some((function, time, lengths)) = window {
            let mut lengths: Vec<String> = lengths.iter().map(ToString::to_string).collect();
            if function == "session" {
                // The rows of other segments don't keep a session open.
                lengths.extend(keys.iter().cloned());
            }
            let time = quoted(time);
            let lengths = lengths.join(", ");
            from = format!("{function}({this}, DESCRIPTOR({time}), {lengths})");
            for bound in ["window_start", "window_end"] {
                columns.push(skeleton::expression(bound, &[])?, bound);
                keys.push(bound.to_owned());
            }
        }
        if let Expectation::NoRows(query) = &first.expectation {
            from = format!("({query})");
        }
        if let Expectation::SameRows { table: other, key } = &first.expectation {
            from = format!("({})", difference(table, other, key)?);
        }
        if let Expectation::Equals { right, .. } = &first.expectation {
            from = right.to_string();
        }
        Ok(Parts {
            columns,
            from,
            keys,
        })
    }

    fn run(
        &self,
        planner: &Planner,
        table: &Checked<'_>,
        parts: &Parts,
        first: &Constraint,
    ) -> Result<LogicalPlan> {
        if let Expectation::Equals { left, .. } = &first.expectation {
            return both(planner, table, left, first);
        }
        if let Expectation::Normal { values, options } = &first.expectation {
            return usual(planner, table, parts, (values, options), first);
        }
        let text = match parts.keys.is_empty() {
            true => format!("SELECT 1 FROM {}", parts.from),
            false => format!(
                "SELECT 1 FROM {} GROUP BY {}",
                parts.from,
                parts.keys.join(", ")
            ),
        };
        let mut query = skeleton::query(&text)?;
        measure(&mut query, &parts.columns, first.when.as_ref());
        plan_query(planner, table, &query, first)
    }
}

/// What a rule measures of rows that are judged at once.
pub(in crate::rules) struct Measured {
    /// Segments and measures of all rows of the table.
    pub(in crate::rules) plan: LogicalPlan,
    /// What is asked of them, with the window behind the segments if there is one.
    pub(in crate::rules) check: Check,
}

/// Plans what a rule measures, without its windows and WHEN: those choose the rows.
pub(in crate::rules) fn measured(
    planner: &Planner,
    table: &Checked<'_>,
    rule: &Constraint,
) -> Result<Measured> {
    check_clauses(planner, table, rule)?;
    let group = Group::of(rule);
    let mut parts = group.parts(rule, table)?;
    let check = ask::check(planner, table, rule, &mut parts.columns)?;
    let segments = rule.per.len();
    let bounds = segments..parts.keys.len();
    let items = parts.columns.items.iter().enumerate();
    let items = items.filter(|(at, _)| !bounds.contains(at));
    let columns = Columns {
        items: items.map(|(_, item)| item.clone()).collect(),
    };
    let by = match segments {
        0 => String::new(),
        _ => format!(" GROUP BY {}", names_of(&rule.per)),
    };
    let mut query = skeleton::query(&format!("SELECT 1 FROM \"{THIS}\"{by}"))?;
    measure(&mut query, &columns, None);
    let plan = plan_query(planner, table, &query, rule)?;
    check_truth(&check, &plan, &group.rules, bounds.len())?;
    Ok(Measured { plan, check })
}

/// The measures of no row: nothing is grouped, and keys are set when the measures are told of a window.
fn of_nothing(
    planner: &Planner,
    table: &Checked<'_>,
    parts: &Parts,
    first: &Constraint,
) -> Result<LogicalPlan> {
    let items = parts.columns.items.iter().skip(parts.keys.len());
    let columns = Columns {
        items: items.cloned().collect(),
    };
    let this = quoted(base(first));
    let mut query = skeleton::query(&format!("SELECT 1 FROM {this} WHERE false"))?;
    measure(&mut query, &columns, None);
    plan_query(planner, table, &query, first)
}

pub(super) fn plan_query(
    planner: &Planner,
    table: &Checked<'_>,
    query: &Query,
    first: &Constraint,
) -> Result<LogicalPlan> {
    let planned = planner.query(table, query, Some(first.place));
    let planned = planned.map_err(|error| match &first.scope {
        // Its parts stand in the query as text, at other places than in the script.
        _ if is_alone(first) => error.moved(first.place),
        _ if error
            .message()
            .contains("must appear in the GROUP BY clause") =>
        {
            beside(&error)
        }
        Some(scope) if error.code() == codes::WINDOW => of_window(error, scope, first.place),
        _ => error,
    })?;
    if let Some(error) = mixed::refuse(&planned.plan) {
        return Err(error.at(Some(first.place)));
    }
    let plan = planner.analyze(planned.plan, Some(first.place))?;
    if !is_alone(first) {
        // Constants are computed now: a pattern that is none is told where the rule is declared.
        let constants = planner.simplified_plan(plan.clone());
        constants.map_err(|error| error.at(Some(first.place)))?;
    }
    Ok(plan)
}

/// Says which column stands beside the aggregates of a rule.
fn beside(error: &Error) -> Error {
    let column = error.message().split('"').nth(1).unwrap_or_default();
    let column = column.rsplit('.').next().unwrap_or_default();
    let message = format!("\"{column}\" stands beside an aggregate, and has a value for each row");
    Error::new(Kind::Invalid, codes::RULE, message)
        .hint("put it into an aggregate, into WHEN (condition), or into PER (column)")
        .at(error.place())
}

/// Says what is wrong with the windows of a rule where they stand.
fn of_window(error: Error, scope: &Scope, place: Place) -> Error {
    let (at, hint) = match scope {
        Scope::Every(length) => (
            place_of(length.span()),
            "write EVERY INTERVAL '5' MINUTE".to_owned(),
        ),
        Scope::Window {
            function, column, ..
        } => {
            let form = match *function {
                "hop" => "HOP (column, INTERVAL '5' MINUTE, INTERVAL '1' HOUR)",
                "cumulate" => "CUMULATE (column, INTERVAL '5' MINUTE, INTERVAL '1' HOUR)",
                "session" => "SESSION (column, INTERVAL '10' MINUTE)",
                _ => "TUMBLE (column, INTERVAL '1' HOUR)",
            };
            (column.place, format!("write SCOPE WINDOW ({form})"))
        }
        Scope::Batch | Scope::Table | Scope::LastRows(_) | Scope::LastTime(_) => {
            (None, String::new())
        }
    };
    error.hint(hint).moved(at.unwrap_or(place))
}

/// Puts the columns and the condition into a query.
pub(super) fn measure(query: &mut Query, columns: &Columns, when: Option<&SqlExpr>) {
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection.clone_from(&columns.items);
        if let Some(when) = when {
            select.selection = Some(when.clone());
        }
    }
}

/// What windows measure, with what a model says of it.
fn usual(
    planner: &Planner,
    table: &Checked<'_>,
    parts: &Parts,
    (values, options): (&[SqlExpr], &[FunctionArg]),
    rule: &Constraint,
) -> Result<LogicalPlan> {
    let keys = parts.keys.join(", ");
    let names: Vec<String> = (0..values.len()).map(|at| format!("\"v{at}\"")).collect();
    let named = values.iter().zip(&names);
    let named: Vec<String> = named
        .map(|(value, name)| format!("{value} AS {name}"))
        .collect();
    let options = options.iter().map(ToString::to_string);
    let arguments: Vec<String> = names.iter().cloned().chain(options).collect();
    let segments = match names_of(&rule.per) {
        none if none.is_empty() => String::new(),
        columns => format!("PARTITION BY {columns} "),
    };
    let condition = match &rule.when {
        Some(when) => format!(" WHERE {when}"),
        None => String::new(),
    };
    let model = match ask::model_of(rule) {
        Some(model) => {
            let version = planner.models().version(&model).unwrap_or_default();
            let told = Value::SingleQuotedString(format!("{model} {version}"));
            format!(", {told} AS e4")
        }
        None => String::new(),
    };
    let text = format!(
        "SELECT {keys}, CASE WHEN \"_a\".warmup THEN NULL ELSE NOT \"_a\".is_anomaly END AS m0, {values}, \
         \"_a\".expected AS e0, \"_a\".lower AS e1, \"_a\".upper AS e2, \"_a\".score AS e3{model} FROM ( \
         SELECT *, ANOMALY({arguments}) OVER ({segments}ORDER BY window_end) AS \"_a\" FROM ( \
         SELECT {keys}, {measures} FROM {from}{condition} GROUP BY {keys}) AS measured) AS judged",
        values = names.join(", "),
        arguments = arguments.join(", "),
        measures = named.join(", "),
        from = parts.from,
    );
    let query = skeleton::query(&text).map_err(|error| error.moved(rule.place))?;
    plan_query(planner, table, &query, rule)
}

/// The columns as SQL writes them.
pub(super) fn names_of(columns: &[Name]) -> String {
    let names: Vec<String> = columns.iter().map(|name| quoted(&name.text)).collect();
    names.join(", ")
}

/// Refuses a rule whose expression is no truth; of the columns before it some may be absent.
pub(super) fn check_truth(
    check: &Check,
    plan: &LogicalPlan,
    rules: &[&Constraint],
    absent: usize,
) -> Result<()> {
    let Ask::Truth(at) = check.ask else {
        return Ok(());
    };
    let found = plan.schema().field(at - absent).data_type();
    if *found == DataType::Boolean {
        return Ok(());
    }
    let rule = rules.iter().find(|rule| rule.name.text == check.name);
    let message = format!("EXPECT needs true or false, but the expression gives {found}");
    Err(Error::new(Kind::Invalid, codes::TYPE, message)
        .hint("compare it with something: EXPECT (count(*) > 0)")
        .at(rule.map(|rule| rule.place)))
}

pub(super) fn names(names: &[Name]) -> Vec<String> {
    names.iter().map(|name| name.text.clone()).collect()
}

/// Whether a rule has a query of its own.
fn is_alone(rule: &Constraint) -> bool {
    matches!(
        rule.expectation,
        Expectation::NoRows(_)
            | Expectation::SameRows { .. }
            | Expectation::Equals { .. }
            | Expectation::Normal { .. }
    ) || last::is_measured(rule)
}

/// What a rule looks at, in a word.
pub(super) fn scope_of(rule: &Constraint) -> &'static str {
    match (&rule.expectation, &rule.scope) {
        (Expectation::Fresh { .. }, _) => "fresh",
        (Expectation::Daily { .. }, _) => "daily",
        (Expectation::Schema { .. }, _) => "schema",
        (_, Some(Scope::Batch)) => "batch",
        (_, Some(Scope::Window { .. })) => "window",
        (_, Some(Scope::Every(_))) => "every",
        (_, Some(Scope::LastRows(_) | Scope::LastTime(_))) => "last",
        (_, Some(Scope::Table) | None) => "table",
    }
}
