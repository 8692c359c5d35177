//! A report as lines for a terminal.

use super::facts::{Facts, Issue, Rule};
use crate::units;

/// Renders tables, rules and open issues.
pub fn tables(facts: &Facts) -> String {
    let mut text = format!("quality of {}\n", facts.subject.name());
    for (table, points) in facts.tables() {
        let Some((at, score)) = points.last() else {
            continue;
        };
        text.push_str(&format!(
            "\n  {table:<20} {}  as of {}\n",
            share(Some(*score)),
            time(*at)
        ));
        for (dimension, score) in facts.dimensions(table) {
            text.push_str(&format!("    {dimension:<18} {}\n", share(Some(score))));
        }
    }
    text.push_str("\n  rules\n");
    let width = facts
        .rules
        .iter()
        .map(|rule| name(rule).chars().count())
        .max();
    for rule in &facts.rules {
        let mark = match rule.passed {
            _ if rule.dry_run => "dry",
            Some(true) => "pass",
            Some(false) => "FAIL",
            None => "n/a",
        };
        text.push_str(&format!(
            "    {mark:<4}  {:width$}  {:<8}  {}  {} of {}{}  {}\n",
            name(rule),
            rule.severity,
            share(rule.score),
            units::count(rule.violated.unsigned_abs()),
            units::count(rule.evaluated.unsigned_abs()),
            match rule.unknown {
                0 => String::new(),
                unknown => format!(", {} unknown", units::count(unknown.unsigned_abs())),
            },
            rule.expectation,
            width = width.unwrap_or(0),
        ));
    }
    let open: Vec<&Issue> = facts
        .issues
        .iter()
        .filter(|issue| issue.status != "resolved")
        .collect();
    if !open.is_empty() {
        text.push_str("\n  open issues\n");
    }
    for issue in open {
        let segment = issue.segment.as_deref().unwrap_or("");
        let seen = issue.observed.as_deref().or(issue.samples.as_deref());
        text.push_str(&format!(
            "    {:<8} {}.{} {segment} since {}: {}\n",
            issue.status,
            issue.table_name,
            issue.rule,
            time(issue.opened),
            seen.unwrap_or("no sample"),
        ));
    }
    text
}

fn name(rule: &Rule) -> String {
    format!("{}.{}", rule.table_name, rule.rule)
}

/// A score in percent, as wide as any; a dash where there is none.
pub(super) fn share(score: Option<f64>) -> String {
    match score {
        // What is not whole is not told as whole.
        Some(score) => format!("{:>6.2} %", (score * 10_000.0).floor() / 100.0),
        None => format!("{:>6}  ", "–"),
    }
}

/// A time in UTC.
pub(super) fn time(micros: i64) -> String {
    let time = arrow::temporal_conversions::timestamp_us_to_datetime(micros);
    time.map_or_else(String::new, |time| {
        time.format("%Y-%m-%d %H:%M:%S").to_string()
    })
}
