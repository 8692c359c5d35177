//! JSON: what is an object, and what a message may do to its neighbours.

use expect_test::expect;

use super::*;

#[tokio::test]
async fn bad_messages_leave_their_neighbours_alone() {
    let mut decoder = decoder(&[], &[("id", DataType::Int64), ("s", DataType::Utf8)]).await;
    let messages: &[Option<&[u8]>] = &[
        Some(b"{\"id\":1,\"s\":\"a\"}"),
        Some(b"{\"id\":2"),
        Some(b",\"s\":\"b\"}"),
        Some(b"{\"id\":4}{\"id\":5}"),
        Some(b""),
        Some(b"  "),
        None,
        Some(b"[7]"),
        Some(b"8"),
        Some(b"null"),
        Some(b"{\"id\":\"x\"}"),
        Some(b"{\"s\":\"\xff\"}"),
        Some(b"{\"s\":\"\xc3"),
        Some(b"\xa4\"}"),
        Some("{\"s\":\"\u{e4}\u{1F600}\\ud83d\\ude00\"}\n".as_bytes()),
        Some(b"{}"),
        Some(b"{\"id\":16,\"id\":17}"),
        Some(b"{\"id\":\"18\",\"s\":19,\"other\":{\"deep\":[1,{}]}}"),
        Some(b"{\"id\":19} x"),
        Some(b"\xef\xbb\xbf{\"id\":20}"),
    ];
    let decoded = decode(&mut *decoder, messages).await;
    expect![[r#"
        +----+-------+
        | id | s     |
        +----+-------+
        | 1  | a     |
        |    | ä😀😀 |
        |    |       |
        | 17 |       |
        | 18 | 19    |
        +----+-------+
        1: decode: invalid JSON: EOF while parsing an object at line 1 column 7 | {"id":2
        2: decode: invalid JSON: expected value at line 1 column 1 | ,"s":"b"}
        3: decode: invalid JSON: trailing characters at line 1 column 9 | {"id":4}{"id":5}
        4: decode: invalid JSON: EOF while parsing a value at line 1 column 0 | 
        5: decode: invalid JSON: EOF while parsing a value at line 1 column 2 |   
        7: decode: the message is JSON but not an object | [7]
        8: decode: the message is JSON but not an object | 8
        9: decode: the message is JSON but not an object | null
        10: value: a value does not fit its column: whilst decoding field 'id': failed to parse "x" as Int64 | {"id":"x"}
        11: decode: invalid UTF-8 at byte 6 | {"s":"�"}
        12: decode: invalid UTF-8 at byte 6 | {"s":"�
        13: decode: invalid UTF-8 at byte 0 | �"}
        18: decode: invalid JSON: trailing characters at line 1 column 11 | {"id":19} x
        19: decode: invalid JSON: expected value at line 1 column 1 | ﻿{"id":20}
        skipped: 1"#]].assert_eq(&show(&decoded));
    let good = decode(&mut *decoder, &texts(&["{\"id\":1}"])).await;
    assert_eq!(good.batch.num_rows(), 1, "the decoder is as new");
}

#[tokio::test]
async fn declared_types_are_given() {
    let item = Field::new("item", DataType::Int32, true);
    let inner = Field::new("x", DataType::Utf8, true);
    let columns = [
        ("t", MICROS),
        ("d", DataType::Decimal128(10, 2)),
        ("b", DataType::Boolean),
        ("day", DataType::Date32),
        ("l", DataType::List(item.into())),
        ("o", DataType::Struct(vec![inner].into())),
        ("f", DataType::Float64),
    ];
    let mut decoder = decoder(&[], &columns).await;
    let decoded = decode(
        &mut *decoder,
        &texts(&[
            r#"{"t":"2024-01-02T03:04:05.678901Z","d":"12.34","b":true,"day":"2024-02-29","l":[1,null,3],"o":{"x":"y","z":1},"f":1e3}"#,
            r#"{"t":"2024-01-02 03:04:05+02:00","d":1.5,"b":false,"l":[],"o":null,"f":"NaN"}"#,
            r#"{"t":null,"d":123456789.01}"#,
            r#"{"day":"2024-02-30"}"#,
            r#"{"b":"maybe"}"#,
        ]),
    )
    .await;
    expect![[r#"
        +----------------------------+-------+-------+------------+----------+--------+--------+
        | t                          | d     | b     | day        | l        | o      | f      |
        +----------------------------+-------+-------+------------+----------+--------+--------+
        | 2024-01-02T03:04:05.678901 | 12.34 | true  | 2024-02-29 | [1, , 3] | {x: y} | 1000.0 |
        | 2024-01-02T01:04:05        | 1.50  | false |            | []       |        | NaN    |
        +----------------------------+-------+-------+------------+----------+--------+--------+
        2: value: a value does not fit its column: parse decimal overflow (123456789.01) | {"t":null,"d":123456789.01}
        3: value: a value does not fit its column: whilst decoding field 'day': failed to parse "2024-02-30" as Date32 | {"day":"2024-02-30"}
        4: value: a value does not fit its column: whilst decoding field 'b': expected boolean got "maybe" | {"b":"maybe"}"#]].assert_eq(&show(&decoded));
}

#[tokio::test]
async fn timestamps_in_a_form_of_their_own() {
    let columns = [("t", MICROS), ("n", DataType::Int64)];
    let mut decoder = decoder(&[("timestamp_format", "epoch_millis")], &columns).await;
    let decoded = decode(
        &mut *decoder,
        &texts(&[
            r#"{"t":1704164645678,"n":1}"#,
            r#"{"t":"soon","n":2}"#,
            r#"{"n":3}"#,
        ]),
    )
    .await;
    expect![[r#"
        +-------------------------+---+
        | t                       | n |
        +-------------------------+---+
        | 2024-01-02T03:04:05.678 | 1 |
        |                         | 3 |
        +-------------------------+---+
        1: value: column "t": the value does not fit Timestamp(µs) | {"t":"soon","n":2}"#]]
    .assert_eq(&show(&decoded));
}

#[tokio::test]
async fn projections_and_counts() {
    let factory = factory(&[], &[("a", DataType::Int64), ("b", DataType::Utf8)])
        .await
        .unwrap();
    let messages = texts(&[r#"{"a":1,"b":"x"}"#, "nonsense", r#"{"a":2,"b":"y"}"#]);
    let mut second = factory.create(&[1]).unwrap();
    assert_eq!(
        table(&decode(&mut *second, &messages).await.batch),
        table(
            &decode(&mut *factory.create(&[1]).unwrap(), &messages)
                .await
                .batch
        )
    );
    let mut none = factory.create(&[]).unwrap();
    let decoded = decode(&mut *none, &messages).await;
    assert_eq!(
        (decoded.batch.num_columns(), decoded.batch.num_rows()),
        (0, 2)
    );
    assert_eq!(decoded.origin, [0, 2]);
    let mut empty = factory.create(&[0, 1]).unwrap();
    assert_eq!(empty.flush().unwrap().batch.num_columns(), 2);
}

#[tokio::test]
async fn a_message_that_is_too_long_is_rejected_and_cut() {
    let mut decoder = decoder(&[], &[("s", DataType::Utf8)]).await;
    let long = format!(
        "{{\"s\":\"{}\"}}",
        "x".repeat(weir_engine::limits::RECORD_BYTES_MAX)
    );
    let decoded = decode(&mut *decoder, &texts(&[&long, "{\"s\":\"y\"}"])).await;
    assert_eq!(decoded.origin, [1]);
    assert_eq!(
        decoded.rejected[0].raw.len(),
        weir_engine::limits::DEAD_LETTER_RAW_BYTES_MAX
    );
    assert_eq!(
        decoded.rejected[0].detail,
        "the message is longer than 16777216 bytes"
    );
}

#[tokio::test]
async fn many_messages_grow_the_decoder() {
    let mut decoder = decoder(&[], &[("n", DataType::Int64)]).await;
    for count in [1, 63, 64, 65, 5_000, 10, 20_000] {
        let messages: Vec<String> = (0..count).map(|n| format!("{{\"n\":{n}}}")).collect();
        let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
        assert_eq!(
            decode(&mut *decoder, &texts(&messages))
                .await
                .batch
                .num_rows(),
            count
        );
    }
}

#[tokio::test]
async fn what_json_cannot_give_is_refused() {
    let error = factory(&[], &[]).await.unwrap_err();
    expect![[r#"
        error[E0207]: format 'json' has no schema of its own
          hint: declare the columns: CREATE SOURCE name (column type, ...) WITH (...)"#]]
    .assert_eq(&report(&error));
    let interval = DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano);
    let error = factory(&[], &[("i", interval)]).await.unwrap_err();
    expect!["error[E0106]: JSON cannot give the declared columns: Not yet implemented: Support for Interval(MonthDayNano) in JSON reader"].assert_eq(&report(&error));
}
