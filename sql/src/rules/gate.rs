//! Plans rules over many rows that rows wait for: what they measure of a window or a batch is compiled, so
//! that it is computed of the very rows that wait.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::datasource::empty::EmptyTable;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, lit};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;
use datafusion::physical_expr::expressions::Column;
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::rules::{Gate, Measure, Measures, Over, Rule, Switch};
use weir_engine::window::WindowSpec;

use super::check::{self, Checked};
use super::planning::{Arrival, Planned, Ruled, action, condition};
use crate::ast::{Constraint, Expectation, Held, OnViolation, Scope};
use crate::plan::{NoTables, Planner};

/// When rows wait for a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// In all jobs: the rows go to quarantine together.
    Always,
    /// In streaming jobs: batch jobs show nothing before their end, so that a query can measure.
    Streaming,
}

/// Whether rows wait for a rule over many rows.
pub(super) fn waits(rule: &Constraint) -> Option<Waits> {
    // What was before is known where verdicts are given one after the other: no row waits for it.
    let is_plain = matches!(rule.expectation, Expectation::Row(_)) && rule.past.is_empty();
    // How rows come is told before they wait.
    let is_plain = is_plain && !check::arrives(rule);
    match (&rule.on_violation, &rule.scope) {
        (OnViolation::Quarantine { what, .. }, _) if *what != Held::Row => Some(Waits::Always),
        (OnViolation::Warn | OnViolation::FailUpdate, Some(Scope::Batch)) if is_plain => {
            Some(Waits::Streaming)
        }
        (OnViolation::FailUpdate, Some(Scope::Every(_))) if is_plain => Some(Waits::Streaming),
        (OnViolation::FailUpdate, Some(Scope::Window { function, .. })) if is_plain => {
            (*function == "tumble").then_some(Waits::Streaming)
        }
        _ => None,
    }
}

/// Rules as a job of a mode has them: what no row waits for there is measured by a query.
pub(crate) fn of_mode(rules: Vec<Rule>, streaming: bool) -> Result<Vec<Rule>> {
    let mut chosen = Vec::with_capacity(rules.len());
    for mut rule in rules {
        if rule.switch == Switch::Off {
            // What it has kept back may be asked for.
            let gate = rule.gate.take();
            if gate.is_none_or(|gate| gate.quarantines()) {
                chosen.push(rule);
            }
            continue;
        }
        if let Some(gate) = &rule.gate {
            if !streaming && !gate.quarantines() {
                continue;
            }
            if streaming && gate.over == Over::Table {
                let message = format!(
                    "rule \"{}\": SCOPE TABLE of a job without an end",
                    rule.name
                );
                return Err(Error::new(Kind::Invalid, codes::UNSUPPORTED, message)
                    .detail("its rows would wait until the table is whole, which it never is")
                    .hint("use SCOPE BATCH: what becomes visible at once, from one checkpoint to the next"));
            }
            let bounded = !streaming;
            rule.gate = Some(Arc::new(Gate {
                bounded,
                ..(**gate).clone()
            }));
        }
        chosen.push(rule);
    }
    Ok(chosen)
}

/// Plans a rule over many rows, if rows wait for it.
pub(super) fn plan(
    planner: &Planner,
    ruled: &Ruled<'_>,
    rule: &Constraint,
) -> Result<Option<Planned>> {
    let Some(waits) = waits(rule) else {
        return Ok(None);
    };
    if waits == Waits::Streaming && !watermarked(ruled, rule) {
        return Ok(None);
    }
    if ruled.arrival == Arrival::Changes {
        let message = format!(
            "rows wait for \"{}\", and those of \"{}\" change",
            rule.name.text, ruled.table
        );
        return Err(unsupported(
            &message,
            "a row that has been published may be taken back when its window or batch is over",
            "put the rule on a source whose rows are only added, or let it warn",
            rule,
        ));
    }
    check_action(rule)?;
    if !rule.past.is_empty() {
        return Err(unsupported(
            "a rule that asks what was before and keeps rows back",
            "rows would wait for a verdict that depends on those before it",
            "let it warn, or end the job: ON VIOLATION FAIL UPDATE",
            rule,
        ));
    }
    let table = Checked {
        name: ruled.table,
        rows: Arc::new(EmptyTable::new(Arc::clone(ruled.schema))),
        time: time_of(ruled),
        tables: &NoTables,
    };
    let measured = check::measured(planner, &table, rule)?;
    let plan = planner.simplified_plan(measured.plan);
    let plan = plan.map_err(|error| error.at(Some(rule.place)))?;
    let gate = Gate {
        over: over(planner, ruled, rule)?,
        measures: Arc::new(measures(planner, rule, &plan)?),
        check: measured.check,
        bounded: false,
    };
    let when = condition(planner, ruled, rule)?;
    let (action, _) = action(planner, ruled, rule)?;
    let truth = planner.compile(lit(true), &datafusion::common::DFSchema::empty())?;
    Ok(Some(Planned {
        rule: Rule {
            name: rule.name.text.clone(),
            text: gate.check.text.clone(),
            when: when.as_ref().map(|(_, compiled)| Arc::clone(compiled)),
            expect: truth,
            keyed: None,
            gate: Some(Arc::new(gate)),
            action,
            unknown_violates: rule.unknown_violates,
            overflow: None,
            grade: rule.grade.clone(),
            switch: rule.switch,
        },
        expect: lit(true),
        when: when.map(|(expr, _)| expr),
        set: Vec::new(),
    }))
}

/// The column of the watermark.
fn time_of<'a>(ruled: &Ruled<'a>) -> Option<&'a str> {
    match ruled.arrival {
        Arrival::Rows(time) => time,
        _ => None,
    }
}

/// Whether the windows of a rule go by the watermark, so that they are over at some time.
fn watermarked(ruled: &Ruled<'_>, rule: &Constraint) -> bool {
    match (&rule.scope, ruled.arrival) {
        (Some(Scope::Window { column, .. }), Arrival::Rows(Some(time))) => column.text == time,
        (Some(Scope::Every(_)), Arrival::Rows(time)) => time.is_some(),
        (Some(Scope::Batch), Arrival::Rows(_)) => true,
        _ => false,
    }
}

/// Refuses what rows can't wait for.
fn check_action(rule: &Constraint) -> Result<()> {
    let windowed = matches!(rule.scope, Some(Scope::Window { .. } | Scope::Every(_)));
    let OnViolation::Quarantine { what, .. } = &rule.on_violation else {
        return Ok(());
    };
    match what {
        Held::Window if !windowed => {
            return Err(wrong(
                "QUARANTINE WINDOW of a rule without windows",
                "add SCOPE WINDOW (TUMBLE (column, interval)) or EVERY interval, or write QUARANTINE BATCH",
                rule,
            ));
        }
        Held::Batch if windowed => {
            return Err(wrong(
                "QUARANTINE BATCH of a rule that looks at windows",
                "write QUARANTINE WINDOW, or SCOPE BATCH",
                rule,
            ));
        }
        _ => {}
    }
    let why = match &rule.expectation {
        _ if matches!(rule.scope, Some(Scope::LastRows(_) | Scope::LastTime(_))) => {
            "a verdict is about rows that were published before too"
        }
        _ if check::arrives(rule) => "how rows come is told where they are read, before they wait",
        Expectation::Row(_) | Expectation::Schema { .. } => return Ok(()),
        Expectation::Fresh { .. } | Expectation::Daily { .. } => {
            "it is broken when no rows come, and then there are none to keep back"
        }
        Expectation::Normal { .. } => {
            "whether a window is usual is known when the model has seen it, behind the query that measures"
        }
        _ => "it compares with other rows than those that wait",
    };
    let what = if windowed { "WINDOW" } else { "BATCH" };
    Err(unsupported(
        &format!("QUARANTINE {what} of this rule"),
        why,
        "use ON VIOLATION WARN or FAIL UPDATE, or an aggregate: EXPECT (count(*) >= 10)",
        rule,
    ))
}

/// The rows of a verdict.
fn over(planner: &Planner, ruled: &Ruled<'_>, rule: &Constraint) -> Result<Over> {
    let (column, lengths, every) = match &rule.scope {
        Some(Scope::Table) => return Ok(Over::Table),
        Some(Scope::Batch) | None => return Ok(Over::Batch),
        Some(Scope::Window {
            function: "tumble",
            column,
            lengths,
        }) => (column.clone(), lengths.clone(), false),
        Some(Scope::Window { function, .. }) => {
            let why = match *function {
                "session" => "a late row may join two sessions that are judged already",
                _ => "a row is in several windows, of which some may hold the rule and others not",
            };
            let message = format!("QUARANTINE WINDOW with {}", function.to_ascii_uppercase());
            let hint = "use TUMBLE: SCOPE WINDOW (TUMBLE (column, interval))";
            return Err(unsupported(&message, why, hint, rule));
        }
        Some(Scope::LastRows(_) | Scope::LastTime(_)) => {
            return Err(Error::internal("rows wait for a rule over the last ones"));
        }
        Some(Scope::Every(length)) => {
            let time = time_of(ruled).unwrap_or_default();
            let column = crate::ast::Name {
                text: time.to_owned(),
                place: rule.name.place,
            };
            (column, vec![length.as_ref().clone()], true)
        }
    };
    let at = ruled.schema.index_of(&column.text)?;
    let time: Arc<dyn PhysicalExpr> = Arc::new(Column::new(&column.text, at));
    let found = ruled.schema.field(at).data_type();
    if !matches!(found, DataType::Timestamp(..)) {
        let message = format!("\"{}\" is {found}, not a TIMESTAMP", column.text);
        let error = Error::new(Kind::Invalid, codes::TYPE, message);
        return Err(error.hint("windows go by the event time").at(column.place));
    }
    match ruled.arrival {
        Arrival::Rows(Some(time)) if time != column.text => {
            let message = format!("rows that wait for windows of \"{}\"", column.text);
            let why = format!(
                "windows are over when the watermark has passed them, which goes by \"{time}\""
            );
            let hint = format!("write SCOPE WINDOW (TUMBLE ({time}, interval))");
            return Err(unsupported(&message, &why, &hint, rule));
        }
        Arrival::Rows(None) => {
            return Err(unsupported(
                &format!("rows that wait for windows of \"{}\"", column.text),
                "windows are over when the watermark has passed them, and these rows have none",
                "declare WATERMARK FOR the column on the source, or use SCOPE BATCH with QUARANTINE BATCH",
                rule,
            ));
        }
        _ => {}
    }
    let length = |at: usize| lengths.get(at).map(|sql| planner.interval(sql, rule.place));
    let size = length(0).transpose()?.unwrap_or_default();
    let offset = length(1).transpose()?.unwrap_or_default();
    let spec = WindowSpec::tumble(size).map_err(|error| error.at(Some(rule.place)))?;
    Ok(Over::Window {
        time,
        spec: spec.with_offset(offset),
        every,
    })
}

/// Compiles what is measured.
pub(super) fn measures(
    planner: &Planner,
    rule: &Constraint,
    measured: &LogicalPlan,
) -> Result<Measures> {
    let shape = || {
        unsupported(
            "rows that wait for this rule",
            "it needs more than aggregates of the rows that wait",
            "write an expression of aggregates without queries in it: EXPECT (count(*) >= 10)",
            rule,
        )
    };
    let LogicalPlan::Projection(output) = measured else {
        return Err(shape());
    };
    let LogicalPlan::Aggregate(aggregate) = output.input.as_ref() else {
        return Err(shape());
    };
    if !is_table(&aggregate.input) {
        return Err(shape());
    }
    let groups = &aggregate.schema;
    let exprs = output.expr.iter();
    let exprs = exprs.map(|expr| planner.physical_expr(expr, groups));
    let schema = Arc::clone(output.schema.inner());
    let input = aggregate.input.schema();
    let keys = aggregate.group_expr.iter();
    let keys = keys.map(|key| planner.physical_expr(key, input));
    let aggregates = aggregate.aggr_expr.iter();
    let aggregates = aggregates.map(|expr| lowered(planner, aggregate, expr, rule));
    Measures::try_new(
        keys.collect::<Result<_>>()?,
        aggregates.collect::<Result<_>>()?,
        Arc::clone(groups.inner()),
        (exprs.collect::<Result<_>>()?, schema),
    )
}

fn is_table(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => is_table(&alias.input),
        LogicalPlan::TableScan(scan) => scan.projection.is_none() && scan.filters.is_empty(),
        _ => false,
    }
}

fn lowered(
    planner: &Planner,
    aggregate: &Aggregate,
    expr: &Expr,
    rule: &Constraint,
) -> Result<Measure> {
    let input = aggregate.input.schema();
    let context = PhysicalPlanningContext::default();
    let lowered = LoweredAggregateBuilder::new(
        expr,
        input,
        input.inner(),
        planner.state().execution_props(),
        &context,
    );
    let lowered = lowered.build()?;
    if !lowered.order_bys.is_empty() {
        return Err(unsupported(
            &format!("{expr} of rows that wait"),
            "they are in no order",
            "use an aggregate without ORDER BY",
            rule,
        ));
    }
    Ok(Measure {
        arguments: lowered.aggregate.expressions(),
        function: lowered.aggregate,
        filter: lowered.filter,
    })
}

fn unsupported(message: &str, why: &str, hint: &str, rule: &Constraint) -> Error {
    let error = Error::new(Kind::Invalid, codes::UNSUPPORTED, message);
    error.detail(why).hint(hint).at(rule.name.place)
}

fn wrong(message: &str, hint: &str, rule: &Constraint) -> Error {
    Error::new(Kind::Invalid, codes::RULE, message)
        .hint(hint)
        .at(rule.name.place)
}
