-- A machine's temperature over the last two hours, every half hour, and how far the day has come.
--
--   cargo run --release -- run examples/machine_temperature.sql
--
-- Shows: overlapping windows (HOP), growing windows (CUMULATE), FILTER in an aggregate, a view, and
-- rows out of order: the machine's clock goes back by 55 minutes once, and the watermark of one hour
-- keeps every row.

CREATE SOURCE readings (
    "timestamp" TIMESTAMP NOT NULL,
    value       DOUBLE NOT NULL,                         -- degrees Fahrenheit
    celsius     DOUBLE AS ((value - 32) / 1.8),
    WATERMARK FOR "timestamp" AS "timestamp" - INTERVAL '1 hour'
) WITH (connector = 'file', path = '${DATA:-examples/data}/machine_temperature.csv', format = 'csv');

CREATE VIEW two_hours AS
SELECT window_start, window_end, count(*) AS readings,
       avg(value) AS mean, min(value) AS coldest, max(value) AS hottest, avg(celsius) AS mean_celsius
FROM HOP(readings, "timestamp", INTERVAL '30 minutes', INTERVAL '2 hours')
GROUP BY window_start, window_end;

CREATE SINK temperature WITH (
    connector = 'file', path = '${OUT:-out}/machine_temperature/two_hours', format = 'parquet',
    on_existing = 'replace'
) AS
SELECT *, hottest - coldest AS spread FROM two_hours;

CREATE SINK day_so_far WITH (
    connector = 'file', path = '${OUT:-out}/machine_temperature/day_so_far', format = 'parquet',
    on_existing = 'replace'
) AS
SELECT window_start AS day, window_end AS until, count(*) AS readings,
       count(*) FILTER (WHERE value < 60) AS cold_readings, max(value) AS hottest
FROM CUMULATE(readings, "timestamp", INTERVAL '6 hours', INTERVAL '1 day')
GROUP BY window_start, window_end;
