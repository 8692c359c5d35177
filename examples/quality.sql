-- Rules over the temperatures of a machine: what is out of range is kept aside, and each row counted.
--
--   cargo run --release -- run examples/quality.sql
--
-- Shows: rules in a source, a view and a sink; rows that are quarantined, repaired, dropped or only counted. The
-- summary has a line for each rule. The quarantined rows are in .weir/quality/quarantine/machine,
-- as typed, with the rules that they break.

CREATE SOURCE machine (
    "timestamp" TIMESTAMP NOT NULL,
    value       DOUBLE,                                  -- degrees Fahrenheit
    WATERMARK FOR "timestamp" AS "timestamp" - INTERVAL '5 minutes',
    CONSTRAINT measured EXPECT (value IS NOT NULL) DIMENSION completeness ON VIOLATION DROP ROW,
    CONSTRAINT running  EXPECT (value > 30) SEVERITY CRITICAL ON VIOLATION QUARANTINE
        ON OVERFLOW 0.1 FAIL UPDATE,
    CONSTRAINT warm     EXPECT (value > 50),
    CONSTRAINT cap      EXPECT (value <= 105) ON VIOLATION SET (value = 105)
) WITH (connector = 'file', path = '${DATA:-examples/data}/machine_temperature.csv', format = 'csv');

CREATE SINK hourly (
    CONSTRAINT whole EXPECT (readings = 12) DIMENSION completeness ON VIOLATION QUARANTINE
) WITH (
    connector = 'file', path = '${OUT:-out}/quality/hourly', format = 'parquet',
    on_existing = 'replace'
) AS
SELECT
    window_start AS hour,
    avg(value)   AS mean,
    count(*)     AS readings
FROM TUMBLE(machine, "timestamp", INTERVAL '1 hour')
GROUP BY window_start, window_end;
