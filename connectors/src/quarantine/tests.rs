//! The log of requests: numbers that nobody has twice, and what they say of rows.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryArray, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::record_batch::RecordBatch;
use weir_engine::dead_letter::DeadLetterStore as _;
use weir_engine::quarantine::{Action, Kept, Quarantine as _, Request};
use weir_engine::rules::Pause;

use super::LocalQuarantine;
use crate::dead_letter::ParquetDeadLetters;

/// Rows of a column `n`, which names them too, as they come into quarantine.
fn rows(column: &str, numbers: &[i64]) -> RecordBatch {
    let fields = [
        Field::new(column, DataType::Int64, true),
        Field::new("_id", DataType::Utf8, false),
        Field::new("_attempt", DataType::Int32, false),
        Field::new("_status", DataType::Utf8, false),
    ];
    let count = numbers.len();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(numbers.to_vec())),
        Arc::new(StringArray::from_iter_values(
            numbers.iter().map(ToString::to_string),
        )),
        Arc::new(Int32Array::from(vec![0; count])),
        Arc::new(StringArray::from(vec!["open"; count])),
    ];
    RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns).unwrap()
}

/// Rows as a run keeps them.
fn keep(state: &Path, run: &str, table: &str, all: &[RecordBatch]) {
    let store = ParquetDeadLetters::local(state, run.into());
    for rows in all {
        let token = store.stage_rows(table, std::slice::from_ref(rows)).unwrap();
        store.commit(&token).unwrap();
    }
}

fn all(kept: &dyn Kept) -> Vec<RecordBatch> {
    (0..kept.parts())
        .flat_map(|part| kept.read(part).unwrap())
        .collect()
}

fn statuses(kept: &dyn Kept) -> Vec<(String, String)> {
    let of = |rows: &RecordBatch| {
        let text = |name| {
            rows.column_by_name(name)
                .unwrap()
                .as_string::<i32>()
                .clone()
        };
        let (ids, statuses) = (text("_id"), text("_status"));
        let row = |row| (ids.value(row).to_owned(), statuses.value(row).to_owned());
        (0..rows.num_rows()).map(row).collect::<Vec<_>>()
    };
    all(kept).iter().flat_map(of).collect()
}

fn request(number: u64, action: Action, numbers: &[i64]) -> Request {
    Request {
        number,
        action,
        rows: rows("n", numbers),
    }
}

#[test]
fn a_number_belongs_to_the_first_who_takes_it() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), "0-run", "t", &[rows("n", &[1, 2, 3])]);
    let ask = |writer: &'static str, number: i64| {
        let store = LocalQuarantine::new(dir.path(), writer.into());
        let mut taken = 0;
        for _ in 0..50 {
            let next = store.last("t").unwrap() + 1;
            let request = request(next, Action::Release, &[number]);
            taken += usize::from(store.ask("t", &request).unwrap());
        }
        taken
    };
    let taken: usize = std::thread::scope(|scope| {
        let writers = [("a", 1), ("b", 2), ("c", 3)];
        let threads = writers.map(|(name, number)| scope.spawn(move || ask(name, number)));
        threads.map(|thread| thread.join().unwrap()).iter().sum()
    });
    let store = LocalQuarantine::new(dir.path(), "reader".into());
    assert_eq!(store.last("t").unwrap(), taken as u64);
    for number in 1..=taken as u64 {
        let request = store.request("t", number).unwrap().unwrap();
        assert_eq!((request.number, request.action), (number, Action::Release));
        assert_eq!(request.rows.num_rows(), 1);
    }
    assert!(store.request("t", taken as u64 + 1).unwrap().is_none());
}

#[test]
fn a_row_is_what_the_first_request_that_names_it_says() {
    let dir = tempfile::tempdir().unwrap();
    keep(
        dir.path(),
        "0-run",
        "a/b",
        &[rows("n", &[1, 2]), rows("n", &[3, 4])],
    );
    let store = LocalQuarantine::new(dir.path(), "w".into());
    assert_eq!(store.tables().unwrap(), ["a/b"]);
    assert!(store.open("none").unwrap().is_none());
    let asks = [
        request(1, Action::Replay, &[1]),
        request(2, Action::Discard, &[2, 1]),
        request(3, Action::Release, &[3]),
    ];
    for request in &asks {
        assert!(store.ask("a/b", request).unwrap());
    }
    let now = |done: u64| {
        store.note_applied("a/b", done).unwrap();
        let kept = store.open("a/b").unwrap().unwrap();
        assert_eq!(kept.last(), 3);
        let statuses = statuses(&*kept).into_iter().map(|(_, status)| status);
        statuses.collect::<Vec<_>>()
    };
    assert_eq!(now(0), ["replaying", "discarded", "releasing", "open"]);
    assert_eq!(now(1), ["replayed", "discarded", "releasing", "open"]);
    assert_eq!(now(3), ["replayed", "discarded", "released", "open"]);
    // It never goes back.
    assert_eq!(now(2), ["replayed", "discarded", "released", "open"]);
    assert_eq!(store.applied("a/b").unwrap(), 3);
}

#[test]
fn rows_of_older_columns_are_in_the_table_too() {
    let dir = tempfile::tempdir().unwrap();
    // Ten files: their numbers are no texts.
    let older: Vec<_> = (0..11).map(|n| rows("old", &[n])).collect();
    keep(dir.path(), "0-run", "t", &older);
    keep(dir.path(), "1-run", "t", &[rows("new", &[11])]);
    let store = LocalQuarantine::new(dir.path(), "w".into());
    let kept = store.open("t").unwrap().unwrap();
    let schema = kept.schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name()).collect();
    assert_eq!(names, ["new", "old", "_id", "_attempt", "_status"]);
    let ids = statuses(&*kept).into_iter().map(|(id, _)| id);
    assert_eq!(
        ids.collect::<Vec<_>>(),
        (0..12).map(|n| n.to_string()).collect::<Vec<_>>()
    );
    let last = all(&*kept).pop().unwrap();
    assert_eq!(last.column_by_name("old").unwrap().null_count(), 1);
}

#[test]
fn a_damaged_file_is_an_error_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), "0-run", "t", &[rows("n", &[1])]);
    let store = LocalQuarantine::new(dir.path(), "w".into());
    store.ask("t", &request(1, Action::Replay, &[1])).unwrap();
    let path = super::request_path(&store.requests("t"), 1);
    std::fs::write(&path, b"PAR1 no").unwrap();
    let error = store.open("t").unwrap_err();
    assert_eq!(error.code(), weir_engine::error::codes::CORRUPT);
    assert!(error.message().contains("00000000000000000001.parquet"));
}

#[test]
fn a_pause_is_open_until_somebody_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalQuarantine::new(dir.path(), "w".into());
    assert!(store.paused().unwrap().is_empty());
    let pause = |source: &str, epoch| Pause {
        source: source.to_owned(),
        rule: "r".to_owned(),
        detail: "2 rows break it, 1 may".to_owned(),
        run: "run".to_owned(),
        epoch,
    };
    // A name that is none of a file.
    let (first, second, other) = (pause("a/b", 3), pause("a/b", 4), pause("t", 3));
    for told in [&first, &first, &other] {
        store.note_paused(told).unwrap();
    }
    assert_eq!(store.paused().unwrap(), [first.clone(), other.clone()]);
    store.resume(&first).unwrap();
    store.resume(&first).unwrap();
    // Who tells of it again, after a crash, does not begin it anew.
    store.note_paused(&first).unwrap();
    store.note_paused(&second).unwrap();
    assert!(store.is_resumed(&first).unwrap() && !store.is_resumed(&second).unwrap());
    assert_eq!(store.paused().unwrap(), [second, other]);
}

/// Rows of a column `n` that came at these times, which name them too.
fn timed(times: &[i64]) -> RecordBatch {
    let names = times.iter().map(ToString::to_string);
    let seen = TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC");
    let texts = |text: &str| Arc::new(StringArray::from(vec![text; times.len()])) as ArrayRef;
    let raw: BinaryArray = times.iter().map(|_| Some(b"raw")).collect();
    let columns: [(&str, ArrayRef); 7] = [
        ("n", Arc::new(Int64Array::from(times.to_vec()))),
        ("_id", Arc::new(StringArray::from_iter_values(names))),
        ("_raw", Arc::new(raw)),
        ("_observed", texts("{\"n\":1}")),
        ("_attempt", Arc::new(Int32Array::from(vec![0; times.len()]))),
        ("_status", texts("open")),
        ("_first_seen", Arc::new(seen)),
    ];
    let fields = columns.iter().map(|(name, column)| {
        let nullable = ["n", "_raw"].contains(name);
        Field::new(*name, column.data_type().clone(), nullable)
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(schema, columns.map(|(_, column)| column).to_vec()).unwrap()
}

/// Files of random times, and a time before which rows expire that goes on; beside what each row must be.
#[test]
fn rows_expire_by_their_time_and_no_other_is_touched() {
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % below
    };
    let dir = tempfile::tempdir().unwrap();
    let store = LocalQuarantine::new(dir.path(), "w".into());
    let mut before = 0;
    for round in 0..30 {
        let count = 1 + random(20);
        let times: Vec<i64> = (0..count)
            .map(|_| before as i64 + random(100) as i64 - 20)
            .collect();
        keep(
            dir.path(),
            &format!("{round:02}-run"),
            "t",
            &[timed(&times)],
        );
        before += random(30);
        // One that has forgotten what it knew of the files does the same.
        let other = LocalQuarantine::new(dir.path(), "o".into());
        let store = if random(4) == 0 { &other } else { &store };
        store.expire(before as i64).unwrap();
        let kept = store.open("t").unwrap().unwrap();
        for rows in all(&*kept) {
            let column = |name: &str| rows.column_by_name(name).unwrap();
            for row in 0..rows.num_rows() {
                let text = |name: &str| column(name).as_string::<i32>().value(row);
                let time: i64 = text("_id").parse().unwrap();
                let expired = time < before as i64;
                let due = if expired {
                    ("expired", "{}")
                } else {
                    ("open", "{\"n\":1}")
                };
                assert_eq!((text("_status"), text("_observed")), due);
                assert_eq!(column("_raw").is_null(row), expired);
                let n = column("n");
                assert_eq!(n.is_null(row), expired);
                assert!(expired || n.as_primitive::<Int64Type>().value(row) == time);
            }
        }
    }
}
