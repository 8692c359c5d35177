//! A report as one page of HTML that needs nothing else: no script, no font, no image from elsewhere.

use serde_json::{Map, Value};

use super::chart::{Line, band, shares};
use super::facts::{Facts, Issue, Rule, Series, trend};
use super::text::{share, time};

const STYLE: &str = include_str!("report.css");

/// Renders the page.
pub fn page(facts: &Facts) -> String {
    let name = escape(facts.subject.name());
    let (acting, failing) = facts.holding();
    let open = facts
        .issues
        .iter()
        .filter(|issue| issue.status != "resolved")
        .count();
    format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Quality of {name}</title><style>{STYLE}</style></head><body>\
         <header><h1>Quality of {name}</h1><p>{} of {} rules hold, {open} open issues. As of {} UTC.</p></header>\
         <main>{}{}{}{}</main></body></html>\n",
        acting - failing,
        acting,
        time(facts.now),
        tables(facts),
        rules(facts),
        series(facts),
        issues(facts),
    )
}

/// The score of each table, its dimensions, and how it came there.
fn tables(facts: &Facts) -> String {
    let mut text = "<section id=\"scores\"><h2>Scores</h2>".to_owned();
    for (table, points) in facts.tables() {
        let last = points.last().map(|(_, score)| *score);
        let smooth = trend(&points);
        let mut lines = vec![Line {
            class: "score",
            points: &points,
        }];
        if points.len() > 2 {
            lines.push(Line {
                class: "trend",
                points: &smooth,
            });
        }
        let dimensions: String = facts
            .dimensions(table)
            .into_iter()
            .map(|(name, score)| {
                format!(
                    "<div class=\"dimension\"><span>{}</span>{}<b>{}</b></div>",
                    escape(name),
                    bar(Some(score)),
                    share(Some(score))
                )
            })
            .collect();
        let label = format!("score of {} over time", escape(table));
        text.push_str(&format!(
            "<article><div class=\"tile {}\"><h3>{}</h3><strong>{}</strong>{dimensions}</div><figure>{}\
             <figcaption>Score over time; dashed: its moving average</figcaption></figure></article>",
            grade(last),
            escape(table),
            share(last).trim(),
            shares(&lines, &label),
        ));
    }
    text.push_str("</section>");
    text
}

/// The rules, those that fail first.
fn rules(facts: &Facts) -> String {
    let rows: String = facts.rules.iter().map(rule).collect();
    format!(
        "<section id=\"rules\"><h2>Rules</h2><table><thead><tr><th></th><th>Rule</th><th>Expectation</th>\
         <th>Dimension</th><th>Severity</th><th class=\"number\">Violated</th><th class=\"number\">Evaluated</th>\
         <th class=\"number\">Unknown</th><th>Score</th></tr></thead><tbody>{rows}</tbody></table></section>"
    )
}

fn rule(rule: &Rule) -> String {
    let (class, word) = match rule.passed {
        _ if rule.dry_run => ("none", "dry run"),
        Some(true) => ("good", "holds"),
        Some(false) => ("bad", "fails"),
        None => ("none", "no answer"),
    };
    format!(
        "<tr class=\"{class}\"><td><span class=\"badge {class}\">{word}</span></td><td>{}.<b>{}</b></td>\
         <td><code>{}</code></td><td>{}</td><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td>\
         <td class=\"number\">{}</td><td>{}{}</td></tr>",
        escape(&rule.table_name),
        escape(&rule.rule),
        escape(&rule.expectation),
        escape(&rule.dimension),
        escape(&rule.severity),
        rule.violated,
        rule.evaluated,
        rule.unknown,
        bar(rule.score),
        share(rule.score),
    )
}

/// What models said of windows.
fn series(facts: &Facts) -> String {
    if facts.series.is_empty() {
        return String::new();
    }
    let one = |series: &Series| {
        let name = escape(&series.name);
        let anomalies = series
            .points
            .iter()
            .filter(|point| point.is_anomaly)
            .count();
        format!(
            "<article><figure><h3>{name}</h3>{}<figcaption>{} windows, {anomalies} anomalies (dots); the band is what the \
             model took for normal</figcaption></figure></article>",
            band(&series.points, &format!("{name} over time")),
            series.points.len(),
        )
    };
    let all: String = facts.series.iter().map(one).collect();
    format!("<section id=\"series\"><h2>Anomalies</h2>{all}</section>")
}

/// The issues, those that are not resolved first, with rows that show them.
fn issues(facts: &Facts) -> String {
    if facts.issues.is_empty() {
        return "<section id=\"issues\"><h2>Issues</h2><p>None so far.</p></section>".to_owned();
    }
    let all: String = facts.issues.iter().map(issue).collect();
    format!("<section id=\"issues\"><h2>Issues</h2>{all}</section>")
}

fn issue(issue: &Issue) -> String {
    let class = match issue.status.as_str() {
        "resolved" => "good",
        "open" => "warn",
        _ => "bad",
    };
    let until = match issue.resolved {
        Some(resolved) => format!("{} to {}", time(issue.opened), time(resolved)),
        None => format!("since {}", time(issue.opened)),
    };
    let segment = issue
        .segment
        .as_deref()
        .map_or_else(String::new, |segment| {
            format!(" <code>{}</code>", escape(segment))
        });
    let observed = issue.observed.as_deref().map_or_else(String::new, |seen| {
        format!("<p>Measured <code>{}</code></p>", escape(seen))
    });
    let samples = issue.samples.as_deref().map_or_else(String::new, samples);
    format!(
        "<details{}><summary><span class=\"badge {class}\">{}</span> {}.<b>{}</b>{segment} <small>{until}, {} results, \
         {} violated</small></summary>{observed}{samples}</details>",
        if issue.status == "resolved" {
            ""
        } else {
            " open"
        },
        escape(&issue.status),
        escape(&issue.table_name),
        escape(&issue.rule),
        issue.results,
        issue.violated,
    )
}

/// Rows that break a rule as a table.
fn samples(json: &str) -> String {
    let rows: Vec<Map<String, Value>> = serde_json::from_str(json).unwrap_or_default();
    let Some(first) = rows.first() else {
        return format!("<p><code>{}</code></p>", escape(json));
    };
    let head: String = first
        .keys()
        .map(|name| format!("<th>{}</th>", escape(name)))
        .collect();
    let line = |row: &Map<String, Value>| {
        let cells = first.keys().map(|name| match row.get(name) {
            Some(Value::String(text)) => format!("<td>{}</td>", escape(text)),
            Some(Value::Null) | None => "<td class=\"null\">null</td>".to_owned(),
            Some(other) => format!("<td class=\"number\">{}</td>", escape(&other.to_string())),
        });
        format!("<tr>{}</tr>", cells.collect::<String>())
    };
    let lines: String = rows.iter().map(line).collect();
    format!(
        "<p>Rows that break it</p><table class=\"samples\"><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
    )
}

fn bar(score: Option<f64>) -> String {
    let width = score.unwrap_or(0.0) * 100.0;
    format!(
        "<span class=\"bar\"><span class=\"{}\" style=\"width:{width:.1}%\"></span></span>",
        grade(score)
    )
}

fn grade(score: Option<f64>) -> &'static str {
    match score {
        Some(score) if score >= 0.95 => "good",
        Some(score) if score >= 0.8 => "warn",
        Some(_) => "bad",
        None => "none",
    }
}

/// Text as it may stand in a page: names and values are whatever data holds.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}
