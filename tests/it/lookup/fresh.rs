//! A table that changes while a stream goes by: what is asked is seen, what a cache believes is not.

use std::time::{Duration, Instant};

use crate::program::{Place, Running};
use crate::servers::postgres::Postgres;

/// How long a start or a new row may take in a debug build on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A stream of keys from files, with the values of a table.
fn start(place: &Place, postgres: &Postgres, table: &str, options: &str) -> Running {
    let script = format!(
        "CREATE SOURCE asks (n BIGINT, id BIGINT) WITH (connector = 'file', path = 'in/*.csv',
            format = 'csv', watch = 'true', poll_interval = '50ms');
         CREATE SOURCE prices (id BIGINT, price VARCHAR) WITH ({}{options});
         CREATE SINK out WITH (connector = 'print') AS
         SELECT concat('row-', a.n, '-', coalesce(p.price, 'none')) AS line FROM asks a
         LEFT JOIN prices FOR SYSTEM_TIME AS OF PROCTIME() AS p ON a.id = p.id;",
        postgres.options(table)
    );
    place.start(&script, &["--mode", "streaming", "--parallelism", "1"])
}

/// Asks once, and gives what was said.
fn ask(place: &Place, running: &mut Running, number: u64) -> String {
    place.put(&format!("in/{number}.csv"), format!("n,id\n{number},1\n"));
    let (begin, start) = (format!("row-{number}-"), Instant::now());
    loop {
        let said = running.said();
        if let Some((_, rest)) = said.split_once(&begin) {
            let end = rest
                .find(|c: char| !c.is_alphanumeric())
                .unwrap_or(rest.len());
            if let (word, true) = (rest.split_at(end).0, end < rest.len()) {
                return word.to_owned();
            }
        }
        assert!(
            running.is_running() && start.elapsed() < LIMIT,
            "no row {number}:\n{said}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn stop(running: Running) {
    running.signal("INT");
    running.wait().ok();
}

#[test]
fn a_changed_row_is_seen_at_once_without_a_cache() {
    let (postgres, place) = (Postgres::shared(), Place::new());
    let table = postgres.table("id int8 PRIMARY KEY, price text", "VALUES (1, 'old')");
    let mut running = start(&place, postgres, &table, "");
    assert_eq!(ask(&place, &mut running, 1), "old");
    postgres.sql(&format!("UPDATE {table} SET price = 'new'"));
    assert_eq!(ask(&place, &mut running, 2), "new");
    postgres.sql(&format!("DELETE FROM {table}"));
    assert_eq!(ask(&place, &mut running, 3), "none");
    stop(running);
}

#[test]
fn a_cache_believes_for_its_time_and_not_longer() {
    let (postgres, place) = (Postgres::shared(), Place::new());
    let table = postgres.table("id int8 PRIMARY KEY, price text", "VALUES (1, 'old')");
    let mut running = start(&place, postgres, &table, ", lookup.cache_ttl = '1 hour'");
    assert_eq!(ask(&place, &mut running, 1), "old");
    postgres.sql(&format!("UPDATE {table} SET price = 'new'"));
    assert_eq!(ask(&place, &mut running, 2), "old");
    stop(running);

    let mut running = start(&place, postgres, &table, ", lookup.cache_ttl = '100ms'");
    assert_eq!(ask(&place, &mut running, 3), "new");
    postgres.sql(&format!("UPDATE {table} SET price = 'newer'"));
    let (begin, mut number) = (Instant::now(), 4);
    while ask(&place, &mut running, number) != "newer" {
        number += 1;
        assert!(begin.elapsed() < LIMIT, "the cache goes on to believe");
    }
    stop(running);
}

#[test]
fn a_missing_row_is_believed_only_if_wanted() {
    for (option, seen) in [("true", "none"), ("false", "there")] {
        let (postgres, place) = (Postgres::shared(), Place::new());
        let table = postgres.table("id int8 PRIMARY KEY, price text", "VALUES (7, 'other')");
        let options = format!(", lookup.cache_ttl = '1 hour', lookup.cache_missing = '{option}'");
        let mut running = start(&place, postgres, &table, &options);
        assert_eq!(ask(&place, &mut running, 1), "none");
        postgres.sql(&format!("INSERT INTO {table} VALUES (1, 'there')"));
        assert_eq!(ask(&place, &mut running, 2), seen);
        stop(running);
    }
}
