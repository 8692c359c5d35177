//! A server that goes away and comes back while a stream goes by, and a program that is killed: no
//! row is lost or doubled, and none has other values than the table.

use std::time::Duration;

use crate::chaos::{Checker, Durable, Kills, Log, Output, Round, prefix, rows_for, source};
use crate::checker;
use crate::program::Place;
use crate::servers::postgres::Postgres;

/// How long a start or an outage may take to be noticed.
const LIMIT: Duration = Duration::from_secs(90);
const ROWS: u64 = 12_000;

/// A stream of numbers with their squares, by key.
fn squares(postgres: &Postgres) -> String {
    let table = postgres.table(
        "id int8 PRIMARY KEY, square int8",
        &format!("SELECT i, i * i FROM generate_series(0, {ROWS}) i"),
    );
    format!(
        "SET pipeline.mode = 'streaming';
         CREATE SOURCE made (seq BIGINT) WITH (connector = 'generator', rows = {ROWS}, rate = 2000);
         CREATE SOURCE squares (id BIGINT, square BIGINT)
            WITH ({}, query_timeout = '500ms', connect_timeout = '1 second');
         CREATE SINK out WITH (connector = 'file', path = 'out', format = 'parquet',
            roll_interval = '200ms') AS
         SELECT seq, square, square - seq * seq AS wrong FROM made
         LEFT JOIN squares FOR SYSTEM_TIME AS OF PROCTIME() ON seq = id;",
        postgres.options(&table)
    )
}

fn all_there(place: &Place) {
    for found in checker::read(&place.path().join("out")) {
        assert_eq!(found.rows(), ROWS, "{}", found.reader);
        assert_eq!(found.count("square"), ROWS, "{}", found.reader);
        assert_eq!((found.min("wrong"), found.max("wrong")), ("0", "0"));
        assert_eq!(found.sum("seq"), (ROWS * (ROWS - 1) / 2) as f64);
    }
}

#[test]
fn a_server_that_goes_away_and_returns_loses_nothing() {
    let postgres = Postgres::start();
    for frozen in [false, true] {
        let place = Place::new();
        let script = squares(&postgres);
        let mut running = place.start(&script, &["--parallelism", "2"]);
        running.until(LIMIT, "first rows", || !place.files("out").is_empty());
        match frozen {
            true => postgres.freeze(true),
            false => postgres.down(),
        }
        while !running.said().contains("trying again") {
            assert!(running.is_running(), "it has ended:\n{}", running.said());
            std::thread::sleep(Duration::from_millis(5));
        }
        match frozen {
            true => postgres.freeze(false),
            false => postgres.up(),
        }
        let said = running.wait().ok();
        assert!(said.err.contains("answers again"), "{}", said.err);
        all_there(&place);
    }
}

/// The rows take their payload from the table: the judge knows what each must be.
#[test]
fn lookups_to_parquet_through_kills() {
    let postgres = Postgres::shared();
    let mut kills = Kills::plan("lookup", 5);
    let mut checker = Checker::start();
    while kills.left > 0 {
        let (seed, rows) = (kills.seed, rows_for(kills.left));
        let table = postgres.table(
            "id int8 PRIMARY KEY, payload text",
            &format!("SELECT i, md5('{seed}:' || i) FROM generate_series(0, {rows}) i"),
        );
        let place = Place::new();
        let log = Log::open(&place.path().join("state"));
        let output = Output::folder(&place.path().join("out"));
        let script = format!(
            "{}
             CREATE SOURCE payloads (id BIGINT, payload VARCHAR) WITH ({},
                lookup.cache_ttl = '1 second', lookup.batch_rows = '100');
             CREATE SINK out WITH (connector = 'file', path = 'out', format = 'parquet') AS
             SELECT part, seq, payload, md5(concat(part, ':', seq, ':', payload)) AS h
             FROM (SELECT seq % 4 AS part, seq / 4 AS seq, payload FROM made
                   JOIN payloads FOR SYSTEM_TIME AS OF PROCTIME() ON seq = id) numbered;",
            source(rows),
            postgres.options(&table)
        );
        let mut look = |kill: u32, durable: &Durable| {
            checker.check(&output, kill, false, prefix(seed, rows, durable));
        };
        if let Round::Undisturbed(running) = kills.round(&place, &script, &log, &mut look) {
            running.wait().ok();
        }
        let durable = log.durable();
        assert!(durable.over, "{durable:?}");
        let found = checker.check(&output, kills.done, true, prefix(seed, rows, &durable));
        assert_eq!((found.rows, found.complete), (rows, true));
        checker.check_clean(&output);
    }
    kills.tell(0);
}
