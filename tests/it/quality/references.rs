//! Rows that refer to a stream, by the program: they wait, through an interrupt and a kill, and each is
//! published or quarantined once.

use std::time::Duration;

use rand::Rng as _;

use crate::program::{Place, Running};

/// How long something may take in a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

fn source(name: &str, rest: &str) -> String {
    format!(
        "CREATE SOURCE {name} ({rest})
            WITH (connector = 'file', path = '{name}/*.csv', format = 'csv', watch = 'true');\n"
    )
}

const SINKS: &str = "SET pipeline.checkpoint_interval = '100ms';
    CREATE SINK out WITH (connector = 'file', path = 'out', format = 'csv', header = 'false',
        roll_interval = '100ms') AS SELECT id FROM orders;\n";

const CONSTRAINT: &str = "CONSTRAINT known EXPECT (cust) REFERENCES customers(id)
    GRACE INTERVAL '1' HOUR ON VIOLATION QUARANTINE";

/// Both sides with event time.
fn timed(of: &str) -> String {
    let customers = source(
        "customers",
        "id BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts",
    );
    let orders = source(
        "orders",
        &format!("id BIGINT, cust INT, ts TIMESTAMP, WATERMARK FOR ts AS ts, {of}"),
    );
    let hours = "CREATE SINK hours WITH (connector = 'file', path = 'hours', format = 'csv',
        header = 'false', roll_interval = '100ms') AS SELECT count(*) AS orders
        FROM TUMBLE(orders, ts, INTERVAL '1' HOUR) GROUP BY window_start, window_end;";
    format!("{customers}{orders}{SINKS}{hours}")
}

fn lines(place: &Place, folder: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for file in place.files(folder) {
        if file.ends_with(".csv") && !file.contains("_temporary") && !file.starts_with('.') {
            let text = std::fs::read_to_string(place.path().join(folder).join(file));
            lines.extend(text.unwrap_or_default().lines().map(str::to_owned));
        }
    }
    lines.sort();
    lines
}

fn start(place: &Place, script: &str) -> Running {
    let flags = [
        "--mode",
        "streaming",
        "--state",
        "state",
        "--summary",
        "json",
    ];
    place.start(script, &flags)
}

fn until(running: &mut Running, place: &Place, folder: &str, rows: &[&str]) {
    running.until(PATIENCE, &format!("{rows:?} in {folder}"), || {
        lines(place, folder) == rows
    });
}

fn quarantined(place: &Place) -> Vec<String> {
    let statement = "SELECT id, _rules[1], _status FROM quarantine.orders ORDER BY id";
    let words = [
        "sql", "--state", "state", "--format", "csv", "-c", statement,
    ];
    let ended = place.weir(&words);
    ended.out.lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn rows_wait_for_their_key_and_are_given_up_by_event_time() {
    let place = Place::new();
    place.put("orders/0.csv", "id,cust,ts\n1,1,2026-01-01 00:00:00\n2,2,2026-01-01 00:10:00\n3,3,2026-01-01 00:20:00\n4,,2026-01-01 00:30:00\n");
    place.put("customers/0.csv", "id,ts\n1,2026-01-01 00:00:00\n");
    let script = timed(CONSTRAINT);
    let mut running = start(&place, &script);
    until(&mut running, &place, "out", &["1", "4"]);
    running.signal("INT");
    let summary = running.wait().ok().summary();
    assert_eq!(summary["adds_up"], true, "{summary}");
    // Those that wait are in the checkpoint.
    let mut running = start(&place, &script);
    place.put("customers/1.csv", "id,ts\n2,2026-01-01 00:40:00\n");
    until(&mut running, &place, "out", &["1", "2", "4"]);
    running.kill();
    let mut running = start(&place, &script);
    place.put("customers/2.csv", "id,ts\n9,2026-01-01 03:00:00\n");
    place.put("orders/1.csv", "id,cust,ts\n5,9,2026-01-01 03:00:00\n");
    until(&mut running, &place, "out", &["1", "2", "4", "5"]);
    // The row that was given up has held the window open, not lost a row of it.
    until(&mut running, &place, "hours", &["3"]);
    running.until(PATIENCE, "row 3 in quarantine", || {
        !quarantined(&place).is_empty()
    });
    assert_eq!(quarantined(&place), ["3,known,open"]);
    running.signal("INT");
    let summary = running.wait().ok().summary();
    assert_eq!(summary["adds_up"], true, "{summary}");
    let rule = &summary["rules"][0];
    assert_eq!(rule["rows_in"], 5, "{summary}");
    assert_eq!(
        (&rule["published"], &rule["quarantined"]),
        (&4.into(), &1.into())
    );
}

/// Customers come a round after the orders that name them, one of ten never, and each round ends with a kill.
#[test]
fn rows_wait_through_many_kills() {
    const ROUNDS: u32 = 5;
    let place = Place::new();
    let script = timed(CONSTRAINT);
    let mut pauses = rand::rng();
    let numbers = |round: u32| (round * 10)..(round * 10 + 10);
    for round in 0..=ROUNDS {
        if round < ROUNDS {
            let orders = numbers(round).map(|id| format!("{id},{id},2026-01-01 00:0{round}:00\n"));
            let orders = orders.collect::<String>();
            place.put(
                &format!("orders/{round}.csv"),
                format!("id,cust,ts\n{orders}"),
            );
        }
        if let Some(before) = round.checked_sub(1) {
            let known = numbers(before).filter(|id| id % 10 != 3);
            let known = known.map(|id| format!("{id},2026-01-01 00:0{round}:00\n"));
            let known = known.collect::<String>();
            place.put(&format!("customers/{round}.csv"), format!("id,ts\n{known}"));
        }
        let running = start(&place, &script);
        std::thread::sleep(Duration::from_millis(pauses.random_range(100..1_500)));
        running.kill();
        let shown = lines(&place, "out");
        let mut once = shown.clone();
        once.dedup();
        assert_eq!(shown, once, "round {round}: a row is there twice");
        assert!(
            !shown.iter().any(|id| id.ends_with('3')),
            "round {round}: {shown:?}"
        );
        assert!(
            quarantined(&place).is_empty(),
            "round {round}: nobody was given up"
        );
    }
    place.put("orders/end.csv", "id,cust,ts\n99,98,2026-01-02 00:00:00\n");
    place.put("customers/end.csv", "id,ts\n98,2026-01-02 00:00:00\n");
    let mut running = start(&place, &script);
    let all = (0..ROUNDS * 10).filter(|id| id % 10 != 3).chain([99]);
    let mut all: Vec<String> = all.map(|id| id.to_string()).collect();
    all.sort();
    running.until(PATIENCE, "all rows that have their key", || {
        lines(&place, "out") == all
    });
    running.until(PATIENCE, "all others in quarantine", || {
        quarantined(&place).len() == ROUNDS as usize
    });
    running.signal("INT");
    let summary = running.wait().ok().summary();
    assert_eq!(summary["adds_up"], true, "{summary}");
    let lost = (0..ROUNDS).map(|round| format!("{},known,open", round * 10 + 3));
    assert!(quarantined(&place).into_iter().eq(lost));
    assert_eq!(summary["rules"][0]["rows_in"], ROUNDS * 10 + 1, "{summary}");
}

/// Without event time on one side the grace goes by the clock; the keys may come and go themselves.
#[test]
fn rows_wait_by_the_clock_for_a_view_that_changes() {
    let place = Place::new();
    let events = source("events", "id BIGINT");
    let seen = "CREATE VIEW customers AS SELECT id FROM events GROUP BY id HAVING count(*) > 1;\n";
    let rule = CONSTRAINT.replace("'1' HOUR", "'3' SECOND");
    let orders = source("orders", &format!("id BIGINT, cust BIGINT, {rule}"));
    let script = format!("{events}{seen}{orders}{SINKS}");
    place.put("events/0.csv", "id\n1\n1\n2\n");
    place.put("orders/0.csv", "id,cust\n1,1\n2,2\n");
    let mut running = start(&place, &script);
    until(&mut running, &place, "out", &["1"]);
    running.until(PATIENCE, "row 2 in quarantine", || {
        quarantined(&place) == ["2,known,open"]
    });
    place.put("events/1.csv", "id\n2\n");
    place.put("orders/1.csv", "id,cust\n3,2\n");
    until(&mut running, &place, "out", &["1", "3"]);
    running.signal("INT");
    let summary = running.wait().ok().summary();
    assert_eq!(summary["adds_up"], true, "{summary}");
}

/// In a batch job all of the other table is there: no row waits, and the same ones break the rule.
#[test]
fn a_batch_job_says_the_same() {
    let place = Place::new();
    place.put("orders/0.csv", "id,cust,ts\n1,1,2026-01-01 00:00:00\n2,2,2026-01-01 00:10:00\n3,3,2026-01-01 00:20:00\n4,,2026-01-01 00:30:00\n");
    place.put(
        "customers/0.csv",
        "id,ts\n1,2026-01-01 00:00:00\n2,2026-01-01 00:40:00\n",
    );
    let flags = ["--mode", "batch", "--state", "state"];
    place.run(&timed(CONSTRAINT), &flags).ok();
    assert_eq!(lines(&place, "out"), ["1", "2", "4"]);
    assert_eq!(lines(&place, "hours"), ["3"]);
    assert_eq!(quarantined(&place), ["3,known,open"]);
}

#[test]
fn tables_do_not_wait_for_themselves() {
    let place = Place::new();
    let to_itself = "CREATE EXPECTATION boss ON orders EXPECT (cust) REFERENCES orders(id);";
    let script = format!("{}{to_itself}", timed(CONSTRAINT));
    let flags = ["--mode", "streaming"];
    place
        .run(&script, &flags)
        .fails_with("E0109", &["orders(id)", "refers to itself"]);
}
