//! Avro: the registry's form and files, schemas that evolve, and what does not fit.

use arrow::array::Int64Array;
use expect_test::expect;
use serde_json::json;

use super::server::Server;
use super::*;

/// Avro's variable-length number.
fn long(value: i64) -> Vec<u8> {
    let mut zigzag = (value << 1 ^ value >> 63) as u64;
    let mut bytes = Vec::new();
    while zigzag >= 0x80 {
        bytes.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    bytes.push(zigzag as u8);
    bytes
}

fn text(value: &str) -> Vec<u8> {
    [
        long(i64::try_from(value.len()).unwrap()),
        value.as_bytes().to_vec(),
    ]
    .concat()
}

fn framed(id: u32, parts: &[Vec<u8>]) -> Vec<u8> {
    [vec![0], id.to_be_bytes().to_vec(), parts.concat()].concat()
}

fn refs(messages: &[Vec<u8>]) -> Vec<Option<&[u8]>> {
    messages
        .iter()
        .map(|message| Some(message.as_slice()))
        .collect()
}

const V1: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"id","type":"int"},{"name":"who","type":["null","string"]}]}"#;
const V2: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"id","type":"long"},{"name":"who","type":["null","string"],"default":null},{"name":"state","type":{"type":"enum","name":"State","symbols":["NEW","OLD"]},"default":"NEW"}]}"#;
const V3: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"added","type":"string"},{"name":"id","type":"long"},{"name":"state","type":{"type":"enum","name":"State","symbols":["OLD","NEW"]}}]}"#;

async fn shop() -> Server {
    let server = Server::start().await;
    server.add("orders-value", 1, "AVRO", V1, &[]);
    server.add("orders-value", 2, "AVRO", V2, &[]);
    server
}

fn given(server: &Server) -> Vec<(&str, &str)> {
    vec![
        ("format", "avro"),
        ("schema_registry", &server.url),
        ("schema_registry_timeout", "200ms"),
    ]
}

#[tokio::test]
async fn a_schema_that_evolves_is_learned_and_resolved() {
    let server = shop().await;
    let mut decoder = decoder(&given(&server), &[]).await;
    server.add("orders-value", 3, "AVRO", V3, &[]);
    server.add("orders-value", 4, "AVRO", "\"string\"", &[]);
    server.add("orders-value", 5, "JSON", "{}", &[]);
    let messages = [
        framed(1, &[long(1), long(1), text("ann")]),
        framed(2, &[long(2), long(0), long(1)]),
        framed(3, &[text("x"), long(3), long(0)]),
        framed(1, &[long(4), long(0)]),
        framed(9, &[long(4), long(0)]),
        framed(4, &[text("x")]),
        framed(5, &[]),
        b"{\"id\":1}".to_vec(),
        vec![0, 0, 0],
        vec![],
        framed(2, &[long(5), long(0), long(1), long(7)]),
        framed(2, &[long(5), long(0)]),
        framed(2, &[long(5), long(0), long(9)]),
        framed(2, &[long(5), long(8), text("x")]),
        framed(2, &[long(6), long(1), text("bob"), long(0)]),
    ];
    let decoded = decode(&mut *decoder, &refs(&messages)).await;
    expect![[r#"
        +----+-----+-------+
        | id | who | state |
        +----+-----+-------+
        | 1  | ann | NEW   |
        | 2  |     | OLD   |
        | 3  |     | OLD   |
        | 4  |     | NEW   |
        | 6  | bob | NEW   |
        +----+-----+-------+
        4: schema: schema 9: the schema registry does not have it | 
        5: schema: schema 4: the schema is not a record: only records have columns | 
        6: schema: schema 5: it is not a schema of Avro | 
        7: decode: the message does not start with a zero and the number of a schema | 
        8: decode: the message does not start with a zero and the number of a schema | 
        9: decode: the message does not start with a zero and the number of a schema | 
        10: decode: invalid Avro: there are bytes behind the record | 
        11: decode: invalid Avro: Parser error: bad varint | 
        12: decode: invalid Avro: Invalid dictionary key 9 at index 0, expected 0 <= key < 2 | 
        13: decode: invalid Avro: Parser error: bad varint | "#]]
    .assert_eq(&show_without_raw(decoded));
    let asked = server
        .seen()
        .iter()
        .filter(|seen| seen.contains("/ids/"))
        .count();
    assert_eq!(
        asked, 5,
        "schema 2 is known as the latest, each other is asked for once"
    );
}

#[tokio::test]
async fn declared_columns_are_cast_and_may_come_later() {
    let server = shop().await;
    let columns = [
        ("ID", DataType::Utf8),
        ("added", DataType::Utf8),
        ("nowhere", DataType::Int64),
        ("who", DataType::Int32),
    ];
    let mut decoder = decoder(&given(&server), &columns).await;
    server.add("orders-value", 3, "AVRO", V3, &[]);
    let messages = [
        framed(2, &[long(1), long(1), text("12"), long(0)]),
        framed(3, &[text("new"), long(2), long(0)]),
        framed(2, &[long(3), long(1), text("x"), long(0)]),
    ];
    let mut decoded = decode(&mut *decoder, &refs(&messages)).await;
    decoded.rejected[0].raw.clear();
    expect![[r#"
        +----+-------+---------+-----+
        | ID | added | nowhere | who |
        +----+-------+---------+-----+
        | 1  |       |         | 12  |
        | 2  | new   |         |     |
        +----+-------+---------+-----+
        2: value: column "who": the value does not fit Int32 | "#]]
    .assert_eq(&show(&decoded));
}

#[tokio::test]
async fn projections_of_fields_that_share_a_named_type() {
    let schema = json!({"type": "record", "name": "R", "namespace": "a", "fields": [
        {"name": "x", "type": {"type": "record", "name": "b.P", "fields": [
            {"name": "u", "type": {"type": "string", "logicalType": "uuid"}},
            {"name": "k", "type": {"type": "enum", "name": "K", "symbols": ["A", "B"]}},
        ]}},
        {"name": "y", "type": ["null", "b.P"]},
        {"name": "z", "type": {"type": "array", "items": "b.K"}},
        {"name": "t", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "m", "type": {"type": "map", "values": "other.Thing"}},
    ]});
    let server = Server::start().await;
    server.add("thing", 1, "AVRO", r#"{"type":"record","name":"Thing","namespace":"other","fields":[{"name":"n","type":"int"}]}"#, &[]);
    server.add(
        "orders-value",
        2,
        "AVRO",
        &schema.to_string(),
        &[("other.Thing", "thing", 1)],
    );
    let factory = factory(&given(&server), &[]).await.unwrap();
    let p = |u: &str, k: i64| [text(u), long(k)].concat();
    let message = framed(
        2,
        &[
            p("f81d4fae", 1),
            long(1),
            p("x", 0),
            long(2),
            long(0),
            long(1),
            long(0),
            long(1_704_164_645_678),
            long(1),
            text("key"),
            long(7),
            long(0),
        ],
    );
    let all: Vec<usize> = (0..5).collect();
    for projection in [&all[..], &[1], &[2, 3], &[4], &[]] {
        let mut decoder = factory.create(projection).unwrap();
        let decoded = decode(&mut *decoder, &[Some(&message)]).await;
        assert_eq!(
            decoded.batch.num_rows(),
            1,
            "{projection:?}: {:?}",
            decoded.rejected
        );
        assert_eq!(decoded.batch.num_columns(), projection.len());
        if projection.len() == 5 {
            expect![[r#"
                +---------------------+--------------+--------+--------------------------+---------------+
                | x                   | y            | z      | t                        | m             |
                +---------------------+--------------+--------+--------------------------+---------------+
                | {u: f81d4fae, k: B} | {u: x, k: A} | [A, B] | 2024-01-02T03:04:05.678Z | {key: {n: 7}} |
                +---------------------+--------------+--------+--------------------------+---------------+"#]].assert_eq(&show(&decoded));
        }
    }
}

#[tokio::test]
async fn files_without_a_registry() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("order.avsc");
    std::fs::write(&path, V2).unwrap();
    let path = path.to_str().unwrap();
    let given = [("format", "avro"), ("avro_schema_file", path)];
    let mut decoder = decoder(&given, &[]).await;
    let messages = [
        [long(1), long(1), text("ann"), long(1)].concat(),
        [long(1), long(1), text("ann")].concat(),
        vec![],
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
    ];
    let decoded = decode(&mut *decoder, &refs(&messages)).await;
    assert_eq!(
        decoded.rejected[0].raw, messages[1],
        "without the header that it never had"
    );
    assert_eq!(decoded.origin, [0]);
    assert_eq!(decoded.rejected.len(), 3);
    let missing = factory(
        &[("format", "avro"), ("avro_schema_file", "/nowhere.avsc")],
        &[],
    )
    .await;
    assert_eq!(missing.unwrap_err().code().0, "E0204");
}

#[tokio::test]
async fn what_cannot_be_used_is_told_at_the_start() {
    let server = Server::start().await;
    let check = async |schema: Option<&str>, columns: &[(&str, DataType)]| {
        if let Some(schema) = schema {
            server.state.lock().subjects.clear();
            server.add("orders-value", 1, "AVRO", schema, &[]);
        }
        report(&factory(&given(&server), columns).await.unwrap_err())
            .replace(&server.url, "http://registry")
    };
    expect![[r#"
        error[E0207]: the schema registry has no subject "orders-value"
          hint: declare the columns, or set schema_registry_subject"#]]
    .assert_eq(&check(None, &[]).await);
    expect![[r#"
        error[E0207]: schema 1 of orders-value cannot be used
          detail: the schema is not a record: only records have columns"#]]
    .assert_eq(&check(Some("\"string\""), &[]).await);
    expect![[r#"
        error[E0207]: schema 1 of orders-value cannot be used
          detail: the schema is not JSON: EOF while parsing an object at line 1 column 1"#]]
    .assert_eq(&check(Some("{"), &[]).await);
    let tree = r#"{"type":"record","name":"T","fields":[{"name":"l","type":["null","T"]}]}"#;
    expect![[r#"
        error[E0207]: schema 1 of orders-value cannot be used
          detail: the type "T" contains itself, which no column can"#]]
    .assert_eq(&check(Some(tree), &[]).await);
    let unknown = r#"{"type":"record","name":"T","fields":[{"name":"l","type":"U"}]}"#;
    expect![[r#"
        error[E0207]: schema 1 of orders-value cannot be used
          detail: the schema names a type "U" that it does not define"#]]
    .assert_eq(&check(Some(unknown), &[]).await);
    let inner = Field::new("x", DataType::Utf8, true);
    let columns = [("id", DataType::Struct(vec![inner].into()))];
    expect![[r#"
        error[E0207]: the schema does not fit the declared columns
          detail: column "id" is Int32 in the messages, not Struct("x": Utf8)"#]]
    .assert_eq(&check(Some(V1), &columns).await);
    let error = factory(&[("format", "avro")], &[]).await.unwrap_err();
    expect![[
        r#"error[E0203]: format 'avro' needs the option "schema_registry" or "avro_schema_file""#
    ]]
    .assert_eq(&report(&error));
}

#[tokio::test]
async fn what_a_sink_writes_a_source_reads() {
    let server = Server::start().await;
    let columns = [
        ("id", DataType::Int64),
        ("s", DataType::Utf8),
        ("t", MICROS),
        ("d", DataType::Decimal128(10, 2)),
        ("b", DataType::Binary),
        ("f", DataType::Boolean),
    ];
    let factory = factory_of_sink(&server, schema(&columns)).await.unwrap();
    let batch = encode::sample(&schema(&columns));
    let messages = factory.create().unwrap().encode(&batch).unwrap();
    assert_eq!(messages.len(), batch.num_rows());
    expect![[r#"{"fields":[{"default":null,"name":"id","type":["null","long"]},{"default":null,"name":"s","type":["null","string"]},{"default":null,"name":"t","type":["null",{"logicalType":"local-timestamp-micros","type":"long"}]},{"default":null,"name":"d","type":["null",{"logicalType":"decimal","precision":10,"scale":2,"type":"bytes"}]},{"default":null,"name":"b","type":["null","bytes"]},{"default":null,"name":"f","type":["null","boolean"]}],"name":"topLevelRecord","type":"record"}"#]].assert_eq(server.state.lock().schemas[&1]["schema"].as_str().unwrap());
    let mut decoder = decoder(&given(&server), &columns).await;
    let values: Vec<Option<&[u8]>> = messages
        .iter()
        .map(|message| message.value.as_deref())
        .collect();
    let decoded = decode(&mut *decoder, &values).await;
    assert_eq!(table(&decoded.batch), table(&batch));
}

async fn factory_of_sink(server: &Server, schema: SchemaRef) -> Result<Arc<dyn EncoderFactory>> {
    let options = options(SINK_OPTIONS, &given(server)).unwrap();
    let request = EncodeRequest {
        schema,
        key: vec![],
        upsert: false,
    };
    encoder_factory(&options, request, &env()).await
}

#[tokio::test]
async fn columns_that_are_not_null_and_odd_names() {
    let server = Server::start().await;
    let strict = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    let factory = factory_of_sink(&server, Arc::clone(&strict)).await.unwrap();
    let batch = RecordBatch::try_new(strict, vec![Arc::new(Int64Array::from(vec![300]))]).unwrap();
    let messages = factory.create().unwrap().encode(&batch).unwrap();
    assert_eq!(
        messages[0].value.as_deref().unwrap(),
        framed(1, &[long(300)])
    );
    let odd = factory_of_sink(&server, schema(&[("count(*)", DataType::Int64)])).await;
    expect![[r#"
        error[E0207]: the rows cannot be written as Avro
          detail: Schema error: Schema mismatch for field 'count___': Schema error: Unable to get field named "count___". Valid fields: ["count(*)"]
          hint: CAST the column to a type that the format has, name it with letters, digits and _, or choose another format"#]].assert_eq(&odd.map_or_else(
        |error| report(&error),
        |_| server.state.lock().schemas[&2]["schema"].to_string(),
    ));
}
