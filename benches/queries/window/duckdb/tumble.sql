-- Groups by whole numbers, which is faster in DuckDB than `time_bucket`.
SELECT make_timestamp(bucket * 10000000) AS window_start, key, c, s
FROM (
    SELECT epoch_us(ts) // 10000000 AS bucket, key, count(*) AS c, sum(value) AS s
    FROM input
    GROUP BY ALL
);
