-- An issue is a stretch of results of one rule, and segment, that do not hold: opened by the first, resolved by
-- the next that holds. A dry run opens none.
WITH epochs AS (
    SELECT pipeline, run, epoch, min(recorded_at) AS told_at
    FROM weir.quality_results
    WHERE passed IS NOT NULL AND dry_run IS NOT TRUE
    GROUP BY pipeline, run, epoch
),
-- Not by OVER, which would hold all rows of an epoch at once.
results AS (
    SELECT r.*, e.told_at
    FROM weir.quality_results r JOIN epochs e
        ON r.pipeline = e.pipeline AND r.run = e.run AND r.epoch = e.epoch
    WHERE r.passed IS NOT NULL AND r.dry_run IS NOT TRUE
),
told AS (
    SELECT *, sum(CASE WHEN passed THEN 1 ELSE 0 END) OVER (
        PARTITION BY pipeline, table_name, rule, segment
        ORDER BY told_at, pane_start NULLS FIRST, recorded_at
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS stretch
    FROM results
),
bad AS (
    SELECT pipeline, table_name, rule, segment, stretch,
        min(told_at) AS opened_at, max(told_at) AS last_seen_at,
        min(pane_start) AS pane_start, max(pane_end) AS pane_end,
        count(*) AS results, sum(violated) AS violated,
        last_value(dimension ORDER BY told_at, pane_start NULLS FIRST, recorded_at) AS dimension,
        last_value(severity ORDER BY told_at, pane_start NULLS FIRST, recorded_at) AS severity,
        last_value(scope ORDER BY told_at, pane_start NULLS FIRST, recorded_at) AS scope,
        last_value(expectation ORDER BY told_at, pane_start NULLS FIRST, recorded_at) AS expectation,
        last_value(observed ORDER BY told_at, pane_start NULLS FIRST, recorded_at) AS observed,
        last_value(samples ORDER BY told_at, pane_start NULLS FIRST, recorded_at) AS samples
    FROM told WHERE NOT passed
    GROUP BY pipeline, table_name, rule, segment, stretch
),
good AS (
    SELECT pipeline, table_name, rule, coalesce(segment, '') AS segment, stretch,
        min(told_at) AS resolved_at
    FROM told WHERE passed
    GROUP BY pipeline, table_name, rule, segment, stretch
)
SELECT
    md5(concat_ws('|', bad.pipeline, bad.table_name, bad.rule, coalesce(bad.segment, ''), CAST(bad.opened_at AS VARCHAR), CAST(bad.stretch AS VARCHAR))) AS id,
    bad.pipeline, bad.table_name, bad.rule, bad.segment, bad.scope, bad.dimension, bad.severity,
    CASE WHEN good.resolved_at IS NOT NULL THEN 'resolved' WHEN bad.results > 1 THEN 'failing' ELSE 'open' END AS status,
    bad.opened_at, bad.last_seen_at, good.resolved_at,
    bad.pane_start, bad.pane_end, bad.results, bad.violated,
    bad.expectation, bad.observed, bad.samples
FROM bad LEFT JOIN good
    ON bad.pipeline = good.pipeline AND bad.table_name = good.table_name AND bad.rule = good.rule
    AND coalesce(bad.segment, '') = good.segment AND good.stretch = bad.stretch + 1
