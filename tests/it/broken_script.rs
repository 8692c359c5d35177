//! Scripts that are wrong: each ends with exit code 2, an error code, the place and a hint, and
//! nothing is written.

use crate::program::{Ended, Place};

const SOURCE: &str = "CREATE SOURCE orders (id BIGINT, status VARCHAR, amount DOUBLE, ts TIMESTAMP,
    WATERMARK FOR ts AS ts - INTERVAL '5 seconds')
    WITH (connector = 'file', path = 'orders.csv', format = 'csv');\n";
const ORDERS: &str = "id,status,amount,ts\n1,open,2.5,2026-01-01 00:00:01\n";

/// Runs a script after the source's four lines; line numbers go on from 4.
fn run(script: &str) -> Ended {
    let place = Place::new();
    place.write("orders.csv", ORDERS);
    let ended = place.run(&format!("{SOURCE}{script}"), &[]);
    let output = place.files("out");
    assert!(output.is_empty(), "a wrong script wrote {output:?}");
    ended
}

/// A sink of a query, on line 4.
fn sink(query: &str) -> String {
    format!(
        "CREATE SINK s WITH (connector = 'file', path = 'out', format = 'parquet') AS\n{query};"
    )
}

#[test]
fn unknown_table_is_named_with_the_nearest() {
    run(&sink("SELECT * FROM ordres")).fails(
        2,
        "E0103",
        &["script.sql:5:15", "ordres", "\"orders\""],
    );
}

#[test]
fn unknown_column_is_named_with_the_nearest() {
    run(&sink("SELECT id, statsu FROM orders")).fails(
        2,
        "E0104",
        &["script.sql:5:12", "statsu", "hint: did you mean", "status"],
    );
}

#[test]
fn unknown_function_is_named_with_the_nearest() {
    run(&sink("SELECT uper(status) FROM orders")).fails(
        2,
        "E0105",
        &["script.sql:5:8", "uper", "upper"],
    );
}

#[test]
fn unknown_option_is_named_with_the_nearest() {
    run("CREATE SINK s WITH (connector = 'file', path = 'out', formt = 'parquet') AS SELECT 1;")
        .fails(2, "E0202", &["script.sql:4:", "formt", "format"]);
}

#[test]
fn unknown_connector_is_named_with_the_nearest() {
    run("CREATE SINK s WITH (connector = 'fiel', path = 'out') AS SELECT * FROM orders;").fails(
        2,
        "E0201",
        &["script.sql:4:", "fiel", "file"],
    );
}

#[test]
fn wrong_option_value_lists_what_is_possible() {
    run("CREATE SINK s WITH (connector = 'file', path = 'out', format = 'parket') AS SELECT * FROM orders;")
        .fails(2, "E0203", &["script.sql:4:", "parket", "parquet"]);
    run("CREATE SINK s WITH (connector = 'file', path = 'out', roll_size = 'big') AS SELECT * FROM orders;")
        .fails(2, "E0203", &["script.sql:4:", "big", "128MB"]);
}

#[test]
fn missing_option_is_named() {
    run("CREATE SINK s WITH (connector = 'file', format = 'parquet') AS SELECT * FROM orders;")
        .fails(2, "E0203", &["script.sql:4:", "path"]);
}

#[test]
fn type_error_in_an_expression_is_found_before_the_run() {
    run(&sink("SELECT status - INTERVAL '1 day' - true FROM orders")).fails(
        2,
        "E0106",
        &["script.sql:"],
    );
    run(&sink("SELECT * FROM orders WHERE id + 1")).fails(2, "E0106", &["script.sql:"]);
}

#[test]
fn unterminated_string_is_placed_where_it_starts() {
    run(&sink("SELECT 'open FROM orders")).fails(2, "E0102", &["script.sql:5:8"]);
    run("SELECT 1 /* no end").fails(2, "E0102", &["script.sql:4:10"]);
}

#[test]
fn syntax_error_says_what_was_expected() {
    run("CREATE SINK s WIHT (connector = 'print') AS SELECT * FROM orders;").fails(
        2,
        "E0101",
        &["script.sql:4:15", "WIHT"],
    );
}

#[test]
fn variable_without_a_value_is_named() {
    run("CREATE SINK s WITH (connector = 'file', path = '${WHERE_TO}') AS SELECT * FROM orders;")
        .fails(2, "E0108", &["script.sql:4:", "WHERE_TO", "--set"]);
}

#[test]
fn unknown_setting_is_named_with_the_nearest() {
    run("SET pipeline.mdoe = 'batch';").fails(2, "E0112", &["script.sql:4:", "pipeline.mode"]);
    run("SET pipeline.mode = 'bacth';").fails(2, "E0112", &["script.sql:4:", "batch"]);
}

#[test]
fn script_that_does_nothing_is_an_error() {
    run("").fails(2, "E0113", &["CREATE SINK"]);
    let place = Place::new();
    place.run("-- nothing here\n", &[]).fails(2, "E0113", &[]);
}

#[test]
fn taken_name_is_an_error() {
    run("CREATE VIEW orders AS SELECT 1;").fails(2, "E0107", &["script.sql:4:13", "orders"]);
}

#[test]
fn unbounded_aggregate_is_refused_with_a_way_around() {
    let place = Place::new();
    place.write("orders.csv", ORDERS);
    let script = format!(
        "{SOURCE}{}",
        sink("SELECT status, count(*) FROM orders GROUP BY status")
    );
    place.run(&script, &["--mode", "streaming"]).fails(
        2,
        "E0115",
        &["script.sql:", "aggregate over windows"],
    );
    assert!(place.files("out").is_empty());
}

#[test]
fn window_called_wrongly_is_explained() {
    let wrong = [
        "TUMBLE(orders, ts)",
        "TUMBLE(orders, ts, INTERVAL '0 seconds')",
    ];
    for window in wrong {
        let query = format!("SELECT window_start, count(*) FROM {window} GROUP BY window_start");
        run(&sink(&query)).fails(2, "E0111", &["script.sql:5:"]);
    }
    let query =
        "SELECT window_start, count(*) FROM TUMBLE(orders, tz, INTERVAL '1 hour') GROUP BY 1";
    run(&sink(query)).fails(2, "E0104", &["tz", "ts"]);
}

#[test]
fn missing_script_is_an_error_of_the_command() {
    let place = Place::new();
    let ended = place.weir(&["run", "nowhere.sql"]);
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(ended.err.contains("nowhere.sql"), "{}", ended.err);
}

#[test]
fn wrong_flag_is_an_error_of_the_command() {
    let place = Place::new();
    place.write("script.sql", SOURCE);
    for flags in [
        ["--mode", "sometimes"],
        ["--parallelism", "0"],
        ["--memory", "lots"],
    ] {
        let ended = place.weir(&["run", "script.sql", flags[0], flags[1]]);
        assert_eq!(ended.code, 2, "{flags:?}: {}", ended.err);
        assert!(ended.err.contains(flags[0]), "{flags:?}: {}", ended.err);
    }
}

/// A rule of the source, on line 4, from column 37 on.
fn rule(clause: &str) -> Ended {
    run(&format!("CREATE EXPECTATION r ON orders EXPECT {clause};"))
}

#[test]
fn rules_are_told_at_their_place() {
    rule("(amount BETWEEN 5 AND 1)").fails(
        2,
        "E0116",
        &[
            "script.sql:4:40",
            "BETWEEN 5 AND 1 can never be true",
            "hint:",
        ],
    );
    rule("(count(*) > 0 AND completeness(status) >= 2)").fails(
        2,
        "E0116",
        &["script.sql:4:57", "hint:"],
    );
    rule("(count(*) > 1) SCOPE WINDOW (TUMBLE (ts, 5))").fails(
        2,
        "E0111",
        &["script.sql:4:76", "hint:"],
    );
    rule("(count(*) > 1) EVERY INTERVAL '0' MINUTE").fails(
        2,
        "E0111",
        &["script.sql:4:69", "EVERY"],
    );
    rule("(status ~ '[a-')").fails(2, "E0116", &["script.sql:4:", "unclosed", "hint:"]);
    rule("(id) REFERENCES customers(id)").fails(2, "E0103", &["script.sql:4:55", "customers"]);
    rule("(statsu = 'open')").fails(2, "E0104", &["script.sql:4:40", "did you mean"]);
    rule("(amount > 0) MOSTLY 1.5").fails(2, "E0116", &["script.sql:4:59", "hint:"]);
}
