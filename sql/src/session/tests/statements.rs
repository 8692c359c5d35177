//! CREATE, DROP, SET, SHOW, DESCRIBE.

use super::check;
use expect_test::expect;

#[test]
fn things_are_listed() {
    check(
        "SHOW SOURCES",
        expect![[r#"
        +-----------+-----------+-------------+
        | name      | connector | boundedness |
        +-----------+-----------+-------------+
        | customers | memory    | bounded     |
        | orders    | memory    | bounded     |
        +-----------+-----------+-------------+"#]],
    );
    check(
        "SHOW TABLES",
        expect![[r#"
        +-----------+--------+
        | name      | kind   |
        +-----------+--------+
        | customers | source |
        | lake      | sink   |
        | orders    | source |
        +-----------+--------+"#]],
    );
    check(
        "CREATE VIEW v (a) AS SELECT id FROM orders; SHOW VIEWS",
        expect![[r#"
        +------+
        | name |
        +------+
        | v    |
        +------+"#]],
    );
    check(
        "SHOW CREATE customers",
        expect![[r#"
        +-----------+--------+------------------------------------------------------------------------+
        | name      | kind   | statement                                                              |
        +-----------+--------+------------------------------------------------------------------------+
        | customers | source | CREATE SOURCE customers (id BIGINT, name VARCHAR)                      |
        |           |        |         WITH (connector = 'memory', rows = '{"id": 1, "name": "ann"}') |
        +-----------+--------+------------------------------------------------------------------------+"#]],
    );
    check(
        "SET pipeline.mode = 'batch'; SHOW pipeline.mode",
        expect![[r#"
        +---------------+
        | pipeline.mode |
        +---------------+
        | batch         |
        +---------------+"#]],
    );
}

#[test]
fn settings_are_listed() {
    check(
        "SHOW SETTINGS",
        expect![[r#"
            +-------------------------------+-------------+---------------------+-------------------------------------------------------------------------------+
            | name                          | value       | default             | description                                                                   |
            +-------------------------------+-------------+---------------------+-------------------------------------------------------------------------------+
            | pipeline.batch_rows           | 8192        | 8192                | rows of a batch at most                                                       |
            | pipeline.checkpoint_interval  | 5 seconds   | 5 seconds           | time between two checkpoints of a streaming pipeline                          |
            | pipeline.checkpoints_retained | 3           | 3                   | checkpoints that are kept; savepoints stay until they are removed             |
            | pipeline.history              | 90 days     | 90 days             | how long what rules have found is kept                                        |
            | pipeline.idle_timeout         |             |                     | time without rows after which a source does not hold back the watermark       |
            | pipeline.max_drift            |             |                     | how far a partition may be ahead of the slowest in event time before it waits |
            | pipeline.memory               | 1GiB        | 1GiB                | memory of the job for state, sorts, joins and queues                          |
            | pipeline.mode                 |             |                     | batch or streaming; batch when every source is bounded                        |
            | pipeline.name                 | pipeline    | pipeline            | the name under which state is kept                                            |
            | pipeline.on_error             | dead_letter | dead_letter         | what happens to rows that cannot be decoded, where the source says nothing    |
            | pipeline.parallelism          | 2           | the number of cores | subtasks of each node                                                         |
            | pipeline.quarantine           |             |                     | how long rows are kept in quarantine                                          |
            | pipeline.state                |             |                     | folder or URL of the state and the dead letters                               |
            | pipeline.state_ttl            |             |                     | time after which the state of a key without rows is dropped                   |
            +-------------------------------+-------------+---------------------+-------------------------------------------------------------------------------+"#]],
    );
}

#[test]
fn things_are_described() {
    check(
        "CREATE SOURCE s (id BIGINT NOT NULL, at TIMESTAMP(3), day DATE AS (CAST(at AS DATE)),
           part BIGINT METADATA FROM 'offset', amount DECIMAL(12,2), WATERMARK FOR at AS at)
         WITH (connector = 'memory'); DESCRIBE s",
        expect![[r#"
            +--------+-------------------+----------+-------------------+
            | column | type              | nullable | note              |
            +--------+-------------------+----------+-------------------+
            | id     | Int64             | NO       |                   |
            | at     | Timestamp(ms)     | YES      | watermark at      |
            | day    | Date32            | YES      | computed          |
            | part   | Int64             | YES      | metadata 'offset' |
            | amount | Decimal128(12, 2) | YES      |                   |
            +--------+-------------------+----------+-------------------+"#]],
    );
    check(
        "CREATE SOURCE s WITH (connector = 'memory'); DESCRIBE s",
        expect![[r#"
        +--------+-------+----------+------+
        | column | type  | nullable | note |
        +--------+-------+----------+------+
        | found  | Int64 | YES      |      |
        +--------+-------+----------+------+"#]],
    );
    check(
        "CREATE VIEW v AS SELECT id, amount * 2 AS a FROM orders; DESCRIBE v",
        expect![[r#"
        +--------+---------+----------+------+
        | column | type    | nullable | note |
        +--------+---------+----------+------+
        | id     | Int64   | YES      |      |
        | a      | Float64 | YES      |      |
        +--------+---------+----------+------+"#]],
    );
}

#[test]
fn names_are_taken_once() {
    check(
        "CREATE SOURCE orders (a INT) WITH (connector = 'memory')",
        expect![[r#"
        error[E0107]: line 1, column 15: source "orders" exists already
          hint: write CREATE OR REPLACE, or IF NOT EXISTS to keep what is there"#]],
    );
    check(
        "CREATE SOURCE IF NOT EXISTS orders (a INT) WITH (connector = 'memory')",
        expect!["CREATE SOURCE"],
    );
    check(
        "CREATE VIEW orders AS SELECT 1 AS a",
        expect![[r#"
        error[E0107]: line 1, column 13: source "orders" exists already
          hint: sources, views and sinks share their names: choose another one"#]],
    );
    check(
        "CREATE VIEW v AS SELECT * FROM orders;
         CREATE OR REPLACE SOURCE orders (a INT) WITH (connector = 'memory')",
        expect![[r#"
            error[E0107]: line 2, column 35: "orders" cannot be replaced: "v" is made from it
              hint: DROP VIEW v first"#]],
    );
    check(
        "CREATE VIEW v AS SELECT * FROM orders; DROP SOURCE orders",
        expect![[r#"
        error[E0107]: line 1, column 52: source "orders" cannot be dropped: "v" is made from it
          hint: add CASCADE to drop all that is made from it"#]],
    );
    check(
        "CREATE VIEW v AS SELECT * FROM orders; DROP SOURCE orders CASCADE; SHOW TABLES",
        expect![[r#"
        +-----------+--------+
        | name      | kind   |
        +-----------+--------+
        | customers | source |
        | lake      | sink   |
        +-----------+--------+"#]],
    );
    check("DROP VIEW IF EXISTS nothing", expect!["DROP VIEW"]);
    check(
        "DROP VIEW orders",
        expect![[r#"error[E0103]: line 1, column 11: "orders" is a source, not a view"#]],
    );
}
