//! Quality rules over many rows, by the program: against an independent answer, in batch and streaming.

mod alter;
mod arrivals;
mod avro;
mod checks;
mod history;
mod lasts;
mod profile;
mod references;
mod report;
mod statistics;

use std::fs::File;
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// One row of `weir.quality_results`.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub(crate) struct Told {
    pub(crate) rule: String,
    pub(crate) segment: Option<String>,
    /// Start and end of a window; none where the time is that of the run.
    pub(crate) pane: Option<(i64, i64)>,
    pub(crate) passed: Option<bool>,
    /// Evaluated, violated, unknown.
    pub(crate) counts: [i64; 3],
}

/// What the rules of a pipeline have found, read from its state in some order of the rows.
pub(crate) fn results(state: &Path) -> Vec<Told> {
    let mut all = Vec::new();
    let Ok(entries) = std::fs::read_dir(state.join("weir/quality_results")) else {
        return all;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let file = File::open(entry.path()).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            let column = |name: &str| batch.column_by_name(name).unwrap();
            let text = |name: &str| column(name).as_string::<i32>();
            let number = |name: &str| column(name).as_primitive::<Int64Type>();
            let time = |name: &str| column(name).as_primitive::<TimestampMicrosecondType>();
            let passed = column("passed").as_boolean();
            for row in 0..batch.num_rows() {
                let windowed = ["window", "every"].contains(&text("scope").value(row));
                let (start, end) = (time("pane_start").value(row), time("pane_end").value(row));
                all.push(Told {
                    rule: text("rule").value(row).to_owned(),
                    segment: text("segment")
                        .is_valid(row)
                        .then(|| text("segment").value(row).to_owned()),
                    pane: windowed.then_some((start, end)),
                    passed: passed.is_valid(row).then(|| passed.value(row)),
                    counts: ["evaluated", "violated", "unknown"]
                        .map(|name| number(name).value(row)),
                });
            }
        }
    }
    all
}
