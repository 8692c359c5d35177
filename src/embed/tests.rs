//! Whole scripts, in-process, on the local disk.

use std::time::Duration;

use weir_engine::error::codes;
use weir_engine::job::Stop;
use weir_engine::limits;

use super::*;
use crate::summary::Ending;

/// A folder with an input file, and options under which a script writes only into the folder.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(csv: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("in.csv"), csv).unwrap();
        Self { folder }
    }

    fn options(&self) -> RunOptions {
        let folder = self.folder.path().to_str().unwrap();
        let variables = BTreeMap::from([("DIR".to_owned(), folder.to_owned())]);
        let options = RunOptions {
            variables,
            format: Format::Csv,
            ..RunOptions::default()
        };
        options
            .with("pipeline.state", format!("{folder}/state"))
            .with("pipeline.parallelism", 2)
    }

    fn run(&self, script: &str) -> Result<(String, Option<Summary>), Failure> {
        let mut out = Vec::new();
        let summary = run_script(script, &self.options(), &mut out)?;
        Ok((String::from_utf8(out).unwrap(), summary))
    }
}

const SOURCE: &str = "CREATE SOURCE t (a BIGINT, b VARCHAR)
    WITH (connector = 'file', path = '${DIR}/in.csv');";

#[test]
fn queries_give_rows_and_no_summary() {
    let place = Place::new("a,b\n1,x\n2,y\n");
    // The same source is read twice: the second reading must find its rows too.
    let query = "SELECT sum(a) AS s FROM t;";
    let (rows, summary) = place.run(&format!("{SOURCE} {query} {query}")).unwrap();
    assert_eq!(rows, "s\n3\ns\n3\n");
    assert!(summary.is_none());
}

#[test]
fn a_pipeline_is_summed_up_row_by_row() {
    let place = Place::new("a,b\n1,x\nnone,y\n3,z\n");
    let sink = "CREATE SINK o WITH (connector = 'file', path = '${DIR}/out', format = 'csv')
        AS SELECT a FROM t WHERE a < 3;";
    let (rows, summary) = place.run(&format!("{SOURCE} {sink}")).unwrap();
    let summary = summary.unwrap();
    assert_eq!(rows, "");
    assert_eq!(
        (summary.ending, summary.mode.as_str()),
        (Ending::Finished, "batch")
    );
    let source = summary.sources.first().unwrap();
    let parts = (
        source.rows_in,
        source.rows_out,
        source.filtered,
        source.dead_letters,
    );
    assert_eq!(parts, (3, 1, 1, 1));
    assert!(summary.adds_up);
    job::check_sums(&summary).unwrap();
    assert_eq!(summary.sinks.first().unwrap().rows, 1);
    let letters = summary.dead_letters_path.unwrap();
    assert!(
        std::path::Path::new(&letters).join("t").is_dir(),
        "{letters}"
    );
}

#[test]
fn a_broken_row_fails_the_job_when_asked_to() {
    let place = Place::new("a,b\n1,x\nnone,y\n");
    let sink = "CREATE SINK o WITH (connector = 'file', path = '${DIR}/out', format = 'csv')
        AS SELECT a FROM t;";
    let failure = place
        .run(&format!("SET pipeline.on_error = 'fail'; {SOURCE} {sink}"))
        .unwrap_err();
    assert_eq!(failure.exit_code(), 1);
    assert_eq!(failure.error().unwrap().code(), codes::DECODE);
}

#[test]
fn a_wrong_script_fails_before_the_job() {
    let place = Place::new("a,b\n");
    for (script, code) in [
        ("SELECT * FROM nope", codes::UNKNOWN_TABLE),
        ("SET pipeline.memory = 'much'", codes::SETTING),
        ("SELECT '${NAME_WITHOUT_VALUE}'", codes::VARIABLE),
        ("SELEC 1", codes::SYNTAX),
    ] {
        let failure = place.run(script).unwrap_err();
        assert_eq!(failure.exit_code(), 2, "{script}");
        assert_eq!(failure.error().unwrap().code(), code, "{script}");
    }
}

#[test]
fn the_host_is_as_large_as_the_script_and_the_flags_say() {
    let size_of = |options: &RunOptions, script: &str| {
        let statements = parse::parse(script, &Variables::new()).unwrap();
        size(&options.settings().unwrap(), &statements, None)
    };
    let options = RunOptions::default();
    assert_eq!(size_of(&options, "").memory, limits::MEMORY_BYTES_DEFAULT);
    let script = "SET pipeline.memory = '64MB'; SET pipeline.parallelism = 1";
    let small = size_of(&options, script);
    assert_eq!((small.memory, small.threads), (64_000_000, 1));
    let flagged = options.with("pipeline.memory", "32MB");
    assert_eq!(size_of(&flagged, script).memory, 32_000_000);
}

#[test]
fn a_job_that_is_asked_to_end_commits_what_it_read() {
    let place = Place::new("");
    let script = "CREATE SOURCE g (seq BIGINT) WITH (connector = 'generator', rate = '2000');
        CREATE SINK o WITH (connector = 'file', path = '${DIR}/out', format = 'csv') AS SELECT * FROM g;";
    let (mut program, statements) = Program::load(script, &place.options()).unwrap();
    let (stop, _) = watch::channel(Stop::Run);
    for statement in &statements {
        program.execute(statement, &mut Vec::new(), &stop).unwrap();
    }
    let pipeline = program.pipeline(&stop).unwrap().unwrap();
    let job = program.start(pipeline, stop.clone()).unwrap();
    let watch = move |snapshot: crate::progress::Snapshot| {
        assert!(
            snapshot.elapsed < Duration::from_secs(120),
            "no row came: {snapshot:?}"
        );
        if snapshot.rows > 0 {
            stop.send_replace(Stop::Drain);
        }
    };
    let summary = program.host().block_on(job.finish(watch)).unwrap().unwrap();
    assert_eq!(
        (summary.ending, summary.mode.as_str()),
        (Ending::Stopped, "streaming")
    );
    assert!(summary.adds_up && summary.rows_in > 0, "{summary:?}");
    assert_eq!(summary.sinks.first().unwrap().rows, summary.rows_in);
}
