//! Tables of Delta Lake on the local disk and on S3, read back by the `deltalake` package: exactly
//! once through `kill -9`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::checker::python;
use crate::program::Place;
use crate::servers::minio::Minio;

const ROWS: u64 = 1_000;
const WAIT: Duration = Duration::from_secs(90);

/// Where a table is, for the script and for the reader.
struct Target {
    sink: String,
    table: String,
    options: Option<String>,
}

impl Target {
    fn local(place: &Place) -> Self {
        Self {
            sink: "path = 'table'".to_owned(),
            table: place.path().join("table").display().to_string(),
            options: None,
        }
    }

    fn s3(minio: &Minio) -> Self {
        let table = format!("s3://{}/lake/table", minio.bucket());
        let options = json!({
            "AWS_ENDPOINT_URL": minio.endpoint,
            "AWS_ACCESS_KEY_ID": minio.key,
            "AWS_SECRET_ACCESS_KEY": minio.secret,
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        });
        Self {
            sink: format!("path = '{table}', {}", minio.options()),
            table,
            options: Some(options.to_string()),
        }
    }

    /// What another reader finds in the table; `None` when there is none.
    fn look(&self) -> Option<Value> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/delta.py");
        let output = Command::new(python())
            .arg(script)
            .arg(&self.table)
            .args(&self.options)
            .output()
            .expect("`bash tests/run` makes the Python that reads");
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("TableNotFoundError") {
            return None;
        }
        assert!(output.status.success(), "{said}");
        Some(serde_json::from_slice(&output.stdout).unwrap())
    }

    fn rows(&self) -> u64 {
        self.look()
            .map_or(0, |found| found["rows"].as_u64().unwrap())
    }
}

fn csv(file: u64) -> String {
    let rows: String = (file * ROWS..(file + 1) * ROWS)
        .map(|id| format!("{id},2026-01-01 00:00:00.{:03}\n", id % 1_000))
        .collect();
    format!("id,ts\n{rows}")
}

fn script(target: &Target, source: &str) -> String {
    format!(
        "SET pipeline.checkpoint_interval = '200ms';
        CREATE SOURCE input (id BIGINT, ts TIMESTAMP) WITH (connector = 'file', path = 'in/', format = 'csv'{source});
        CREATE SINK lake WITH (connector = 'delta', partition_by = 'part', {})
        AS SELECT id, ts, CASE id % 3 WHEN 0 THEN 'a b' WHEN 1 THEN 'c:d/e' END AS part FROM input;",
        target.sink
    )
}

fn check(found: &Value, rows: u64) {
    assert_eq!(found["rows"], rows, "{found}");
    assert_eq!(found["distinct"], rows, "{found}");
    assert_eq!(found["sum"], rows * (rows - 1) / 2, "{found}");
    let types = json!({"id": "long", "part": "string", "ts": "timestamp_ntz"});
    assert_eq!(found["columns"], types, "{found}");
    let parts = json!({
        "a b": rows.div_ceil(3),
        "c:d/e": (rows - 1).div_ceil(3),
        "None": (rows - 2).div_ceil(3),
    });
    assert_eq!(found["partitions"], parts, "{found}");
}

/// Kills a stream in the midst of its work, starts it again, and wants each row once.
fn survives(target: &Target, place: &Place) {
    let script = script(target, ", watch = 'true', poll_interval = '100ms'");
    let flags = ["--mode", "streaming", "--state", "state"];
    for file in 0..3 {
        let running = &mut place.start(&script, &flags);
        place.put(&format!("in/{file}.csv"), csv(file));
        if file == 1 {
            // A checkpoint is being written: before, in or after the commit that follows it.
            let before = place.files("state").len();
            running.until(WAIT, "a checkpoint", || place.files("state").len() > before);
            running.signal("KILL");
            continue;
        }
        let wanted = (file + 1) * ROWS;
        running.until(WAIT, "the rows of the file", || target.rows() == wanted);
        running.signal(if file == 0 { "KILL" } else { "INT" });
    }
    check(&target.look().unwrap(), 3 * ROWS);
}

#[test]
fn local_table_has_each_row_once_through_kills() {
    let place = Place::new();
    survives(&Target::local(&place), &place);
}

#[test]
fn table_on_s3_has_each_row_once_through_kills() {
    let (place, minio) = (Place::new(), Minio::shared());
    survives(&Target::s3(&minio), &place);
}

#[test]
fn a_batch_is_one_append_and_a_second_run_another() {
    let place = Place::new();
    let target = Target::local(&place);
    let script = script(&target, "");
    place.write("in/0.csv", csv(0));
    place.run(&script, &["--parallelism", "1"]).ok();
    let found = target.look().unwrap();
    check(&found, ROWS);
    place.run(&script, &["--parallelism", "1"]).ok();
    let found = target.look().unwrap();
    assert_eq!(
        (&found["rows"], &found["distinct"]),
        (&json!(2 * ROWS), &json!(ROWS))
    );
    assert_eq!(
        found["operations"].as_array().unwrap().last().unwrap(),
        "CREATE TABLE"
    );
}
