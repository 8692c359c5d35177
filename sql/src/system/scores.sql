-- One score per rule, column, dimension, table and pipeline for each checkpoint of each run. What was not
-- evaluated has no score; a rule weighs its weight times that of its severity, and nothing in a dry run. What weighs
-- nothing, as what a model has learned unless the rule says so, has a score as a rule alone.
WITH rules AS (
    SELECT pipeline, run, epoch, table_name, rule, dimension, max(recorded_at) AS recorded_at,
        max(weight * CASE severity WHEN 'critical' THEN 1.0 WHEN 'warning' THEN 0.5 ELSE 0.25 END) AS weight,
        sum(evaluated) AS evaluated, sum(violated) AS violated, sum(unknown) AS unknown,
        CASE WHEN sum(evaluated) > 0
            THEN 1.0 - CAST(sum(violated) AS DOUBLE) / CAST(sum(evaluated) AS DOUBLE) END AS score
    FROM weir.quality_results
    WHERE dry_run IS NOT TRUE
    GROUP BY pipeline, run, epoch, table_name, rule, dimension
),
named AS (
    SELECT DISTINCT pipeline, run, epoch, table_name, rule, unnest(columns) AS name
    FROM weir.quality_results
),
columns AS (
    SELECT r.pipeline, r.run, r.epoch, r.table_name, n.name, max(r.recorded_at) AS recorded_at,
        sum(r.weight) AS weight, sum(r.evaluated) AS evaluated, sum(r.violated) AS violated, sum(r.unknown) AS unknown,
        sum(r.weight * r.score) / nullif(sum(r.weight) FILTER (WHERE r.score IS NOT NULL), 0) AS score
    FROM rules r JOIN named n
        ON r.pipeline = n.pipeline AND r.run = n.run AND r.epoch = n.epoch
        AND r.table_name = n.table_name AND r.rule = n.rule
    GROUP BY r.pipeline, r.run, r.epoch, r.table_name, n.name
),
dimensions AS (
    SELECT pipeline, run, epoch, table_name, dimension AS name, max(recorded_at) AS recorded_at,
        sum(weight) FILTER (WHERE score IS NOT NULL) AS weight,
        sum(evaluated) AS evaluated, sum(violated) AS violated, sum(unknown) AS unknown,
        sum(weight * score) / nullif(sum(weight) FILTER (WHERE score IS NOT NULL), 0) AS score
    FROM rules GROUP BY pipeline, run, epoch, table_name, dimension
),
-- The geometric mean: a dimension at zero is not hidden by five good ones.
tables AS (
    SELECT pipeline, run, epoch, table_name, max(recorded_at) AS recorded_at,
        sum(weight) AS weight, sum(evaluated) AS evaluated, sum(violated) AS violated, sum(unknown) AS unknown,
        CASE WHEN count(score) = 0 THEN NULL WHEN min(score) <= 0 THEN 0.0
            ELSE exp(sum(weight * ln(CASE WHEN score > 0 THEN score ELSE 1.0 END)) / sum(weight) FILTER (WHERE score IS NOT NULL)) END AS score
    FROM dimensions GROUP BY pipeline, run, epoch, table_name
),
-- A pipeline is as good as its worst table.
pipelines AS (
    SELECT pipeline, run, epoch, max(recorded_at) AS recorded_at,
        sum(weight) AS weight, sum(evaluated) AS evaluated, sum(violated) AS violated, sum(unknown) AS unknown,
        min(score) AS score
    FROM tables GROUP BY pipeline, run, epoch
),
scores AS (
    SELECT pipeline, run, epoch, recorded_at, 'rule' AS level, table_name, rule AS name, dimension, score, weight, evaluated, violated, unknown FROM rules
    UNION ALL SELECT pipeline, run, epoch, recorded_at, 'column', table_name, name, NULL, score, weight, evaluated, violated, unknown FROM columns
    UNION ALL SELECT pipeline, run, epoch, recorded_at, 'dimension', table_name, name, name AS dimension, score, weight, evaluated, violated, unknown FROM dimensions
    UNION ALL SELECT pipeline, run, epoch, recorded_at, 'table', table_name, table_name AS name, NULL, score, weight, evaluated, violated, unknown FROM tables
    UNION ALL SELECT pipeline, run, epoch, recorded_at, 'pipeline', NULL, pipeline AS name, NULL, score, weight, evaluated, violated, unknown FROM pipelines
)
-- The trend smooths the scores so far. Bounds are those of Wilson, 95 %: how well the data holds a rule if the
-- rows that were asked are a sample of more.
SELECT *,
    ewma(score, 0.3) OVER (PARTITION BY pipeline, level, table_name, name ORDER BY recorded_at, epoch) AS trend,
    CASE WHEN level = 'rule' AND evaluated > 0 THEN greatest(0.0, (score + 1.9208 / evaluated
        - 1.96 * sqrt((score * (1.0 - score) + 0.9604 / evaluated) / evaluated)) / (1.0 + 3.8416 / evaluated)) END AS low,
    CASE WHEN level = 'rule' AND evaluated > 0 THEN least(1.0, (score + 1.9208 / evaluated
        + 1.96 * sqrt((score * (1.0 - score) + 0.9604 / evaluated) / evaluated)) / (1.0 + 3.8416 / evaluated)) END AS high
FROM scores
