//! The table on the terminal and the file in `benches/results`.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::failure::{During, Result};
use crate::measure::{Bench, Outcome, median, spread};
use crate::peer::Check;
use crate::program::can_pin;
use crate::settings::{self, Settings};
use crate::suites::Case;

/// Prints a line of the report.
fn say(line: &str) {
    // A closed terminal is no reason to stop measuring: the file is still written.
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// Prints a line about the progress.
pub(crate) fn note(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// Prints an error.
pub(crate) fn complain(line: &str) {
    note(line);
}

/// The results of one suite.
#[derive(Debug)]
pub(crate) struct Report {
    suite: &'static str,
    about: String,
    setting: String,
    cores: u32,
    head: Value,
    cases: Vec<Value>,
    notes: Vec<String>,
    is_right: bool,
}

impl Report {
    /// Takes what holds for all cases.
    pub(crate) fn new(
        suite: &'static str,
        about: String,
        settings: &Settings,
        bench: &Bench,
    ) -> Self {
        let cores = settings.cores();
        let weir = bench
            .weir
            .version()
            .unwrap_or_else(|error| error.to_string());
        let mut notes = Vec::new();
        if bench.weir.is_debug() {
            notes.push("weir is a debug build: its times say nothing".to_owned());
        }
        let duckdb = match &bench.duckdb {
            Ok(peer) => json!({"version": peer.version}),
            Err(error) => {
                notes.push(format!("duckdb is missing, nothing was compared: {error}"));
                json!({"missing": error.to_string()})
            }
        };
        let pinned = if can_pin() { "pinned" } else { "not pinned" };
        let runs = settings.runs;
        Self {
            suite,
            setting: format!(
                "{weir}; {cores} cores ({pinned}); {runs} timed runs each, in turn; checkpoints off"
            ),
            about,
            cores,
            head: json!({
                "weir": weir,
                "duckdb": duckdb,
                "cores": cores,
                "pinned": can_pin(),
                "cpu": cpu_model(),
                "runs": runs,
                "memory": settings.memory,
                "checkpoints": false,
            }),
            cases: Vec::new(),
            notes,
            is_right: true,
        }
    }

    /// Whether every case ran and gave the right rows.
    pub(crate) fn is_right(&self) -> bool {
        self.is_right
    }

    /// Prints what stands above the table.
    pub(crate) fn print_head(&self) {
        say(&format!("\n{}: {}", self.suite, self.about));
        say(&self.setting);
        say("");
        say(&line([
            "case", "rows", "MB", "weir s", "±", "M/s/core", "duckdb s", "±", "M/s/core", "ratio",
            "check",
        ]));
    }

    /// Prints and keeps the outcome of a case.
    pub(crate) fn add(&mut self, case: &Case, outcome: Outcome) {
        let mut cells = Cells::new(case);
        let mut value = json!({"name": case.name, "rows": case.rows, "bytes": case.bytes});
        match &outcome.check {
            None => cells.check = "-".to_owned(),
            Some(Ok(check)) => {
                cells.check = check_text(check);
                self.is_right &= check.equal;
                value["check"] = json!({
                    "equal": check.equal,
                    "rows": check.rows,
                    "rows_expected": check.rows_expected,
                });
            }
            Some(Err(error)) => self.fail(case, "check", error, &mut cells.check, &mut value),
        }
        let mut weir_median = None;
        match &outcome.weir {
            Some(Ok(runs)) => {
                let jobs: Vec<_> = runs.iter().map(|run| run.job).collect();
                let processes: Vec<_> = runs.iter().map(|run| run.process).collect();
                weir_median = Some(median(&jobs));
                cells.weir = self.time_cells(case, &jobs);
                value["weir"] = self.times(case, &jobs);
                value["weir"]["process_seconds"] = seconds(&processes);
                value["weir"]["peak_bytes"] = json!(runs.iter().filter_map(|r| r.peak_bytes).max());
            }
            Some(Err(error)) => self.fail(case, "weir", error, &mut cells.check, &mut value),
            None => {}
        }
        match &outcome.duckdb {
            Some(Ok(times)) => {
                cells.duckdb = self.time_cells(case, times);
                value["duckdb"] = self.times(case, times);
                if let Some(weir) = weir_median {
                    let ratio = median(times).as_secs_f64() / weir.as_secs_f64();
                    cells.ratio = format!("{ratio:.2}x");
                    value["ratio"] = json!(ratio);
                }
            }
            Some(Err(error)) => self.fail(case, "duckdb", error, &mut cells.check, &mut value),
            None => {}
        }
        say(&cells.line());
        self.cases.push(value);
    }

    fn fail(
        &mut self,
        case: &Case,
        what: &str,
        error: &dyn std::fmt::Display,
        cell: &mut String,
        value: &mut Value,
    ) {
        "failed".clone_into(cell);
        value[what] = json!({"error": error.to_string()});
        self.notes.push(format!("{}: {what}: {error}", case.name));
        self.is_right = false;
    }

    fn rate(&self, case: &Case, times: &[Duration]) -> f64 {
        case.rows as f64 / median(times).as_secs_f64() / f64::from(self.cores)
    }

    fn time_cells(&self, case: &Case, times: &[Duration]) -> [String; 3] {
        [
            format!("{:.3}", median(times).as_secs_f64()),
            format!("{:.0}%", spread(times) * 100.0),
            format!("{:.2}", self.rate(case, times) / 1e6),
        ]
    }

    fn times(&self, case: &Case, times: &[Duration]) -> Value {
        json!({
            "seconds": seconds(times),
            "median": median(times).as_secs_f64(),
            "spread": spread(times),
            "rows_per_second_per_core": self.rate(case, times),
        })
    }

    /// Prints what stands below the table.
    pub(crate) fn print_notes(&self) {
        say("");
        for note in &self.notes {
            say(note);
        }
    }

    /// Writes the file and gives its path.
    pub(crate) fn write(&self) -> Result<PathBuf> {
        let folder = settings::home().join("results");
        fs::create_dir_all(&folder).during(format!("making {}", folder.display()))?;
        let path = folder.join(format!("{}.json", self.suite));
        let all = json!({
            "suite": self.suite,
            "about": self.about,
            "setting": self.head,
            "cases": self.cases,
            "notes": self.notes,
        });
        let text = serde_json::to_string_pretty(&all).during("writing results")? + "\n";
        fs::write(&path, text).during(format!("writing {}", path.display()))?;
        Ok(path)
    }
}

/// One line of the table.
#[derive(Debug)]
struct Cells {
    name: String,
    rows: String,
    megabytes: String,
    weir: [String; 3],
    duckdb: [String; 3],
    ratio: String,
    check: String,
}

impl Cells {
    fn new(case: &Case) -> Self {
        let none = || ["-".to_owned(), "-".to_owned(), "-".to_owned()];
        Self {
            name: case.name.clone(),
            rows: case.rows.to_string(),
            megabytes: (case.bytes / 1_000_000).to_string(),
            weir: none(),
            duckdb: none(),
            ratio: "-".to_owned(),
            check: String::new(),
        }
    }

    fn line(&self) -> String {
        let [weir, weir_spread, weir_rate] = &self.weir;
        let [duckdb, duckdb_spread, duckdb_rate] = &self.duckdb;
        line([
            &self.name,
            &self.rows,
            &self.megabytes,
            weir,
            weir_spread,
            weir_rate,
            duckdb,
            duckdb_spread,
            duckdb_rate,
            &self.ratio,
            &self.check,
        ])
    }
}

fn line(cells: [&str; 11]) -> String {
    let [name, rows, mb, w, ws, wr, d, ds, dr, ratio, check] = cells;
    format!(
        "{name:<14}{rows:>10}{mb:>7}{w:>9}{ws:>6}{wr:>10}{d:>10}{ds:>6}{dr:>10}{ratio:>8}  {check}"
    )
}

fn check_text(check: &Check) -> String {
    if check.equal {
        format!("same {} rows", check.rows)
    } else if check.rows == check.rows_expected {
        format!("WRONG values in {} rows", check.rows)
    } else {
        format!("WRONG: {} rows, not {}", check.rows, check.rows_expected)
    }
}

fn seconds(times: &[Duration]) -> Value {
    json!(times.iter().map(Duration::as_secs_f64).collect::<Vec<_>>())
}

/// The processor's name, where the system tells it.
fn cpu_model() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
