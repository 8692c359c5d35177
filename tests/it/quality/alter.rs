//! Rules that change between two runs of a pipeline: counts and what is remembered go on for those that
//! stay.

use std::time::Duration;

use serde_json::Value;

use crate::program::Place;

const TABLES: &str = "
    CREATE SOURCE orders (id BIGINT, amount DOUBLE,
        CONSTRAINT positive EXPECT (amount > 0) ON VIOLATION DROP ROW,
        CONSTRAINT small EXPECT (amount < 100) ON VIOLATION QUARANTINE,
        CONSTRAINT once EXPECT UNIQUE (id) ON VIOLATION QUARANTINE INTO twice,
        CONSTRAINT pairs EXPECT (id) DETERMINES (amount),
        CONSTRAINT many EXPECT (count(*) > 100) DIMENSION volume
    ) WITH (connector = 'file', path = 'in/*.csv', format = 'csv', watch = 'true');
    CREATE SINK out WITH (connector = 'file', path = 'out', format = 'csv') AS SELECT * FROM orders;\n";

/// Runs a pipeline until it has read so many rows in all, and gives its rules: name and action with evaluated
/// and violated rows.
fn run(place: &Place, script: &str, rows: u64) -> Vec<(String, u64, u64)> {
    let flags = [
        "--state",
        "state",
        "--mode",
        "streaming",
        "--summary",
        "json",
    ];
    let running = place.start(script, &flags);
    let published = |place: &Place| {
        let query =
            "SELECT coalesce(max(n), 0) FROM (SELECT sum(evaluated) AS n FROM weir.quality_results
                     WHERE rule = 'once') AS counted";
        let words = ["sql", "--state", "state", "--format", "csv", "-c", query];
        let said = place.weir(&words).ok().out;
        said.lines()
            .nth(1)
            .and_then(|line| line.parse().ok())
            .unwrap_or(0)
    };
    let start = std::time::Instant::now();
    while published(place) < rows {
        assert!(
            start.elapsed() < Duration::from_secs(90),
            "{}",
            running.said()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    running.signal("INT");
    let summary = running.wait().ok().summary();
    let rules = summary["rules"][0]["rules"].as_array().unwrap().clone();
    let of = |rule: &Value| {
        let words = ["name", "action"].map(|at| rule[at].as_str().unwrap().to_owned());
        let counts = ["evaluated", "violated"].map(|at| rule[at].as_u64().unwrap());
        (words.join(": "), counts[0], counts[1])
    };
    rules
        .iter()
        .filter(|rule| rule["unit"] == "rows")
        .map(of)
        .collect()
}

#[test]
fn what_stays_goes_on_and_what_is_switched_does_nothing() {
    let told = |all: &[(&str, u64, u64)]| -> Vec<(String, u64, u64)> {
        let one = |(name, evaluated, violated): &(&str, u64, u64)| {
            ((*name).to_owned(), *evaluated, *violated)
        };
        all.iter().map(one).collect()
    };
    let place = Place::new();
    place.write("in/1.csv", "id,amount\n1,10\n2,-5\n3,500\n4,7\n1,10\n");
    let first = run(&place, TABLES, 3);
    assert_eq!(
        first,
        told(&[
            ("positive: drop row", 5, 1),
            ("small: quarantine into orders", 5, 1),
            ("once: quarantine into twice", 3, 1),
            ("pairs: warn", 3, 0),
        ])
    );
    // The rule over keys knows the rows of the first run: 4 and 1 were there, and 4 had another amount. 7 would
    // have been dropped, 8 quarantined.
    place.write("in/2.csv", "id,amount\n4,8\n7,-1\n8,900\n1,10\n");
    let script = format!(
        "{TABLES} ALTER TABLE orders DRY RUN CONSTRAINT positive; ALTER TABLE orders DISABLE CONSTRAINT small;
         ALTER TABLE orders DRY RUN CONSTRAINT once; ALTER TABLE orders ADD CONSTRAINT known EXPECT (id < 8);"
    );
    let second = run(&place, &script, 7);
    let mut sorted = second;
    sorted.sort();
    assert_eq!(
        sorted,
        told(&[
            ("known: warn", 4, 1),
            ("once: dry run of quarantine into twice", 4, 2),
            ("once: quarantine into twice", 3, 1),
            ("pairs: warn", 7, 1),
            ("positive: drop row", 5, 1),
            ("positive: dry run of drop row", 4, 1),
            ("small: quarantine into orders", 5, 1),
        ])
    );
    // Switched on again, they go on with the counts that they had.
    place.write("in/3.csv", "id,amount\n7,3\n9,-9\n10,800\n");
    let third = run(&place, TABLES, 8);
    let of = |name: &str| third.iter().find(|(known, ..)| known == name).cloned();
    assert_eq!(
        of("positive: drop row"),
        Some(("positive: drop row".to_owned(), 8, 2))
    );
    assert_eq!(
        of("small: quarantine into orders"),
        Some(("small: quarantine into orders".to_owned(), 8, 2))
    );
    assert_eq!(
        of("once: quarantine into twice"),
        Some(("once: quarantine into twice".to_owned(), 4, 2))
    );
}

#[test]
fn validate_tells_all_and_ends_the_script_before_its_pipeline() {
    let place = Place::new();
    place.write("in/1.csv", "id,amount\n1,10\n2,-5\n");
    let rules = "CREATE RULE SET money (CONSTRAINT positive EXPECT (amount > 0), CONSTRAINT id EXPECT (id > 0));
        CREATE SOURCE orders (id BIGINT, amount DOUBLE)
            WITH (connector = 'file', path = 'in/*.csv', format = 'csv');\n";
    let sink = "CREATE SINK out WITH (connector = 'file', path = 'out', format = 'csv')
            AS SELECT * FROM orders;";
    let script =
        |clause: &str| format!("{rules} VALIDATE TABLE orders USING money {clause}; {sink}");
    let ended = place.run(&script("FAIL ON WARNING"), &[]);
    assert!(ended.out.contains("| positive "), "{}", ended.out);
    assert!(ended.out.contains("| id "), "{}", ended.out);
    ended.fails(1, "E0304", &["1 of 2 rules", "\"orders\"", "positive"]);
    assert!(place.files("out").is_empty());
    // A warning alone does not fail it.
    place.run(&script(""), &[]).ok();
    assert!(!place.files("out").is_empty());
    let asked = script("FAIL ON WARNING").replace(sink, "");
    place
        .weir(&["sql", "-c", &asked])
        .fails(1, "E0304", &["positive"]);
    place
        .weir(&["sql", "-c", &script("FAIL ON NONE").replace(sink, "")])
        .ok();
}
