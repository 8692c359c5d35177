//! CSV: dialects, discovery, and each way in which a record can be bad.

use expect_test::{Expect, expect};

use super::*;

async fn check(text: impl AsRef<[u8]>, expect: Expect) {
    let case = Case::new("a.csv").file("a.csv", text);
    expect.assert_eq(&case.read().await.unwrap().show());
}

#[tokio::test]
async fn discovers_types_and_takes_marks_and_line_ends() {
    check(
        "\u{feff}id,amount,ok,day,ts,note\r\n1,1.5,true,2024-01-02,2024-01-02 03:04:05,a\r\n\r\n2,,false,2024-01-03,2024-01-02T03:04:05.25,\"b, \"\"c\"\"\nd\"",
        expect![[r#"
            +----+--------+-------+------------+-------------------------+--------+
            | id | amount | ok    | day        | ts                      | note   |
            +----+--------+-------+------------+-------------------------+--------+
            | 1  | 1.5    | true  | 2024-01-02 | 2024-01-02T03:04:05     | a      |
            | 2  |        | false | 2024-01-03 | 2024-01-02T03:04:05.250 | b, "c" |
            |    |        |       |            |                         | d      |
            +----+--------+-------+------------+-------------------------+--------+"#]],
    )
    .await;
}

#[tokio::test]
async fn bad_records_become_dead_letters_and_good_ones_rows() {
    let text = b"id,name\n1,a\n2\n3,c,extra\n4,\xff\xfe\n5,e\nsix,f\n7,g\n";
    let case = Case::new("a.csv")
        .file("a.csv", text)
        .columns(&[("id", DataType::Int64), ("name", DataType::Utf8)]);
    expect![[r#"
        +----+------+
        | id | name |
        +----+------+
        | 1  | a    |
        | 5  | e    |
        | 7  | g    |
        +----+------+
        decode at Some(12): wrong number of fields: expected 2 got 1 | 2
        decode at Some(14): wrong number of fields: expected 2 got more than 2 | 3,c,extra
        decode at Some(24): invalid UTF-8 at byte 2 | 4,��
        value at Some(33): column "id": value 'six' as type 'Int64' does not fit | six,f"#]]
    .assert_eq(&case.read().await.unwrap().show());
}

#[tokio::test]
async fn bad_records_do_not_stop_discovery() {
    check(
        "id,name\n1,a\n2\n3,c\n",
        expect![[r#"
            +----+------+
            | id | name |
            +----+------+
            | 1  | a    |
            | 3  | c    |
            +----+------+
            decode at Some(12): wrong number of fields: expected 2 got 1 | 2"#]],
    )
    .await;
}

#[tokio::test]
async fn a_bad_record_ends_the_job_when_it_shall() {
    let case = Case::new("a.csv")
        .file("a.csv", "id\n1\nx\n")
        .columns(&[("id", DataType::Int64)])
        .failing();
    let error = case.error().await;
    assert_eq!(error.code().0, "E0302");
    assert!(
        error.detail_text().unwrap().ends_with("a.csv at 5"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_quote_that_is_not_closed_costs_one_line() {
    check(
        "id,name\n1,\"a\n2,b\n3,c\n",
        expect![[r#"
            +----+------+
            | id | name |
            +----+------+
            | 2  | b    |
            | 3  | c    |
            +----+------+
            decode at Some(8): a quote is not closed | 1,"a"#]],
    )
    .await;
}

#[tokio::test]
async fn a_record_longer_than_the_bound_is_cut_into_a_dead_letter() {
    let long = "x".repeat(weir_engine::limits::RECORD_BYTES_MAX + 10);
    let case = Case::new("a.csv")
        .file("a.csv", format!("id,name\n1,a\n2,{long}\n3,c\n"))
        .columns(&[("id", DataType::Int64), ("name", DataType::Utf8)]);
    let outcome = case.read().await.unwrap();
    assert_eq!(outcome.ints(0), [1, 3]);
    assert_eq!(outcome.reasons(), ["decode"]);
    assert_eq!(outcome.letters[0].offset, Some(12));
    assert_eq!(
        outcome.letters[0].raw.len(),
        weir_engine::limits::DEAD_LETTER_RAW_BYTES_MAX
    );
}

#[tokio::test]
async fn an_empty_file_is_no_error() {
    let case = Case::new("a.csv")
        .file("a.csv", "")
        .columns(&[("id", DataType::Int64)]);
    let outcome = case.read().await.unwrap();
    assert_eq!((outcome.batch.num_rows(), outcome.letters.len()), (0, 0));
    let case = Case::new("a.csv")
        .file("a.csv", "id\n")
        .columns(&[("id", DataType::Int64)]);
    assert_eq!(case.read().await.unwrap().batch.num_rows(), 0);
    let error = Case::new("a.csv").file("a.csv", "").error().await;
    assert_eq!(error.code().0, "E0207");
}

#[tokio::test]
async fn dialects() {
    let case = Case::new("a.tsv")
        .file("a.tsv", "# about\n1\t'a\\'b'\tNA\n2\tc\t\n")
        .columns(&[
            ("id", DataType::Int64),
            ("n", DataType::Utf8),
            ("v", DataType::Float64),
        ])
        .option("delimiter", "\\t")
        .option("quote", "'")
        .option("escape", "\\")
        .option("comment", "#")
        .option("null_value", "NA|n/a")
        .option("header", "false");
    expect![[r#"
        +----+-----+---+
        | id | n   | v |
        +----+-----+---+
        | 1  | a'b |   |
        | 2  | c   |   |
        +----+-----+---+"#]]
    .assert_eq(&case.read().await.unwrap().show());
}

#[tokio::test]
async fn timestamps_in_a_form_of_their_own() {
    let micros = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
    let case = Case::new("a.csv")
        .file("a.csv", "ts\n02/01/2024 03:04\nnever\n")
        .columns(&[("ts", micros.clone())])
        .option("timestamp_format", "%d/%m/%Y %H:%M");
    expect![[r#"
        +---------------------+
        | ts                  |
        +---------------------+
        | 2024-01-02T03:04:00 |
        +---------------------+
        value at Some(20): column "ts": the value does not fit Timestamp(µs) | {"ts":"never"}"#]]
    .assert_eq(&case.read().await.unwrap().show());
    let case = Case::new("a.csv")
        .file("a.csv", "ts\n1.5\n")
        .columns(&[("ts", micros)])
        .option("timestamp_format", "epoch_seconds");
    assert!(
        case.read()
            .await
            .unwrap()
            .show()
            .contains("1970-01-01T00:00:01.500")
    );
}

#[tokio::test]
async fn columns_are_found_by_name_and_may_be_missing() {
    let case = Case::new("*.csv")
        .file("a.csv", "ID,name\n1,a\n")
        .file("b.csv", "more,id\nx,2\n")
        .file("c.csv", "other\ny\n")
        .columns(&[("id", DataType::Int64), ("name", DataType::Utf8)]);
    let outcome = case.read().await.unwrap();
    assert_eq!(outcome.ints(0), [1, 2]);
    assert_eq!(outcome.reasons(), ["schema"]);
    assert!(outcome.letters[0].origin.ends_with("c.csv"));
    let mut case = case.failing();
    assert_eq!(case.error().await.code().0, "E0207");
    case.columns = Some(vec![Field::new("gone", DataType::Utf8, false).into()]);
    assert_eq!(case.error().await.code().0, "E0207");
}

#[tokio::test]
async fn compressed_files_and_cut_ones() {
    let text = format!("id,name\n{}", csv_lines(50_000));
    for (name, bytes) in [
        ("a.csv.gz", gzip(text.as_bytes())),
        ("a.csv.zst", zstd(text.as_bytes())),
    ] {
        let whole = Case::new(name).file(name, &bytes).read().await.unwrap();
        assert_eq!(whole.ints(0), (0..50_000).collect::<Vec<_>>(), "{name}");
        assert!(whole.letters.is_empty());
        let half = Case::new(name).file(name, &bytes[..bytes.len() / 2]);
        let outcome = half.read().await.unwrap();
        let count = outcome.batch.num_rows();
        assert!(count > 5_000 && count < 45_000, "{name} {count}");
        assert_eq!(outcome.ints(0), (0..count as i64).collect::<Vec<_>>());
        assert_eq!(outcome.reasons(), ["corrupt"]);
        assert_eq!(half.failing().error().await.code().0, "E0301");
    }
    let both = [gzip(b"id\n1\n"), gzip(b"2\n")].concat();
    let case = Case::new("b")
        .file("b", both)
        .option("format", "csv")
        .option("compression", "gzip");
    assert_eq!(case.read().await.unwrap().ints(0), [1, 2]);
    let case = Case::new("a.csv.gz")
        .file("a.csv.gz", "not gzip")
        .columns(&[("id", DataType::Int64)]);
    assert_eq!(case.read().await.unwrap().reasons(), ["corrupt"]);
}

#[tokio::test]
async fn small_batches_give_the_same_and_readers_go_on_where_others_stopped() {
    let mut text = "id,name\n".to_owned();
    for row in 0..1_000 {
        text.push_str(&if row % 97 == 5 {
            "bad\n".to_owned()
        } else {
            format!("{row},\"n\n{row}\"\n")
        });
    }
    let wanted: Vec<i64> = (0..1_000).filter(|row| row % 97 != 5).collect();
    for (name, bytes) in [
        ("a.csv", text.clone().into_bytes()),
        ("a.csv.gz", gzip(text.as_bytes())),
    ] {
        let case = Case::new(name).file(name, bytes).rows(7);
        let outcome = case.read().await.unwrap();
        assert_eq!(outcome.ints(0), wanted);
        assert_eq!(outcome.letters.len(), 11);
        let source = case.open().await.unwrap();
        let mut split = source.discover().await.unwrap().remove(0);
        let mut found = Vec::new();
        loop {
            let mut reader = source.open(&split, &[0], &case.context()).await.unwrap();
            let Read::Rows { batch, .. } = reader.next().await.unwrap() else {
                break;
            };
            found.extend(
                Outcome {
                    batch,
                    letters: vec![],
                }
                .ints(0),
            );
            split.position = Some(reader.position());
        }
        assert_eq!(found, wanted);
    }
}

#[tokio::test]
async fn columns_about_the_file() {
    let mut case = Case::new("a.csv")
        .file("a.csv", "id\n10\nx\n30\n")
        .columns(&[("id", DataType::Int64)]);
    case.metadata = vec![
        (
            Field::new("o", DataType::Int64, true).into(),
            "offset".to_owned(),
        ),
        (
            Field::new("f", DataType::Utf8, true).into(),
            "file".to_owned(),
        ),
    ];
    let outcome = case.read().await.unwrap();
    assert_eq!(outcome.ints(1), [3, 8]);
    assert!(outcome.show().contains("a.csv"));
    let none = Case::new("a.csv").file("a.csv", "id\n10\n20\n");
    let source = none.open().await.unwrap();
    let splits = source.discover().await.unwrap();
    assert_eq!(
        none.read_splits(&source, &splits, &[])
            .await
            .unwrap()
            .batch
            .num_rows(),
        2
    );
    case.metadata = vec![(
        Field::new("f", DataType::Utf8, true).into(),
        "fil".to_owned(),
    )];
    assert!(case.error().await.hint_text().unwrap().contains("file"));
}

#[tokio::test]
async fn values_in_the_path_are_columns() {
    let case = Case::new("")
        .file("day=2024-01-01/region=a%3Ab/x.csv", "id\n1\n")
        .file(
            "day=2024-01-02/region=__HIVE_DEFAULT_PARTITION__/y.csv",
            "id\n2\n",
        );
    expect![[r#"
        +----+------------+--------+
        | id | day        | region |
        +----+------------+--------+
        | 1  | 2024-01-01 | a:b    |
        | 2  | 2024-01-02 |        |
        +----+------------+--------+"#]]
    .assert_eq(&case.read().await.unwrap().show());
    let case = case.columns(&[("day", DataType::Date32), ("id", DataType::Int64)]);
    assert!(
        case.read()
            .await
            .unwrap()
            .show()
            .contains("| 2024-01-02 | 2  |")
    );
}

/// What each row of a file says of where it came from.
async fn records(case: &Case) -> Vec<(i64, Option<u64>, Option<String>)> {
    let source = case.open().await.unwrap();
    let mut all = Vec::new();
    for split in source.discover().await.unwrap() {
        let mut reader = source.open(&split, &[0], &case.context()).await.unwrap();
        while let Read::Rows { batch, .. } = reader.next().await.unwrap() {
            let ids = batch
                .column(0)
                .as_any()
                .downcast_ref::<Int64Array>()
                .unwrap();
            for row in 0..batch.num_rows() {
                let raw = reader
                    .raw(row)
                    .map(|raw| String::from_utf8_lossy(raw).into_owned());
                all.push((ids.value(row), reader.offset(row), raw));
            }
            assert_eq!(reader.raw(batch.num_rows()), None);
        }
    }
    all
}

#[tokio::test]
async fn rows_know_the_records_that_they_came_as() {
    let text = "id,name\r\n1,\"a\nb\"\r\n\n2,c\n3\nx,d\n4,\"e\",\n5,f";
    let expected =
        |text: &str, records: &[(i64, &str)]| -> Vec<(i64, Option<u64>, Option<String>)> {
            let one = |(id, raw): &(i64, &str)| {
                let at = text.find(raw).map(|at| at as u64);
                (*id, at, Some((*raw).to_owned()))
            };
            records.iter().map(one).collect()
        };
    for rows in [1, 2, 3, 100] {
        let case = Case::new("a.csv").file("a.csv", text).rows(rows);
        let case = case.columns(&[("id", DataType::Int64), ("name", DataType::Utf8)]);
        let wanted = expected(text, &[(1, "1,\"a\nb\""), (2, "2,c"), (5, "5,f")]);
        assert_eq!(records(&case).await, wanted, "{rows} rows");
    }
    let text = "{\"id\": 1, \"more\": [1,  2]}\n{\"id\":2}\nno\n{\"id\":3 }\n";
    for rows in [1, 2, 100] {
        let case = Case::new("a.json").file("a.json", text).rows(rows);
        let case = case.columns(&[("id", DataType::Int64)]);
        let lines = [
            (1, "{\"id\": 1, \"more\": [1,  2]}"),
            (2, "{\"id\":2}"),
            (3, "{\"id\":3 }"),
        ];
        assert_eq!(records(&case).await, expected(text, &lines), "{rows} rows");
    }
}
