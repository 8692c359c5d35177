//! What is wrong is said before the first row is read, with a code and a way out.

use crate::program::{Ended, Place};
use crate::servers::postgres::Postgres;

fn run(options: &str, columns: &str, query: &str) -> Ended {
    let place = Place::new();
    place.write("in/1.csv", "n,id\n1,1\n");
    let script = format!(
        "SET pipeline.mode = 'streaming';
         CREATE SOURCE s (n BIGINT, id BIGINT)
            WITH (connector = 'file', path = 'in/*.csv', format = 'csv');
         CREATE SOURCE made (seq BIGINT) WITH (connector = 'generator');
         CREATE SOURCE t {columns} WITH ({options});
         CREATE SINK out WITH (connector = 'print') AS {query};"
    );
    place.run(&script, &[])
}

const QUERY: &str = "SELECT n FROM s JOIN t FOR SYSTEM_TIME AS OF PROCTIME() ON s.id = t.id";

/// The options of a source over a table of its own, and the table.
fn source() -> (String, String) {
    let postgres = Postgres::shared();
    let table = postgres.table("id int8, name text, at timestamp", "VALUES (1, 'a', now())");
    (postgres.options(&table), table)
}

#[test]
fn wrong_tables_and_logins_are_refused() {
    let (good, table) = source();
    let columns = "(id BIGINT, name VARCHAR)";
    run(&good, columns, QUERY).ok();
    let port = format!("port = '{}'", Postgres::shared().port);
    let other = format!("{table}x");
    let cases = [
        ("password = '", "password = 'x", "E0205", "pg_hba.conf"),
        ("database = '", "database = 'x", "E0204", "\"database\""),
        (&*table, &*other, "E0204", &*table),
        (&port, "port = '1'", "E0206", "host, port"),
        (&port, "port = '0'", "E0203", "65535"),
        ("user = ", "usr = ", "E0202", "\"user\""),
    ];
    for (right, wrong, code, word) in cases {
        let ended = run(&good.replace(right, wrong), columns, QUERY).fails_with(code, &[word]);
        let told = ended.err.contains("weir-secret");
        assert!(!told, "a secret is told:\n{}", ended.err);
    }
}

#[test]
fn wrong_options_and_columns_are_refused() {
    let (good, _) = source();
    let columns = "(id BIGINT, name VARCHAR)";
    let cases = [
        (", schema = 'nowhere'", columns, "E0204", "nowhere"),
        (", lookup.batch_rows = '0'", columns, "E0203", "65536"),
        (
            ", query_timeout = '0s'",
            columns,
            "E0203",
            "more than nothing",
        ),
        (", ssl_ca_location = 'x.pem'", columns, "E0203", "disable"),
        ("", "(id BIGINT, nam VARCHAR)", "E0104", "\"name\""),
        ("", "(id INT, name VARCHAR)", "E0106", "Int64"),
        (
            "",
            "(id BIGINT, at DATE)",
            "E0106",
            "timestamp without time zone",
        ),
    ];
    for (more, columns, code, word) in cases {
        run(&format!("{good}{more}"), columns, QUERY).fails_with(code, &[word]);
    }
}

#[test]
fn queries_that_cannot_ask_are_refused() {
    let postgres = Postgres::shared();
    let table = postgres.table("id int8, name text", "VALUES (1, 'a')");
    let options = postgres.options(&table);
    let at = "FOR SYSTEM_TIME AS OF PROCTIME()";
    let cases = [
        (
            format!("SELECT n FROM s RIGHT JOIN t {at} ON s.id = t.id"),
            "LEFT JOIN",
        ),
        (
            format!("SELECT n FROM s FULL JOIN t {at} ON s.id = t.id"),
            "LEFT JOIN",
        ),
        (
            format!("SELECT n FROM s JOIN t {at} ON s.id > t.id"),
            "add ON",
        ),
        (
            format!("SELECT n FROM s JOIN t {at} ON s.id = t.id + 1"),
            "add ON",
        ),
        (format!("SELECT name FROM t {at}"), "JOIN"),
        (
            format!("SELECT name FROM t {at} JOIN s ON s.id = t.id"),
            "right side",
        ),
        (
            format!(
                "SELECT name, c FROM (SELECT id, count(*) AS c FROM s GROUP BY id) g JOIN t {at} ON g.id = t.id"
            ),
            "before the rows are aggregated",
        ),
        (
            format!("SELECT n FROM s JOIN made {at} ON s.id = made.seq"),
            "connectors that look rows up: postgres",
        ),
    ];
    for (query, word) in cases {
        run(&options, "(id BIGINT, name VARCHAR)", &query).fails_with("E0110", &[word]);
    }
}

/// A connection with TLS is made to a server that has a trusted certificate, and to no other.
#[test]
fn tls_checks_the_certificate() {
    let postgres = Postgres::shared();
    let Some(authority) = postgres.authority() else {
        return;
    };
    let table = postgres.table("id int8", "VALUES (1)");
    let good = postgres.options(&table);
    let trusted = format!(
        "{good}, ssl_mode = 'verify_full', ssl_ca_location = '{}'",
        authority.display()
    );
    run(&trusted, "(id BIGINT)", QUERY).ok();
    let unknown = format!("{good}, ssl_mode = 'verify_full'");
    run(&unknown, "(id BIGINT)", QUERY).fails_with("E0206", &["certificate"]);
}
