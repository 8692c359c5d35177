//! Errors: code, place, words, hint.

use super::check;
use expect_test::expect;

#[test]
fn unknown_names() {
    check(
        "SELECT * FROM order",
        expect![[r#"
        error[E0103]: line 1, column 15: unknown table "order"
          hint: did you mean "orders"?"#]],
    );
    check(
        "SELECT * FROM ordres",
        expect![[r#"
        error[E0103]: line 1, column 15: unknown table "ordres"
          hint: did you mean "orders"?"#]],
    );
    check(
        "SELECT amout FROM orders",
        expect![[r#"
        error[E0104]: line 1, column 8: unknown column "amout"
          hint: did you mean "amount"?"#]],
    );
    check(
        "SELECT o.amout FROM orders o",
        expect![[r#"
        error[E0104]: line 1, column 8: unknown column "o.amout"
          hint: did you mean "o.amount"?"#]],
    );
    check(
        "SELECT coutn(id) FROM orders",
        expect![[r#"
        error[E0105]: line 1, column 8: unknown function "coutn"
          hint: did you mean "count"?"#]],
    );
    check(
        "SELECT id FROM orders, customers",
        expect![[r#"
        error[E0104]: line 1, column 8: column "id" is ambiguous
          hint: write the table's name before it: table.column"#]],
    );
    check(
        "INSERT INTO lak SELECT 1",
        expect![[r#"
        error[E0103]: line 1, column 13: unknown sink "lak"
          hint: did you mean "lake"?"#]],
    );
    check(
        "INSERT INTO orders SELECT 1",
        expect![[r#"
        error[E0103]: line 1, column 13: "orders" is a source, not a sink
          hint: rows are inserted into what CREATE SINK declares"#]],
    );
    check(
        "SELECT * FROM lake",
        expect![[r#"
        error[E0109]: line 1, column 15: "lake" is a sink, which cannot be read yet
          hint: declare a source over what the sink writes"#]],
    );
    check(
        "SELECT * FROM generate_series(1, 5)",
        expect![[r#"
            error[E0105]: line 1, column 15: unknown table function "generate_series"
              hint: known: tumble, hop, cumulate, session, detect_anomalies"#]],
    );
}

#[test]
fn wrong_types() {
    check(
        "SELECT id + status FROM orders WHERE id = ts",
        expect![
            "error[E0106]: line 1, column 8: cannot coerce arithmetic expression Int64 + Utf8 to valid types"
        ],
    );
    check(
        "SELECT sum(status) FROM orders",
        expect![[r#"
            error[E0106]: line 1, column 8: no function matches sum(Utf8)
              hint: there are sum(Decimal), sum(UInt64), sum(Int64), sum(Float64), sum(Duration), sum(Interval)"#]],
    );
    check(
        "SELECT CAST('x' AS BIGINT) + id FROM orders",
        expect![[r#"
            error[E0106]: line 1, column 1: cannot cast string 'x' to value of Int64 type
              hint: use TRY_CAST where a value may not fit"#]],
    );
    check(
        "SELECT id FROM orders WHERE amount",
        expect![
            "error[E0106]: line 1, column 1: cannot create filter with non-boolean predicate 'orders.amount' returning Float64"
        ],
    );
    check(
        "INSERT INTO lake SELECT id, id FROM orders",
        expect![[r#"
            error[E0107]: line 1, column 1: two columns have the same name
              detail: "orders.id" stands twice in the list of columns
              hint: give one of them another name: expression AS name"#]],
    );
    check(
        "CREATE SINK s (a BIGINT, b VARCHAR) WITH (connector = 'memory');
         INSERT INTO s SELECT id FROM orders",
        expect!["error[E0106]: line 2, column 10: the query gives 1 column, but the sink has 2"],
    );
    check(
        "CREATE SINK s (a BIGINT NOT NULL) WITH (connector = 'memory'); INSERT INTO s SELECT id FROM orders",
        expect![[r#"
            error[E0106]: line 1, column 64: column "a" of the sink is NOT NULL, but the query may give null
              hint: use COALESCE(column, value) in the query"#]],
    );
    check(
        "CREATE SINK s (a BIGINT) WITH (connector = 'memory'); INSERT INTO s (b) SELECT id FROM orders",
        expect![[r#"
            error[E0104]: line 1, column 70: unknown column "b"
              hint: did you mean "a"?"#]],
    );
}

#[test]
fn wrong_declarations() {
    check(
        "CREATE SOURCE s (a INT) WITH (connector = 'memry')",
        expect![[r#"
        error[E0201]: line 1, column 43: unknown connector "memry"
          hint: did you mean "memory"?"#]],
    );
    check(
        "CREATE SOURCE s (a INT) WITH (conector = 'memory')",
        expect![[r#"
        error[E0203]: line 1, column 1: a source needs the option "connector"
          hint: WITH (connector = '...'), one of memory, fixed"#]],
    );
    check(
        "CREATE SOURCE s (a INT) WITH (connector = 'memory', rowz = '')",
        expect![[r#"
        error[E0202]: line 1, column 60: connector 'memory' has no option "rowz"
          hint: did you mean "rows"?"#]],
    );
    check(
        "CREATE SOURCE s (a INT) WITH (connector = 'memory', on_error = 'x')",
        expect![[
            r#"error[E0203]: line 1, column 64: option "on_error": 'x' is not 'fail' or 'dead_letter'"#
        ]],
    );
    check(
        "CREATE SINK s WITH (connector = 'memory', singel = 'true')",
        expect![[r#"
        error[E0202]: line 1, column 52: connector 'memory' has no option "singel"
          hint: did you mean "single"?"#]],
    );
    check(
        "CREATE SINK s WITH (connector = 'fixed')",
        expect![[r#"
        error[E0201]: line 1, column 1: connector 'fixed' has no sink, so "s" cannot use it
          hint: `weir connector list` shows what each connector offers"#]],
    );
    check(
        "CREATE SOURCE s (a INT, a INT) WITH (connector = 'memory')",
        expect![[r#"error[E0107]: line 1, column 25: the column "a" is declared twice"#]],
    );
}

#[test]
fn wrong_columns() {
    check(
        "CREATE SOURCE s (a JSONB) WITH (connector = 'memory')",
        expect![[r#"
        error[E0106]: line 1, column 18: type JSONB is not supported
          hint: see docs/sql.md for the types: BIGINT, DOUBLE, DECIMAL, VARCHAR, TIMESTAMP, ..."#]],
    );
    check(
        "CREATE SOURCE s (a INT, b INT AS (c + 1)) WITH (connector = 'memory')",
        expect![[r#"
        error[E0104]: line 1, column 35: unknown column "c"
          hint: did you mean "a"?"#]],
    );
    check(
        "CREATE SOURCE s (a INT, b INT METADATA FROM 'ofset') WITH (connector = 'memory')",
        expect![[r#"
        error[E0104]: line 1, column 25: unknown metadata of connector 'memory': "ofset"
          hint: did you mean "offset"?"#]],
    );
    check(
        "CREATE SOURCE s (a INT, PRIMARY KEY (b)) WITH (connector = 'memory')",
        expect![[r#"
        error[E0104]: line 1, column 38: unknown column "b"
          hint: did you mean "a"?"#]],
    );
    check(
        "CREATE SOURCE s (a INT, WATERMARK FOR b AS b) WITH (connector = 'memory')",
        expect![[r#"
        error[E0104]: line 1, column 39: unknown column "b"
          hint: did you mean "a"?"#]],
    );
    check(
        "CREATE SOURCE s (a INT, WATERMARK FOR a AS a) WITH (connector = 'memory')",
        expect![[r#"
        error[E0106]: line 1, column 39: the column of a watermark must be a timestamp, but "a" is Int32
          hint: declare a computed column: name TIMESTAMP AS (CAST(column AS TIMESTAMP))"#]],
    );
    check(
        "SET pipeline.paralelism = '2'",
        expect![[r#"
        error[E0112]: line 1, column 5: unknown setting "pipeline.paralelism"
          hint: did you mean "pipeline.parallelism"?"#]],
    );
    check(
        "CREATE SINK s WITH (connector = 'memory', partition_by = 'date(tz)') AS SELECT ts FROM orders",
        expect![[r#"
            error[E0104]: line 1, column 58: unknown column "tz"
              hint: did you mean "ts"?"#]],
    );
    check(
        "CREATE SINK s WITH (connector = 'memory', partition_by = 'id % 2') AS SELECT id FROM orders",
        expect![[r#"
            error[E0203]: line 1, column 58: option "partition_by": 'id % 2' needs a name
              hint: write id % 2 AS name"#]],
    );
}

#[test]
fn wrong_windows() {
    check(
        "SELECT * FROM TUMBLE(orders, ts)",
        expect![[r#"
        error[E0111]: line 1, column 15: TUMBLE takes 3 or 4 arguments, not 2
          hint: write TUMBLE(table, time_column, INTERVAL size [, INTERVAL offset])"#]],
    );
    check(
        "SELECT * FROM TUMBLE(orders, id, INTERVAL '1 minute')",
        expect![[r#"
        error[E0111]: line 1, column 30: the time of TUMBLE must be a timestamp, but "id" is Int64
          hint: add a computed column to the source: name TIMESTAMP AS (CAST(...))"#]],
    );
    check(
        "SELECT * FROM TUMBLE(orders, tz, INTERVAL '1 minute')",
        expect![[r#"
        error[E0104]: line 1, column 30: unknown column "tz"
          hint: did you mean "ts"?"#]],
    );
    check(
        "SELECT * FROM TUMBLE(oders, ts, INTERVAL '1 minute')",
        expect![[r#"
        error[E0103]: line 1, column 22: unknown table "oders"
          hint: did you mean "orders"?"#]],
    );
    check(
        "SELECT * FROM TUMBLE(orders, ts, INTERVAL '1 month')",
        expect![[r#"
        error[E0111]: line 1, column 43: the size of TUMBLE must not have months or years, whose length differs
          hint: write TUMBLE(table, time_column, INTERVAL size [, INTERVAL offset])"#]],
    );
}

#[test]
fn wrong_window_lengths() {
    check(
        "SELECT * FROM TUMBLE(orders, ts, INTERVAL '0 seconds')",
        expect![[r#"
        error[E0111]: line 1, column 43: the size of TUMBLE must be positive
          detail: it is 0s
          hint: write an interval such as INTERVAL '1 minute'"#]],
    );
    check(
        "SELECT * FROM TUMBLE(orders, ts, 5)",
        expect![[r#"
        error[E0111]: line 1, column 34: the size of TUMBLE must be an interval such as INTERVAL '1 minute'
          hint: write TUMBLE(table, time_column, INTERVAL size [, INTERVAL offset])"#]],
    );
    check(
        "SELECT * FROM HOP(orders, ts, INTERVAL '2 minutes', INTERVAL '1 minute')",
        expect![[r#"
        error[E0111]: line 1, column 40: the size of HOP must not be less than its slide
          detail: the slide is 2min, the size is 1min
          hint: HOP takes the slide first, then the size"#]],
    );
    check(
        "SELECT * FROM CUMULATE(orders, ts, INTERVAL '7 seconds', INTERVAL '1 minute')",
        expect![[r#"
        error[E0111]: line 1, column 45: the size of CUMULATE must be a multiple of its step
          detail: the step is 7s, the size is 1min
          hint: choose a step that divides the size"#]],
    );
    check(
        "SELECT * FROM HOP(orders, ts, INTERVAL '1 microsecond', INTERVAL '1 day')",
        expect![[r#"
        error[E0111]: line 1, column 40: HOP puts each row into 86400000000 windows
          detail: the slide is 1µs, the size is 1d; at most 100000 windows are allowed
          hint: choose a longer slide or a shorter size"#]],
    );
    check(
        "SELECT * FROM SESSION(orders, ts, INTERVAL '1 minute', 'id')",
        expect![[r#"
            error[E0111]: line 1, column 56: a key of SESSION must be a column
              hint: write SESSION(table, time_column, INTERVAL gap [, key_column, ...])"#]],
    );
    check(
        "SELECT * FROM TUMBLE((SELECT * FROM TUMBLE(orders, ts, INTERVAL '1 s')), ts, INTERVAL '1 minute')",
        expect![[r#"
            error[E0111]: line 1, column 15: the table in TUMBLE has a column "window_start" already
              hint: give it another name: SELECT window_start AS other, ..."#]],
    );
}
