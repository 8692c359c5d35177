//! Debezium's events, with and without their schema part.

use expect_test::expect;

use super::*;

const GIVEN: &[(&str, &str)] = &[("format", "debezium-json")];

#[tokio::test]
async fn events_become_a_changelog() {
    let mut decoder = decoder(GIVEN, &[("id", DataType::Int64), ("s", DataType::Utf8)]).await;
    let decoded = decode(
        &mut *decoder,
        &[
            Some(br#"{"before":null,"after":{"id":1,"s":"a"},"op":"c","ts_ms":5,"source":{"db":"x"}}"#),
            Some(br#"{"op":"r","after":{"id":2,"s":"b"}}"#),
            Some(br#"{"op":"u","before":{"id":1,"s":"a"},"after":{"id":1,"s":"aa"}}"#),
            Some(br#"{"op":"u","before":null,"after":{"id":2,"s":"bb"}}"#),
            Some(br#"{"op":"d","before":{"id":1,"s":"aa"},"after":null}"#),
            None,
            Some(br#"{"op":"d","before":null}"#),
            Some(br#"{"op":"c"}"#),
            Some(br#"{"op":"t"}"#),
            Some(br#"{"op":"m","message":{"prefix":"x"}}"#),
            Some(br#"{"op":"z"}"#),
            Some(br#"{"id":1}"#),
            Some(br#"{"payload":{"op":"c","after":{"id":3,"s":null}},"schema":null}"#),
            Some(br#"{"schema":{"type":"struct"},"payload":null}"#),
            Some(br#"{"op":"u","before":{"id":1},"after":{"id":"x"}}"#),
            Some(br#"{"op":"c","after":{"id":4},"op":"d"}"#),
            Some(br#"{"op":"c","after":{"id":5}}}"#),
            Some(br#"{"op":"c","after":"#),
            Some(br#"[]"#),
            Some(b"{\"op\":\"c\",\"after\":{\"s\":\"\xff\"}}"),
        ],
    )
    .await;
    expect![[r#"
        +----+----+-----+
        | id | s  | _op |
        +----+----+-----+
        | 1  | a  | 0   |
        | 2  | b  | 0   |
        | 1  | a  | 1   |
        | 1  | aa | 2   |
        | 2  | bb | 2   |
        | 1  | aa | 3   |
        | 3  |    | 0   |
        +----+----+-----+
        6: decode: the deletion has no "before": the database must log whole rows (REPLICA IDENTITY FULL) | {"op":"d","before":null}
        7: decode: the event "c" has no "after" | {"op":"c"}
        8: decode: the table is truncated, which no row can say | {"op":"t"}
        10: decode: unknown event "z" | {"op":"z"}
        11: decode: the message has no "op": it is no event of Debezium | {"id":1}
        14: value: a value does not fit its column: whilst decoding field 'after': whilst decoding field 'id': failed to parse "x" as Int64 | {"op":"u","before":{"id":1},"after":{"id":"x"}}
        15: decode: the deletion has no "before": the database must log whole rows (REPLICA IDENTITY FULL) | {"op":"c","after":{"id":4},"op":"d"}
        16: decode: invalid JSON: trailing characters at line 1 column 28 | {"op":"c","after":{"id":5}}}
        17: decode: invalid JSON: EOF while parsing a value at line 1 column 18 | {"op":"c","after":
        18: decode: the message is JSON but not an object | []
        19: decode: invalid UTF-8 at byte 24 | {"op":"c","after":{"s":"�"}}
        skipped: 3"#]].assert_eq(&show(&decoded));
    assert_eq!(decoded.origin, [0, 1, 2, 2, 3, 4, 12]);
}

fn with_schema(columns: &str, after: &str) -> String {
    format!(
        r#"{{"schema":{{"type":"struct","fields":[{{"type":"struct","field":"before","fields":[{columns}]}},{{"type":"struct","field":"after","fields":[{columns}]}},{{"type":"string","field":"op"}}]}},"payload":{{"before":null,"after":{after},"op":"c"}}}}"#
    )
}

#[tokio::test]
async fn the_schema_part_says_what_numbers_mean() {
    let columns = [
        ("t", MICROS),
        ("day", DataType::Date32),
        ("at", DataType::Time64(TimeUnit::Microsecond)),
        ("d", DataType::Decimal128(12, 3)),
        ("b", DataType::Binary),
        ("ok", DataType::Boolean),
    ];
    let mut decoder = decoder(GIVEN, &columns).await;
    let field = |name: &str, semantic: &str| {
        format!(r#"{{"field":"{name}","type":"int64","name":"{semantic}"}}"#)
    };
    let decimal = r#"{"field":"d","type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}}"#;
    let date = field("day", "io.debezium.time.Date");
    let messages = [
        with_schema(
            &[
                field("t", "io.debezium.time.MicroTimestamp"),
                date.clone(),
                field("at", "io.debezium.time.MicroTime"),
                decimal.to_owned(),
            ]
            .join(","),
            r#"{"t":1704164645678901,"day":19724,"at":3723000001,"d":"BNI=","b":"3q2+7w==","ok":1}"#,
        ),
        with_schema(
            &[
                field("t", "io.debezium.time.Timestamp"),
                date.clone(),
                field("at", "io.debezium.time.Time"),
                decimal.to_owned(),
            ]
            .join(","),
            r#"{"t":1704164645678,"day":-1,"at":3723000,"d":"/w==","b":"","ok":true}"#,
        ),
        with_schema(
            &[
                field("t", "io.debezium.time.NanoTimestamp"),
                field("at", "io.debezium.time.NanoTime"),
            ]
            .join(","),
            r#"{"t":1704164645678901999,"day":"2024-01-02","at":3723000000999,"d":"1.25","b":null,"ok":"false"}"#,
        ),
        with_schema(
            &field("t", "io.debezium.time.ZonedTimestamp"),
            r#"{"t":"2024-01-02T03:04:05.678+01:00","d":-7}"#,
        ),
        with_schema(
            &field("t", "io.debezium.time.Timestamp"),
            r#"{"t":9223372036854775807}"#,
        ),
        with_schema(decimal, r#"{"d":"%%%"}"#),
        with_schema("", r#"{"b":"A"}"#),
    ];
    let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
    let decoded = decode(&mut *decoder, &texts(&messages)).await;
    expect![[r#"
        +----------------------------+------------+-----------------+--------+----------+-------+-----+
        | t                          | day        | at              | d      | b        | ok    | _op |
        +----------------------------+------------+-----------------+--------+----------+-------+-----+
        | 2024-01-02T03:04:05.678901 | 2024-01-02 | 01:02:03.000001 | 12.340 | deadbeef | true  | 0   |
        | 2024-01-02T03:04:05.678    | 1969-12-31 | 01:02:03        | -0.010 |          | true  | 0   |
        | 2024-01-02T03:04:05.678901 | 2024-01-02 | 01:02:03        | 1.250  |          | false | 0   |
        | 2024-01-02T02:04:05.678    |            |                 | -7.000 |          |       | 0   |
        +----------------------------+------------+-----------------+--------+----------+-------+-----+
        4: value: column "t": the value does not fit Timestamp(µs) | 
        5: value: column "d": the value does not fit Decimal128(12, 3) | 
        6: value: column "b": the value does not fit Binary | "#]]
    .assert_eq(&show_without_raw(decoded));
}

#[tokio::test]
async fn without_a_schema_part_the_declared_unit_holds() {
    let columns = [
        ("ms", DataType::Timestamp(TimeUnit::Millisecond, None)),
        ("us", MICROS),
        (
            "zoned",
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ),
        ("day", DataType::Date32),
        ("at", DataType::Time64(TimeUnit::Nanosecond)),
        ("d", DataType::Decimal128(10, 2)),
    ];
    let mut decoder = decoder(GIVEN, &columns).await;
    let decoded = decode(
        &mut *decoder,
        &texts(&[
            r#"{"op":"c","after":{"ms":1704164645678,"us":1704164645678901,"zoned":"2024-01-02T03:04:05Z","day":19724,"at":3723000000999,"d":"12.5"}}"#,
            r#"{"op":"c","after":{"ms":"2024-01-02T03:04:05.678","us":null,"zoned":1,"day":"2024-01-02","at":"01:02:03","d":3}}"#,
            r#"{"op":"c","after":{"d":"BNI="}}"#,
        ]),
    )
    .await;
    expect![[r#"
        +-------------------------+----------------------------+-----------------------------+------------+--------------------+-------+-----+
        | ms                      | us                         | zoned                       | day        | at                 | d     | _op |
        +-------------------------+----------------------------+-----------------------------+------------+--------------------+-------+-----+
        | 2024-01-02T03:04:05.678 | 2024-01-02T03:04:05.678901 | 2024-01-02T03:04:05Z        | 2024-01-02 | 01:02:03.000000999 | 12.50 | 0   |
        | 2024-01-02T03:04:05.678 |                            | 1970-01-01T00:00:00.000001Z | 2024-01-02 | 01:02:03           | 3.00  | 0   |
        +-------------------------+----------------------------+-----------------------------+------------+--------------------+-------+-----+
        2: value: column "d": the value does not fit Decimal128(10, 2) | {"op":"c","after":{"d":"BNI="}}"#]].assert_eq(&show(&decoded));
}

#[tokio::test]
async fn no_columns_still_count() {
    let factory = factory(GIVEN, &[("id", DataType::Int64)]).await.unwrap();
    assert!(factory.is_changelog());
    let mut decoder = factory.create(&[]).unwrap();
    let decoded = decode(
        &mut *decoder,
        &texts(&[
            r#"{"op":"u","before":{"id":1},"after":{"id":2}}"#,
            r#"{"op":"d","before":{"id":1}}"#,
        ]),
    )
    .await;
    expect![[r#"
        +-----+
        | _op |
        +-----+
        | 1   |
        | 2   |
        | 3   |
        +-----+"#]]
    .assert_eq(&show(&decoded));
}
