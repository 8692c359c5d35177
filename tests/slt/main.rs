//! The language, statement by statement, in sqllogictest files: each file is a test and has a
//! session of its own.
//!
//! Beside Weir's statements the runner knows `RUN`, which runs the pipeline that the statements
//! before it add up to. `$__TEST_DIR__` is a folder of the file's own (`control substitution on`).
//! `UPDATE=1 cargo test --test slt NAME` writes the found results into the files, for review.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should panic"
)]

use std::fmt;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt as _;
use sqllogictest::{DB, DBOutput, DefaultColumnType, Runner};
use tokio::sync::watch;
use weir::embed::{Program, RunOptions};
use weir::failure::Failure;
use weir_engine::job::Stop;
use weir_sql::session::Outcome;

macro_rules! files {
    ($($name:ident)*) => {
        $(#[test] fn $name() { run(stringify!($name)); })*
        const FILES: &[&str] = &[$(stringify!($name)),*];
    };
}

files! {
    aggregate
    alter
    anomaly
    anomaly_model
    arrivals
    cumulate
    describe
    drop
    errors_anomaly
    errors_connector
    errors_query
    errors_rule
    errors_statement
    errors_window
    explain
    formats
    functions
    gates
    hop
    insert
    join
    keyed_rules
    materialized_view
    metadata
    names
    profile
    quarantine
    row_counts
    rules
    select
    session
    set
    show
    sink
    source
    statistics
    subquery
    subscribe
    text_views
    tumble
    types
    unsupported
    validate
    variables
    view
}

#[test]
fn every_file_is_a_test() {
    let folder = folder();
    for entry in std::fs::read_dir(&folder).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(name) = name.strip_suffix(".slt") {
            assert!(
                FILES.contains(&name),
                "tests/slt/{name}.slt is not in the list of tests/slt/main.rs"
            );
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt")
}

fn run(name: &str) {
    let path = folder().join(format!("{name}.slt"));
    let mut runner = Runner::new(|| async { Ok(Engine::new()) });
    runner.with_column_validator(sqllogictest::strict_column_validator);
    if std::env::var_os("UPDATE").is_some() {
        let update = runner.update_test_file(
            &path,
            "\t",
            sqllogictest::default_validator,
            sqllogictest::default_normalizer,
            sqllogictest::strict_column_validator,
        );
        futures::executor::block_on(update).unwrap();
        return;
    }
    if let Err(error) = runner.run_file(&path) {
        panic!("{}", error.display(false));
    }
}

/// A session of Weir.
struct Engine {
    program: Program,
    state: tempfile::TempDir,
}

/// An error as a user sees it, on one line so that a file can match it.
#[derive(Debug)]
struct Told(String);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Told {}

impl From<Failure> for Told {
    fn from(failure: Failure) -> Self {
        let report = failure
            .error()
            .map(|error| error.report(None))
            .unwrap_or_default();
        Self(report.lines().map(str::trim).collect::<Vec<_>>().join("; "))
    }
}

impl Engine {
    fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let options = RunOptions::default()
            .with("pipeline.parallelism", 2)
            .with("pipeline.state", state.path().display());
        let (program, _) = Program::load("", &options).unwrap_or_else(|failure| {
            panic!("{}", Told::from(failure));
        });
        Self { program, state }
    }

    /// Runs what was added to the pipeline, and gives the rows of each sink.
    fn run_pipeline(&mut self) -> Result<DBOutput<DefaultColumnType>, Told> {
        let (stop, _) = watch::channel(Stop::Run);
        let Some(pipeline) = self.program.pipeline(&stop)? else {
            return Err(Told("nothing to run".to_owned()));
        };
        let job = self.program.start(pipeline, stop)?;
        let host = self.program.host();
        let ended = host.block_on(job.finish(|_| ())).map_err(Failure::Job)?;
        let summary = ended?;
        assert!(summary.adds_up, "{}", summary.text());
        let rows: Vec<_> = summary
            .sinks
            .iter()
            .map(|sink| vec![sink.name.clone(), sink.rows.to_string()])
            .collect();
        Ok(DBOutput::Rows {
            types: vec![DefaultColumnType::Text, DefaultColumnType::Integer],
            rows,
        })
    }
}

impl DB for Engine {
    type Error = Told;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Told> {
        if sql.trim() == "RUN" {
            return self.run_pipeline();
        }
        let statements = self.program.parse(sql)?;
        let mut last = DBOutput::StatementComplete(0);
        for statement in &statements {
            last = match self.program.outcome(statement)? {
                Outcome::Done(_) | Outcome::Added => DBOutput::StatementComplete(0),
                Outcome::Table { schema, batches } => table(&schema, &batches),
                Outcome::Validated {
                    failed: Some(error),
                    ..
                } => return Err(Failure::Job(error).into()),
                Outcome::Validated { schema, rows, .. } => table(&schema, &[rows]),
                Outcome::Query(stream) | Outcome::Subscription(stream) => {
                    let schema = stream.schema();
                    let rows = self.program.host().block_on(stream.try_collect::<Vec<_>>());
                    let rows = rows.map_err(Failure::Job)?;
                    let batches = rows.map_err(|error| Failure::Job(error.into()))?;
                    table(&schema, &batches)
                }
            };
        }
        Ok(last)
    }

    fn engine_name(&self) -> &str {
        "weir"
    }

    fn shutdown(&mut self) {
        let path = self.state.path();
        assert!(path.exists());
    }
}

fn table(schema: &SchemaRef, batches: &[RecordBatch]) -> DBOutput<DefaultColumnType> {
    let types = schema
        .fields()
        .iter()
        .map(|field| column_type(field.data_type()))
        .collect();
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|c| ArrayFormatter::try_new(c, &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            rows.push(
                columns
                    .iter()
                    .map(|column| text(column.value(row).to_string()))
                    .collect(),
            );
        }
    }
    DBOutput::Rows { types, rows }
}

/// An empty text would vanish between the columns of a file.
fn text(value: String) -> String {
    if value.is_empty() {
        "(empty)".to_owned()
    } else {
        value
    }
}

fn column_type(data_type: &DataType) -> DefaultColumnType {
    match data_type {
        data_type if data_type.is_integer() => DefaultColumnType::Integer,
        data_type if data_type.is_floating() => DefaultColumnType::FloatingPoint,
        DataType::Decimal128(..) | DataType::Decimal256(..) => DefaultColumnType::FloatingPoint,
        _ => DefaultColumnType::Text,
    }
}
