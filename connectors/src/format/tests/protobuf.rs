//! Protobuf: messages of a file and of a registry, nested and with presence.

use expect_test::expect;
use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MapKey, Value};

use super::server::Server;
use super::*;

const PROTO: &str = r#"
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";

message Order {
  enum State { NEW = 0; OLD = 1; }
  message Line { string sku = 1; uint32 count = 2; optional double price = 3; }
  int64 id = 1;
  optional string who = 2;
  State state = 3;
  repeated Line lines = 4;
  map<string, sint32> tags = 5;
  google.protobuf.Timestamp at = 6;
  google.protobuf.Int64Value maybe = 7;
  bytes raw = 8;
  Line first = 9;
  oneof choice { bool yes = 10; uint64 big = 11; }
  repeated State states = 12;
}
message Other { string name = 1; }
"#;

fn pool() -> DescriptorPool {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("shop.proto"), PROTO).unwrap();
    let mut compiler = protox::Compiler::new([folder.path()]).unwrap();
    compiler
        .include_imports(true)
        .open_file("shop.proto")
        .unwrap();
    compiler.descriptor_pool()
}

fn message(name: &str) -> DynamicMessage {
    DynamicMessage::new(pool().get_message_by_name(name).unwrap())
}

fn full() -> Vec<u8> {
    let mut line = message("shop.Order.Line");
    line.set_field_by_name("sku", Value::String("apple".into()));
    line.set_field_by_name("count", Value::U32(3));
    let mut at = message("google.protobuf.Timestamp");
    at.set_field_by_name("seconds", Value::I64(1_704_164_645));
    at.set_field_by_name("nanos", Value::I32(678_901_234));
    let mut maybe = message("google.protobuf.Int64Value");
    maybe.set_field_by_name("value", Value::I64(0));
    let mut order = message("shop.Order");
    order.set_field_by_name("id", Value::I64(-7));
    order.set_field_by_name("who", Value::String(String::new()));
    order.set_field_by_name("state", Value::EnumNumber(1));
    order.set_field_by_name(
        "lines",
        Value::List(vec![
            Value::Message(line.clone()),
            Value::Message(message("shop.Order.Line")),
        ]),
    );
    let tags =
        [("b", 2), ("a", -1)].map(|(key, value)| (MapKey::String(key.into()), Value::I32(value)));
    order.set_field_by_name("tags", Value::Map(tags.into_iter().collect()));
    order.set_field_by_name("at", Value::Message(at));
    order.set_field_by_name("maybe", Value::Message(maybe));
    order.set_field_by_name("raw", Value::Bytes(vec![0, 255].into()));
    order.set_field_by_name("first", Value::Message(line));
    order.set_field_by_name("big", Value::U64(u64::MAX));
    order.set_field_by_name(
        "states",
        Value::List(vec![Value::EnumNumber(0), Value::EnumNumber(9)]),
    );
    order.encode_to_vec()
}

fn file(folder: &tempfile::TempDir) -> String {
    let path = folder.path().join("shop.proto");
    std::fs::write(&path, PROTO).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_file_gives_all_kinds_of_fields() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder);
    let given = [("format", "protobuf"), ("proto_file", path.as_str())];
    let factory = factory(&given, &[]).await.unwrap();
    let types: Vec<String> = factory
        .schema()
        .fields()
        .iter()
        .map(|field| format!("{}: {}", field.name(), field.data_type()))
        .collect();
    expect![[r#"
        id: Int64
        who: Utf8
        state: Utf8
        lines: List(Struct("sku": Utf8, "count": UInt32, "price": Float64))
        tags: Map("entries": non-null Struct("key": non-null Utf8, "value": Int32), unsorted)
        at: Timestamp(µs)
        maybe: Int64
        raw: Binary
        first: Struct("sku": Utf8, "count": UInt32, "price": Float64)
        yes: Boolean
        big: UInt64
        states: List(Utf8)"#]]
    .assert_eq(&types.join("\n"));
    let mut decoder = decoder(&given, &[]).await;
    let bytes = full();
    let messages: &[Option<&[u8]>] = &[
        Some(&bytes),
        Some(b""),
        None,
        Some(b"\xff"),
        Some(b"\x12\x01\xff"),
        Some(&bytes[..bytes.len() - 1]),
    ];
    let decoded = decode(&mut *decoder, messages).await;
    expect![[r#"
        +----+-----+-------+---------------------------------------------------------------+---------------+----------------------------+-------+------+---------------------------------+-----+----------------------+----------+
        | id | who | state | lines                                                         | tags          | at                         | maybe | raw  | first                           | yes | big                  | states   |
        +----+-----+-------+---------------------------------------------------------------+---------------+----------------------------+-------+------+---------------------------------+-----+----------------------+----------+
        | -7 |     | OLD   | [{sku: apple, count: 3, price: }, {sku: , count: 0, price: }] | {a: -1, b: 2} | 2024-01-02T03:04:05.678901 | 0     | 00ff | {sku: apple, count: 3, price: } |     | 18446744073709551615 | [NEW, 9] |
        | 0  |     | NEW   | []                                                            | {}            |                            |       |      |                                 |     |                      | []       |
        +----+-----+-------+---------------------------------------------------------------+---------------+----------------------------+-------+------+---------------------------------+-----+----------------------+----------+
        3: decode: invalid Protobuf: failed to decode Protobuf message: invalid varint | 
        4: decode: invalid Protobuf: failed to decode Protobuf message: invalid string value: data is not UTF-8 encoded | 
        5: decode: invalid Protobuf: failed to decode Protobuf message: buffer underflow | 
        skipped: 1"#]].assert_eq(&show_without_raw(decoded));
}

#[tokio::test]
async fn declared_columns_and_projections() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder);
    let given = [
        ("format", "protobuf"),
        ("proto_file", path.as_str()),
        ("proto_message", "Order"),
    ];
    let columns = [
        ("AT", MICROS),
        ("id", DataType::Utf8),
        ("nowhere", DataType::Int32),
        ("big", DataType::Int64),
    ];
    let factory = factory(&given, &columns).await.unwrap();
    let bytes = full();
    let mut decoder = factory.create(&[2, 1, 0]).unwrap();
    expect![[r#"
        +---------+----+----------------------------+
        | nowhere | id | AT                         |
        +---------+----+----------------------------+
        |         | -7 | 2024-01-02T03:04:05.678901 |
        +---------+----+----------------------------+"#]]
    .assert_eq(&show(&decode(&mut *decoder, &[Some(&bytes)]).await));
    let mut decoder = factory.create(&[3]).unwrap();
    let mut decoded = decode(&mut *decoder, &[Some(&bytes)]).await;
    decoded.rejected[0].raw.clear();
    expect![[r#"
        +-----+
        | big |
        +-----+
        +-----+
        0: value: column "big": the value does not fit Int64 | "#]]
    .assert_eq(&show(&decoded));
    let mut decoder = factory.create(&[]).unwrap();
    assert_eq!(
        decode(&mut *decoder, &[Some(&bytes), Some(b"")])
            .await
            .batch
            .num_rows(),
        2
    );
}

fn framed(id: u32, path: &[u8], body: &[u8]) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), path, body].concat()
}

#[tokio::test]
async fn a_registry_gives_types_by_their_place() {
    let server = Server::start().await;
    server.add(
        "common",
        1,
        "PROTOBUF",
        "syntax = \"proto3\"; package c; message Name { string name = 1; }",
        &[],
    );
    let newer = PROTO.replace(
        "message Other",
        "import \"c.proto\";\nmessage Later { c.Name name = 1; int64 id = 2; }\nmessage Other",
    );
    server.add("orders-value", 2, "PROTOBUF", PROTO, &[]);
    server.add(
        "orders-value",
        3,
        "PROTOBUF",
        &newer,
        &[("c.proto", "common", 1)],
    );
    server.add("orders-value", 4, "AVRO", "\"int\"", &[]);
    let given = [
        ("format", "protobuf"),
        ("schema_registry", server.url.as_str()),
    ];
    let columns = [("id", DataType::Int64), ("sku", DataType::Utf8)];
    server
        .state
        .lock()
        .subjects
        .insert("orders-value".to_owned(), vec![2]);
    let mut decoder = decoder(&given, &columns).await;
    let order = full();
    let line = b"\x0a\x03abc";
    let messages = [
        framed(2, &[0], &order),
        framed(2, &[4, 0, 0], line),
        framed(3, &[2, 2], b"\x10\x05"),
        framed(3, &[2, 40], b""),
        framed(3, &[1], b""),
        framed(3, &[255, 255, 255, 255, 255, 255, 255, 255, 255, 255], b""),
        framed(4, &[0], b""),
        framed(77, &[0], b""),
        framed(2, &[2, 2], b"\x0a\x03xyz"),
        vec![1, 0, 0, 0, 2, 0],
        framed(2, &[0], b"\x08"),
    ];
    let messages: Vec<Option<&[u8]>> = messages
        .iter()
        .map(|message| Some(message.as_slice()))
        .collect();
    let decoded = decode(&mut *decoder, &messages).await;
    expect![[r#"
        +----+-----+
        | id | sku |
        +----+-----+
        | -7 |     |
        |    | abc |
        | 5  |     |
        |    |     |
        +----+-----+
        3: schema: schema 3 has no message type at [20] | 
        4: decode: the message does not start with a zero, the number of a schema and the place of its type | 
        5: decode: the message does not start with a zero, the number of a schema and the place of its type | 
        6: schema: schema 4: it is not a schema of Protobuf | 
        7: schema: schema 77: the schema registry does not have it | 
        9: decode: the message does not start with a zero, the number of a schema and the place of its type | 
        10: decode: invalid Protobuf: failed to decode Protobuf message: invalid varint | "#]].assert_eq(&show_without_raw(decoded));
}

#[tokio::test]
async fn what_cannot_be_used_is_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder);
    let check = async |text: &str, name: &str, columns: &[(&str, DataType)]| {
        std::fs::write(&path, text).unwrap();
        let given = [
            ("format", "protobuf"),
            ("proto_file", path.as_str()),
            ("proto_message", name),
        ];
        report(&factory(&given, columns).await.unwrap_err())
            .replace(folder.path().to_str().unwrap(), "")
    };
    expect![[r#"
        error[E0207]: the definition of the messages cannot be used
          detail: there is no message "Ordr"; there are: shop.Order, shop.Order.Line, shop.Order.TagsEntry, shop.Other"#]].assert_eq(&check(PROTO, "Ordr", &[]).await);
    expect![[r#"
        error[E0207]: the definition of the messages cannot be used
          detail: expected an identifier, but found '{'"#]]
    .assert_eq(&check("message {", "Order", &[]).await);
    expect![[r#"
        error[E0207]: the definition of the messages cannot be used
          detail: import 'no.proto' not found"#]]
    .assert_eq(
        &check(
            "syntax = \"proto3\"; import \"no.proto\"; message Order {}",
            "Order",
            &[],
        )
        .await,
    );
    let tree = "syntax = \"proto3\"; message T { T left = 1; int32 id = 2; }";
    expect![[r#"
        error[E0207]: the message T gives no columns
          detail: "T.left" contains itself, which no column can
          hint: declare the columns that are wanted"#]]
    .assert_eq(&check(tree, "T", &[]).await);
    let error = factory(&[("format", "protobuf")], &[]).await.unwrap_err();
    expect![[
        r#"error[E0203]: format 'protobuf' needs the option "schema_registry" or "proto_file""#
    ]]
    .assert_eq(&report(&error));
}

#[tokio::test]
async fn a_type_that_contains_itself_is_read_without_that_field() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder);
    std::fs::write(
        &path,
        "syntax = \"proto3\"; message T { T left = 1; int32 id = 2; }",
    )
    .unwrap();
    let given = [("format", "protobuf"), ("proto_file", path.as_str())];
    let mut decoder = decoder(&given, &[("id", DataType::Int32)]).await;
    let deep = (0..5).fold(b"\x10\x01".to_vec(), |inner, _| {
        [
            &[0x0a, u8::try_from(inner.len()).unwrap()][..],
            &inner,
            b"\x10\x07",
        ]
        .concat()
    });
    assert_eq!(
        decode(&mut *decoder, &[Some(&deep)]).await.batch.num_rows(),
        1
    );
}
