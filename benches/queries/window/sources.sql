-- Readings in two Parquet files that `weir-bench window` makes.
CREATE SOURCE input (
    ts TIMESTAMP,
    key BIGINT,
    value DOUBLE,
    WATERMARK FOR ts AS ts - INTERVAL '2 seconds'
) WITH (connector = 'file', path = '${DATA}/*.parquet', format = 'parquet');
