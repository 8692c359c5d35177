//! Rows that have been in quarantine for longer than they are kept, beside younger ones.

use std::time::Duration;

use super::{STREAM, ask, published, until};
use crate::program::Place;

#[test]
fn what_is_too_old_is_forgotten_and_nothing_else() {
    let place = Place::new();
    place.write("in/a.csv", "id,amount\n1,10\n2,-2\n3,-3\n4,-4\n");
    let script = "SET pipeline.quarantine = '6 seconds';
        CREATE SOURCE orders (id BIGINT, amount BIGINT,
            CONSTRAINT positive EXPECT (amount > 0) ON VIOLATION QUARANTINE)
        WITH (connector = 'file', path = 'in/*.csv', format = 'csv', watch = 'true');
        CREATE SINK out WITH (connector = 'file', path = 'out', format = 'csv', header = 'false',
            roll_interval = '100ms') AS SELECT id FROM orders;";
    let mut running = place.start(script, &STREAM);
    let rows =
        "SELECT id, amount, arrow_cast(_raw, 'Utf8'), _rules[1], _status FROM quarantine.orders";
    until(&mut running, "the table", || {
        ask(&place, "SHOW TABLES").len() == 1
    });
    until(&mut running, "the rows", || ask(&place, rows).len() == 3);
    ask(&place, "RELEASE FROM quarantine.orders WHERE id = 2");
    ask(&place, "DISCARD FROM quarantine.orders WHERE id = 3");
    until(&mut running, "the row", || {
        published(&place, "out") == ["1", "2"]
    });
    // What was asked for stays told, and what nobody has asked anything of has expired.
    let old = [
        ",,,positive,discarded",
        ",,,positive,expired",
        ",,,positive,released",
    ];
    until(&mut running, "the end of the rows", || {
        ask(&place, rows) == old
    });
    place.put("in/b.csv", "id,amount\n5,-5\n");
    let young = [&old[..], &["5,-5,\"5,-5\",positive,open"]].concat();
    let mut young: Vec<String> = young.into_iter().map(str::to_owned).collect();
    young.sort();
    until(&mut running, "the new row", || ask(&place, rows) == young);
    // What has expired cannot come back.
    assert_eq!(
        ask(&place, "RELEASE FROM quarantine.orders"),
        ["release,quarantine.orders,1"]
    );
    until(&mut running, "the row", || {
        published(&place, "out") == ["1", "2", "5"]
    });
    // Nothing of the rows is left on the disk, neither in their files nor in what was asked of them.
    let expired = || ask(&place, rows).iter().all(|row| row.starts_with(",,,"));
    until(&mut running, "the end of the last row", expired);
    running.signal("INT");
    running.wait().ok();

    // Without the setting nothing expires.
    place.put("in/c.csv", "id,amount\n6,-6\n");
    let mut running = place.start(
        &script.replace("SET pipeline.quarantine = '6 seconds';", ""),
        &STREAM,
    );
    until(&mut running, "the row", || ask(&place, rows).len() == 5);
    std::thread::sleep(Duration::from_secs(7));
    let kept = ask(&place, rows);
    assert!(
        kept.contains(&"6,-6,\"6,-6\",positive,open".to_owned()),
        "{kept:?}"
    );
    running.kill();
}
