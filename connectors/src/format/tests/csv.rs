//! CSV: one record per message.

use expect_test::expect;

use super::*;

#[tokio::test]
async fn records_and_what_is_none() {
    let columns = [
        ("id", DataType::Int64),
        ("s", DataType::Utf8),
        ("t", MICROS),
    ];
    let mut decoder = decoder(&[("format", "csv"), ("null_value", "NA")], &columns).await;
    let decoded = decode(
        &mut *decoder,
        &[
            Some(b"1,a,2024-01-02T03:04:05"),
            Some(b"2,\"b, \"\"c\"\"\nd\",\r\n"),
            Some(b"3,\"open,"),
            Some(b"4,x,\n5,y,"),
            Some(b"6"),
            Some(b"7,a,b,c"),
            Some(b""),
            None,
            Some(b"NA,NA,NA"),
            Some(b"x,y,"),
            Some(b"9,\xff,"),
            Some(b"10,z\r11,z,"),
            Some("12,\u{e4},2024-02-30".as_bytes()),
            Some(b"13,,"),
        ],
    )
    .await;
    expect![[r#"
        +----+--------+---------------------+
        | id | s      | t                   |
        +----+--------+---------------------+
        | 1  | a      | 2024-01-02T03:04:05 |
        | 2  | b, "c" |                     |
        |    | d      |                     |
        |    |        |                     |
        | 13 |        |                     |
        +----+--------+---------------------+
        2: decode: the message is not one record: a quote is not closed, or there is more than one line | 3,"open,
        3: decode: the message is not one record: a quote is not closed, or there is more than one line | 4,x,
        5,y,
        4: decode: wrong number of fields: expected 3 got 1 | 6
        5: decode: wrong number of fields: expected 3 got more than 3 | 7,a,b,c
        6: decode: the message is empty | 
        9: value: column "id": value 'x' as type 'Int64' does not fit | x,y,
        10: decode: invalid UTF-8 at byte 2 | 9,�,
        11: decode: wrong number of fields: expected 3 got 2 | 10,z\r11,z,
        12: value: column "t": Parser error: Error parsing timestamp from '2024-02-30': error parsing date | 12,ä,2024-02-30
        skipped: 1"#]].assert_eq(&show(&decoded));
}

#[tokio::test]
async fn dialects_and_projections() {
    let columns = [("a", DataType::Int64), ("b", DataType::Utf8), ("c", MICROS)];
    let given = [
        ("format", "csv"),
        ("delimiter", "\\t"),
        ("quote", "'"),
        ("escape", "\\"),
        ("timestamp_format", "%d.%m.%Y %H:%M"),
    ];
    let factory = factory(&given, &columns).await.unwrap();
    let messages = texts(&["1\t'it\\'s\t'\t02.01.2024 03:04", "2\tb\tnever"]);
    for projection in [&[0, 1, 2][..], &[2, 0], &[1], &[]] {
        let mut decoder = factory.create(projection).unwrap();
        let decoded = decode(&mut *decoder, &messages).await;
        assert_eq!(decoded.batch.num_columns(), projection.len());
        let rows = if projection.contains(&2) { 1 } else { 2 };
        assert_eq!(decoded.batch.num_rows(), rows, "{projection:?}");
    }
    let mut decoder = factory.create(&[2, 0, 1]).unwrap();
    expect![[r#"
        +---------------------+---+-------+
        | c                   | a | b     |
        +---------------------+---+-------+
        | 2024-01-02T03:04:00 | 1 | it's	 |
        +---------------------+---+-------+
        1: value: column "c": the value does not fit Timestamp(µs) | 2	b	never"#]]
    .assert_eq(&show(&decode(&mut *decoder, &messages).await));
}
