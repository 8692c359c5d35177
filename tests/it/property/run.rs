//! Runs a script in this process and looks at what it keeps: its materialized views, read as `weir
//! sql` does, its sinks, and what a subscription to a query adds up to.

use std::collections::BTreeMap;

use arrow::array::{AsArray as _, RecordBatch};
use futures::TryStreamExt as _;
use object_store::local::LocalFileSystem;
use tokio::sync::watch;
use weir::embed::{Program, RunOptions, run_script};
use weir::summary::Summary;
use weir_engine::job::Stop;
use weir_sql::session::Outcome;

use super::{lines, read_back};
use crate::program::Place;

/// How a script is run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) parallelism: u32,
    pub(super) batch_rows: usize,
}

/// A folder with inputs, in which scripts run.
pub(super) struct Runs<'a> {
    pub(super) place: &'a Place,
    pub(super) way: Way,
}

impl Runs<'_> {
    /// A folder within the place.
    pub(super) fn folder(&self, name: &str) -> String {
        self.place.path().join(name).display().to_string()
    }

    /// Options of a run whose mode and state the script says.
    fn bare_options(&self) -> RunOptions {
        let mut options = RunOptions::default();
        let folder = self.place.path().display().to_string();
        options.variables.insert("WEIR_TEST_DIR".to_owned(), folder);
        options
            .with("pipeline.parallelism", self.way.parallelism)
            .with("pipeline.batch_rows", self.way.batch_rows)
    }

    pub(super) fn options(&self) -> RunOptions {
        self.bare_options()
            .with("pipeline.state", self.folder("state"))
            .with("pipeline.mode", "streaming")
    }

    /// Runs a script to its end.
    pub(super) fn run(&self, script: &str) -> Result<Summary, String> {
        run(script, &self.options())
    }

    /// Runs a script that says its mode and where its state is.
    pub(super) fn run_as_it_says(&self, script: &str) -> Result<Summary, String> {
        run(script, &self.bare_options())
    }

    /// The rows that a query over the pipeline's views gives, as sorted text.
    pub(super) fn read(&self, sql: &str) -> Vec<String> {
        self.read_from("state", sql)
    }

    /// The same of a pipeline whose state is in a folder of another name.
    pub(super) fn read_from(&self, state: &str, sql: &str) -> Vec<String> {
        let (mut program, statements) = Program::load(sql, &self.bare_options()).unwrap();
        program.read_views(Some(self.folder(state)));
        let outcome = program.outcome(&statements[0]);
        let outcome = outcome.unwrap_or_else(|f| panic!("{}", f.error().unwrap().report(None)));
        let Outcome::Query(stream) = outcome else {
            panic!("{sql} is no query");
        };
        let batches: Vec<RecordBatch> = program
            .host()
            .block_on(stream.try_collect())
            .unwrap()
            .unwrap();
        lines(&batches)
    }

    /// The rows in the files of a sink, as sorted text.
    pub(super) fn written(&self, folder: &str) -> Vec<String> {
        let local = LocalFileSystem::new_with_prefix(self.place.path()).unwrap();
        lines(&read_back(&local, folder))
    }

    /// What the changes of a query add up to. No row is taken back that is not there.
    pub(super) fn subscribed(&self, sources: &str, query: &str) -> Vec<String> {
        let script = format!("{sources}\nSUBSCRIBE TO ({query});");
        let (mut program, statements) = Program::load(&script, &self.options()).unwrap();
        let (stop, _) = watch::channel(Stop::Run);
        let mut batches: Vec<RecordBatch> = Vec::new();
        for statement in &statements {
            let outcome = program.outcome(statement);
            let outcome =
                outcome.unwrap_or_else(|f| panic!("{}\n{script}", f.error().unwrap().report(None)));
            if let Outcome::Subscription(stream) = outcome {
                let read = program.host().block_on(stream.try_collect()).unwrap();
                batches = read.unwrap();
            }
        }
        drop(stop);
        fold(&batches).unwrap_or_else(|row| panic!("{row} is taken back, but not there\n{script}"))
    }
}

fn run(script: &str, options: &RunOptions) -> Result<Summary, String> {
    match run_script(script, options, &mut Vec::new()) {
        Ok(summary) => Ok(summary.unwrap()),
        Err(failure) => Err(failure.error().unwrap().report(None)),
    }
}

/// Applies changes, whose first columns are the epoch and the kind.
fn fold(batches: &[RecordBatch]) -> Result<Vec<String>, String> {
    let (mut rows, mut last) = (BTreeMap::<String, usize>::new(), i64::MIN);
    for batch in batches {
        let epochs = batch
            .column(0)
            .as_primitive::<arrow::datatypes::Int64Type>();
        let kinds = batch.column(1).as_string::<i32>();
        let width = batch.num_columns();
        let shown = batch.project(&(2..width).collect::<Vec<_>>()).unwrap();
        for row in 0..batch.num_rows() {
            assert!(epochs.value(row) >= last, "the epoch goes back");
            last = epochs.value(row);
            let text = lines(&[shown.slice(row, 1)]).concat();
            match kinds.value(row) {
                "insert" | "update_after" => *rows.entry(text).or_default() += 1,
                _ => match rows.get_mut(&text).filter(|count| **count > 0) {
                    Some(count) => *count -= 1,
                    None => return Err(text),
                },
            }
        }
    }
    let rows = rows.into_iter();
    Ok(rows
        .flat_map(|(row, count)| std::iter::repeat_n(row, count))
        .collect())
}
