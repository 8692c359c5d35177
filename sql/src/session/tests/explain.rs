//! Graphs of inserts.

use super::{check, check_graph};
use expect_test::expect;

#[test]
fn a_stateless_query_streams() {
    check_graph(
        2,
        "SET pipeline.mode = 'streaming';
         INSERT INTO lake SELECT id, amount * 2 AS twice FROM orders WHERE status = 'open'",
        expect![[r#"
            streaming
            Sink lake: memory (id Int64, twice Float64) [x2]
              Filter [status@1 = open] Project [id@0, amount@2 * 2] [x2] -> forward
                Source orders: memory columns=[id, status, amount] watermark=[ts - INTERVAL '5 seconds'] [x2] -> forward
        "#]],
    );
}

#[test]
fn a_stateless_query_is_an_island_in_batch() {
    check_graph(
        2,
        "INSERT INTO lake SELECT id, amount * 2 AS twice FROM orders WHERE status = 'open'",
        expect![[r#"
            batch
            Sink lake: memory (id Int64, twice Float64) [x2]
              Island (DataFusion) [x2] -> forward
                | ProjectionExec: expr=[id@0 as id, amount@1 * 2 as twice]
                |   FilterExec: status@1 = open, projection=[id@0, amount@2]
                |     ScanExec: orders, memory columns=[id, status, amount]
        "#]],
    );
}

#[test]
fn a_window_aggregation_has_two_phases() {
    check_graph(
        2,
        "SET pipeline.mode = 'streaming';
         INSERT INTO lake
         SELECT window_start, status, count(*) AS n, sum(amount) FILTER (WHERE id > 1) AS total
         FROM TUMBLE(orders, ts, INTERVAL '1 minute')
         WHERE amount > 0
         GROUP BY window_start, window_end, status
         HAVING count(*) > 1",
        expect![[r#"
            streaming
            Sink lake: memory (window_start Timestamp(µs)!, status Utf8, n Int64!, total Float64) [x2]
              Filter [count(Int64(1))@3 > 1] Project [window_start@0, status@2, count(Int64(1))@3, sum(orders.amount) FILTER (WHERE orders.id > Int64(1))@4] [x2] -> forward
                WindowAggregate final TUMBLE(1min) on ts keys [status] aggregates [count(1), sum(orders.amount) FILTER (WHERE orders.id > Int64(1)) FILTER (id@0 > 1)] [x2] -> forward
                  WindowAggregate local TUMBLE(1min) on ts keys [status] aggregates [count(1), sum(orders.amount) FILTER (WHERE orders.id > Int64(1)) FILTER (id@0 > 1)] [x2] -> hash(status@1)
                    Filter [amount@2 > 0] [x2] -> forward
                      Source orders: memory columns=[id, status, amount, ts] watermark=[ts - INTERVAL '5 seconds'] [x2] -> forward
        "#]],
    );
}

#[test]
fn the_same_in_batch_is_an_island() {
    check_graph(
        2,
        "INSERT INTO lake
         SELECT window_end, count(DISTINCT status) AS n
         FROM HOP(orders, DESCRIPTOR(ts), INTERVAL '1 minute', INTERVAL '5 minutes')
         GROUP BY window_end",
        expect![[r#"
            batch
            Sink lake: memory (window_end Timestamp(µs)!, n Int64!) [x2]
              Island (DataFusion) [x2] -> forward
                | ProjectionExec: expr=[window_end@0 as window_end, count(alias1)@1 as n]
                |   AggregateExec: mode=FinalPartitioned, gby=[window_end@0 as window_end], aggr=[count(alias1)]
                |     RepartitionExec: partitioning=Hash([window_end@0], 2), input_partitions=2
                |       AggregateExec: mode=Partial, gby=[window_end@0 as window_end], aggr=[count(alias1)]
                |         AggregateExec: mode=FinalPartitioned, gby=[window_end@0 as window_end, alias1@1 as alias1], aggr=[]
                |           RepartitionExec: partitioning=Hash([window_end@0, alias1@1], 2), input_partitions=2
                |             AggregateExec: mode=Partial, gby=[window_end@1 as window_end, status@0 as alias1], aggr=[]
                |               ProjectionExec: expr=[status@0 as status, window_end@3 as window_end]
                |                 WindowExec: HOP(1min, 5min) over ts
                |                   ScanExec: orders, memory columns=[status, ts]
        "#]],
    );
}

#[test]
fn in_batch_the_window_operator_needs_splits_that_know_their_lows() {
    check_graph(
        2,
        "CREATE SOURCE known (status VARCHAR, ts TIMESTAMP, WATERMARK FOR ts AS ts)
         WITH (connector = 'memory', lows = 'true', rows = '');
         INSERT INTO lake
         SELECT window_end, count(DISTINCT status) AS n
         FROM HOP(known, DESCRIPTOR(ts), INTERVAL '1 minute', INTERVAL '5 minutes')
         GROUP BY window_end",
        expect![[r#"
            batch
            Sink lake: memory (window_end Timestamp(µs)!, n Int64!) [x1]
              Project [window_end@0, count(DISTINCT known.status)@1] [x1] -> forward
                WindowAggregate final HOP(1min, 5min) on ts aggregates [count(DISTINCT known.status)] [x1] -> forward
                  WindowAggregate local HOP(1min, 5min) on ts aggregates [count(DISTINCT known.status)] [x2] -> rebalance
                    Source known: memory columns=[status, ts] watermark=[ts] [x2] -> forward
        "#]],
    );
}

#[test]
fn one_subtask_needs_one_phase() {
    check_graph(
        1,
        "SET pipeline.mode = 'streaming';
         INSERT INTO lake
         SELECT window_start, upper(status) AS status, avg(amount + 1) AS mean, max(amount + 1) AS most
         FROM TUMBLE((SELECT * FROM orders WHERE id > 0), ts, INTERVAL '1 minute', INTERVAL '10 seconds') AS t
         GROUP BY window_start, upper(status)",
        expect![[r#"
            streaming
            Sink lake: memory (window_start Timestamp(µs)!, status Utf8, mean Float64, most Float64) [x1]
              Project [window_start@0, upper(t.status)@1, avg(t.amount + Int64(1))@2, max(t.amount + Int64(1))@3] [x1] -> forward
                WindowAggregate TUMBLE(1min, offset 10s) on ts keys [upper(t.status)] aggregates [avg(__common_expr_1), max(__common_expr_1)] [x1] -> forward
                  Filter [id@0 > 0] Project [amount@2 + 1, status@1, ts@3] [x1] -> forward
                    Source orders: memory columns=[id, status, amount, ts] watermark=[ts - INTERVAL '5 seconds'] [x1] -> forward
        "#]],
    );
}

#[test]
fn windows_alone_replicate_rows() {
    check_graph(
        2,
        "SET pipeline.mode = 'streaming';
         INSERT INTO lake
         SELECT id, window_start FROM CUMULATE(orders, ts, INTERVAL '1 minute', INTERVAL '1 hour')
         WHERE window_end > TIMESTAMP '2024-01-01 00:00:00'",
        expect![[r#"
            streaming
            Sink lake: memory (id Int64, window_start Timestamp(µs)!) [x2]
              Filter [window_end@3 > 1704067200000000] Project [id@0, window_start@2] [x2] -> forward
                Window CUMULATE(1min, 1h) on ts [x2] -> forward
                  Source orders: memory columns=[id, ts] watermark=[ts - INTERVAL '5 seconds'] [x2] -> forward
        "#]],
    );
}

#[test]
fn windowed_rows_are_aggregated_again() {
    check_graph(
        2,
        "SET pipeline.mode = 'streaming';
         CREATE VIEW per_status AS
         SELECT window_start AS ws, window_end AS we, status, count(*) AS n
         FROM TUMBLE(orders, ts, INTERVAL '1 minute') GROUP BY window_start, window_end, status;
         INSERT INTO lake SELECT ws, max(n) AS most FROM per_status GROUP BY ws",
        expect![[r#"
            streaming
            Sink lake: memory (ws Timestamp(µs)!, most Int64) [x1]
              Project [ws@0, max(per_status.n)@1] [x1] -> forward
                WindowAggregate final by window_start, window_end aggregates [max(per_status.n)] [x1] -> forward
                  WindowAggregate local by window_start, window_end aggregates [max(per_status.n)] [x2] -> rebalance
                    WindowAggregate final TUMBLE(1min) on ts keys [status] aggregates [count(1)] [x2] -> forward
                      WindowAggregate local TUMBLE(1min) on ts keys [status] aggregates [count(1)] [x2] -> hash(status@1)
                        Source orders: memory columns=[status, ts] watermark=[ts - INTERVAL '5 seconds'] [x2] -> forward
        "#]],
    );
}

#[test]
fn windows_roll_up_into_longer_ones() {
    check_graph(
        1,
        "SET pipeline.mode = 'streaming';
         CREATE VIEW minutes AS
         SELECT window_start AS ws, status, count(*) AS n
         FROM TUMBLE(orders, ts, INTERVAL '1 minute') GROUP BY window_start, status;
         INSERT INTO lake
         SELECT window_start, status, sum(n) AS n FROM TUMBLE(minutes, ws, INTERVAL '1 hour')
         GROUP BY window_start, status",
        expect![[r#"
            streaming
            Sink lake: memory (window_start Timestamp(µs)!, status Utf8, n Int64) [x1]
              Project [window_start@0, status@1, sum(minutes.n)@2] [x1] -> forward
                WindowAggregate TUMBLE(1h) on window_start keys [status] aggregates [sum(minutes.n)] [x1] -> forward
                  WindowAggregate TUMBLE(1min) on ts keys [status] aggregates [count(1)] [x1] -> forward
                    Source orders: memory columns=[status, ts] watermark=[ts - INTERVAL '5 seconds'] [x1] -> forward
        "#]],
    );
}

#[test]
fn unions_and_sinks_with_one_subtask() {
    check_graph(
        2,
        "SET pipeline.mode = 'streaming';
         CREATE SINK one WITH (connector = 'memory', single = 'true');
         INSERT INTO one SELECT id, 'a' AS kind FROM orders UNION ALL SELECT id, name FROM customers;
         INSERT INTO one VALUES (1, 'x')",
        expect![[r#"
            streaming
            Sink one: memory (id Int64, kind Utf8) [x1]
              Union [x2] -> rebalance
                Union [x2] -> forward
                  Project [id@0, a] [x2] -> forward
                    Source orders: memory columns=[id] watermark=[ts - INTERVAL '5 seconds'] [x2] -> forward
                  Project [id@0, name@1] [x2] -> forward
                    Source customers: memory columns=[id, name] [x2] -> forward
                Project [column1@0, column2@1] [x1] -> rebalance
                  Island (DataFusion) [x1] -> forward
                    | DataSourceExec: partitions=1, partition_sizes=[1]
        "#]],
    );
}

#[test]
fn partitions_are_computed() {
    check_graph(
        1,
        "SET pipeline.mode = 'streaming';
         CREATE SINK parts WITH (connector = 'memory', partition_by = 'date(ts), status, id % 10 AS bucket')
         AS SELECT id, status, ts FROM orders",
        expect![[r#"
            streaming
            Sink parts: memory (id Int64, status Utf8, ts Timestamp(µs), date Date32, bucket Int64) by [date, status, bucket] [x1]
              Project [id@0, status@1, ts@2, CAST(ts@2 AS Date32), id@0 % 10] [x1] -> forward
                Source orders: memory columns=[id, status, ts] watermark=[ts - INTERVAL '5 seconds'] [x1] -> forward
        "#]],
    );
}

#[test]
fn a_query_is_explained() {
    check(
        "EXPLAIN SELECT count(*) FROM orders JOIN customers USING (id)",
        expect![[r#"
        +-------------------------------------------------------------------------------------------------+
        | plan                                                                                            |
        +-------------------------------------------------------------------------------------------------+
        | Result                                                                                          |
        |   Island (DataFusion) [x1]                                                                      |
        |     | ProjectionExec: expr=[count(Int64(1))@0 as count(*)]                                      |
        |     |   AggregateExec: mode=Final, gby=[], aggr=[count(Int64(1))]                               |
        |     |     CoalescePartitionsExec                                                                |
        |     |       AggregateExec: mode=Partial, gby=[], aggr=[count(Int64(1))]                         |
        |     |         HashJoinExec: mode=Partitioned, join_type=Inner, on=[(id@0, id@0)], projection=[] |
        |     |           RepartitionExec: partitioning=Hash([id@0], 2), input_partitions=2               |
        |     |             ScanExec: orders, memory columns=[id]                                         |
        |     |           RepartitionExec: partitioning=Hash([id@0], 2), input_partitions=2               |
        |     |             ScanExec: customers, memory columns=[id]                                      |
        +-------------------------------------------------------------------------------------------------+"#]],
    );
}
