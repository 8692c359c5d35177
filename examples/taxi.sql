-- Demand for taxis in New York, per hour and per day, as Parquet.
--
--   cargo run --release -- run examples/taxi.sql
--
-- Shows: a CSV source with a declared schema and a watermark, tumbling windows over event time,
-- two sinks fed from one source, Parquet in hive partitions (out/taxi/hourly/month=2014-07/...), and
-- on_existing = 'replace': a second run takes the place of the first, where 'append' would add to it.
-- Add `--mode streaming` for the same rows from the same script, computed as a stream.

CREATE SOURCE taxi (
    "timestamp" TIMESTAMP NOT NULL,
    value       BIGINT NOT NULL,                         -- passengers in this half hour
    WATERMARK FOR "timestamp" AS "timestamp" - INTERVAL '30 minutes'
) WITH (connector = 'file', path = '${DATA:-examples/data}/nyc_taxi.csv', format = 'csv');

CREATE SINK hourly WITH (
    connector = 'file', path = '${OUT:-out}/taxi/hourly', format = 'parquet',
    on_existing = 'replace', partition_by = 'month'
) AS
SELECT
    window_start                     AS hour,
    sum(value)                       AS passengers,
    count(*)                         AS readings,
    to_char(window_start, '%Y-%m')   AS month
FROM TUMBLE(taxi, "timestamp", INTERVAL '1 hour')
GROUP BY window_start, window_end;

CREATE SINK daily WITH (
    connector = 'file', path = '${OUT:-out}/taxi/daily', format = 'parquet',
    on_existing = 'replace'
) AS
SELECT
    window_start                     AS day,
    sum(value)                       AS passengers,
    min(value)                       AS quietest_half_hour,
    max(value)                       AS busiest_half_hour,
    avg(value)                       AS mean_half_hour
FROM TUMBLE(taxi, "timestamp", INTERVAL '1 day')
GROUP BY window_start, window_end;
