//! A rule as it was understood, as text: its version is a hash of it, and results show it.

use weir_engine::rules::Switch;

use crate::ast::{Constraint, Expectation, Held, OnViolation, Scope, list};

/// The rule as it was understood: what it does differs where this does. One that only counts is told
/// apart from the same rule that acts.
pub(super) fn text(constraint: &Constraint) -> String {
    match constraint.switch {
        Switch::DryRun => format!("{} DRY RUN", clause(constraint)),
        Switch::On | Switch::Off => clause(constraint),
    }
}

/// The clause of a rule.
pub(crate) fn clause(constraint: &Constraint) -> String {
    let mut text = expectation(&constraint.expectation);
    if let Some(share) = constraint.mostly {
        text.push_str(&format!(" MOSTLY {share}"));
    }
    if !constraint.past.is_empty() {
        let past: Vec<String> = constraint.past.iter().map(ToString::to_string).collect();
        text.push_str(&format!(" WITH {}", past.join(", ")));
    }
    text.push_str(&scope_text(constraint));
    if !constraint.per.is_empty() {
        text.push_str(&format!(" PER ({})", list(&constraint.per)));
    }
    if let Some(when) = &constraint.when {
        text.push_str(&format!(" WHEN ({when})"));
    }
    match &constraint.on_violation {
        OnViolation::Warn => {}
        OnViolation::DropRow => text.push_str(" ON VIOLATION DROP ROW"),
        OnViolation::FailUpdate => text.push_str(" ON VIOLATION FAIL UPDATE"),
        OnViolation::Quarantine { what, into } => {
            text.push_str(" ON VIOLATION QUARANTINE");
            text.push_str(match what {
                Held::Row => "",
                Held::Batch => " BATCH",
                Held::Window => " WINDOW",
            });
            if let Some(into) = into {
                text.push_str(&format!(" INTO {}", into.text));
            }
        }
        OnViolation::Set(columns) => {
            let set: Vec<_> = columns
                .iter()
                .map(|(n, e)| format!("{} = {e}", n.text))
                .collect();
            text.push_str(&format!(" ON VIOLATION SET ({})", set.join(", ")));
        }
    }
    if constraint.unknown_violates {
        text.push_str(" ON UNKNOWN VIOLATE");
    }
    text
}

fn expectation(expectation: &Expectation) -> String {
    match expectation {
        Expectation::Row(expr) => format!("EXPECT ({expr})"),
        Expectation::Keyed(keyed) => format!("EXPECT {keyed}"),
        Expectation::Fresh { column, within } => {
            format!("EXPECT FRESH ({}, {within})", column.text)
        }
        Expectation::Daily { at } => {
            let minutes = at / 60_000_000;
            format!("EXPECT SLA ('{:02}:{:02}')", minutes / 60, minutes % 60)
        }
        Expectation::NoRows(query) => format!("EXPECT NO ROWS ({query})"),
        Expectation::SameRows { table, key } if key.is_empty() => {
            format!("EXPECT SAME ROWS AS {}", table.text)
        }
        Expectation::SameRows { table, key } => {
            format!("EXPECT SAME ROWS AS {} KEY ({})", table.text, list(key))
        }
        Expectation::Equals {
            left,
            right,
            tolerance,
        } => format!("EXPECT ({left}) = ({right}) TOLERANCE {tolerance}"),
        Expectation::Normal { values, options } => {
            let values = values.iter().map(ToString::to_string);
            let options = options.iter().map(ToString::to_string);
            let all: Vec<String> = values.chain(options).collect();
            format!("EXPECT NORMAL ({})", all.join(", "))
        }
        Expectation::Schema { columns, strict } => {
            let columns: Vec<String> = columns
                .iter()
                .map(|column| format!("{} {}", column.name, column.data_type))
                .collect();
            let strict = if *strict { " STRICT" } else { "" };
            format!("EXPECT SCHEMA ({}){strict}", columns.join(", "))
        }
    }
}

/// The scope as SQL writes it.
pub(super) fn scope_text(rule: &Constraint) -> String {
    match &rule.scope {
        None | Some(Scope::Table) => String::new(),
        Some(Scope::Batch) => " SCOPE BATCH".to_owned(),
        Some(Scope::Every(length)) => format!(" EVERY {length}"),
        Some(Scope::LastRows(count)) => format!(" SCOPE LAST ({count} ROWS)"),
        Some(Scope::LastTime(length)) => format!(" SCOPE LAST ({length})"),
        Some(Scope::Window {
            function,
            column,
            lengths,
        }) => {
            let lengths: String = lengths.iter().map(|length| format!(", {length}")).collect();
            let function = function.to_ascii_uppercase();
            format!(" SCOPE WINDOW ({function} ({}{lengths}))", column.text)
        }
    }
}
