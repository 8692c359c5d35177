//! Raw: the bytes as they are.

use expect_test::expect;

use super::*;

#[tokio::test]
async fn bytes_and_texts() {
    let messages: &[Option<&[u8]>] = &[
        Some(b"a"),
        None,
        Some(b""),
        Some(b"\xff\x01"),
        Some("\u{e4}".as_bytes()),
    ];
    let mut bytes = decoder(&[("format", "raw")], &[]).await;
    expect![[r#"
        +-------+
        | value |
        +-------+
        | 61    |
        |       |
        |       |
        | ff01  |
        | c3a4  |
        +-------+"#]]
    .assert_eq(&show(&decode(&mut *bytes, messages).await));
    let mut text = decoder(&[("format", "raw")], &[("line", DataType::Utf8)]).await;
    expect![[r#"
        +------+
        | line |
        +------+
        | a    |
        |      |
        |      |
        | ä    |
        +------+
        3: decode: invalid UTF-8 at byte 0 | �"#]]
    .assert_eq(&show(&decode(&mut *text, messages).await));
    let mut none = factory(&[("format", "raw")], &[])
        .await
        .unwrap()
        .create(&[])
        .unwrap();
    assert_eq!(decode(&mut *none, messages).await.batch.num_rows(), 5);
}

#[tokio::test]
async fn one_column_of_bytes_or_text() {
    for columns in [
        &[("n", DataType::Int64)][..],
        &[("a", DataType::Utf8), ("b", DataType::Utf8)],
    ] {
        let error = factory(&[("format", "raw")], columns).await.unwrap_err();
        assert_eq!(error.code().0, "E0207");
        let message = "format 'raw' has one column, of type BYTEA or VARCHAR";
        assert_eq!(error.message(), message);
    }
}
