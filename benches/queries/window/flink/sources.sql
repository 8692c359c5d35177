CREATE TABLE input (
    ts TIMESTAMP(3), `key` BIGINT, `value` DOUBLE,
    WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${DATA}', 'format' = 'parquet');
