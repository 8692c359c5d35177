//! JSON lines: discovery and bad lines.

use expect_test::expect;

use super::*;

#[tokio::test]
async fn discovers_columns_in_their_order() {
    let case = Case::new("a.jsonl").file(
        "a.jsonl",
        "{\"z\":1,\"a\":\"x\",\"ts\":\"2024-01-02T03:04:05Z\",\"o\":{\"k\":[1,2]}}\n\n{\"z\":2.5,\"new\":true}",
    );
    expect![[r#"
        +-----+---+---------------------+-------------+------+
        | z   | a | ts                  | o           | new  |
        +-----+---+---------------------+-------------+------+
        | 1.0 | x | 2024-01-02T03:04:05 | {k: [1, 2]} |      |
        | 2.5 |   |                     |             | true |
        +-----+---+---------------------+-------------+------+"#]]
    .assert_eq(&case.read().await.unwrap().show());
}

#[tokio::test]
async fn bad_lines_become_dead_letters() {
    let text = b"{\"id\":1}\n{\"id\":2\n\"b\":3}\n[4]\n{\"id\":\"x\"}\n{\"id\":6}{\"id\":7}\n{\"id\":\"\xff\"}\n{\"id\":8}\n";
    let case = Case::new("a.json")
        .file("a.json", text)
        .columns(&[("id", DataType::Int64)]);
    for rows in [1, 2, 8192] {
        let case = Case::new("a.json")
            .file("a.json", text)
            .columns(&[("id", DataType::Int64)]);
        let outcome = case.rows(rows).read().await.unwrap();
        assert_eq!(outcome.ints(0), [1, 8], "{rows}");
    }
    expect![[r#"
        +----+
        | id |
        +----+
        | 1  |
        | 8  |
        +----+
        decode at Some(9): invalid JSON: EOF while parsing an object at line 1 column 7 | {"id":2
        decode at Some(17): invalid JSON: trailing characters at line 1 column 4 | "b":3}
        decode at Some(24): the line is JSON but not an object | [4]
        value at Some(28): a value does not fit its column: whilst decoding field 'id': failed to parse "x" as Int64 | {"id":"x"}
        decode at Some(39): invalid JSON: trailing characters at line 1 column 9 | {"id":6}{"id":7}
        decode at Some(56): invalid UTF-8 at byte 7 | {"id":"�"}"#]]
    .assert_eq(&case.read().await.unwrap().show());
}

#[tokio::test]
async fn a_type_that_json_cannot_give_is_refused() {
    let interval = DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano);
    let case = Case::new("a.json")
        .file("a.json", "{}\n")
        .columns(&[("i", interval)]);
    assert_eq!(case.error().await.code().0, "E0106");
}

#[tokio::test]
async fn ranges_of_a_large_file_give_each_line_once() {
    let lines: String = (0..3_000)
        .map(|id| format!("{{\"id\":{id},\"pad\":\"é{}\"}}\n", "x".repeat(id % 50)))
        .collect();
    let case = Case::new("a.json").file("a.json", &lines).rows(100);
    let source = case.open().await.unwrap();
    let whole = source.discover().await.unwrap().remove(0);
    let mut splits = Vec::new();
    let mut start = 0;
    let mut payload = super::super::split::Payload::of(&whole).unwrap();
    while start < lines.len() as u64 {
        let end = (start + 997).min(lines.len() as u64);
        payload.part = super::super::split::Part::Bytes(start, end);
        let payload = serde_json::to_string(&payload).unwrap();
        splits.push(Split {
            payload,
            ..whole.clone()
        });
        start = end;
    }
    let outcome = case.read_splits(&source, &splits, &[0]).await.unwrap();
    assert_eq!(outcome.ints(0), (0..3_000).collect::<Vec<_>>());
    assert!(outcome.letters.is_empty());
}

#[tokio::test]
async fn a_cut_file_keeps_its_whole_lines() {
    let lines: String = (0..20_000).map(|id| format!("{{\"id\":{id}}}\n")).collect();
    let bytes = zstd(lines.as_bytes());
    let case = Case::new("a.ndjson.zst").file("a.ndjson.zst", &bytes[..bytes.len() * 2 / 3]);
    let case = case.columns(&[("id", DataType::Int64)]);
    let outcome = case.read().await.unwrap();
    assert_eq!(outcome.reasons(), ["corrupt"]);
    assert_eq!(
        outcome.ints(0),
        (0..outcome.batch.num_rows() as i64).collect::<Vec<_>>()
    );
}
