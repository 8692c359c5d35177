//! How much memory jobs take of the budget that they are given, at several budgets.

use clap::Args;
use serde_json::Value;

use super::{Suite, batch, nexmark, parquet, window};
use crate::compare::Case;
use crate::data;
use crate::failure::Result;
use crate::programs::python::Peer;
use crate::programs::weir::{Told, Weir};
use crate::programs::{Into, Program};
use crate::report::{self, Report};
use crate::settings::Settings;

/// Queries of Nexmark: rows as they are, windows of each kind, joins, and results that change.
const NEXMARK: [&str; 8] = ["q0", "q3", "q5", "q8", "q9", "q11", "q18", "q20"];
/// Queries of TPC-H: few groups, many joins, many groups, a table joined with itself.
const TPCH: [&str; 4] = ["q1", "q9", "q18", "q21"];
/// Events of the job that shows what the program takes when it does nearly nothing.
const FEW: u64 = 1_000;
/// What a job may take, as a share of the budget.
const GOAL: f64 = 1.15;

/// The suite `memory`.
#[derive(Debug, Args)]
pub(crate) struct Memory {
    /// Memory budgets
    #[arg(long, value_delimiter = ',', default_values_t = ["512MB".to_owned(), "1GiB".to_owned(), "2GiB".to_owned()])]
    budgets: Vec<String>,

    /// Events of Nexmark
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(50..=1_000_000_000))]
    events: u64,

    /// Rows of the windows
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    rows: u64,

    /// Keys of the windows
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,

    /// Scale factor of TPC-H
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
}

impl Suite for Memory {
    const NAME: &'static str = "memory";
    const ABOUT: &'static str = "What jobs take of their memory budget, at several budgets";

    fn run(&self, settings: &Settings) -> Result<bool> {
        let about = format!(
            "the most resident memory of Weir's process, of {} runs; \
             {} Nexmark events, {} rows of {} keys, TPC-H at scale factor {}",
            settings.runs, self.events, self.rows, self.keys, self.scale
        );
        let mut report = Report::new(Self::NAME, about, settings);
        let cases = self.cases(settings, &mut report)?;
        let mut judge = Peer::start("duckdb", settings);
        let weir = Weir::find(settings)?;
        report.name_program("weir", Ok(weir.version()));
        let mut rows = Vec::new();
        for budget in &self.budgets {
            let mut weir = Weir::find(settings)?.with_memory(budget);
            for case in &cases {
                let measured = measure(case, &mut weir, &mut judge, settings.runs);
                let row = match measured {
                    Ok(taken) => taken.row(case, budget),
                    Err(error) => {
                        report.fault(format!("{}, {budget}: {error}", case.name), true);
                        failed(case, budget)
                    }
                };
                report::note(&format!("  {}", row.join(" | ")));
                rows.push(row);
            }
        }
        let title = format!("Peak of memory; the goal is at most {GOAL} of the budget");
        let columns = [
            "job",
            "budget",
            "s",
            "seen MB",
            "told MB",
            "of budget",
            "goal",
            "rows",
        ];
        report.table(&title, &columns, rows);
        report.finish()
    }
}

impl Memory {
    /// The jobs; the first does nearly nothing.
    fn cases(&self, settings: &Settings, report: &mut Report) -> Result<Vec<Case>> {
        let named = |name: String, case: Case| Case { name, ..case };
        let nothing = nexmark::from_parquet("q0", FEW)?;
        let mut cases = vec![named("nearly nothing".to_owned(), nothing)];
        let wants = |name: &str| settings.wants_case(name);
        if wants("window") {
            cases.push(named(
                "window".to_owned(),
                window::of(self.rows, self.keys)?,
            ));
        }
        for query in NEXMARK {
            let name = format!("nexmark {query}");
            if wants(&name) {
                cases.push(named(name, nexmark::from_parquet(query, self.events)?));
            }
        }
        let tpch = TPCH.map(|query| (query, format!("tpch {query}")));
        let tpch: Vec<_> = tpch.into_iter().filter(|(_, name)| wants(name)).collect();
        if !tpch.is_empty() {
            match data::tpch::input(self.scale) {
                Ok(input) => {
                    for (query, name) in tpch {
                        cases.push(named(name, batch::case(query, self.scale, &input)?));
                    }
                }
                Err(error) => report.fault(format!("tpch: not measured: {error}"), false),
            }
        }
        if wants("parquet") {
            let input = data::nexmark::input(self.events)?;
            let case = parquet::case("parquet", self.events, &input, Into::Files, [], settings)?;
            cases.push(case);
        }
        Ok(cases)
    }
}

/// What a job took.
#[derive(Debug, Default)]
struct Taken {
    seconds: f64,
    /// As it was seen from outside.
    seen: u64,
    /// As the job's summary says.
    told: u64,
    budget: u64,
    rows: u64,
}

/// Checks the rows, then runs.
fn measure(case: &Case, weir: &mut Weir, judge: &mut Result<Peer>, runs: u32) -> Result<Taken> {
    let mut taken = Taken {
        rows: case.right_rows(weir, judge)?,
        ..Taken::default()
    };
    for _ in 0..runs {
        taken.add(&weir.tell(case.of_weir()?)?);
    }
    Ok(taken)
}

impl Taken {
    fn add(&mut self, told: &Told) {
        let memory = &told.summary["memory"];
        let bytes = |value: &Value| value.as_u64().unwrap_or(0);
        self.seconds = told.run.job.as_secs_f64();
        self.seen = self.seen.max(told.seen_bytes.unwrap_or(0));
        self.told = self.told.max(bytes(&memory["peak"]));
        self.budget = bytes(&memory["budget"]);
    }

    fn row(&self, case: &Case, budget: &str) -> Vec<String> {
        let share = self.seen.max(self.told) as f64 / self.budget as f64;
        let megabytes = |bytes: u64| (bytes / 1_000_000).to_string();
        vec![
            case.name.clone(),
            budget.to_owned(),
            format!("{:.2}", self.seconds),
            megabytes(self.seen),
            megabytes(self.told),
            format!("{share:.2}"),
            if share <= GOAL { "kept" } else { "missed" }.to_owned(),
            format!("same {} rows", self.rows),
        ]
    }
}

fn failed(case: &Case, budget: &str) -> Vec<String> {
    let mut row = vec![case.name.clone(), budget.to_owned()];
    row.extend(["-", "-", "-", "-", "-"].map(str::to_owned));
    row.push("failed: see below".to_owned());
    row
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::programs::Run;

    fn told(seen: u64, peak: u64) -> Told {
        Told {
            run: Run {
                job: Duration::from_secs(2),
                said: None,
                process: None,
                cpu: None,
                peak_bytes: None,
            },
            summary: json!({"memory": {"budget": 1_000_000_000, "peak": peak}}),
            seen_bytes: Some(seen),
        }
    }

    #[test]
    fn the_most_of_all_runs_counts_from_inside_and_outside() {
        let case = Case {
            name: "q5".to_owned(),
            rows: 1,
            bytes: 1,
            runners: Vec::new(),
            answer: None,
        };
        let mut taken = Taken::default();
        taken.add(&told(900_000_000, 950_000_000));
        taken.add(&told(1_100_000_000, 1_000_000_000));
        let kept = [
            "q5",
            "1GB",
            "2.00",
            "1100",
            "1000",
            "1.10",
            "kept",
            "same 0 rows",
        ];
        assert_eq!(taken.row(&case, "1GB"), kept);
        taken.add(&told(0, 1_160_000_000));
        assert_eq!(taken.row(&case, "1GB")[6], "missed");
        assert_eq!(failed(&case, "1GB").len(), kept.len());
    }
}
