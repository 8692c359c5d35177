//! What cannot run over unbounded input: named, with the reason and the way round.

use datafusion::common::JoinType;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{Expr, LogicalPlan};
use weir_engine::error::{Error, Kind, codes};

fn refuse(what: &str, why: &str, hint: &str) -> Error {
    Error::new(
        Kind::Invalid,
        codes::UNBOUNDED,
        format!("{what} cannot run in streaming mode"),
    )
    .detail(why)
    .hint(hint)
}

const BATCH: &str = "use --mode batch to run it over what is there now";

/// The error for a node of the plan that has no streaming operator.
pub(super) fn node(plan: &LogicalPlan) -> Error {
    match plan {
        LogicalPlan::Sort(_) => refuse(
            "ORDER BY",
            "rows keep coming, so the first one in order is never known",
            "leave ORDER BY out, keep the first rows with ROW_NUMBER() OVER (ORDER BY ...) and a \
             filter row_number <= n, or use --mode batch",
        ),
        LogicalPlan::Limit(_) => refuse(
            "LIMIT",
            "which rows come first depends on their arrival",
            "leave LIMIT out, keep the first rows with ROW_NUMBER() OVER (ORDER BY ...) and a \
             filter row_number <= n, or use --mode batch",
        ),
        LogicalPlan::Join(join)
            if matches!(join.join_type, JoinType::LeftMark | JoinType::RightMark) =>
        {
            refuse(
                "IN or EXISTS within OR, NOT or CASE",
                "only as a condition of its own, or one joined by AND, it is a join",
                "write one query per alternative and put them together with UNION",
            )
        }
        LogicalPlan::Window(_) => refuse(
            "a window function (OVER)",
            "only ANOMALY(...) OVER (...), and ROW_NUMBER() OVER (...) with a filter that asks for the \
             first rows, can run",
            "filter by row_number <= n, aggregate over TUMBLE or HOP, or use --mode batch",
        ),
        LogicalPlan::Unnest(_) => refuse("UNNEST", "it has no streaming operator yet", BATCH),
        LogicalPlan::RecursiveQuery(_) => refuse(
            "WITH RECURSIVE",
            "it reads its input again and again",
            BATCH,
        ),
        LogicalPlan::Subquery(_) => subquery(),
        other => refuse(
            &format!("{}", other.display()),
            "it has no streaming operator yet",
            BATCH,
        ),
    }
}

fn subquery() -> Error {
    refuse(
        "a subquery in an expression",
        "its result changes as rows come",
        BATCH,
    )
}

/// FOR SYSTEM_TIME AS OF over a source that can only be read from its beginning, without an end.
pub(super) fn no_lookup(source: &str, connectors: &str) -> Error {
    refuse(
        &format!("FOR SYSTEM_TIME AS OF PROCTIME() over \"{source}\""),
        "its connector cannot look rows up by key, and it has no end, so it cannot be read whole",
        &format!(
            "connectors that look rows up: {connectors}; or leave FOR SYSTEM_TIME out to join with \
             its rows as they come"
        ),
    )
}

/// A lookup by nothing that a table can be asked for.
pub(super) fn no_lookup_key(source: &str) -> Error {
    refuse(
        &format!("FOR SYSTEM_TIME AS OF PROCTIME() over \"{source}\" without a key"),
        "rows are looked up by columns of the table as they stand",
        "add ON left.expression = table.column to the join; conditions of other forms may follow \
         with AND",
    )
}

/// A lookup join that keeps rows of the table that nobody asks for.
pub(super) fn lookup_outer() -> Error {
    refuse(
        "RIGHT or FULL JOIN with FOR SYSTEM_TIME AS OF PROCTIME()",
        "the table is only asked for the rows of the other side: those that nobody asks for are \
         not known",
        "use JOIN or LEFT JOIN, with the table on the right side",
    )
}

/// A lookup join whose keys may be equal as NULLs.
pub(super) fn lookup_of_null() -> Error {
    refuse(
        "IS NOT DISTINCT FROM with FOR SYSTEM_TIME AS OF PROCTIME()",
        "a table is asked for values, not for NULL",
        "compare the keys with =",
    )
}

/// A lookup for rows that change.
pub(super) fn lookup_of_changes() -> Error {
    refuse(
        "FOR SYSTEM_TIME AS OF PROCTIME() for rows that are updated",
        "the table may say something else when a row is taken back than when it came",
        "look up before the rows are aggregated, or leave FOR SYSTEM_TIME out to join with the \
         table as it is at the start",
    )
}

/// FOR SYSTEM_TIME AS OF where no row asks.
pub(super) fn lookup_alone() -> Error {
    refuse(
        "FOR SYSTEM_TIME AS OF PROCTIME() here",
        "a table is looked up for the rows of the other side of a join",
        "write it behind the right side of JOIN or LEFT JOIN",
    )
}

/// NOT IN over keys that may be null.
pub(super) fn not_in() -> Error {
    refuse(
        "NOT IN over a column that may be null",
        "one null among the values would take back all rows",
        "use NOT EXISTS (SELECT 1 FROM ... WHERE b.key = a.key), or declare both columns NOT NULL",
    )
}

/// GROUP BY of several sets at once.
pub(super) fn grouping_sets() -> Error {
    refuse(
        "GROUPING SETS, CUBE or ROLLUP",
        "it has no streaming operator yet",
        "write one INSERT per set of keys, or use --mode batch",
    )
}

/// GROUP BY window_start alone, where several windows share their start.
pub(super) fn shared_start(windows: &str) -> Error {
    refuse(
        &format!("GROUP BY window_start alone over {windows}"),
        "several windows have the same start",
        "add window_end to GROUP BY",
    )
}

/// EMIT ON WINDOW CLOSE over an aggregate that has no windows.
pub(super) fn never_closes() -> Error {
    refuse(
        "EMIT ON WINDOW CLOSE without a window",
        "rows keep coming, so the result of the aggregate is never final",
        "leave EMIT out, or aggregate over windows: FROM TUMBLE(table, time, INTERVAL '1 minute') \
         GROUP BY window_start, window_end",
    )
}

/// EMIT over a query that aggregates nothing.
pub(super) fn nothing_to_emit(emit: &str) -> Error {
    refuse(
        &format!("{emit} without an aggregate"),
        "rows that are not aggregated come out as they come",
        "leave EMIT out",
    )
}

/// Expressions that are queries themselves.
pub(super) fn expressions(plan: &LogicalPlan) -> Result<(), Error> {
    let mut found = false;
    for expr in plan.expressions() {
        let walked = datafusion::common::tree_node::TreeNode::apply(&expr, |inner| {
            if matches!(
                inner,
                Expr::ScalarSubquery(_)
                    | Expr::InSubquery(_)
                    | Expr::Exists(_)
                    | Expr::OuterReferenceColumn(..)
            ) {
                found = true;
                return Ok(TreeNodeRecursion::Stop);
            }
            Ok(TreeNodeRecursion::Continue)
        });
        walked?;
    }
    if found { Err(subquery()) } else { Ok(()) }
}

/// A window over a column whose progress nobody knows.
pub(super) fn not_event_time(column: &str, spec: &str) -> Error {
    Error::new(
        Kind::Invalid,
        codes::UNBOUNDED,
        format!("{spec} needs a watermark: \"{column}\" is not the watermark column of its source"),
    )
    .detail("without a watermark nothing says when a window is complete")
    .hint(format!(
        "add WATERMARK FOR {column} AS {column} - INTERVAL '5 seconds' to CREATE SOURCE, \
         and use that column as it is"
    ))
}

/// A window over rows that change.
pub(super) fn window_of_changes(spec: &str) -> Error {
    refuse(
        &format!("{spec} over rows that are updated"),
        "a window that is closed cannot take changes in",
        "put the rows of the sources into windows, and aggregate or join those",
    )
}

/// Anomalies among rows that change.
pub(super) fn anomalies_of_changes() -> Error {
    refuse(
        "ANOMALY over rows that are updated",
        "a model cannot forget what it has learned from a row that is taken back",
        "aggregate over windows, FROM TUMBLE(table, time, INTERVAL '1 minute'), and judge those",
    )
}

/// Anomalies in the order of the starts of sessions.
pub(super) fn anomalies_by_session_start() -> Error {
    refuse(
        "ANOMALY in the order of window_start over SESSION",
        "sessions end in another order than they start, at any distance",
        "write ORDER BY window_end",
    )
}

/// Rows of sessions that would change after they came out.
pub(super) fn late_rows_of_sessions() -> Error {
    refuse(
        "SESSION with allowed_lateness whose rows are not aggregated by its own windows and keys",
        "a late row can make other sessions of rows that have come out",
        "GROUP BY window_start, window_end and the keys of SESSION at once, with a filter inside: \
         FROM SESSION((SELECT * FROM t WHERE ...), ts, gap, key); or leave allowed_lateness out",
    )
}

/// A window over the start of windows that its own windows cut in two.
pub(super) fn cut_windows(inner: &str, outer: &str) -> Error {
    Error::new(
        Kind::Invalid,
        codes::UNBOUNDED,
        format!("{outer} over window_start cuts the windows of {inner} in two"),
    )
    .detail("rows would come after their window is closed")
    .hint("make the outer windows whole multiples of the inner ones, or use --mode batch")
}
