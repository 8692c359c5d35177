//! Options: what is accepted, and how errors read.

use expect_test::{Expect, expect};

use super::*;

const SPECS: &[OptionSpec] = &[
    OptionSpec::required("path", OptionKind::Text, "where"),
    OptionSpec::default(
        "format",
        OptionKind::OneOf(&["parquet", "csv"]),
        "parquet",
        "what",
    ),
    OptionSpec::optional("roll_size", OptionKind::Bytes, "how large"),
    OptionSpec::optional("watch", OptionKind::Bool, "go on"),
    OptionSpec::optional("every", OptionKind::Duration, "how often"),
];

fn given(pairs: &[(&str, &str)]) -> Result<Options> {
    let value = |text: &str| OptionValue {
        text: text.into(),
        place: Some(Place { line: 3, column: 7 }),
    };
    let given = pairs
        .iter()
        .map(|(name, text)| ((*name).to_owned(), value(text)))
        .collect();
    Options::check("connector 'file'", &[SPECS], given)
}

fn check(pairs: &[(&str, &str)], expect: Expect) {
    expect.assert_eq(&given(pairs).unwrap_err().report(Some("a.sql")));
}

#[test]
fn values_are_read_in_their_form() {
    let options = given(&[
        ("path", "x"),
        ("roll_size", "2MiB"),
        ("watch", "on"),
        ("every", "1.5 minutes"),
    ])
    .unwrap();
    assert_eq!(options.bytes("roll_size"), Some(2 << 20));
    assert!(options.bool("watch"));
    assert_eq!(options.duration("every"), Some(Duration::from_secs(90)));
    assert_eq!(options.text("format"), Some("parquet"));
    assert!(!options.is_given("format"));
}

#[test]
fn sizes_and_times() {
    for (text, bytes) in [
        ("1", 1),
        ("1KB", 1000),
        ("1 kib", 1024),
        ("0.5GB", 500_000_000),
    ] {
        assert_eq!(parse_bytes(text), Some(bytes), "{text}");
    }
    for text in ["", "MB", "-1MB", "1XB", "1e99TB", "99999999999TB"] {
        assert_eq!(parse_bytes(text), None, "{text}");
    }
    assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
    for text in ["", "5", "5 parsecs", "-1s"] {
        assert_eq!(parse_duration(text), None, "{text}");
    }
}

#[test]
fn errors_name_the_option_the_place_and_the_nearest() {
    check(
        &[("path", "x"), ("rol_size", "1")],
        expect![[r#"
            error[E0202]: a.sql:3:7: connector 'file' has no option "rol_size"
              hint: did you mean "roll_size"?"#]],
    );
    check(
        &[],
        expect![[r#"
            error[E0203]: a.sql: connector 'file' needs the option "path"
              hint: path = '...': where"#]],
    );
    check(
        &[("path", "x"), ("format", "parket")],
        expect![[r#"
            error[E0203]: a.sql:3:7: option "format" of connector 'file': 'parket' is not one of parquet, csv
              hint: did you mean "parquet"?"#]],
    );
    check(
        &[("path", "x"), ("roll_size", "big")],
        expect![[r#"
            error[E0203]: a.sql:3:7: option "roll_size" of connector 'file': 'big' is not a size such as 512KB, 128MB or 2GB"#]],
    );
}
