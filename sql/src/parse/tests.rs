//! The parser's tests: `check` shows the statements of a script, or the error.

mod alter;
mod errors;
mod hostile;
mod quarantine;
mod queries;
mod query_errors;
mod refusals;
mod rules;
mod statements;
mod streaming;

use std::fmt::Write as _;

use expect_test::Expect;

use super::parse;
use crate::ast::{
    AlterTable, Alteration, ColumnDef, ColumnValue, Constraint, CreateExpectation,
    CreateMaterializedView, CreateSource, CreateView, Emit, Existing, Expectation, Name,
    OnViolation, ProfileTable, QuarantineRequest, Show, Statement, StatementKind, Subscribe,
};
use crate::variables::Variables;

fn variables() -> Variables {
    Variables::from_iter([("BUCKET", "lake"), ("PASSWORD", "s3cret"), ("N", "7")])
}

fn check(script: &str, expected: Expect) {
    expected.assert_eq(&run(script));
}

fn run(script: &str) -> String {
    match parse(script, &variables()) {
        Ok(statements) => statements.iter().map(show).collect(),
        Err(error) => error.report(None),
    }
}

/// Shows a statement in one line, and its parts below.
fn show(statement: &Statement) -> String {
    let mut out = format!("{}:{} ", statement.place.line, statement.place.column);
    let o = &mut out;
    match &statement.kind {
        StatementKind::CreateSource(s) => source(o, s),
        StatementKind::CreateView(v) => view(o, v),
        StatementKind::CreateSink(s) => {
            write!(o, "sink {}{}", name(&s.name), existing(s.existing)).unwrap();
            columns(o, &s.columns);
            constraints(o, &s.constraints);
            sets(o, &s.rule_sets);
            options(o, &s.options);
            if let Some(query) = &s.query {
                write!(o, "\n  {query}{}", emit(s.emit)).unwrap();
            }
        }
        StatementKind::Insert {
            sink,
            columns,
            query,
            emit: e,
        } => {
            let (sink, columns) = (name(sink), names(columns));
            write!(o, "insert {sink} ({columns})\n  {query}{}", emit(*e)).unwrap();
        }
        StatementKind::Drop {
            what,
            names: dropped,
            if_exists,
            cascade,
        } => {
            write!(
                o,
                "drop {what:?} {} if_exists={if_exists} cascade={cascade}",
                names(dropped)
            )
            .unwrap();
        }
        StatementKind::Set {
            name: setting,
            value,
        } => {
            write!(o, "set {} = {value:?}", name(setting)).unwrap();
        }
        StatementKind::Profile(p) => profile(o, p),
        StatementKind::Feedback(said) => write!(o, "feedback {said:?}").unwrap(),
        StatementKind::Suggest(table) => write!(o, "suggest {}", name(table)).unwrap(),
        StatementKind::Show(Show::Setting(setting)) => {
            write!(o, "show setting {}", name(setting)).unwrap();
        }
        StatementKind::Show(show) => write!(o, "show {show:?}").unwrap(),
        StatementKind::ShowCreate(n) => write!(o, "show create {}", name(n)).unwrap(),
        StatementKind::Describe(n) => write!(o, "describe {}", name(n)).unwrap(),
        StatementKind::Explain { analyze, statement } => {
            let (inner, text) = (show(statement), &statement.text);
            write!(
                o,
                "explain analyze={analyze} {text:?}\n  {}",
                inner.trim_end()
            )
            .unwrap();
        }
        StatementKind::CreateMaterializedView(v) => materialized(o, v),
        StatementKind::CreateExpectation(e) => expectation(o, e),
        StatementKind::Quarantine(ask) => request(o, ask),
        StatementKind::Subscribe(s) => subscribe(o, s),
        StatementKind::Query { query, emit: e } => write!(o, "query {query}{}", emit(*e)).unwrap(),
        other => about_rules(o, other),
    }
    out.push('\n');
    out
}

fn subscribe(o: &mut String, s: &Subscribe) {
    let limit = s.limit.map_or_else(String::new, |n| format!(" limit {n}"));
    write!(o, "subscribe {}{}{limit}", s.query, emit(s.emit)).unwrap();
}

fn about_rules(o: &mut String, statement: &StatementKind) {
    match statement {
        StatementKind::CreateRuleSet(set) => {
            write!(o, "rule set {}{}", name(&set.name), existing(set.existing)).unwrap();
            constraints(o, &set.constraints);
        }
        StatementKind::DropRuleSets {
            names: sets,
            if_exists,
        } => write!(o, "drop sets {} if_exists={if_exists}", names(sets)).unwrap(),
        StatementKind::AlterTable(alter) => altered(o, alter),
        StatementKind::Resume(source) => write!(o, "resume {}", name(source)).unwrap(),
        StatementKind::Validate(v) => {
            let (using, fail_on) = (names(&v.using), v.fail_on);
            write!(o, "validate {} using ({using}) {fail_on:?}", name(&v.table)).unwrap();
        }
        other => unreachable!("{other:?}"),
    }
}

fn altered(o: &mut String, alter: &AlterTable) {
    write!(o, "alter {}", name(&alter.table)).unwrap();
    match &alter.change {
        Alteration::Add(rule) => constraints(o, std::slice::from_ref(rule)),
        Alteration::AddSet(set) => write!(o, " set {}", name(set)).unwrap(),
        Alteration::Drop {
            name: rule,
            if_exists,
        } => {
            let exists = if *if_exists { " if exists" } else { "" };
            write!(o, " drop{exists} {}", name(rule)).unwrap();
        }
        Alteration::Switch(rule, switch) => write!(o, " {switch:?} {}", name(rule)).unwrap(),
    }
}

fn request(o: &mut String, ask: &QuarantineRequest) {
    write!(o, "{} {}\n  {}", ask.action, name(&ask.table), ask.rows).unwrap();
    for (column, value) in &ask.set {
        write!(o, "\n  set {} = {value}", name(column)).unwrap();
    }
}

fn materialized(o: &mut String, v: &CreateMaterializedView) {
    write!(o, "materialized {}{}", name(&v.name), existing(v.existing)).unwrap();
    constraints(o, &v.constraints);
    sets(o, &v.rule_sets);
    write!(o, " ({})\n  {}{}", names(&v.columns), v.query, emit(v.emit)).unwrap();
}

fn emit(emit: Option<Emit>) -> String {
    emit.map_or_else(String::new, |emit| format!(" | {emit}"))
}

fn source(o: &mut String, s: &CreateSource) {
    write!(o, "source {}{}", name(&s.name), existing(s.existing)).unwrap();
    columns(o, &s.columns);
    if !s.primary_key.is_empty() {
        write!(o, "\n  key {}", names(&s.primary_key)).unwrap();
    }
    if let Some((column, expr)) = &s.watermark {
        write!(o, "\n  watermark {} = {expr}", name(column)).unwrap();
    }
    constraints(o, &s.constraints);
    sets(o, &s.rule_sets);
    options(o, &s.options);
}

fn view(o: &mut String, v: &CreateView) {
    write!(o, "view {}{}", name(&v.name), existing(v.existing)).unwrap();
    write!(o, " ({})\n  {}", names(&v.columns), v.query).unwrap();
}

fn profile(o: &mut String, p: &ProfileTable) {
    let into = p.into.as_ref().map_or_else(|| "-".to_owned(), name);
    let columns = names(&p.columns);
    write!(o, "profile {} ({columns}) into {into}", name(&p.table)).unwrap();
}

fn expectation(o: &mut String, e: &CreateExpectation) {
    write!(o, "expectation on {}", name(&e.table)).unwrap();
    constraints(o, std::slice::from_ref(&e.constraint));
}

fn constraints(o: &mut String, constraints: &[Constraint]) {
    for rule in constraints {
        let expect = match &rule.expectation {
            Expectation::Row(expect) => format!("({expect})"),
            Expectation::Keyed(keyed) => keyed.to_string(),
            other => format!("{other:?}"),
        };
        let (rule_name, place) = (name(&rule.name), rule.place);
        write!(
            o,
            "\n  rule {rule_name} {expect} @{}:{}",
            place.line, place.column
        )
        .unwrap();
        if !rule.per.is_empty() {
            write!(o, " per ({})", names(&rule.per)).unwrap();
        }
        if let Some(when) = &rule.when {
            write!(o, " when {when}").unwrap();
        }
        let grade = &rule.grade;
        write!(
            o,
            " {} {} {}",
            grade.dimension, grade.severity, grade.weight
        )
        .unwrap();
        match &rule.on_violation {
            OnViolation::Warn => o.push_str(" warn"),
            OnViolation::DropRow => o.push_str(" drop"),
            OnViolation::FailUpdate => o.push_str(" fail"),
            OnViolation::Quarantine { into, .. } => {
                let into = into.as_ref().map_or_else(|| "-".to_owned(), name);
                write!(o, " quarantine {into}").unwrap();
            }
            OnViolation::Set(set) => {
                set.iter()
                    .for_each(|(n, e)| write!(o, " set {} = {e}", name(n)).unwrap());
            }
        }
        if rule.unknown_violates {
            o.push_str(" unknown violates");
        }
        if let Some(overflow) = rule.on_overflow {
            let pauses = if overflow.pauses { " pause" } else { "" };
            write!(o, " {:?}{pauses}", overflow.most).unwrap();
        }
    }
}

fn sets(o: &mut String, sets: &[Name]) {
    for set in sets {
        write!(o, "\n  set {}", name(set)).unwrap();
    }
}

fn name(name: &Name) -> String {
    let place = name.place.unwrap();
    format!("{}@{}:{}", name.text, place.line, place.column)
}

fn names(names: &[Name]) -> String {
    names
        .iter()
        .map(|n| n.text.clone())
        .collect::<Vec<_>>()
        .join(", ")
}

fn existing(existing: Existing) -> &'static str {
    match (existing.if_not_exists, existing.or_replace) {
        (true, _) => " if not exists",
        (_, true) => " or replace",
        _ => "",
    }
}

fn columns(o: &mut String, columns: &[ColumnDef]) {
    for column in columns {
        let null = if column.not_null { " not null" } else { "" };
        write!(
            o,
            "\n  column {} {}{null}",
            column.name.text, column.data_type
        )
        .unwrap();
        match &column.value {
            ColumnValue::Physical => {}
            ColumnValue::Computed(expr) => write!(o, " = {expr}").unwrap(),
            ColumnValue::Metadata(key) => write!(o, " from {key:?}").unwrap(),
        }
    }
}

fn options(o: &mut String, options: &weir_engine::options::GivenOptions) {
    for (name, value) in options {
        let place = value.place.unwrap();
        write!(
            o,
            "\n  {name} = {:?} @{}:{}",
            value.text, place.line, place.column
        )
        .unwrap();
    }
}
