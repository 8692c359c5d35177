//! How many rows a source seems to have chooses the plan of a batch query, and never its answer.

use std::fmt::Write as _;

use super::*;
use expect_test::expect;

/// Two tables of three rows each, which seem to have so many.
fn tables(left: Option<u64>, right: Option<u64>) -> String {
    let mut text = String::new();
    for (name, rows) in [("l", left), ("r", right)] {
        let estimate = rows.map_or(String::new(), |rows| format!(", estimate = '{rows}'"));
        write!(
            text,
            r#"CREATE SOURCE {name} (id BIGINT, {name}_text VARCHAR) WITH (connector = 'memory', rows = '
                {{"id": 1, "{name}_text": "a"}}
                {{"id": 2, "{name}_text": "b"}}
                {{"id": 2, "{name}_text": null}}'{estimate});"#
        )
        .unwrap();
    }
    text
}

const JOIN: &str = "EXPLAIN SELECT l_text, r_text FROM l JOIN r USING (id)";

#[test]
fn nothing_known_is_partitioned_as_written() {
    check(
        &format!("{}{JOIN}", tables(None, None)),
        expect![[r#"
        +-----------------------------------------------------------------------------------------------------------+
        | plan                                                                                                      |
        +-----------------------------------------------------------------------------------------------------------+
        | Result                                                                                                    |
        |   Island (DataFusion) [x2]                                                                                |
        |     | HashJoinExec: mode=Partitioned, join_type=Inner, on=[(id@0, id@0)], projection=[l_text@1, r_text@3] |
        |     |   RepartitionExec: partitioning=Hash([id@0], 2), input_partitions=2                                 |
        |     |     ScanExec: l, memory columns=[id, l_text]                                                        |
        |     |   RepartitionExec: partitioning=Hash([id@0], 2), input_partitions=2                                 |
        |     |     ScanExec: r, memory columns=[id, r_text]                                                        |
        +-----------------------------------------------------------------------------------------------------------+"#]],
    );
}

#[test]
fn the_small_side_is_built_and_each_partition_probes_it() {
    check(
        &format!("{}{JOIN}", tables(Some(10_000_000), Some(10))),
        expect![[r#"
            +-----------------------------------------------------------------------------------------------------------+
            | plan                                                                                                      |
            +-----------------------------------------------------------------------------------------------------------+
            | Result                                                                                                    |
            |   Island (DataFusion) [x2]                                                                                |
            |     | HashJoinExec: mode=CollectLeft, join_type=Inner, on=[(id@0, id@0)], projection=[l_text@3, r_text@1] |
            |     |   CoalescePartitionsExec                                                                            |
            |     |     ScanExec: r, memory columns=[id, r_text]                                                        |
            |     |   ScanExec: l, memory columns=[id, l_text]                                                          |
            +-----------------------------------------------------------------------------------------------------------+"#]],
    );
}

#[test]
fn of_two_large_sides_the_smaller_is_built() {
    check(
        &format!("{}{JOIN}", tables(Some(20_000_000), Some(10_000_000))),
        expect![[r#"
            +-----------------------------------------------------------------------------------------------------------+
            | plan                                                                                                      |
            +-----------------------------------------------------------------------------------------------------------+
            | Result                                                                                                    |
            |   Island (DataFusion) [x2]                                                                                |
            |     | HashJoinExec: mode=Partitioned, join_type=Inner, on=[(id@0, id@0)], projection=[l_text@3, r_text@1] |
            |     |   RepartitionExec: partitioning=Hash([id@0], 2), input_partitions=2                                 |
            |     |     ScanExec: r, memory columns=[id, r_text]                                                        |
            |     |   RepartitionExec: partitioning=Hash([id@0], 2), input_partitions=2                                 |
            |     |     ScanExec: l, memory columns=[id, l_text]                                                        |
            +-----------------------------------------------------------------------------------------------------------+"#]],
    );
}

/// The estimate says that all ids are 0, too.
#[test]
fn a_wrong_estimate_changes_no_answer() {
    let queries = [
        "SELECT count(*), count(id), count(DISTINCT id), min(id), max(id), sum(id) FROM l",
        "SELECT count(*), count(DISTINCT id), count(DISTINCT l_text) FROM l WHERE id > 1",
        "SELECT count(*), min(id), max(id) FROM l WHERE id > 0 AND id < 2",
        "SELECT id, count(*) FROM l WHERE id >= 0 GROUP BY id ORDER BY id",
        "SELECT id, l_text FROM l WHERE id >= 0 AND id <= 2 ORDER BY id DESC, l_text LIMIT 2",
        "SELECT l.id, l_text, r_text FROM l JOIN r ON l.id = r.id ORDER BY 1, 2, 3",
        "SELECT l.id, r_text FROM l LEFT JOIN r ON l.id = r.id AND r_text = 'a' ORDER BY 1, 2",
        "SELECT l.id, r.id FROM l FULL JOIN r ON l.id = r.id + 1 ORDER BY 1, 2",
        "SELECT id FROM l WHERE id IN (SELECT id FROM r WHERE r_text = 'b') ORDER BY 1",
        "SELECT id FROM l WHERE id NOT IN (SELECT id FROM r WHERE r_text = 'b') ORDER BY 1",
        "SELECT count(*) FROM l, r WHERE l.id < r.id",
        "SELECT (SELECT max(id) FROM r) AS most, count(*) FROM l",
    ];
    let huge = u64::try_from(usize::MAX).unwrap();
    let estimates = [(0, 0), (0, huge), (1, 1), (1_000_000, 0), (huge, huge)];
    block_on(async {
        let answers = async |left, right| {
            let mut session = session(2);
            execute(&mut session, &tables(left, right)).await.unwrap();
            let mut answers = Vec::new();
            for query in queries {
                answers.push(execute(&mut session, query).await.unwrap());
            }
            answers
        };
        let expected = answers(None, None).await;
        for (left, right) in estimates {
            let found = answers(Some(left), Some(right)).await;
            for (query, (found, expected)) in queries.iter().zip(found.iter().zip(&expected)) {
                assert_eq!(found, expected, "{query} with {left} and {right} rows");
            }
        }
    });
}
