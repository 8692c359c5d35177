//! Records that cannot be read, with ON PARSE ERROR QUARANTINE: rows of the quarantine table of their source, and
//! rows of the source once somebody has given them values.

use serde_json::json;

use super::{PATIENCE, STREAM, ask, published};
use crate::program::Place;

fn orders(columns: &str, watch: bool) -> String {
    format!(
        "CREATE SOURCE orders ({columns}) ON PARSE ERROR QUARANTINE
            WITH (connector = 'file', path = 'in/*.csv', format = 'csv', watch = '{watch}');
        CREATE SINK out WITH (connector = 'file', path = 'out', format = 'csv', header = 'false',
            roll_interval = '100ms') AS SELECT id FROM orders;\n"
    )
}

const BROKEN: &str = "id,amount\n1,10\n2,many\n3\n4,40\nx,50\n";
const RULED: &str = "id BIGINT, amount BIGINT,
    CONSTRAINT small EXPECT (amount < 40) ON VIOLATION QUARANTINE";

#[test]
fn what_cannot_be_read_is_a_row_with_its_bytes_and_reason() {
    for (mode, columns, published_rows) in [
        ("batch", "id BIGINT, amount BIGINT", 2),
        ("streaming", "id BIGINT, amount BIGINT", 2),
        ("batch", RULED, 1),
        ("streaming", RULED, 1),
    ] {
        let place = Place::new();
        place.write("in/a.csv", BROKEN);
        let flags = ["--state", "state", "--mode", mode, "--summary", "json"];
        let summary = place.run(&orders(columns, false), &flags).ok().summary();
        let rules = &summary["rules"][0];
        let account = ["rows_in", "published", "dropped", "quarantined"].map(|name| &rules[name]);
        let account_due = [
            json!(5),
            json!(published_rows),
            json!(0),
            json!(5 - published_rows),
        ];
        assert_eq!(account, account_due.each_ref(), "{summary}");
        assert_eq!(summary["adds_up"], true, "{summary}");
        assert_eq!(summary["dead_letters"], json!([]), "{summary}");
        assert_eq!(published(&place, "out").len(), published_rows);
        // Also where the query reads one column.
        let kept = "SELECT id, amount, arrow_cast(_raw, 'Utf8'), _offset, _rules[1], _status,
                split_part(_origin, '/', -1), strpos(_observed, 'many') > 0
            FROM quarantine.orders WHERE _rules[1] = 'parse_error' ORDER BY _offset";
        assert_eq!(
            ask(&place, kept),
            [
                ",,\"2,many\",15,parse_error,open,a.csv,true",
                ",,\"x,50\",29,parse_error,open,a.csv,false",
                ",,3,22,parse_error,open,a.csv,false",
            ]
        );
    }
}

#[test]
fn rows_come_back_with_the_values_that_somebody_gives_them() {
    let place = Place::new();
    place.write("in/a.csv", BROKEN);
    let mut running = place.start(&orders(RULED, true), &STREAM);
    running.until(PATIENCE, "the row", || published(&place, "out") == ["1"]);
    let open = "SELECT count(*) FROM quarantine.orders WHERE _status = 'open'";
    running.until(PATIENCE, "the quarantine", || ask(&place, open) == ["4"]);
    // Nothing about what cannot be read has changed: the row that breaks a rule is asked once more.
    assert_eq!(
        ask(&place, "REPLAY FROM quarantine.orders"),
        ["replay,quarantine.orders,1"]
    );
    let read = "CAST(split_part(CAST(_raw AS VARCHAR), ',', 1) AS BIGINT)";
    let replay = format!(
        "REPLAY FROM quarantine.orders WHERE arrow_cast(_raw, 'Utf8') LIKE '2,%' SET (id = {read}, amount = 5)"
    );
    assert_eq!(ask(&place, &replay), ["replay,quarantine.orders,1"]);
    let release = format!(
        "RELEASE FROM quarantine.orders WHERE arrow_cast(_raw, 'Utf8') = '3' SET (id = {read}, amount = 500)"
    );
    assert_eq!(ask(&place, &release), ["release,quarantine.orders,1"]);
    assert_eq!(
        ask(
            &place,
            "DISCARD FROM quarantine.orders WHERE arrow_cast(_raw, 'Utf8') = 'x,50'"
        ),
        ["discard,quarantine.orders,1"]
    );
    running.until(PATIENCE, "the rows", || {
        published(&place, "out") == ["1", "2", "3"]
    });
    // What breaks a rule once more is a row that was read.
    let bad = "SELECT id, amount, _attempt, _rules[1], arrow_cast(_raw, 'Utf8') FROM quarantine.orders WHERE _status = 'open'";
    running.until(PATIENCE, "the row", || {
        ask(&place, bad) == ["4,40,1,small,\"4,40\""]
    });
    running.signal("INT");
    running.wait().ok();
}

#[test]
fn a_row_needs_its_values_to_come_back() {
    let place = Place::new();
    place.write("in/a.csv", BROKEN);
    let columns = "id BIGINT NOT NULL, amount BIGINT";
    place
        .run(&orders(columns, false), &["--state", "state"])
        .ok();
    let words = |statement| place.weir(&["sql", "--state", "state", "-c", statement]);
    let hint = ["\"id\" is NOT NULL", "SET (id = ...)"];
    words("RELEASE FROM quarantine.orders").fails(2, "E0305", &hint);
    words("REPLAY FROM quarantine.orders SET (amount = 1)").fails(2, "E0305", &hint);
    assert_eq!(
        ask(&place, "RELEASE FROM quarantine.orders SET (id = 7)"),
        ["release,quarantine.orders,3"]
    );
    let taken = "_id BIGINT, amount BIGINT";
    let ended = place.run(
        &orders(taken, false).replace("SELECT id", "SELECT amount"),
        &[],
    );
    ended.fails(2, "E0107", &["\"_id\"", "ON PARSE ERROR QUARANTINE"]);
}
