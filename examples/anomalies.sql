-- Days on which New York takes taxis as on no other, and hours in which a machine is not itself.
--
--   cargo run --release -- run examples/anomalies.sql
--
-- Shows: ANOMALY(...) OVER (...) with a season, a warm-up and a debounce; DETECT_ANOMALIES over several columns of
-- windows; an ANOMALY MODEL that keeps what it finds; the verdict's expected value, bounds, direction and shares. What is found of the taxis: Labor Day, the night
-- after Halloween, the marathon with the end of summer time, Thanksgiving, Christmas and New Year. Of the machine: a first
-- disturbance, its shutdown in December, a false alarm, and the day on which it failed.

CREATE SOURCE taxi (
    "timestamp" TIMESTAMP NOT NULL,
    value       BIGINT NOT NULL,                         -- passengers per half hour
    WATERMARK FOR "timestamp" AS "timestamp" - INTERVAL '30 minutes'
) WITH (connector = 'file', path = '${DATA:-examples/data}/nyc_taxi.csv', format = 'csv');

CREATE SOURCE machine (
    "timestamp" TIMESTAMP NOT NULL,
    value       DOUBLE NOT NULL,                         -- degrees Fahrenheit
    WATERMARK FOR "timestamp" AS "timestamp" - INTERVAL '1 hour'
) WITH (connector = 'file', path = '${DATA:-examples/data}/machine_temperature.csv', format = 'csv');

CREATE VIEW judged AS
SELECT *, ANOMALY(value, METHOD 'seasonal', SEASONALITY weekly, SENSITIVITY 0.999,
                  WARMUP 2 WEEKS, DEBOUNCE 12 HOURS) OVER (ORDER BY "timestamp") AS verdict
FROM taxi;

CREATE SINK unusual_demand WITH (
    connector = 'file', path = '${OUT:-out}/anomalies/taxi', format = 'parquet', on_existing = 'replace'
) AS
SELECT "timestamp", value, verdict.expected AS expected, verdict.lower AS lower, verdict.upper AS upper,
       verdict.direction AS direction, verdict.score AS score
FROM judged
WHERE verdict.is_anomaly;

CREATE VIEW hours AS
SELECT window_end AS hour, avg(value) AS mean, max(value) - min(value) AS spread
FROM TUMBLE(machine, "timestamp", INTERVAL '1 hour')
GROUP BY window_start, window_end;

CREATE SINK unusual_hours WITH (
    connector = 'file', path = '${OUT:-out}/anomalies/machine', format = 'parquet', on_existing = 'replace'
) AS
SELECT hour, mean, spread, score, contribution['spread'] AS share_of_spread
FROM DETECT_ANOMALIES(TABLE hours, time_col => DESCRIPTOR(hour), cols => ARRAY['mean', 'spread'],
                      method => 'rcf', sensitivity => 0.995, warmup => INTERVAL '7' DAY, debounce => INTERVAL '2' DAY)
WHERE is_anomaly;

-- Kept by the pipeline: weir sql -c "SELECT * FROM quiet_nights", and among those of all models in weir.anomalies.
CREATE ANOMALY MODEL quiet_nights ON (
    SELECT window_end AS night, sum(value) AS passengers
    FROM TUMBLE(taxi, "timestamp", INTERVAL '6 hours')
    GROUP BY window_start, window_end
) ORDER BY night TARGET passengers
  METHOD seasonal SEASONALITY weekly SENSITIVITY 0.999 WARMUP 4 WEEKS DEBOUNCE 2 DAYS
  DIRECTION down EXCLUDE ('2014-09-01', '2014-09-02');
