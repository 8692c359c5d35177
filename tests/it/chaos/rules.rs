//! Rules through `kill -9`: no quarantined row is lost or doubled, and the counts are those of all rows.

use std::fs::File;
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::kills::{Kills, Round, number};
use super::log::{Durable, Log};
use super::{rows_for, source};
use crate::program::{Place, Running};

/// One of ten rows is quarantined by the source, one is dropped, one is quarantined by the sink. Of two
/// rows of one pair the sink `once` takes the one that comes first.
const RULES: &str = "
    CREATE EXPECTATION third ON made EXPECT (seq % 10 <> 3) ON VIOLATION QUARANTINE;
    CREATE EXPECTATION seventh ON made EXPECT (seq % 10 <> 7) ON VIOLATION DROP ROW;
    CREATE SINK out (CONSTRAINT fifth EXPECT (seq % 10 <> 5) ON VIOLATION QUARANTINE INTO late)
        WITH (connector = 'file', path = 'out', format = 'parquet') AS SELECT seq FROM made;
    CREATE SINK once (CONSTRAINT again EXPECT UNIQUE (pair) ON VIOLATION QUARANTINE INTO twice)
        WITH (connector = 'file', path = 'once', format = 'parquet')
        AS SELECT seq, seq / 2 AS pair FROM made;";

/// The numbers in the visible files of a folder, in order.
pub(super) fn numbers(folder: &Path) -> Vec<i64> {
    let mut numbers = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return numbers;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(['.', '_']) {
            continue;
        }
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(entry.path()).unwrap());
        for batch in reader.unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let column = batch.column_by_name("seq").unwrap();
            assert_eq!(column.null_count(), 0);
            numbers.extend(column.as_primitive::<Int64Type>().values().iter().copied());
        }
    }
    numbers.sort_unstable();
    numbers
}

/// Fails when a number is there twice, or in the wrong place.
fn check(place: &Place, kill: u32) {
    for (folder, belongs) in FOLDERS {
        let found = numbers(&place.path().join(folder));
        assert!(
            found.iter().all(|n| belongs(n % 10)),
            "kill {kill}: {folder}"
        );
        let doubled = found.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(doubled, None, "kill {kill}: {folder}");
    }
    let (once, twice) = pairs(place);
    let doubled = once.windows(2).find(|pair| pair[0] / 2 == pair[1] / 2);
    assert_eq!(doubled, None, "kill {kill}: a pair is there twice");
    // A file may be seen before another one of its epoch: only what is in both is wrong for sure.
    let both = twice.iter().find(|seq| once.binary_search(seq).is_ok());
    assert_eq!(
        both, None,
        "kill {kill}: a row is published and quarantined"
    );
}

/// The rows of pairs that were published, and those that were not.
fn pairs(place: &Place) -> (Vec<i64>, Vec<i64>) {
    let rows = |folder: &str| numbers(&place.path().join(folder));
    (rows("once"), rows("state/quarantine/twice"))
}

type Belongs = fn(i64) -> bool;

const FOLDERS: [(&str, Belongs); 3] = [
    ("out", |digit| ![3, 5, 7].contains(&digit)),
    ("state/quarantine/made", |digit| digit == 3),
    ("state/quarantine/late", |digit| digit == 5),
];

/// The totals of a table in the summary of the last run.
fn total(summary: &serde_json::Value, table: &str, field: &str) -> u64 {
    let tables = summary["rules"].as_array().unwrap();
    let found = tables.iter().find(|found| found["table"] == table).unwrap();
    found[field].as_u64().unwrap()
}

#[test]
fn quarantine_through_kills() {
    let mut kills = Kills::plan("rules", number("CHAOS_KILLS", 20).min(KILLS_MAX));
    let place = Place::new();
    let log = Log::open(&place.path().join("state"));
    let rows = rows_for(kills.left);
    let script = format!("{} {RULES}", source(rows));
    let mut look = |kill: u32, _: &Durable| check(&place, kill);
    if let Round::Undisturbed(running) = kills.round(&place, &script, &log, &mut look) {
        Running::wait(running).ok();
    }
    let durable = log.durable();
    assert!(durable.over, "{durable:?}");
    for (folder, belongs) in FOLDERS {
        let due = (0..rows as i64).filter(|n| belongs(n % 10));
        let found = numbers(&place.path().join(folder));
        assert!(
            found.iter().copied().eq(due),
            "{folder}: {} rows",
            found.len()
        );
    }
    // Two of ten rows of the source are kept back: five pairs are left, three of them with two rows.
    let (once, twice) = pairs(&place);
    let mut all = [once.as_slice(), twice.as_slice()].concat();
    all.sort_unstable();
    let due = (0..rows as i64).filter(|n| ![3, 7].contains(&(n % 10)));
    assert!(
        all.into_iter().eq(due),
        "{} and {}",
        once.len(),
        twice.len()
    );
    assert!(once.iter().map(|seq| seq / 2).eq(0..rows as i64 / 2));
    // A start that finds all read tells what the runs before it have counted.
    let manifest = log.manifests().remove(0);
    let tally = serde_json::json!({ "rules": manifest.tallies });
    assert_eq!(total(&tally, "made", "rows_in"), rows);
    assert_eq!(total(&tally, "made", "quarantined"), rows / 10);
    assert_eq!(total(&tally, "made", "dropped"), rows / 10);
    assert_eq!(total(&tally, "out", "rows_in"), rows / 10 * 8);
    assert_eq!(total(&tally, "out", "quarantined"), rows / 10);
    assert_eq!(total(&tally, "once", "published"), rows / 2);
    assert_eq!(total(&tally, "once", "quarantined"), rows / 10 * 3);
    log.check_chain();
    kills.tell(rows);
}

/// Kills of this pipeline at most, however many the others are given.
const KILLS_MAX: u32 = 20;
