//! Queries and types, without a server.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use expect_test::expect;
use weir_engine::error::codes;

use super::column::{Column, Own};
use super::query;

fn own(name: &str, type_name: &str) -> Own {
    Own {
        name: name.to_owned(),
        type_name: type_name.to_owned(),
        shown: type_name.to_owned(),
        modifier: -1,
    }
}

fn column(name: &str, type_name: &str, declared: DataType) -> Column {
    let field = Arc::new(Field::new(name, declared, true));
    Column::new(field, own(name, type_name)).unwrap()
}

#[test]
fn a_lookup_is_one_query_with_parameters() {
    let keys = [
        column("id", "int4", DataType::Int64),
        column("we\"ird", "uuid", DataType::Utf8),
        column("kind", "color", DataType::Utf8),
        column("price", "numeric", DataType::Decimal128(12, 2)),
    ];
    let columns = [
        column("id", "int4", DataType::Int64),
        column("price", "numeric", DataType::Decimal128(12, 2)),
        column(
            "at",
            "timestamptz",
            DataType::Timestamp(TimeUnit::Microsecond, None),
        ),
        column("doc", "jsonb", DataType::Utf8),
    ];
    expect![[r#"
        SELECT (k.n - 1)::int4, t."id"::int8, round(t."price"::numeric, 2)::text, t."at"::timestamp, t."doc"::text FROM unnest($1, $2, $3, $4) WITH ORDINALITY AS k(k0, k1, k2, k3, n) JOIN "s"."t" AS t ON t."id" = k.k0 AND t."we""ird" = k.k1::uuid AND t."kind"::text = k.k2 AND t."price" = k.k3::numeric
        SELECT t."id"::int8, round(t."price"::numeric, 2)::text, t."at"::timestamp, t."doc"::text FROM "s"."t" AS t"#]]
    .assert_eq(&query::texts("\"s\".\"t\"", &keys, &columns).join("\n"));
}

#[test]
fn types_are_found_and_checked() {
    let numeric = |precision: i32, scale: i32| Own {
        modifier: (precision << 16) + scale + 4,
        ..own("n", "numeric")
    };
    assert_eq!(numeric(12, 2).data_type(), DataType::Decimal128(12, 2));
    assert_eq!(numeric(40, 2).data_type(), DataType::Utf8);
    assert_eq!(own("n", "numeric").data_type(), DataType::Utf8);
    assert_eq!(own("n", "geometry").data_type(), DataType::Utf8);
    let refused = [
        ("int8", DataType::Int32),
        ("text", DataType::Int64),
        ("float8", DataType::Float32),
        ("int4", DataType::UInt32),
        ("timestamp", DataType::Date32),
    ];
    for (type_name, declared) in refused {
        let field = Arc::new(Field::new("c", declared, true));
        let error = Column::new(field, own("c", type_name)).unwrap_err();
        assert_eq!(error.code(), codes::TYPE, "{type_name}");
        assert!(error.message().contains(type_name), "{error}");
    }
}
