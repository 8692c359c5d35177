//! Rules over many rows through `kill -9`: rows on hold are published or quarantined once, with their whole
//! window, and each window is judged once, as in a run that nobody disturbs.

use std::collections::{BTreeMap, BTreeSet};

use super::kills::{Kills, Round, number};
use super::log::{Durable, Log};
use super::rows_for;
use super::rules::numbers;
use crate::program::{Place, Running};
use crate::quality::results;

/// Kills of this pipeline at most, however many the others are given.
const KILLS_MAX: u32 = 20;
/// Rows of a window: a row takes 200 microseconds of event time.
const WINDOW: i64 = 500;
/// Microseconds between two rows.
const STEP: i64 = 200;

/// Of the source every third window goes to quarantine; the sink keeps one of four segments of each batch
/// back. Two rules tell of windows that a query measures and of batches.
fn script(rows: u64) -> String {
    format!(
        "SET pipeline.mode = 'streaming';
         SET pipeline.checkpoint_interval = '300 milliseconds';
         SET pipeline.checkpoints_retained = 20;
         CREATE SOURCE made (seq BIGINT, part BIGINT AS (seq % 4),
             ts TIMESTAMP AS (to_timestamp_micros(seq * {STEP})),
             WATERMARK FOR ts AS ts - INTERVAL '40 milliseconds',
             CONSTRAINT third EXPECT (min(seq) % 3 <> 0 AND count(*) > 0)
                 SCOPE WINDOW (TUMBLE (ts, INTERVAL '100 milliseconds')) ON VIOLATION QUARANTINE WINDOW,
             CONSTRAINT few EXPECT (count(*) >= {WINDOW} / 2)
                 SCOPE WINDOW (TUMBLE (ts, INTERVAL '200 milliseconds')) PER (part))
         WITH (connector = 'generator', rows = {rows}, rate = 5000, splits = 4);
         CREATE SINK out (
             CONSTRAINT fourth EXPECT (max(part) < 3) PER (part) ON VIOLATION QUARANTINE BATCH,
             CONSTRAINT told EXPECT (sum(seq) >= 0) SCOPE BATCH)
         WITH (connector = 'file', path = 'out', format = 'parquet')
         AS SELECT seq, part FROM made;"
    )
}

/// Fails when a row is there twice, or is published and quarantined; gives the rows of both.
fn check(place: &Place, kill: u32) -> [Vec<i64>; 3] {
    let folders = ["out", "state/quarantine/made", "state/quarantine/out"];
    let found = folders.map(|folder| numbers(&place.path().join(folder)));
    let belongs: [fn(i64) -> bool; 3] = [
        |seq| seq / WINDOW % 3 != 0 && seq % 4 != 3,
        |seq| seq / WINDOW % 3 == 0,
        |seq| seq / WINDOW % 3 != 0 && seq % 4 == 3,
    ];
    for ((rows, belongs), folder) in found.iter().zip(belongs).zip(folders) {
        let doubled = rows.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(doubled, None, "kill {kill}: {folder}");
        let stray = rows.iter().find(|seq| !belongs(**seq));
        assert_eq!(stray, None, "kill {kill}: {folder}");
    }
    found
}

/// Segment and window of each verdict of a rule, with what it was; none is there twice.
fn verdicts(place: &Place, rule: &str) -> BTreeMap<(Option<String>, i64), Option<bool>> {
    let mut found = BTreeMap::new();
    for told in results(&place.path().join("state")) {
        if told.rule == rule {
            let (start, _) = told.pane.unwrap();
            let before = found.insert((told.segment, start), told.passed);
            assert_eq!(
                before, None,
                "{rule}: the window at {start} was judged twice"
            );
        }
    }
    found
}

fn segment(part: i64) -> Option<String> {
    Some(format!("{{\"part\":{part}}}"))
}

/// What an undisturbed run finds of so many rows.
fn assert_results(place: &Place, rows: i64) {
    let windows = (0..rows / WINDOW).map(|at| ((None, at * WINDOW * STEP), Some(at % 3 != 0)));
    assert_eq!(verdicts(place, "third"), windows.collect());
    let mut few = BTreeMap::new();
    for at in 0..rows / WINDOW / 2 {
        let whole = (2 * at) % 3 != 0 && (2 * at + 1) % 3 != 0;
        few.extend((0..4).map(|part| ((segment(part), at * 2 * WINDOW * STEP), Some(whole))));
    }
    assert_eq!(verdicts(place, "few"), few);
    // Which rows are a batch is decided by when checkpoints come: what is said of each is not.
    let told = results(&place.path().join("state"));
    let of = |rule: &'static str| told.iter().filter(move |told| told.rule == rule);
    assert!(of("told").all(|told| told.passed == Some(true)));
    for told in of("fourth") {
        assert_eq!(told.passed, Some(told.segment != segment(3)), "{told:?}");
    }
    let parts: BTreeSet<_> = of("fourth").map(|told| told.segment.clone()).collect();
    assert_eq!(parts, (0..4).map(segment).collect());
}

/// The stretches of windows that do not hold.
fn assert_issues(place: &Place, rows: i64) {
    let query = "SELECT rule, count(*), count(*) FILTER (WHERE status = 'resolved'), sum(results)
                 FROM weir.quality_issues WHERE rule IN ('third', 'few') GROUP BY rule ORDER BY rule";
    let ended = place.weir(&["sql", "--state", "state", "--format", "csv", "-c", query]);
    let ended = ended.ok();
    let found: Vec<&str> = ended.out.lines().skip(1).collect();
    let stretches = |broken: &dyn Fn(i64) -> bool, count: i64| {
        let begins = |at: &i64| broken(*at) && (*at == 0 || !broken(*at - 1));
        let issues = (0..count).filter(begins).count() as i64;
        let open = i64::from(broken(count - 1));
        let results = (0..count).filter(|at| broken(*at)).count() as i64;
        (issues, issues - open, results)
    };
    let third = stretches(&|at| at % 3 == 0, rows / WINDOW);
    let part = |at: i64| (2 * at) % 3 == 0 || (2 * at + 1) % 3 == 0;
    let few = stretches(&part, rows / WINDOW / 2);
    let line = |rule: &str, (issues, resolved, results): (i64, i64, i64), segments: i64| {
        let [issues, resolved, results] = [issues, resolved, results].map(|n| n * segments);
        format!("{rule},{issues},{resolved},{results}")
    };
    assert_eq!(found, [line("few", few, 4), line("third", third, 1)]);
}

#[test]
fn rows_on_hold_through_kills() {
    let mut kills = Kills::plan("gates", number("CHAOS_KILLS", 20).min(KILLS_MAX));
    let place = Place::new();
    let log = Log::open(&place.path().join("state"));
    // Whole windows of both lengths.
    let rows = rows_for(kills.left).next_multiple_of(2 * WINDOW as u64);
    let script = script(rows);
    let mut look = |kill: u32, _: &Durable| {
        check(&place, kill);
    };
    if let Round::Undisturbed(running) = kills.round(&place, &script, &log, &mut look) {
        Running::wait(running).ok();
    }
    assert!(log.durable().over);
    let all = check(&place, kills.done).concat();
    assert_eq!(all.len() as u64, rows, "rows are missing");
    assert_results(&place, rows as i64);
    assert_issues(&place, rows as i64);
    let tallies = log.manifests().remove(0).tallies;
    for tally in &tallies {
        assert!(tally.adds_up(), "{tally:?}");
    }
    let made = tallies.iter().find(|tally| tally.table == "made").unwrap();
    assert_eq!(
        (made.rows_in, made.published + made.quarantined),
        (rows, rows)
    );
    log.check_chain();
    kills.tell(rows);
}
