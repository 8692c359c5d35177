//! Rules of tables that are there, and sets of rules.

use expect_test::expect;

use super::check;

#[test]
fn rules_are_added_dropped_and_switched() {
    check(
        "CREATE RULE SET pii (CONSTRAINT a EXPECT (x > 0) ON VIOLATION QUARANTINE, CONSTRAINT b EXPECT (y IS NOT NULL));
        ALTER TABLE t ADD RULE SET pii; alter table t add constraint c expect (z) on violation drop row;
        ALTER TABLE t DROP CONSTRAINT a; ALTER TABLE t DROP CONSTRAINT IF EXISTS a; ALTER TABLE t ENABLE CONSTRAINT b;
        ALTER SOURCE t DISABLE CONSTRAINT b; ALTER MATERIALIZED VIEW v DRY RUN CONSTRAINT b;
        CREATE OR REPLACE RULE SET pii (CONSTRAINT a EXPECT (x)); CREATE RULE SET IF NOT EXISTS pii (CONSTRAINT a EXPECT (x));
        DROP RULE SET pii, more; DROP RULE SET IF EXISTS pii; SHOW RULE SETS; SHOW CONSTRAINTS; SHOW CONSTRAINTS FROM t;
        CREATE SOURCE s (rule INT, RULE SET pii, RULE SET more) WITH (connector = 'c');
        CREATE MATERIALIZED VIEW v (rule, RULE SET pii) AS SELECT 1;
        CREATE SINK k (RULE SET pii) WITH (connector = 'c') AS SELECT 1",
        expect![[r#"
            1:1 rule set pii@1:17
              rule a@1:33 (x > 0) @1:42 validity warning 1 quarantine -
              rule b@1:86 (y IS NOT NULL) @1:95 validity warning 1 warn
            2:9 alter t@2:21 set pii@2:36
            2:41 alter t@2:53
              rule c@2:70 (z) @2:79 validity warning 1 drop
            3:9 alter t@3:21 drop a@3:39
            3:42 alter t@3:54 drop if exists a@3:82
            3:85 alter t@3:97 On b@3:117
            4:9 alter t@4:22 Off b@4:43
            4:46 alter v@4:70 DryRun b@4:91
            5:9 rule set pii@5:36 or replace
              rule a@5:52 (x) @5:61 validity warning 1 warn
            5:67 rule set pii@5:97 if not exists
              rule a@5:113 (x) @5:122 validity warning 1 warn
            6:9 drop sets pii, more if_exists=false
            6:34 drop sets pii if_exists=true
            6:63 show RuleSets
            6:79 show Constraints(None)
            6:97 show Constraints(Some(Name { text: "t", place: Some(Place { line: 6, column: 119 }) }))
            7:9 source s@7:23
              column rule INT
              set pii@7:45
              set more@7:59
              connector = "c" @7:83
            8:9 materialized v@8:34
              set pii@8:52 (rule)
              SELECT 1
            9:9 sink k@9:21
              set pii@9:33
              connector = "c" @9:56
              SELECT 1
        "#]],
    );
}

#[test]
fn what_is_wrong_with_them() {
    check(
        "ALTER TABLE t",
        expect![[r#"
        error[E0101]: line 1, column 14: expected ADD CONSTRAINT, ADD RULE SET, or DROP, ENABLE, DISABLE or DRY RUN CONSTRAINT but found the end of the statement
          hint: only rules are altered; replace all else with CREATE OR REPLACE"#]],
    );
    check(
        "ALTER TABLE t ADD COLUMN a INT",
        expect![[r#"
        error[E0101]: line 1, column 15: expected ADD CONSTRAINT, ADD RULE SET, or DROP, ENABLE, DISABLE or DRY RUN CONSTRAINT but found 'ADD'
          hint: only rules are altered; replace all else with CREATE OR REPLACE"#]],
    );
    check(
        "ALTER VIEW t DROP CONSTRAINT a",
        expect![[r#"
        error[E0109]: line 1, column 1: ALTER is not supported in this version
          hint: rules are altered by ALTER TABLE; replace all else with CREATE OR REPLACE"#]],
    );
    check(
        "ALTER TABLE t DRY CONSTRAINT a",
        expect![[r#"
        error[E0101]: line 1, column 15: expected ADD CONSTRAINT, ADD RULE SET, or DROP, ENABLE, DISABLE or DRY RUN CONSTRAINT but found 'DRY'
          hint: only rules are altered; replace all else with CREATE OR REPLACE"#]],
    );
    check(
        "CREATE RULE SET s",
        expect!["error[E0101]: line 1, column 18: expected '(' but found the end of the statement"],
    );
    check(
        "CREATE RULE SET s (a INT)",
        expect!["error[E0101]: line 1, column 20: expected CONSTRAINT but found 'a'"],
    );
    check(
        "CREATE VIEW v (RULE SET s) AS SELECT 1",
        expect![[r#"
        error[E0109]: line 1, column 25: CONSTRAINT of a view that is not materialized is not supported in this version
          hint: put the rule on the source, on a MATERIALIZED VIEW or on the sink"#]],
    );
    check(
        "CREATE SOURCE s (a INT, RULE SET) WITH (connector = 'c')",
        expect!["error[E0101]: line 1, column 33: expected the name of a rule set but found ')'"],
    );
    check(
        "CREATE OR REPLACE RULE SET IF NOT EXISTS s (CONSTRAINT a EXPECT (b))",
        expect!["error[E0101]: line 1, column 19: OR REPLACE and IF NOT EXISTS exclude each other"],
    );
    check(
        "DROP RULE SET",
        expect![
            "error[E0101]: line 1, column 14: expected the name of a rule set but found the end of the statement"
        ],
    );
    check(
        "SHOW RULES",
        expect![[r#"
        error[E0109]: line 1, column 6: SHOW RULES is not supported in this version
          hint: use SHOW CONSTRAINTS, or SHOW CONSTRAINTS FROM table"#]],
    );
    check(
        "CREATE RULE SET s (CONSTRAINT a EXPECT (b), CONSTRAINT a EXPECT (c))",
        expect![[r#"
            error[E0107]: line 1, column 56: the table has two rules called "a"
              hint: rules are counted by their names: give one of them another"#]],
    );
}
