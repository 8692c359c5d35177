//! Values of settings are checked, and flags beat SET.

use super::*;
use expect_test::{Expect, expect};

fn check(name: &str, value: &str, expected: Expect) {
    let mut settings = Settings::default();
    let text = match settings.set(name, value) {
        Ok(()) => settings.value(name).unwrap().to_owned(),
        Err(error) => error.report(None),
    };
    expected.assert_eq(&text);
}

#[test]
fn values_are_checked() {
    check("pipeline.mode", "Streaming", expect!["Streaming"]);
    check(
        "pipeline.mod",
        "batch",
        expect![[r#"
            error[E0112]: unknown setting "pipeline.mod"
              hint: did you mean "pipeline.mode"?"#]],
    );
    check(
        "pipeline.memory",
        "1MB",
        expect![[
            r#"error[E0112]: setting "pipeline.memory": '1MB' is not a size such as 512MB or 2GB, from 16MiB"#
        ]],
    );
    check(
        "pipeline.parallelism",
        "0",
        expect![[
            r#"error[E0112]: setting "pipeline.parallelism": '0' is not a whole number from 1 to 256"#
        ]],
    );
}

#[test]
fn a_flag_beats_set() {
    let mut settings = Settings::default();
    settings.fix("pipeline.parallelism", "3").unwrap();
    settings.set("pipeline.parallelism", "5").unwrap();
    assert_eq!(settings.parallelism(), 3);
    assert!(settings.set("pipeline.parallelism", "x").is_err());
}
