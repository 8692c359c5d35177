//! Rows into messages, and back.

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Int8Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use expect_test::expect;

use super::*;

/// Two rows with values and one of NULLs, for the types that the tests declare.
pub(super) fn sample(schema: &SchemaRef) -> RecordBatch {
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match field.data_type() {
            DataType::Int64 => Arc::new(Int64Array::from(vec![Some(1), Some(-2), None])),
            DataType::Utf8 => Arc::new(StringArray::from(vec![
                Some("a,\"b\"\n"),
                Some("\u{e4}\u{1F600}"),
                None,
            ])),
            DataType::Binary => Arc::new(BinaryArray::from(vec![
                Some(&b"\x00\xff"[..]),
                Some(b""),
                None,
            ])),
            DataType::Boolean => Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
            DataType::Decimal128(..) => Arc::new(
                Decimal128Array::from(vec![Some(1234), Some(-5), None])
                    .with_precision_and_scale(10, 2)
                    .unwrap(),
            ),
            _ => Arc::new(TimestampMicrosecondArray::from(vec![
                Some(1_704_164_645_678_901),
                Some(-1),
                None,
            ])),
        }
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect()).unwrap()
}

async fn encoder(
    given: &[(&str, &str)],
    schema: SchemaRef,
    key: &[usize],
    upsert: bool,
) -> Result<Box<dyn Encoder>> {
    let request = EncodeRequest {
        schema,
        key: key.to_vec(),
        upsert,
    };
    encoder_factory(&options(SINK_OPTIONS, given)?, request, &env())
        .await?
        .create()
}

fn lines(messages: &[Message]) -> String {
    let text = |bytes: &Option<Vec<u8>>| {
        bytes.as_ref().map_or("-".to_owned(), |bytes| {
            String::from_utf8_lossy(bytes).into_owned()
        })
    };
    let lines: Vec<String> = messages
        .iter()
        .map(|message| format!("{} = {}", text(&message.key), text(&message.value)))
        .collect();
    lines.join("\n")
}

const ALL: &[(&str, DataType)] = &[
    ("id", DataType::Int64),
    ("s", DataType::Utf8),
    ("t", MICROS),
    ("d", DataType::Decimal128(10, 2)),
    ("b", DataType::Binary),
    ("f", DataType::Boolean),
];

#[tokio::test]
async fn json_goes_out_and_comes_back() {
    let batch = sample(&schema(ALL));
    let messages = encoder(&[], batch.schema(), &[0, 1], false)
        .await
        .unwrap()
        .encode(&batch)
        .unwrap();
    expect![[r#"
        {"id":1,"s":"a,\"b\"\n"} = {"id":1,"s":"a,\"b\"\n","t":"2024-01-02T03:04:05.678901","d":12.34,"b":"00ff","f":true}
        {"id":-2,"s":"ä😀"} = {"id":-2,"s":"ä😀","t":"1969-12-31T23:59:59.999999","d":-0.05,"b":"","f":false}
        {"id":null,"s":null} = {"id":null,"s":null,"t":null,"d":null,"b":null,"f":null}"#]].assert_eq(&lines(&messages));
    let values: Vec<Option<&[u8]>> = messages
        .iter()
        .map(|message| message.value.as_deref())
        .collect();
    let decoded = decode(&mut *decoder(&[], ALL).await, &values).await;
    assert_eq!(table(&decoded.batch), table(&batch));
}

#[tokio::test]
async fn csv_goes_out_and_comes_back() {
    let columns = &ALL[..4];
    let batch = sample(&schema(columns));
    let given = [("format", "csv")];
    let messages = encoder(&given, batch.schema(), &[], false)
        .await
        .unwrap()
        .encode(&batch)
        .unwrap();
    expect![[r#"
        - = 1,"a,""b""
        ",2024-01-02T03:04:05.678901,12.34
        - = -2,ä😀,1969-12-31T23:59:59.999999,-0.05
        - = ,,,"#]]
    .assert_eq(&lines(&messages));
    let values: Vec<Option<&[u8]>> = messages
        .iter()
        .map(|message| message.value.as_deref())
        .collect();
    let decoded = decode(&mut *decoder(&given, columns).await, &values).await;
    assert_eq!(table(&decoded.batch), table(&batch));
}

#[tokio::test]
async fn raw_takes_one_column() {
    let given = [("format", "raw")];
    let batch = sample(&schema(&[("b", DataType::Binary)]));
    let messages = encoder(&given, batch.schema(), &[], false)
        .await
        .unwrap()
        .encode(&batch)
        .unwrap();
    let values: Vec<Option<Vec<u8>>> = messages.into_iter().map(|message| message.value).collect();
    assert_eq!(
        values,
        [Some(b"\x00\xff".to_vec()), Some(vec![]), Some(vec![])]
    );
    let error = encoder(&given, schema(&[("n", DataType::Int64)]), &[], false)
        .await
        .unwrap_err();
    assert_eq!(error.code().0, "E0207");
}

fn changelog() -> RecordBatch {
    let rows = schema(&[("k", DataType::Int64), ("v", DataType::Utf8)]);
    let schema = weir_engine::changelog::changelog_schema(&rows);
    let kinds = vec![0, 1, 2, 1, 2, 1, 3, 2];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 1, 1, 1, 2, 2, 3, 4])),
        Arc::new(StringArray::from(vec![
            "a", "a", "b", "b", "c", "c", "d", "e",
        ])),
        Arc::new(Int8Array::from(kinds)),
    ];
    RecordBatch::try_new(schema, columns).unwrap()
}

#[tokio::test]
async fn a_changelog_becomes_upserts() {
    let batch = changelog();
    let messages = encoder(&[], batch.schema(), &[0], true)
        .await
        .unwrap()
        .encode(&batch)
        .unwrap();
    expect![[r#"
        {"k":1} = {"k":1,"v":"a"}
        {"k":1} = {"k":1,"v":"b"}
        {"k":1} = -
        {"k":2} = {"k":2,"v":"c"}
        {"k":2} = -
        {"k":3} = -
        {"k":4} = {"k":4,"v":"e"}"#]]
    .assert_eq(&lines(&messages));
}

#[tokio::test]
async fn a_changelog_becomes_envelopes_and_comes_back() {
    let batch = changelog();
    let given = [("format", "debezium-json")];
    let mut with_key = encoder(&given, batch.schema(), &[0], false).await.unwrap();
    let messages = with_key.encode(&batch).unwrap();
    expect![[r#"
        {"k":1} = {"before":null,"after":{"k":1,"v":"a"},"op":"c"}
        {"k":1} = {"before":{"k":1,"v":"a"},"after":{"k":1,"v":"b"},"op":"u"}
        {"k":1} = {"before":{"k":1,"v":"b"},"after":null,"op":"d"}
        {"k":2} = {"before":null,"after":{"k":2,"v":"c"},"op":"c"}
        {"k":2} = {"before":{"k":2,"v":"c"},"after":null,"op":"d"}
        {"k":3} = {"before":{"k":3,"v":"d"},"after":null,"op":"d"}
        {"k":4} = {"before":null,"after":{"k":4,"v":"e"},"op":"c"}"#]]
    .assert_eq(&lines(&messages));
    let mut without = encoder(&given, batch.schema(), &[], false).await.unwrap();
    let apart = without.encode(&batch).unwrap();
    assert_eq!(apart.len(), batch.num_rows());
    let columns = [("k", DataType::Int64), ("v", DataType::Utf8)];
    let values: Vec<Option<&[u8]>> = messages
        .iter()
        .map(|message| message.value.as_deref())
        .collect();
    let decoded = decode(&mut *decoder(&given, &columns).await, &values).await;
    expect![[r#"
        +---+---+-----+
        | k | v | _op |
        +---+---+-----+
        | 1 | a | 0   |
        | 1 | a | 1   |
        | 1 | b | 2   |
        | 1 | b | 3   |
        | 2 | c | 0   |
        | 2 | c | 3   |
        | 3 | d | 3   |
        | 4 | e | 0   |
        +---+---+-----+"#]]
    .assert_eq(&table(&decoded.batch));
}

#[tokio::test]
async fn what_a_format_cannot_say_is_refused() {
    let changes = changelog().schema();
    let rows = schema(&[("k", DataType::Int64)]);
    for (given, schema, upsert) in [
        (&[][..], &changes, false),
        (&[], &rows, true),
        (&[("format", "avro")], &rows, false),
    ] {
        let error = encoder(given, Arc::clone(schema), &[], upsert)
            .await
            .unwrap_err();
        match (upsert, given.len()) {
            (false, 0) => expect![[r#"
                error[E0109]: format 'json' cannot say that a row is updated or deleted
                  hint: use format 'debezium-json', or upserts with a key"#]]
            .assert_eq(&report(&error)),
            (true, _) => expect!["error[E0203]: upserts need the columns of the key"]
                .assert_eq(&report(&error)),
            _ => expect![[r#"error[E0203]: format 'avro' needs the option "schema_registry""#]]
                .assert_eq(&report(&error)),
        }
    }
    let error = options(SINK_OPTIONS, &[("format", "protobuf")]).unwrap_err();
    assert_eq!(error.code().0, "E0203");
}
