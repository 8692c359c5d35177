//! Input that is wrong: each row that cannot be read is a dead letter or, on demand, an error; a
//! file that cannot be read is an error. Never a panic, a hang or a half file.

use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::checker;
use crate::program::{Ended, Place};

/// A script that copies `id BIGINT, name VARCHAR` rows from `in/` to `out/`.
fn copy(format: &str, on_error: &str) -> String {
    format!(
        "CREATE SOURCE input (id BIGINT, name VARCHAR)
            WITH (connector = 'file', path = 'in/', format = '{format}', on_error = '{on_error}');
        CREATE SINK output WITH (connector = 'file', path = 'out', format = 'parquet')
            AS SELECT id, name FROM input;"
    )
}

/// Runs both ways: with dead letters it ends well with `good` rows and `bad` dead letters, with
/// `fail` it ends with the error, which names the file.
#[track_caller]
fn check_rows(format: &str, file: &str, content: &[u8], good: u64, bad: u64) -> Ended {
    let place = Place::new();
    place.write(&format!("in/{file}"), content);
    let ended = place
        .run(&copy(format, "dead_letter"), &["--summary", "json"])
        .ok();
    for found in checker::read(&place.path().join("out")) {
        assert_eq!(found.rows(), good, "{}", found.reader);
    }
    let summary = ended.summary();
    assert_eq!(dead_letters(&summary), bad, "{summary}");
    let place = Place::new();
    place.write(&format!("in/{file}"), content);
    let ended = place
        .run(&copy(format, "fail"), &[])
        .fails(1, "E0302", &[file, "dead_letter"]);
    let left = place.files("out");
    assert!(left.is_empty(), "a failed run left {left:?}");
    ended
}

/// Counts the dead letters of all sources of a summary, which must add up per source.
fn dead_letters(summary: &serde_json::Value) -> u64 {
    let sources = summary["sources"]
        .as_array()
        .unwrap_or_else(|| panic!("no sources: {summary}"));
    sources
        .iter()
        .map(|source| source["dead_letters"].as_u64().unwrap())
        .sum()
}

#[test]
fn csv_with_too_few_fields_is_a_dead_letter() {
    check_rows("csv", "a.csv", b"id,name\n1,a\n2\n3,c\n", 2, 1);
}

#[test]
fn csv_with_too_many_fields_is_a_dead_letter() {
    check_rows("csv", "a.csv", b"id,name\n1,a\n2,b,x,y\n3,c\n", 2, 1);
}

#[test]
fn csv_value_that_does_not_fit_is_a_dead_letter() {
    check_rows(
        "csv",
        "a.csv",
        b"id,name\n1,a\ntwo,b\n99999999999999999999,c\n4,d\n",
        2,
        2,
    );
}

#[test]
fn csv_with_invalid_utf8_is_a_dead_letter() {
    check_rows("csv", "a.csv", b"id,name\n1,a\n2,\xff\xfe\n3,c\n", 2, 1);
}

#[test]
fn json_that_is_invalid_is_a_dead_letter() {
    let content = b"{\"id\":1,\"name\":\"a\"}\n{\"id\":2,\"name\":\n{\"id\":3,\"name\":\"c\"}\n";
    check_rows("json", "a.json", content, 2, 1);
}

#[test]
fn json_value_that_does_not_fit_is_a_dead_letter() {
    let content =
        b"{\"id\":1,\"name\":\"a\"}\n{\"id\":\"x\",\"name\":\"b\"}\n{\"id\":3,\"name\":\"c\"}\n";
    check_rows("json", "a.json", content, 2, 1);
}

#[test]
fn json_with_invalid_utf8_is_a_dead_letter() {
    let content =
        b"{\"id\":1,\"name\":\"a\"}\n{\"id\":2,\"name\":\"\xff\"}\n{\"id\":3,\"name\":\"c\"}\n";
    check_rows("json", "a.json", content, 2, 1);
}

#[test]
fn many_bad_rows_in_many_batches_are_all_counted() {
    let rows: String = (0..5_000)
        .map(|n| {
            if n % 3 == 0 {
                format!("x{n},bad\n")
            } else {
                format!("{n},good\n")
            }
        })
        .collect();
    check_rows(
        "csv",
        "a.csv",
        format!("id,name\n{rows}").as_bytes(),
        3_333,
        1_667,
    );
}

/// Files without one good row have no time of their own: what is bad in them is told all the same.
#[test]
fn files_of_bad_rows_alone_are_told_where_there_is_a_watermark() {
    let rows = |id: &str| {
        (0..600)
            .map(|_| format!("{id},2024-01-01T00:00:00\n"))
            .collect::<String>()
    };
    let json = "{\"id\": \"two\", \"ts\": \"2024-01-01T00:00:00\"}\n".repeat(3);
    let files: [(&str, &str, Vec<u8>, u64); 3] = [
        (
            "csv",
            "bad.csv",
            format!("id,ts\n{}", rows("two")).into_bytes(),
            600,
        ),
        ("json", "bad.json", json.into_bytes(), 3),
        ("parquet", "bad.parquet", b"PAR1 and no more".to_vec(), 1),
    ];
    for (format, name, content, bad) in files {
        for mode in ["batch", "streaming"] {
            let place = Place::new();
            place.write(&format!("in/{name}"), &content);
            if format == "csv" {
                let late = format!("id,ts\n{}{}", rows("two"), rows("3"));
                place.write("in/late.csv", late.as_bytes());
            }
            let script = format!(
                "CREATE SOURCE input (id BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts)
                    WITH (connector = 'file', path = 'in/', format = '{format}');
                CREATE SINK output WITH (connector = 'file', path = 'out', format = 'parquet')
                    AS SELECT id, ts FROM input;"
            );
            let args = ["--summary", "json", "--mode", mode];
            let summary = place.run(&script, &args).ok().summary();
            let (good, bad) = if format == "csv" {
                (600, bad + 600)
            } else {
                (0, bad)
            };
            assert_eq!(dead_letters(&summary), bad, "{format} {mode}: {summary}");
            let source = &summary["sources"][0];
            assert_eq!(source["rows_out"], good, "{format} {mode}: {summary}");
        }
    }
}

#[test]
fn missing_file_is_an_error_with_a_hint() {
    let place = Place::new();
    place
        .run(&copy("csv", "fail"), &[])
        .fails(2, "E0204", &["in/", "hint"]);
    assert!(place.files("out").is_empty());
}

#[test]
fn empty_files_are_no_rows() {
    for (format, file) in [("csv", "a.csv"), ("json", "a.json")] {
        let place = Place::new();
        place.write(&format!("in/{file}"), "");
        place.write(
            &format!("in/b{file}"),
            if format == "csv" {
                "id,name\n7,g\n"
            } else {
                ""
            },
        );
        let ended = place
            .run(&copy(format, "fail"), &["--summary", "json"])
            .ok();
        let rows = u64::from(format == "csv");
        assert_eq!(
            ended.summary()["sources"][0]["rows_in"].as_u64(),
            Some(rows),
            "{}",
            ended.out
        );
    }
}

#[test]
fn empty_parquet_file_is_corrupt() {
    let place = Place::new();
    place.write("in/a.parquet", "");
    let ended = place.run(&copy("parquet", "fail"), &[]);
    assert_ne!(ended.code, 0);
    ended.fails_with("E0301", &["a.parquet"]);
    assert!(place.files("out").is_empty());
}

fn parquet(columns: &[(&str, ArrayRef)]) -> Vec<u8> {
    let batch =
        RecordBatch::try_from_iter(columns.iter().map(|(n, a)| (*n, Arc::clone(a)))).unwrap();
    // Compressed, so that a damaged page cannot pass for other values.
    let compression = Compression::ZSTD(ZstdLevel::default());
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

fn good_parquet(rows: i64) -> Vec<u8> {
    let names = (0..rows)
        .map(|n| format!("name {}", n * 7919 % 1009))
        .collect::<Vec<_>>();
    parquet(&[
        ("id", Arc::new(Int64Array::from_iter_values(0..rows))),
        ("name", Arc::new(StringArray::from(names))),
    ])
}

#[test]
fn truncated_parquet_is_corrupt() {
    let whole = good_parquet(20_000);
    for keep in [3, whole.len() / 2, whole.len() - 1] {
        let place = Place::new();
        place.write("in/a.parquet", &whole[..keep]);
        place
            .run(&copy("parquet", "fail"), &[])
            .fails_with("E0301", &["a.parquet"]);
        assert!(place.files("out").is_empty(), "kept {keep} bytes");
    }
}

#[test]
fn parquet_with_a_damaged_page_leaves_no_half_file() {
    let mut bytes = good_parquet(20_000);
    // The first page's header: damage within values can only be told where pages have checksums.
    bytes[4..40].fill(0xa5);
    let place = Place::new();
    place.write("in/a.parquet", bytes);
    place
        .run(&copy("parquet", "fail"), &[])
        .fails_with("E0301", &["a.parquet"]);
    assert!(place.files("out").is_empty());
}

#[test]
fn parquet_file_that_changes_its_schema_is_explained() {
    let place = Place::new();
    place.write("in/a.parquet", good_parquet(10));
    let text: ArrayRef = Arc::new(StringArray::from(vec!["not", "numbers"]));
    place.write(
        "in/b.parquet",
        parquet(&[("id", Arc::clone(&text)), ("name", text)]),
    );
    let script =
        "CREATE SOURCE input WITH (connector = 'file', path = 'in/*.parquet', on_error = 'fail');
        CREATE SINK output WITH (connector = 'file', path = 'out', format = 'parquet')
            AS SELECT id + 1 AS id, name FROM input;";
    let ended = place.run(script, &[]);
    assert!(ended.code == 1 || ended.code == 2, "{}", ended.err);
    ended.fails_with("E0207", &["b.parquet", "id"]);
    assert!(place.files("out").is_empty());
}

#[test]
fn parquet_file_with_more_and_fewer_columns_is_read_by_name() {
    let place = Place::new();
    place.write("in/a.parquet", good_parquet(10));
    let id: ArrayRef = Arc::new(Int64Array::from(vec![100, 101]));
    let extra: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    place.write("in/b.parquet", parquet(&[("extra", extra), ("id", id)]));
    place.run(&copy("parquet", "fail"), &[]).ok();
    for found in checker::read(&place.path().join("out")) {
        assert_eq!(
            (found.rows(), found.count("name")),
            (12, 10),
            "{}",
            found.reader
        );
        assert_eq!(found.sum("id"), 45.0 + 201.0);
    }
}

#[test]
fn csv_file_that_changes_its_columns_is_read_by_header() {
    let place = Place::new();
    place.write("in/a.csv", "id,name\n1,a\n");
    place.write("in/b.csv", "name,id\nb,2\n");
    place.run(&copy("csv", "fail"), &[]).ok();
    for found in checker::read(&place.path().join("out")) {
        assert_eq!(
            (found.rows(), found.sum("id")),
            (2, 3.0),
            "{}",
            found.reader
        );
        assert_eq!((found.min("name"), found.max("name")), ("a", "b"));
    }
}

#[test]
fn expression_that_fails_in_the_run_ends_the_job() {
    let place = Place::new();
    place.write("in/a.csv", "id,name\n1,a\n0,b\n");
    let script = copy("csv", "fail").replace("SELECT id, name", "SELECT 10 / id AS id, name");
    place.run(&script, &[]).fails(1, "E0303", &["zero"]);
    assert!(place.files("out").is_empty());
}

/// A full disk: a tmpfs of 2 MB where the machine lets us mount one, a limit on the size of files
/// where it doesn't.
#[test]
fn full_disk_is_an_error_and_leaves_no_half_file() {
    let place = Place::new();
    place.write("in/a.parquet", good_parquet(600_000));
    let script = copy("parquet", "fail").replace(
        "format = 'parquet')\n",
        "format = 'parquet', compression = 'none')\n",
    );
    place.write("script.sql", script);
    std::fs::create_dir_all(place.path().join("out")).unwrap();
    let folder = place.path().join("out").to_string_lossy().into_owned();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs", &folder])
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let weir = env!("CARGO_BIN_EXE_weir");
    let limit = if mounted {
        ""
    } else {
        "ulimit -f 2000; trap '' XFSZ; "
    };
    let mut command = Command::new("bash");
    command.args([
        "-c",
        &format!("{limit}exec '{weir}' run script.sql --progress never"),
    ]);
    let ended = place.spawn(command).wait();
    let left = place.files("out");
    if mounted {
        let status = Command::new("umount").arg(&folder).status().unwrap();
        assert!(status.success());
    }
    ended.fails(1, "E0502", &["full", "out"]);
    assert!(left.is_empty(), "a full disk left {left:?}");
}
