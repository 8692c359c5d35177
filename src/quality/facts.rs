//! What a report tells, as it is asked of the tables of the schema `weir`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::sync::watch;
use weir_engine::error::{Error, Kind, codes};
use weir_engine::job::Stop;

use crate::embed::Program;
use crate::failure::Failure;

/// Points of a chart at most: more than a page has room for.
const POINTS_MAX: usize = 500;
/// Windows of a series at most.
const WINDOWS_MAX: usize = 2_000;
/// Series that a report shows at most.
const SERIES_MAX: usize = 12;
/// What a model says of a window, among what was observed.
const OF_MODELS: [&str; 5] = ["expected", "lower", "upper", "score", "model"];
/// Issues that a report tells at most, the newest first.
const ISSUES_MAX: usize = 100;

/// What a report is about.
#[derive(Debug, Clone)]
pub enum Subject {
    /// All tables of a pipeline.
    Pipeline(String),
    /// One table of any pipeline.
    Table(String),
}

impl Subject {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Pipeline(name) | Self::Table(name) => name,
        }
    }

    fn filter(&self) -> String {
        let (column, name) = match self {
            Self::Pipeline(name) => ("pipeline", name),
            Self::Table(name) => ("table_name", name),
        };
        format!("{column} = '{}'", name.replace('\'', "''"))
    }
}

/// A score at a time.
#[derive(Debug, Clone, Deserialize)]
pub struct Score {
    /// The pipeline.
    pub pipeline: String,
    /// The table.
    pub table_name: String,
    /// `table` or `dimension`.
    pub level: String,
    /// The name of what was scored.
    pub name: String,
    /// Microseconds since 1970.
    pub at: i64,
    /// From 0 to 1.
    pub score: Option<f64>,
}

/// A rule as it was found last.
#[derive(Debug, Clone, Deserialize)]
pub struct Rule {
    /// The table.
    pub table_name: String,
    /// The rule.
    pub rule: String,
    /// What it looks at.
    pub scope: String,
    /// What it tells of the data.
    pub dimension: String,
    /// How bad it is.
    pub severity: String,
    /// What it expects.
    pub expectation: String,
    /// It only counts, and does nothing.
    pub dry_run: bool,
    /// The worst of its segments and windows.
    pub passed: Option<bool>,
    /// Rows or verdicts.
    pub evaluated: i64,
    /// Those of them against the rule.
    pub violated: i64,
    /// Those without an answer.
    pub unknown: i64,
    /// From 0 to 1.
    pub score: Option<f64>,
    /// Microseconds since 1970.
    pub at: i64,
}

/// A stretch of results that do not hold.
#[derive(Debug, Clone, Deserialize)]
pub struct Issue {
    /// The table.
    pub table_name: String,
    /// The rule.
    pub rule: String,
    /// The values by which rows are divided.
    pub segment: Option<String>,
    /// How bad it is.
    pub severity: String,
    /// `open`, `failing` or `resolved`.
    pub status: String,
    /// Microseconds since 1970.
    pub opened: i64,
    /// Microseconds since 1970.
    pub resolved: Option<i64>,
    /// How many.
    pub results: i64,
    /// Rows or verdicts.
    pub violated: i64,
    /// What was measured.
    pub observed: Option<String>,
    /// Rows that break it, as a list in JSON.
    pub samples: Option<String>,
}

/// What a model said of the windows of a segment.
#[derive(Debug)]
pub struct Series {
    /// The table and the rule, and the segment if there is one.
    pub name: String,
    /// Its windows in the order of time.
    pub points: Vec<Point>,
}

/// What a model said of a window.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// Its start, in microseconds since 1970.
    pub at: i64,
    /// What was measured.
    pub value: f64,
    /// What would have been normal, if the model says so.
    pub band: Option<(f64, f64)>,
    /// Whether it is an anomaly.
    pub is_anomaly: bool,
}

#[derive(Debug, Deserialize)]
struct Told {
    name: String,
    at: i64,
    observed: String,
    passed: Option<bool>,
}

/// What a report tells.
#[derive(Debug)]
pub struct Facts {
    /// What it is about.
    pub subject: Subject,
    /// When it was made, in microseconds since 1970.
    pub now: i64,
    /// Scores of tables and dimensions, in the order of time.
    pub scores: Vec<Score>,
    /// Rules, those that fail first.
    pub rules: Vec<Rule>,
    /// Issues, those that are not resolved first.
    pub issues: Vec<Issue>,
    /// What models said of windows.
    pub series: Vec<Series>,
}

impl Facts {
    /// Asks for what a report tells.
    pub fn ask(program: &mut Program, subject: Subject) -> Result<Self, Failure> {
        let filter = subject.filter();
        let scores = rows(program, &format!(
            "SELECT pipeline, table_name, level, name, CAST(CAST(recorded_at AS TIMESTAMP) AS BIGINT) AS at, score
             FROM weir.quality_scores WHERE level IN ('table', 'dimension') AND {filter}
             ORDER BY recorded_at, level, name"
        ))?;
        let rules = rows(program, &format!(
            "WITH results AS (SELECT * FROM weir.quality_results WHERE {filter}),
             epochs AS (SELECT pipeline, run, epoch, max(recorded_at) AS told_at FROM results GROUP BY pipeline, run, epoch),
             told AS (
                 SELECT r.*, e.told_at FROM results r JOIN epochs e
                     ON r.pipeline = e.pipeline AND r.run = e.run AND r.epoch = e.epoch),
             last AS (
                 SELECT pipeline, table_name, rule, max(told_at) AS told_at FROM told GROUP BY pipeline, table_name, rule),
             newest AS (
                 SELECT t.* FROM told t JOIN last l
                     ON t.pipeline = l.pipeline AND t.table_name = l.table_name AND t.rule = l.rule AND t.told_at = l.told_at)
             SELECT table_name, rule, scope, dimension, severity, max(expectation) AS expectation,
                 coalesce(bool_or(dry_run), false) AS dry_run,
                 bool_and(passed) AS passed, sum(evaluated) AS evaluated, sum(violated) AS violated, sum(unknown) AS unknown,
                 CASE WHEN sum(evaluated) > 0 THEN 1.0 - CAST(sum(violated) AS DOUBLE) / sum(evaluated) END AS score,
                 max(CAST(CAST(recorded_at AS TIMESTAMP) AS BIGINT)) AS at
             FROM newest
             GROUP BY pipeline, table_name, rule, scope, dimension, severity
             ORDER BY coalesce(passed, true) OR dry_run,
                 CASE severity WHEN 'critical' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END, score, table_name, rule"
        ))?;
        let issues = rows(program, &format!(
            "SELECT table_name, rule, segment, severity, status,
                 CAST(CAST(opened_at AS TIMESTAMP) AS BIGINT) AS opened,
                 CAST(CAST(resolved_at AS TIMESTAMP) AS BIGINT) AS resolved,
                 results, violated, observed, samples
             FROM weir.quality_issues WHERE {filter}
             ORDER BY CASE status WHEN 'resolved' THEN 1 ELSE 0 END, opened_at DESC, table_name, rule LIMIT {ISSUES_MAX}"
        ))?;
        let told: Vec<Told> = rows(program, &format!(
            "SELECT DISTINCT ON (name, pane_start) concat(table_name, '.', rule, coalesce(' ' || segment, '')) AS name,
                 CAST(CAST(pane_start AS TIMESTAMP) AS BIGINT) AS at, observed, passed
             FROM weir.quality_results
             WHERE expectation LIKE 'EXPECT NORMAL (%' AND observed IS NOT NULL AND {filter}
             ORDER BY name, pane_start, recorded_at DESC"
        ))?;
        let facts = Self {
            series: series(told),
            now: program.host().env().clock().now_micros(),
            subject,
            scores,
            rules,
            issues,
        };
        match facts.rules.is_empty() {
            true => Err(Failure::Script(nothing(&facts.subject))),
            false => Ok(facts),
        }
    }

    /// The rules that do what they say, in number, and those of them that fail.
    pub fn holding(&self) -> (usize, usize) {
        let acting = self.rules.iter().filter(|rule| !rule.dry_run);
        let failing = acting.clone().filter(|rule| rule.passed == Some(false));
        (acting.count(), failing.count())
    }

    /// The scores of each table over time, with the moving average that shows the trend.
    pub fn tables(&self) -> BTreeMap<&str, Vec<(i64, f64)>> {
        let mut all: BTreeMap<&str, Vec<(i64, f64)>> = BTreeMap::new();
        for score in self.scores.iter().filter(|score| score.level == "table") {
            if let Some(value) = score.score {
                let points = all.entry(&score.table_name).or_default();
                points.push((score.at, value));
            }
        }
        for points in all.values_mut() {
            let surplus = points.len().saturating_sub(POINTS_MAX);
            points.drain(..surplus);
        }
        all
    }

    /// The last score of each dimension of a table.
    pub fn dimensions(&self, table: &str) -> BTreeMap<&str, f64> {
        let of = |score: &&Score| score.level == "dimension" && score.table_name == table;
        let scores = self.scores.iter().filter(of);
        let named = scores.filter_map(|score| Some((score.name.as_str(), score.score?)));
        named.collect()
    }
}

/// The windows of each rule and segment about what is normal.
fn series(told: Vec<Told>) -> Vec<Series> {
    let mut all: BTreeMap<String, Vec<Point>> = BTreeMap::new();
    for one in told {
        let Ok(seen) = serde_json::from_str::<Map<String, Value>>(&one.observed) else {
            continue;
        };
        let number = |name: &str| seen.get(name).and_then(Value::as_f64);
        let measured = seen
            .iter()
            .find(|(name, _)| !OF_MODELS.contains(&name.as_str()));
        let Some(value) = measured.and_then(|(_, value)| value.as_f64()) else {
            continue;
        };
        let point = Point {
            at: one.at,
            value,
            band: number("lower").zip(number("upper")),
            is_anomaly: one.passed == Some(false),
        };
        all.entry(one.name).or_default().push(point);
    }
    let newest = |(name, mut points): (String, Vec<Point>)| {
        points.drain(..points.len().saturating_sub(WINDOWS_MAX));
        Series { name, points }
    };
    let mut all: Vec<Series> = all.into_iter().map(newest).collect();
    // Those with the most anomalies first.
    let anomalies = |series: &Series| {
        series
            .points
            .iter()
            .filter(|point| point.is_anomaly)
            .count()
    };
    all.sort_by_key(|series| std::cmp::Reverse(anomalies(series)));
    all.truncate(SERIES_MAX);
    all
}

/// The exponentially weighted mean of scores: where they are heading.
pub(super) fn trend(points: &[(i64, f64)]) -> Vec<(i64, f64)> {
    const NEW: f64 = 0.3;
    let mut mean = None;
    let next = |(at, score): &(i64, f64)| {
        let value = mean.map_or(*score, |mean: f64| mean + NEW * (score - mean));
        mean = Some(value);
        (*at, value)
    };
    points.iter().map(next).collect()
}

fn nothing(subject: &Subject) -> Error {
    let (what, name) = match subject {
        Subject::Pipeline(name) => ("pipeline", name),
        Subject::Table(name) => ("table", name),
    };
    let message = format!("no rule of {what} \"{name}\" has found anything yet");
    Error::new(Kind::Invalid, codes::UNKNOWN_TABLE, message).hint(
        "run a script whose tables have rules first, or say where its state is: --state PLACE",
    )
}

/// Asks a query and reads its rows.
fn rows<T: DeserializeOwned>(program: &mut Program, query: &str) -> Result<Vec<T>, Failure> {
    let (stop, _) = watch::channel(Stop::Run);
    let mut out = Vec::new();
    for statement in &program.parse(query)? {
        program.execute(statement, &mut out, &stop)?;
    }
    let text = String::from_utf8_lossy(&out);
    let rows = text.lines().map(serde_json::from_str);
    rows.collect::<Result<Vec<T>, _>>().map_err(|error| {
        let error = Error::internal("the results of rules cannot be read").caused_by(error);
        Failure::Job(error)
    })
}
