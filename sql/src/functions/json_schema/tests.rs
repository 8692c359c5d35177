//! Keyword by keyword: values that a schema describes, and values that it does not.

use super::compile::Schema;

fn check(schema: &str, good: &[&str], bad: &[&str]) {
    let read = Schema::read(schema).unwrap();
    for text in good {
        assert!(read.describes(text), "{schema} {text}");
    }
    for text in bad.iter().chain(&["{", ""]) {
        assert!(!read.describes(text), "{schema} {text}");
    }
}

#[test]
fn values() {
    check("true", &["1", "null"], &[]);
    check("false", &[], &["1", "null"]);
    check(
        r#"{"type": "integer"}"#,
        &["1", "1.0", "-3"],
        &["1.5", "\"1\"", "null"],
    );
    check(
        r#"{"type": ["string", "null"]}"#,
        &["\"a\"", "null"],
        &["1", "[]"],
    );
    check(
        r#"{"enum": [1, "a", {"b": [1]}]}"#,
        &["1.0", "\"a\"", "{\"b\":[1]}"],
        &["2", "{\"b\":[2]}"],
    );
    check(r#"{"const": null}"#, &["null"], &["0"]);
    check(
        r#"{"minimum": 1, "exclusiveMaximum": 3}"#,
        &["1", "2.9", "\"x\""],
        &["0.9", "3"],
    );
    check(
        r#"{"exclusiveMinimum": 1, "maximum": 3}"#,
        &["1.1", "3"],
        &["1", "3.1"],
    );
    check(r#"{"multipleOf": 0.01}"#, &["0.07", "19.99"], &["0.075"]);
    check(
        r#"{"minLength": 2, "maxLength": 3}"#,
        &["\"äö\"", "1"],
        &["\"ä\"", "\"abcd\""],
    );
    check(r#"{"pattern": "^a+$"}"#, &["\"aa\"", "1"], &["\"ab\""]);
    check(
        r#"{"format": "date"}"#,
        &["\"2026-02-28\""],
        &["\"2026-02-30\""],
    );
    check(r#"{"format": "colour"}"#, &["\"anything\""], &[]);
}

#[test]
fn objects_and_lists() {
    let person = r#"{"type": "object", "required": ["id"], "additionalProperties": false,
        "properties": {"id": {"type": "integer"}, "mail": {"format": "email"}},
        "patternProperties": {"^x-": {"type": "string"}}}"#;
    check(
        person,
        &[r#"{"id": 1}"#, r#"{"id": 1, "mail": "a@b.co", "x-y": "z"}"#],
        &[
            "{}",
            r#"{"id": "1"}"#,
            r#"{"id": 1, "mail": "a"}"#,
            r#"{"id": 1, "x-y": 2}"#,
            r#"{"id": 1, "o": 2}"#,
            "[]",
        ],
    );
    check(
        r#"{"dependentRequired": {"a": ["b"]}}"#,
        &["{}", r#"{"a":1,"b":2}"#],
        &[r#"{"a":1}"#],
    );
    check(
        r#"{"propertyNames": {"maxLength": 1}, "maxProperties": 1}"#,
        &[r#"{"a":1}"#],
        &[r#"{"ab":1}"#, r#"{"a":1,"b":1}"#],
    );
    check(
        r#"{"items": {"type": "number"}, "minItems": 1, "uniqueItems": true}"#,
        &["[1, 2]"],
        &["[]", "[\"a\"]", "[1, 1.0]"],
    );
    check(
        r#"{"prefixItems": [{"type": "string"}], "items": false}"#,
        &["[\"a\"]", "[]"],
        &["[1]", "[\"a\", 1]"],
    );
    check(
        r#"{"contains": {"const": 1}, "maxContains": 1}"#,
        &["[1, 2]"],
        &["[2]", "[1, 1]"],
    );
}

#[test]
fn combinations_and_references() {
    check(
        r#"{"anyOf": [{"type": "string"}, {"minimum": 5}]}"#,
        &["\"a\"", "6"],
        &["4"],
    );
    check(
        r#"{"oneOf": [{"minimum": 1}, {"minimum": 5}]}"#,
        &["4"],
        &["0", "6"],
    );
    check(
        r#"{"allOf": [{"minimum": 1}, {"not": {"const": 3}}]}"#,
        &["4"],
        &["0", "3"],
    );
    check(
        r#"{"if": {"type": "string"}, "then": {"minLength": 1}, "else": {"type": "null"}}"#,
        &["\"a\"", "null"],
        &["\"\"", "1"],
    );
    let tree = r##"{"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "required": ["v"],
        "properties": {"next": {"$ref": "#/$defs/node"}}}}}"##;
    check(
        tree,
        &[r#"{"v":1,"next":{"v":2}}"#],
        &[r#"{"v":1,"next":{}}"#],
    );
    // What only refers to itself ends.
    check(r##"{"$ref": "#"}"##, &[], &["1"]);
}

#[test]
fn schemas_that_are_none() {
    for (schema, told) in [
        ("{", "no JSON"),
        ("7", "is no schema"),
        (r#"{"type": 7}"#, "\"type\": 7 is no type"),
        (
            r#"{"properties": {"a": {"type": "text"}}}"#,
            "text is no type",
        ),
        (r#"{"pattern": "("}"#, "no regular expression"),
        (r##"{"$ref": "#/$defs/a"}"##, "there is no #/$defs/a"),
        (r#"{"$ref": "https://example.org/a"}"#, "nothing is fetched"),
        (r#"{"unevaluatedProperties": false}"#, "not supported"),
        (r#"{"minLength": "1"}"#, "is no number"),
        (r#"{"multipleOf": 0}"#, "greater than 0"),
    ] {
        let why = Schema::read(schema).unwrap_err();
        assert!(why.contains(told), "{schema}: {why}");
    }
}
