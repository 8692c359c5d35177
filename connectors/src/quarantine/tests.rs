//! The log of requests: numbers that nobody has twice, and what they say of rows.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
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
