-- Count and sum per key over windows of 10 seconds.
-- weir run benches/queries/window.sql --set DATA=<folder with p0.parquet and p1.parquet>
SET pipeline.mode = 'streaming';

CREATE SOURCE input (
    ts TIMESTAMP,
    key BIGINT,
    value DOUBLE,
    WATERMARK FOR ts AS ts - INTERVAL '2 seconds'
) WITH (connector = 'file', path = '${DATA}/*.parquet', format = 'parquet');

CREATE SINK result WITH (connector = 'blackhole') AS
SELECT window_start, key, count(*) AS c, sum(value) AS s
FROM TUMBLE(input, ts, INTERVAL '10 seconds')
GROUP BY window_start, window_end, key;
