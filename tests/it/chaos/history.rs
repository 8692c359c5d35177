//! A rule that asks what was before, through `kill -9`: each window is judged once, beside the one before it.

use super::kills::{Kills, Round, number};
use super::log::{Durable, Log};
use super::rows_for;
use crate::program::{Place, Running};
use crate::quality::results;

/// Kills of this pipeline at most, however many the others are given.
const KILLS_MAX: u32 = 5;
/// Rows of a window: a row takes 200 microseconds of event time.
const WINDOW: i64 = 500;

/// The sums of windows that follow one another differ by the square of their rows.
fn script(rows: u64) -> String {
    format!(
        "SET pipeline.mode = 'streaming';
         SET pipeline.checkpoint_interval = '300 milliseconds';
         SET pipeline.checkpoints_retained = 20;
         CREATE SOURCE made (seq BIGINT, ts TIMESTAMP AS (to_timestamp_micros(seq * 200)),
             WATERMARK FOR ts AS ts - INTERVAL '40 milliseconds',
             CONSTRAINT steady EXPECT (sum(seq) - prev = {WINDOW} * {WINDOW} AND mean > 0)
                 WITH prev => HISTORY(1), mean => AVG(HISTORY(3))
                 SCOPE WINDOW (TUMBLE (ts, INTERVAL '100 milliseconds')))
         WITH (connector = 'generator', rows = {rows}, rate = 5000, splits = 4);
         CREATE SINK out WITH (connector = 'file', path = 'out', format = 'parquet') AS SELECT seq FROM made;"
    )
}

#[test]
fn what_was_before_through_kills() {
    let mut kills = Kills::plan("history", number("CHAOS_KILLS", 20).min(KILLS_MAX));
    let place = Place::new();
    let log = Log::open(&place.path().join("state"));
    let rows = rows_for(kills.left).next_multiple_of(WINDOW as u64);
    let mut look = |_: u32, _: &Durable| {};
    if let Round::Undisturbed(running) = kills.round(&place, &script(rows), &log, &mut look) {
        Running::wait(running).ok();
    }
    assert!(log.durable().over);
    let told = results(&place.path().join("state"));
    let mut windows: Vec<_> = told.iter().filter(|told| told.rule == "steady").collect();
    windows.sort_by_key(|told| told.pane);
    let starts = windows.iter().map(|told| told.pane.unwrap().0);
    assert!(starts.eq((0..rows as i64 / WINDOW).map(|at| at * WINDOW * 200)));
    let first = windows.first().map(|told| told.passed);
    assert_eq!(first, Some(None), "nothing was before the first one");
    let wrong = windows
        .iter()
        .skip(1)
        .find(|told| told.passed != Some(true));
    assert_eq!(wrong, None);
    log.check_chain();
    kills.tell(rows);
}
