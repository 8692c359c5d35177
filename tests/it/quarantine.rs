//! Rows that come back from quarantine: each is published once, in batch and in a running stream, whoever
//! asks at the same time and whenever the program is killed.

mod expire;
mod pause;
mod unread;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::program::{Place, Running};

/// How long something may take in a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// The lines that a statement gives, sorted; `state` is that of the pipeline.
fn ask(place: &Place, statement: &str) -> Vec<String> {
    let words = [
        "sql", "--state", "state", "--format", "csv", "-c", statement,
    ];
    let ended = place.weir(&words).ok();
    let mut lines: Vec<String> = ended.out.lines().skip(1).map(str::to_owned).collect();
    lines.sort();
    lines
}

/// The visible lines of a sink's CSV files without headers, sorted.
fn published(place: &Place, folder: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for file in place.files(folder) {
        if file.ends_with(".csv") && !file.contains("_temporary") && !file.starts_with('.') {
            let path = place.path().join(folder).join(file);
            let text = std::fs::read_to_string(path).unwrap();
            lines.extend(text.lines().map(str::to_owned));
        }
    }
    lines.sort();
    lines
}

/// Orders whose amount is to be above a bound.
fn orders(above: &str, watch: bool) -> String {
    format!(
        "CREATE SOURCE orders (id BIGINT, amount BIGINT NOT NULL,
            CONSTRAINT has_id EXPECT (id IS NOT NULL) ON VIOLATION QUARANTINE INTO unknown,
            CONSTRAINT positive EXPECT (amount > {above}) ON VIOLATION QUARANTINE)
        WITH (connector = 'file', path = 'in/*.csv', format = 'csv', watch = '{watch}');
        CREATE SINK out WITH (connector = 'file', path = 'out', format = 'csv', header = 'false')
            AS SELECT id, amount FROM orders;\n"
    )
}

#[test]
fn a_batch_run_takes_what_was_asked_for_and_reads_nothing_else() {
    let place = Place::new();
    place.write("in/a.csv", "id,amount\n1,10\n2,-5\n3,-50\n,4\n5,-6\n");
    let flags = ["--state", "state"];
    place.run(&orders("0", false), &flags).ok();
    assert_eq!(published(&place, "out"), ["1,10"]);
    assert_eq!(
        ask(&place, "SELECT id, amount, _status FROM quarantine.orders"),
        ["2,-5,open", "3,-50,open", "5,-6,open"]
    );
    // From here, and within the script: both are taken by the run that has one of them.
    let released = ask(
        &place,
        "RELEASE FROM quarantine.unknown SET (id = 4, amount = amount * 10)",
    );
    assert_eq!(released, ["release,quarantine.unknown,1"]);
    ask(&place, "DISCARD FROM quarantine.orders WHERE id = 5");
    let replay = format!("{} REPLAY FROM quarantine.orders;", orders("-10", false));
    let ended = place.run(&replay, &flags).ok();
    assert!(ended.out.contains("1 rows released"), "{}", ended.out);
    assert!(ended.out.contains("2 rows replayed"), "{}", ended.out);
    assert_eq!(published(&place, "out"), ["1,10", "2,-5", "4,40"]);
    let open = "SELECT id, _attempt, _status FROM quarantine.orders";
    assert_eq!(
        ask(&place, open),
        ["2,0,replayed", "3,0,replayed", "3,1,open", "5,0,discarded"]
    );
    // The same script again asks for what has come back only.
    place.run(&replay, &flags).ok();
    assert_eq!(published(&place, "out"), ["1,10", "2,-5", "4,40"]);
    let names = "SELECT count(*), count(DISTINCT _id) FROM quarantine.orders WHERE id = 3";
    assert_eq!(ask(&place, names), ["3,1"]);
    let replay = format!("{} REPLAY FROM quarantine.orders;", orders("-100", false));
    place.run(&replay, &flags).ok();
    place.run(&replay, &flags).ok();
    assert_eq!(published(&place, "out"), ["1,10", "2,-5", "3,-50", "4,40"]);
    let null = "RELEASE FROM quarantine.orders SET (amount = NULL)";
    let words = ["sql", "--state", "state", "-c", null];
    place.weir(&words).fails(2, "E0106", &["NOT NULL"]);
}

#[test]
fn rows_of_a_changed_table_must_still_fit() {
    let place = Place::new();
    place.write("in/a.csv", "id,amount\n1,10\n2,x\n");
    let flags = ["--state", "state"];
    let texts = orders("'1'", false).replace("amount BIGINT", "amount VARCHAR");
    let texts = texts.replace("amount > '1'", "amount <> 'x'");
    place.run(&texts, &flags).ok();
    ask(&place, "RELEASE FROM quarantine.orders");
    let script = format!("{} REPLAY FROM quarantine.orders;", orders("0", false));
    let ended = place.run(&script, &flags);
    ended.fails(1, "E0305", &["\"amount\"", "Int64"]);
    // Nothing is lost by it.
    let script = format!("{texts} REPLAY FROM quarantine.orders;");
    place.run(&script, &flags).ok();
    assert_eq!(published(&place, "out"), ["1,10", "2,x"]);
}

#[test]
fn a_run_does_not_show_what_another_kind_of_run_has_begun() {
    let place = Place::new();
    place.write("in/a.csv", "id,amount\n1,10\n2,-5\n");
    let flags = ["--state", "state", "--mode", "streaming"];
    let mut running = place.start(&orders("0", true), &flags);
    running.until(PATIENCE, "a row", || !published(&place, "out").is_empty());
    running.signal("INT");
    running.wait().ok();
    let script = format!("{} REPLAY FROM quarantine.orders;", orders("-9", false));
    place
        .run(&script, &flags[..2])
        .fails(1, "E0305", &["streaming mode"]);
    // The stream takes it when it goes on.
    let mut running = place.start(&orders("-9", true), &flags);
    let both = || published(&place, "out").len() == 2;
    running.until(PATIENCE, "the row that was replayed", both);
    running.signal("INT");
    running.wait().ok();
    assert_eq!(published(&place, "out"), ["1,10", "2,-5"]);
}

/// A stream with rules of a source, a materialized view and a sink.
fn stream() -> String {
    "CREATE SOURCE orders (id BIGINT, amount BIGINT,
        CONSTRAINT positive EXPECT (amount > 0) ON VIOLATION QUARANTINE)
    WITH (connector = 'file', path = 'in/*.csv', format = 'csv', watch = 'true');
    CREATE MATERIALIZED VIEW big (CONSTRAINT low EXPECT (amount < 100) ON VIOLATION QUARANTINE)
        AS SELECT id, amount FROM orders;
    CREATE SINK out (CONSTRAINT even EXPECT (id % 2 = 0) ON VIOLATION QUARANTINE INTO odd)
        WITH (connector = 'file', path = 'out', format = 'csv', header = 'false', roll_interval = '100ms')
        AS SELECT id, amount FROM orders;\n"
        .to_owned()
}

const STREAM: [&str; 6] = [
    "--state",
    "state",
    "--mode",
    "streaming",
    "--checkpoint-interval",
    "200ms",
];

fn until(running: &mut Running, what: &str, holds: impl Fn() -> bool) {
    running.until(PATIENCE, what, holds);
}

#[test]
fn a_running_stream_takes_rows_back_into_its_source_its_view_and_its_sink() {
    let place = Place::new();
    place.write("in/a.csv", "id,amount\n1,10\n2,-5\n4,500\n6,7\n");
    let mut running = place.start(&stream(), &STREAM);
    until(&mut running, "the rows", || {
        published(&place, "out").len() == 2
    });
    let tables = "SHOW TABLES";
    let all = || ask(&place, tables).len() == 4;
    until(&mut running, "the quarantine", all);
    assert_eq!(
        ask(&place, tables),
        [
            "big,materialized view",
            "quarantine.big,quarantine table",
            "quarantine.odd,quarantine table",
            "quarantine.orders,quarantine table"
        ]
    );
    assert_eq!(ask(&place, "SELECT * FROM big"), ["1,10", "6,7"]);
    // A row of the source meets the rules of the sink and of the view.
    ask(&place, "RELEASE FROM quarantine.orders SET (amount = 5)");
    ask(&place, "RELEASE FROM quarantine.big");
    ask(&place, "REPLAY FROM quarantine.odd SET (id = 10)");
    let due = ["10,10", "2,5", "4,500", "6,7"];
    until(&mut running, "the rows", || published(&place, "out") == due);
    let seen = || ask(&place, "SELECT * FROM big") == ["1,10", "2,5", "4,500", "6,7"];
    until(&mut running, "the view", seen);
    let statuses = "SELECT _status FROM quarantine.orders UNION ALL
        SELECT _status FROM quarantine.big UNION ALL SELECT _status FROM quarantine.odd";
    let done = || ask(&place, statuses) == ["released", "released", "replayed"];
    until(&mut running, "the statuses", done);
    running.signal("INT");
    running.wait().ok();
    // A start goes on behind them.
    let mut running = place.start(&stream(), &STREAM);
    place.put("in/b.csv", "id,amount\n8,8\n");
    until(&mut running, "the new row", || {
        published(&place, "out").len() == 5
    });
    running.signal("INT");
    running.wait().ok();
    assert_eq!(
        published(&place, "out"),
        ["10,10", "2,5", "4,500", "6,7", "8,8"]
    );
}

/// How often each row is published; every row is due once.
fn check_once(place: &Place, due: impl Iterator<Item = String>) {
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for line in published(place, "out") {
        *found.entry(line).or_default() += 1;
    }
    let doubled: Vec<_> = found.iter().filter(|(_, count)| **count != 1).collect();
    assert!(doubled.is_empty(), "doubled: {doubled:?}");
    for line in due {
        assert!(found.remove(&line).is_some(), "{line} is missing");
    }
    assert!(found.is_empty(), "too many: {found:?}");
}

/// Rows of which every third one is quarantined.
const ROWS: i64 = 60_000;

fn amount(id: i64) -> i64 {
    if id % 3 == 0 { -id } else { id }
}

fn many() -> String {
    let rows = (0..ROWS).map(|id| format!("{id},{}\n", amount(id)));
    format!("id,amount\n{}", rows.collect::<String>())
}

fn moment(chance: &mut StdRng, span_ms: u64) -> Duration {
    Duration::from_millis(chance.random_range(0..span_ms))
}

fn seed() -> u64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let seed = std::env::var("CHAOS_SEED").map_or_else(
        |_| u64::from(since.subsec_nanos()),
        |text| text.parse().unwrap(),
    );
    println!("quarantine: CHAOS_SEED={seed}");
    seed
}

/// Kills of each test.
const KILLS: usize = 5;

/// Two ask for the same rows at the same time, again and again, and are killed, while the stream is killed.
#[test]
fn each_row_of_a_stream_comes_back_once_through_kills() {
    let place = Place::new();
    let mut chance = StdRng::seed_from_u64(seed());
    place.write("in/a.csv", many());
    let script = stream().replace("amount < 100", "amount IS NOT NULL");
    let script = script.replace("id % 2 = 0", "id IS NOT NULL");
    let mut running = place.start(&script, &STREAM);
    let good = ROWS as usize / 3 * 2;
    until(&mut running, "the rows", || {
        published(&place, "out").len() == good
    });
    for kill in 0..KILLS as i64 {
        let (from, to) = (ROWS / KILLS as i64 * kill, ROWS / KILLS as i64 * (kill + 1));
        let words = |action: &str| {
            format!(
                "{action} FROM quarantine.orders WHERE id >= {from} AND id < {to} SET (amount = id)"
            )
        };
        let start = |action: &str| {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_weir"));
            command.args(["sql", "--state", "state", "-c", &words(action)]);
            place.spawn(command)
        };
        let (first, second) = (start("RELEASE"), start("RELEASE"));
        std::thread::sleep(moment(&mut chance, 1_500));
        first.kill();
        running.kill();
        second.wait().ok();
        running = place.start(&script, &STREAM);
        // What the one who was killed did not come to is still open.
        ask(&place, &words("REPLAY"));
        if kill % 2 == 0 {
            std::thread::sleep(moment(&mut chance, 3_000));
        } else {
            let pending = "SELECT count(*) FROM quarantine.orders WHERE _status IN ('replaying', 'releasing')";
            until(&mut running, "an epoch", || ask(&place, pending) == ["0"]);
        }
    }
    let all = || published(&place, "out").len() >= ROWS as usize;
    until(&mut running, "all rows", all);
    running.signal("INT");
    running.wait().ok();
    // Order 0 has no amount above 0 and is replayed in vain, unless it was released.
    let zero = ask(
        &place,
        "SELECT _status FROM quarantine.orders WHERE id = 0 AND _attempt = 0",
    );
    let skips = i64::from(zero == ["replayed"]);
    check_once(&place, (skips..ROWS).map(|id| format!("{id},{id}")));
}

#[test]
fn each_row_of_a_batch_run_comes_back_once_through_kills() {
    let place = Place::new();
    let mut chance = StdRng::seed_from_u64(seed());
    place.write("in/a.csv", many());
    let flags = ["--state", "state", "--checkpoint-interval", "100ms"];
    place.run(&orders("-1", false), &flags).ok();
    let script = format!(
        "{} REPLAY FROM quarantine.orders;",
        orders(&(-ROWS).to_string(), false)
    );
    for _ in 0..KILLS {
        let running = place.start(&script, &flags);
        std::thread::sleep(moment(&mut chance, 900));
        running.kill();
    }
    let begin = Instant::now();
    place.run(&script, &flags).ok();
    println!("the last run took {:?}", begin.elapsed());
    check_once(&place, (0..ROWS).map(|id| format!("{id},{}", amount(id))));
}

/// Events of which a window of ten seconds is to have so many per key.
fn events(least: u32) -> String {
    format!(
        "CREATE SOURCE events (id BIGINT, k VARCHAR, ts TIMESTAMP, WATERMARK FOR ts AS ts,
            CONSTRAINT once EXPECT UNIQUE (id) ON VIOLATION DROP ROW,
            CONSTRAINT enough EXPECT (count(*) >= {least})
                SCOPE WINDOW (TUMBLE (ts, INTERVAL '10' SECOND)) PER (k) ON VIOLATION QUARANTINE WINDOW)
        WITH (connector = 'file', path = 'in/*.csv', format = 'csv');
        CREATE SINK out WITH (connector = 'file', path = 'out', format = 'csv', header = 'false')
            AS SELECT id FROM events;\n"
    )
}

/// Rows of a window that comes back are asked together; one that is released is not asked.
#[test]
fn windows_come_back_together() {
    let place = Place::new();
    place.write(
        "in/a.csv",
        "id,k,ts\n1,a,2024-01-01T00:00:01\n2,a,2024-01-01T00:00:02\n3,b,2024-01-01T00:00:03\n\
         4,a,2024-01-01T00:00:11\n5,a,2024-01-01T00:00:12\n6,b,2024-01-01T00:00:21\n",
    );
    let flags = ["--state", "state"];
    place.run(&events(3), &flags).ok();
    assert!(published(&place, "out").is_empty());
    let kept =
        "SELECT id, _rules[1], _observed, _attempt, _status FROM quarantine.events WHERE id < 4";
    let row = |id: u32, count: u32| format!("{id},enough,\"{{\"\"count(*)\"\":{count}}}\",0,open");
    assert_eq!(ask(&place, kept), [row(1, 2), row(2, 2), row(3, 1)]);
    ask(&place, "RELEASE FROM quarantine.events WHERE id = 6");
    let replay = |least| format!("{} REPLAY FROM quarantine.events;", events(least));
    let ended = place.run(&replay(2), &flags).ok();
    assert!(ended.out.contains("5 rows replayed"), "{}", ended.out);
    assert_eq!(published(&place, "out"), ["1", "2", "4", "5", "6"]);
    let known = "SELECT id, _attempt, _status FROM quarantine.events WHERE id IN (2, 3, 6)";
    assert_eq!(
        ask(&place, known),
        ["2,0,replayed", "3,0,replayed", "3,1,open", "6,0,released"]
    );
    place.run(&replay(1), &flags).ok();
    assert_eq!(published(&place, "out"), ["1", "2", "3", "4", "5", "6"]);
}
