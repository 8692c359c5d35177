//! The suites: each file prepares inputs and lists cases; a case is one query for every program.

use std::path::PathBuf;

use crate::failure::Result;
use crate::measure;
use crate::report::{self, Report};
use crate::settings::Settings;

pub(crate) mod nexmark;
pub(crate) mod window;

/// One query over one input, as each program takes it.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// Names it in the table: `1000 keys`, `q5`.
    pub(crate) name: String,
    /// Rows that are read.
    pub(crate) rows: u64,
    /// Bytes of the input files.
    pub(crate) bytes: u64,
    /// Weir's script, in `queries`.
    pub(crate) script: &'static str,
    /// Its variables.
    pub(crate) variables: Vec<(String, String)>,
    /// The same for DuckDB.
    pub(crate) duckdb: String,
}

/// A suite.
pub(crate) trait Suite {
    /// Its name: of the command, and of the file with its results.
    fn name(&self) -> &'static str;

    /// One line on what is measured.
    fn about(&self) -> String;

    /// Prepares the inputs and gives the cases.
    fn cases(&self) -> Result<Vec<Case>>;
}

/// Runs all cases of a suite, prints them as they come and writes the results; false when one is
/// wrong or failed.
pub(crate) fn run(suite: &dyn Suite, settings: &Settings) -> Result<bool> {
    let cases = suite.cases()?;
    let mut bench = measure::Bench::start(settings)?;
    let mut report = Report::new(suite.name(), suite.about(), settings, &bench);
    report.print_head();
    for case in &cases {
        let outcome = bench.measure(case);
        report.add(case, outcome);
    }
    report.print_notes();
    let path: PathBuf = report.write()?;
    report::note(&format!("written to {}", path.display()));
    Ok(report.is_right())
}
