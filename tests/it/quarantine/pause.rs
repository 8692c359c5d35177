//! Sources that pause: they give no rows until somebody resumes them, whatever happens to the program, and
//! then all rows, once.

use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::{PATIENCE, STREAM, ask, moment, published, seed, until};
use crate::program::{Place, Running};

/// How long a source is watched that must give nothing.
const STILL: Duration = Duration::from_millis(2_500);

fn orders(overflow: &str, watch: bool) -> String {
    format!(
        "CREATE SOURCE orders (id BIGINT, amount BIGINT,
            CONSTRAINT positive EXPECT (amount > 0) ON VIOLATION QUARANTINE ON OVERFLOW {overflow} PAUSE SOURCE)
        WITH (connector = 'file', path = 'in/*.csv', format = 'csv', watch = '{watch}');
        CREATE SINK out WITH (connector = 'file', path = 'out', format = 'csv', header = 'false',
            roll_interval = '100ms') AS SELECT id FROM orders;\n"
    )
}

/// Waits until the pipeline has told that its source is paused.
fn until_paused(place: &Place, running: &mut Running, detail: &str) {
    let paused = "SELECT observed FROM weir.quality_issues WHERE status <> 'resolved'";
    let told = [format!("\"{{\"\"paused\"\":\"\"{detail}\"\"}}\"")];
    until(running, "the pause", || ask(place, paused) == told);
}

#[test]
fn a_paused_source_gives_nothing_until_it_is_resumed() {
    let place = Place::new();
    place.write("in/a.csv", "id,amount\n1,10\n2,-1\n3,-2\n4,-3\n5,5\n");
    let script = orders("2", true);
    let mut running = place.start(&script, &STREAM);
    until_paused(&place, &mut running, "3 rows break it, 2 may");
    // What was read is finished.
    until(&mut running, "the rows", || {
        published(&place, "out") == ["1", "5"]
    });
    place.put("in/b.csv", "id,amount\n6,6\n7,-7\n");
    std::thread::sleep(STILL);
    assert_eq!(published(&place, "out"), ["1", "5"]);
    let words = ["sql", "--state", "state", "-c", "RESUME SOURCE ordrs"];
    place
        .weir(&words)
        .fails(2, "E0103", &["did you mean \"orders\""]);
    assert!(
        running.said().contains("source orders is paused"),
        "{}",
        running.said()
    );
    running.kill();

    let mut running = place.start(&script, &STREAM);
    std::thread::sleep(STILL);
    assert_eq!(published(&place, "out"), ["1", "5"]);
    assert!(
        running.said().contains("still paused"),
        "{}",
        running.said()
    );
    // Rows of its quarantine come back all the same.
    ask(&place, "RELEASE FROM quarantine.orders WHERE id = 2");
    until(&mut running, "the row", || {
        published(&place, "out") == ["1", "2", "5"]
    });
    running.signal("INT");
    let ended = running.wait().ok();
    assert!(
        ended
            .out
            .contains("by rule positive: 3 rows break it, 2 may"),
        "{}",
        ended.out
    );

    let mut running = place.start(&script, &STREAM);
    assert_eq!(
        ask(&place, "RESUME SOURCE orders"),
        ["resume,orders,positive,\"3 rows break it, 2 may\""]
    );
    until(&mut running, "the rows", || {
        published(&place, "out") == ["1", "2", "5", "6"]
    });
    assert_eq!(
        ask(&place, "SELECT id FROM quarantine.orders"),
        ["2", "3", "4", "7"]
    );
    let words = ["sql", "--state", "state", "-c", "RESUME SOURCE orders"];
    place.weir(&words).fails(2, "E0103", &["paused source"]);
    running.signal("INT");
    assert!(!running.wait().ok().out.contains("by rule positive: 3"));
}

#[test]
fn a_share_pauses_a_stream_and_ends_a_batch_run() {
    let place = Place::new();
    place.write("in/a.csv", "id,amount\n1,10\n2,-1\n3,-2\n");
    let ended = place.run(&orders("0.5", false), &STREAM[..2]);
    ended.fails(1, "E0304", &["2 of 3 rows break it", "--mode streaming"]);
    assert!(published(&place, "out").is_empty());

    let state = ["--state", "other"];
    let flags = [&state[..], &STREAM[2..]].concat();
    let mut running = place.start(&orders("0.5", true), &flags);
    until(&mut running, "the row", || {
        published(&place, "out") == ["1"]
    });
    until(&mut running, "the pause", || {
        place
            .files("other/paused")
            .iter()
            .any(|file| file.ends_with(".json"))
    });
    running.signal("INT");
    running.wait().ok();
    // A run that ends has nobody who could resume it.
    let batch = [&state[..], &["--mode", "batch"]].concat();
    let ended = place.run(&orders("0.5", true), &batch);
    ended.fails(
        1,
        "E0304",
        &["\"orders\" is paused", "RESUME SOURCE orders"],
    );
    // The statement of a script ends the pause before the run begins, and may stay there.
    let script = format!("{} RESUME SOURCE orders;", orders("0.5", true));
    let mut running = place.start(&script, &flags);
    place.put("in/b.csv", "id,amount\n4,4\n");
    until(&mut running, "the row", || {
        published(&place, "out") == ["1", "4"]
    });
    running.signal("INT");
    running.wait().ok();
}

/// Each file pauses the source; it is killed and resumed at any time.
#[test]
fn all_rows_come_once_through_pauses_and_kills() {
    const FILES: i64 = 8;
    const ROWS: i64 = 300;
    let place = Place::new();
    let mut chance = StdRng::seed_from_u64(seed());
    for file in 0..FILES {
        let ids = file * ROWS..(file + 1) * ROWS;
        let rows = ids.map(|id| format!("{id},{}\n", if id % 3 == 0 { -id } else { id }));
        place.write(
            &format!("in/{file}.csv"),
            format!("id,amount\n{}", rows.collect::<String>()),
        );
    }
    let script = orders("50", true);
    let mut running = place.start(&script, &STREAM);
    let begin = Instant::now();
    let good = (FILES * ROWS / 3 * 2) as usize;
    while published(&place, "out").len() < good {
        assert!(begin.elapsed() < 3 * PATIENCE, "no end: {}", running.said());
        std::thread::sleep(moment(&mut chance, 1_500));
        // It may be paused or not.
        place.weir(&["sql", "--state", "state", "-c", "RESUME SOURCE orders"]);
        std::thread::sleep(moment(&mut chance, 1_500));
        running.kill();
        running = place.start(&script, &STREAM);
    }
    running.kill();
    super::check_once(
        &place,
        (0..FILES * ROWS)
            .filter(|id| id % 3 != 0)
            .map(|id| id.to_string()),
    );
    let bad = "SELECT count(*), count(DISTINCT id) FROM quarantine.orders";
    assert_eq!(ask(&place, bad), [format!("{0},{0}", FILES * ROWS / 3)]);
}
