//! Each statement.

use expect_test::expect;

use super::check;

#[test]
fn empty_scripts() {
    check("", expect![""]);
    check(
        "  -- nothing
 /* at /* all */ */ ;;
;",
        expect![""],
    );
    check(
        "﻿ SELECT 1",
        expect![[r#"
        1:2 query SELECT 1
    "#]],
    );
}

#[test]
fn create_source() {
    check(
        "CREATE SOURCE orders (
    order_id    BIGINT NOT NULL,
    customer_id BIGINT NULL,
    amount      DECIMAL(12,2),
    status      VARCHAR,
    ts          TIMESTAMP,
    amount_eur  DOUBLE AS (CAST(amount AS DOUBLE) * 0.92),          -- computed
    topic_part  INT METADATA FROM 'partition',                      -- connector metadata
    PRIMARY KEY (order_id),
    WATERMARK FOR ts AS ts - INTERVAL '5 seconds'
) WITH (connector = 'kafka', topic = 'orders', on_error = 'dead_letter');",
        expect![[r#"
            1:1 source orders@1:15
              column order_id BIGINT not null
              column customer_id BIGINT
              column amount DECIMAL(12,2)
              column status VARCHAR
              column ts TIMESTAMP
              column amount_eur DOUBLE = CAST(amount AS DOUBLE) * 0.92
              column topic_part INT from "partition"
              key order_id
              watermark ts@10:19 = ts - INTERVAL '5 seconds'
              connector = "kafka" @11:21
              on_error = "dead_letter" @11:59
              topic = "orders" @11:38
        "#]],
    );
    check(
        "CREATE SOURCE trips WITH (connector = 'file', path = 'data/*.parquet')",
        expect![[r#"
            1:1 source trips@1:15
              connector = "file" @1:39
              path = "data/*.parquet" @1:54
        "#]],
    );
    check(
        r#"create source if not exists T (Id int primary key, "Mixed Case" text, c bigint generated always as (id + 1) stored not null, offset_ BIGINT METADATA) with (connector = 'x')"#,
        expect![[r#"
            1:1 source t@1:29 if not exists
              column id INT not null
              column Mixed Case TEXT
              column c BIGINT not null = id + 1
              column offset_ BIGINT from "offset_"
              key id
              connector = "x" @1:169
        "#]],
    );
    check(
        "CREATE OR REPLACE SOURCE a (WATERMARK FOR ts, day DATE AS (date_trunc('day', ts)) NOT NULL) WITH (connector = 'x')",
        expect![[r#"
            1:1 source a@1:26 or replace
              column day DATE not null = date_trunc('day', ts)
              watermark ts@1:43 = "ts"
              connector = "x" @1:111
        "#]],
    );
    check(
        "CREATE SOURCE a (a STRING, b TEXT, c TIMESTAMP(3), d TIMESTAMP WITH TIME ZONE, e INT[], f ARRAY<DOUBLE>, g STRUCT<x INT, y VARCHAR>, h BYTEA, i DOUBLE PRECISION, j TINYINT, k INT UNSIGNED, l DATE, m TIME, n INTERVAL, o NUMERIC(10), p BOOLEAN, q CHAR(3), r REAL) WITH (connector = 'x')",
        expect![[r#"
            1:1 source a@1:15
              column a STRING
              column b TEXT
              column c TIMESTAMP(3)
              column d TIMESTAMP WITH TIME ZONE
              column e INT[]
              column f ARRAY<DOUBLE>
              column g STRUCT<x INT, y VARCHAR>
              column h BYTEA
              column i DOUBLE PRECISION
              column j TINYINT
              column k INT UNSIGNED
              column l DATE
              column m TIME
              column n INTERVAL
              column o NUMERIC(10)
              column p BOOLEAN
              column q CHAR(3)
              column r REAL
              connector = "x" @1:281
        "#]],
    );
    check(
        r#"CREATE SOURCE a (watermark INT, primary_ INT, check VARCHAR, PRIMARY KEY (watermark, "check")) WITH (connector = 'x')"#,
        expect![[r#"
            1:1 source a@1:15
              column watermark INT not null
              column primary_ INT
              column check VARCHAR not null
              key watermark, check
              connector = "x" @1:114
        "#]],
    );
}

#[test]
fn options() {
    check(
        r#"CREATE SOURCE a WITH (connector = 'x', 'format' = 'json', scan.rows = 10, "Header" = true, seed = -1.5, Watch = FALSE, size = 128MB, wait = 5 seconds, format.json.x = E'\t', every = INTERVAL '5' MINUTE)"#,
        expect![[r#"
            1:1 source a@1:15
              Header = "true" @1:86
              connector = "x" @1:35
              every = "5 minute" @1:183
              format = "json" @1:51
              format.json.x = "\t" @1:168
              scan.rows = "10" @1:71
              seed = "-1.5" @1:99
              size = "128MB" @1:127
              wait = "5 seconds" @1:141
              watch = "false" @1:113
        "#]],
    );
    check(
        "CREATE SOURCE a WITH ()",
        expect![[r#"
        1:1 source a@1:15
    "#]],
    );
    check(
        "CREATE SOURCE a WITH (path = 's3://${BUCKET}/${DIR:-in}/$${x}', connector = $$it's$$)",
        expect![[r#"
            1:1 source a@1:15
              connector = "it's" @1:77
              path = "s3://lake/in/${x}" @1:30
        "#]],
    );
}

#[test]
fn create_view() {
    check(
        "CREATE VIEW Big AS SELECT * FROM orders WHERE amount > 100",
        expect![[r#"
            1:1 view big@1:13 ()
              SELECT * FROM orders WHERE amount > 100
        "#]],
    );
    check(
        r#"CREATE OR REPLACE VIEW v (a, B, "C") AS WITH x AS (SELECT 1) SELECT * FROM x;"#,
        expect![[r#"
            1:1 view v@1:24 or replace (a, b, C)
              WITH x AS (SELECT 1) SELECT * FROM x
        "#]],
    );
    check(
        "CREATE VIEW IF NOT EXISTS v AS VALUES (1, 'a'), (2, 'b')",
        expect![[r#"
            1:1 view v@1:27 if not exists ()
              VALUES (1, 'a'), (2, 'b')
        "#]],
    );
}

#[test]
fn create_sink() {
    check("CREATE SINK lake WITH (connector = 's3', path = 's3://lake/orders/', partition_by = 'date(ts), status')
 AS SELECT * FROM orders", expect![[r#"
     1:1 sink lake@1:13
       connector = "s3" @1:36
       partition_by = "date(ts), status" @1:85
       path = "s3://lake/orders/" @1:49
       SELECT * FROM orders
 "#]]);
    check(
        "CREATE SINK lake (a INT NOT NULL, b VARCHAR) WITH (connector = 'print');",
        expect![[r#"
            1:1 sink lake@1:13
              column a INT not null
              column b VARCHAR
              connector = "print" @1:64
        "#]],
    );
    check(
        "CREATE SINK IF NOT EXISTS s AS SELECT 1",
        expect![[r#"
        1:1 sink s@1:27 if not exists
          SELECT 1
    "#]],
    );
}

#[test]
fn insert() {
    check(
        "INSERT INTO lake SELECT * FROM orders",
        expect![[r#"
        1:1 insert lake@1:13 ()
          SELECT * FROM orders
    "#]],
    );
    check(
        "INSERT INTO lake (a, B) VALUES (1, 2)",
        expect![[r#"
        1:1 insert lake@1:13 (a, b)
          VALUES (1, 2)
    "#]],
    );
    check(
        "INSERT INTO lake (SELECT 1 UNION ALL SELECT 2)",
        expect![[r#"
            1:1 insert lake@1:13 ()
              (SELECT 1 UNION ALL SELECT 2)
        "#]],
    );
    check(
        "INSERT INTO lake WITH x AS (SELECT 1) SELECT * FROM x",
        expect![[r#"
            1:1 insert lake@1:13 ()
              WITH x AS (SELECT 1) SELECT * FROM x
        "#]],
    );
}

#[test]
fn drop_statements() {
    check(
        r#"DROP SOURCE a; DROP VIEW IF EXISTS a, "B" CASCADE; DROP SINK s RESTRICT"#,
        expect![[r#"
            1:1 drop Source a if_exists=false cascade=false
            1:16 drop View a, B if_exists=true cascade=true
            1:52 drop Sink s if_exists=false cascade=false
        "#]],
    );
}

#[test]
fn set() {
    check(
        "SET pipeline.mode = 'streaming'; SET pipeline.parallelism TO 4; SET pipeline.mode = Streaming;",
        expect![[r#"
            1:1 set pipeline.mode@1:5 = "streaming"
            1:34 set pipeline.parallelism@1:38 = "4"
            1:65 set pipeline.mode@1:69 = "streaming"
        "#]],
    );
    check(
        "SET pipeline.memory = 512MB; SET a.b = 5 seconds; SET a = INTERVAL '1 minute'; SET a = INTERVAL '5' SECOND; SET a = true; SET a = -3; SET a = '${N}'",
        expect![[r#"
            1:1 set pipeline.memory@1:5 = "512MB"
            1:30 set a.b@1:34 = "5 seconds"
            1:51 set a@1:55 = "1 minute"
            1:80 set a@1:84 = "5 second"
            1:109 set a@1:113 = "true"
            1:123 set a@1:127 = "-3"
            1:135 set a@1:139 = "7"
        "#]],
    );
}

#[test]
fn show() {
    check(
        "SHOW SOURCES; SHOW sinks; SHOW VIEWS; SHOW TABLES; SHOW SETTINGS; SHOW ALL; SHOW pipeline.mode",
        expect![[r#"
            1:1 show Objects(Source)
            1:15 show Objects(Sink)
            1:27 show Objects(View)
            1:39 show Tables
            1:52 show Settings
            1:67 show Settings
            1:77 show setting pipeline.mode@1:82
        "#]],
    );
    check(
        "SHOW CREATE orders; SHOW CREATE SINK lake; SHOW CREATE view",
        expect![[r#"
            1:1 show create orders@1:13
            1:21 show create lake@1:38
            1:44 show create view@1:56
        "#]],
    );
}

#[test]
fn describe() {
    check(
        r#"DESCRIBE orders; DESC "Orders"; DESCRIBE SOURCE orders; DESCRIBE dead_letters.orders"#,
        expect![[r#"
            1:1 describe orders@1:10
            1:18 describe Orders@1:23
            1:33 describe orders@1:49
            1:57 describe dead_letters.orders@1:66
        "#]],
    );
}

#[test]
fn explain() {
    check(
        "EXPLAIN SELECT 1;
  EXPLAIN ANALYZE
  INSERT INTO lake SELECT 'é', 2 -- more
;
EXPLAIN CREATE SINK a WITH (connector = 'print') AS SELECT 1",
        expect![[r#"
            1:1 explain analyze=false "SELECT 1"
              1:9 query SELECT 1
            2:3 explain analyze=true "INSERT INTO lake SELECT 'é', 2"
              3:3 insert lake@3:15 ()
              SELECT 'é', 2
            5:1 explain analyze=false "CREATE SINK a WITH (connector = 'print') AS SELECT 1"
              5:9 sink a@5:21
              connector = "print" @5:41
              SELECT 1
        "#]],
    );
}

#[test]
fn text_is_the_slice_of_the_script() {
    let script = "-- first\n SELECT 'é${N}' ;\n\n/* x */ SELECT\n  2 -- two\n; SELECT 3";
    let statements = super::parse(script, &super::variables()).unwrap();
    let texts: Vec<_> = statements
        .iter()
        .map(|s| (s.place.line, s.text.as_str()))
        .collect();
    assert_eq!(
        texts,
        [(2, "SELECT 'é${N}'"), (4, "SELECT\n  2"), (6, "SELECT 3")]
    );
}

#[test]
fn completeness() {
    use super::super::is_complete;
    for text in [
        "SELECT 1;",
        "SELECT ';';  -- done",
        "a; /* b; */",
        "",
        "-- x",
        "E'\\';';",
        "$a$;$a$;",
    ] {
        assert!(is_complete(text), "{text}");
    }
    for text in [
        "SELECT 1",
        "SELECT ';",
        "SELECT 1 -- ;",
        "SELECT 1; SELECT",
        "/* ;",
        "\"a;",
        "$$;",
        "/* /* */ ;",
    ] {
        assert!(!is_complete(text), "{text}");
    }
}

#[test]
fn keywords_are_sorted() {
    assert!(super::super::KEYWORDS.is_sorted());
}
