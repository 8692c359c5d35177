//! The results of a suite: lines on the terminal as they come, and a file in `benches/results`.

use std::fs;
use std::io::Write;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::clock;
use crate::compare::{Case, Outcome, Part, Runner, middle};
use crate::failure::{During, Result};
use crate::programs::python::Check;
use crate::programs::{Into, Run, can_pin};
use crate::settings::{self, Settings};
use crate::statistics::{median, spread};

pub(crate) mod page;

/// Prints a line of the report.
pub(crate) fn say(line: &str) {
    // A closed terminal is no reason to stop measuring: the file is still written.
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// Prints a line about the progress.
pub(crate) fn note(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// The results of one suite.
#[derive(Debug)]
pub(crate) struct Report {
    suite: &'static str,
    about: String,
    cores: u32,
    setting: Value,
    programs: Map<String, Value>,
    cases: Vec<Value>,
    tables: Vec<Value>,
    notes: Vec<String>,
    is_right: bool,
}

impl Report {
    /// Takes what holds for all cases.
    pub(crate) fn new(suite: &'static str, about: String, settings: &Settings) -> Self {
        Self {
            suite,
            about,
            cores: settings.cores(),
            setting: json!({
                "date": clock::today(),
                "cpu": cpu_model(),
                "cores": settings.cores(),
                "pinned": can_pin(),
                "runs": settings.runs,
                "memory": settings.memory,
            }),
            programs: Map::new(),
            cases: Vec::new(),
            tables: Vec::new(),
            notes: Vec::new(),
            is_right: true,
        }
    }

    /// Prints what stands above the lines.
    pub(crate) fn print_head(&self) {
        let pinned = if can_pin() { "pinned" } else { "not pinned" };
        let runs = &self.setting["runs"];
        say(&format!("\n{}: {}", self.suite, self.about));
        say(&format!(
            "{} cores ({pinned}); {runs} timed runs each, in turn\n",
            self.cores
        ));
        say(&line(&HEAD));
    }

    /// Says which version of a program ran, or why none did.
    pub(crate) fn name_program(
        &mut self,
        name: &str,
        version: std::result::Result<&str, &crate::failure::Failure>,
    ) {
        let value = match version {
            Ok(version) => json!(version),
            Err(error) => {
                self.notes.push(format!("{name} is missing: {error}"));
                json!({"missing": error.to_string()})
            }
        };
        self.programs.insert(name.to_owned(), value);
    }

    /// Prints and keeps the outcomes of a case.
    pub(crate) fn add(&mut self, case: &Case, outcomes: &[(&Runner, Outcome)]) {
        let base = outcomes
            .first()
            .and_then(|(_, outcome)| match &outcome.runs {
                Ok(runs) if !runs.is_empty() => Some(middle(runs)),
                _ => None,
            });
        let mut runners = Vec::new();
        for (runner, outcome) in outcomes {
            let value = self.runner(case, runner, outcome, base);
            say(&line(&cells(case, &value)));
            runners.push(value);
        }
        self.cases.push(json!({
            "name": case.name, "rows": case.rows, "bytes": case.bytes, "runners": runners,
        }));
    }

    fn runner(
        &mut self,
        case: &Case,
        runner: &Runner,
        outcome: &Outcome,
        base: Option<Duration>,
    ) -> Value {
        let mut value = json!({
            "label": runner.label,
            "program": runner.program,
            "into": match runner.job.into {
                Into::Nowhere => "nowhere",
                Into::Files => "files",
                Into::Bucket => "bucket",
                Into::AsItSays => "what the query says",
                Into::Lines => "lines",
            },
            "checkpoints": runner.job.checkpoints,
        });
        if let Some(part) = &runner.part {
            value["part"] = json!({"rows": part.rows, "bytes": part.bytes});
        }
        let mut error = None;
        match &outcome.check {
            Some(Ok(check)) => {
                self.is_right &= check.equal;
                value["check"] = json!({
                    "equal": check.equal, "rows": check.rows, "rows_expected": check.rows_expected,
                    "text": check_text(check, runner.part.as_ref()),
                });
            }
            Some(Err(failure)) => error = Some(failure),
            None => {}
        }
        match &outcome.runs {
            Ok(runs) if !runs.is_empty() => {
                let seconds = times(&mut value, runs);
                let (rows, bytes) = match &runner.part {
                    Some(part) => (part.rows, part.bytes),
                    None => (case.rows, case.bytes),
                };
                let per_core = |amount: u64| amount as f64 / seconds / f64::from(self.cores);
                value["rows_per_second_per_core"] = json!(per_core(rows));
                value["bytes_per_second_per_core"] = json!(per_core(bytes));
                if let Some(base) = base {
                    let of_all = rows as f64 / case.rows as f64;
                    value["ratio"] = json!(seconds / base.as_secs_f64() / of_all);
                }
            }
            Ok(_) => {}
            Err(failure) => error = Some(failure),
        }
        if let Some(error) = error {
            value["error"] = json!(error.to_string());
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            self.notes
                .push(format!("{}: {}: {first}", case.name, runner.label));
            // A peer that is not there is said; Weir must run.
            self.is_right &= runner.program != "weir";
        }
        value
    }

    /// Notes what went wrong beside the cases; `counts` makes the suite fail.
    pub(crate) fn fault(&mut self, text: String, counts: bool) {
        note(&text);
        self.notes.push(text);
        self.is_right &= !counts;
    }

    /// Keeps a table of figures that are no comparison of times.
    pub(crate) fn table(&mut self, title: &str, columns: &[&str], rows: Vec<Vec<String>>) {
        say(&format!("\n{title}"));
        say(&columns.join(" | "));
        for row in &rows {
            say(&row.join(" | "));
        }
        self.tables
            .push(json!({"title": title, "columns": columns, "rows": rows}));
    }

    /// Prints what stands below, writes the file, and tells whether all was right.
    pub(crate) fn finish(self) -> Result<bool> {
        say("");
        for note in &self.notes {
            say(note);
        }
        let folder = settings::home().join("results");
        fs::create_dir_all(&folder).during(format!("making {}", folder.display()))?;
        let path = folder.join(format!("{}.json", self.suite));
        let all = json!({
            "suite": self.suite,
            "about": self.about,
            "setting": self.setting,
            "programs": self.programs,
            "cases": self.cases,
            "tables": self.tables,
            "notes": self.notes,
        });
        let text = serde_json::to_string_pretty(&all).during("writing results")? + "\n";
        fs::write(&path, text).during(format!("writing {}", path.display()))?;
        note(&format!("written to {}", path.display()));
        Ok(self.is_right)
    }
}

/// Puts the figures of runs into an object and gives the median in seconds.
fn times(value: &mut Value, runs: &[Run]) -> f64 {
    let jobs: Vec<_> = runs.iter().map(|run| run.job).collect();
    let cpus: Vec<_> = runs.iter().filter_map(|run| run.cpu).collect();
    let processes: Vec<_> = runs.iter().filter_map(|run| run.process).collect();
    let seconds = median(&jobs).as_secs_f64();
    value["seconds"] = json!(jobs.iter().map(Duration::as_secs_f64).collect::<Vec<_>>());
    value["median"] = json!(seconds);
    value["spread"] = json!(spread(&jobs));
    if !cpus.is_empty() {
        value["cpu_seconds"] = json!(median(&cpus).as_secs_f64());
    }
    if !processes.is_empty() {
        value["process_seconds"] = json!(median(&processes).as_secs_f64());
    }
    value["peak_bytes"] = json!(runs.iter().filter_map(|run| run.peak_bytes).max());
    seconds
}

const HEAD: [&str; 10] = [
    "case",
    "program",
    "s",
    "±",
    "M/s/core",
    "MB/s/core",
    "cpu s",
    "peak MB",
    "x weir",
    "rows",
];

fn cells(case: &Case, runner: &Value) -> [String; 10] {
    let number = |name: &str, scale: f64, digits: usize| match runner[name].as_f64() {
        Some(number) => format!("{:.digits$}", number * scale),
        None => "-".to_owned(),
    };
    let check = match (&runner["error"], &runner["check"]["text"]) {
        (Value::String(_), _) => "failed",
        (_, Value::String(text)) => text.as_str(),
        _ => "-",
    };
    [
        case.name.clone(),
        runner["label"].as_str().unwrap_or_default().to_owned(),
        number("median", 1.0, 3),
        number("spread", 100.0, 0) + "%",
        number("rows_per_second_per_core", 1e-6, 2),
        number("bytes_per_second_per_core", 1e-6, 0),
        number("cpu_seconds", 1.0, 2),
        number("peak_bytes", 1e-6, 0),
        number("ratio", 1.0, 2),
        check.to_owned(),
    ]
}

fn line<T: AsRef<str>>(cells: &[T; 10]) -> String {
    let [name, label, s, spread, rate, bytes, cpu, peak, ratio, check] =
        cells.each_ref().map(AsRef::as_ref);
    format!(
        "{name:<20}{label:<22}{s:>9}{spread:>6}{rate:>10}{bytes:>11}{cpu:>8}{peak:>9}{ratio:>8}  {check}"
    )
}

fn check_text(check: &Check, part: Option<&Part>) -> String {
    if !check.equal && check.rows == check.rows_expected {
        return format!("WRONG values in {} rows", check.rows);
    }
    if !check.equal {
        return format!("WRONG: {} rows, not {}", check.rows, check.rows_expected);
    }
    match part {
        Some(part) => format!("same {} rows, of the first {}", check.rows, part.rows),
        None => format!("same {} rows", check.rows),
    }
}

/// The processor's name, where the system tells it.
fn cpu_model() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::Job;

    #[test]
    fn a_check_says_what_was_compared() {
        let check = |rows, rows_expected, equal| Check {
            equal,
            rows,
            rows_expected,
        };
        let part = Part {
            rows: 100,
            bytes: 1,
            answer: Job::default(),
        };
        assert_eq!(check_text(&check(7, 7, true), None), "same 7 rows");
        let of_part = check_text(&check(7, 7, true), Some(&part));
        assert_eq!(of_part, "same 7 rows, of the first 100");
        assert_eq!(
            check_text(&check(7, 7, false), Some(&part)),
            "WRONG values in 7 rows"
        );
        assert_eq!(
            check_text(&check(6, 7, false), None),
            "WRONG: 6 rows, not 7"
        );
    }
}
