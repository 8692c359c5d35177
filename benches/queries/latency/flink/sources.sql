CREATE TABLE events (
    id BIGINT, `at` BIGINT, `key` BIGINT, `value` DOUBLE,
    ts AS TO_TIMESTAMP_LTZ(`at` / 1000, 3),
    WATERMARK FOR ts AS ts - INTERVAL '0.1' SECOND
) WITH (
    'connector' = 'kafka', 'properties.bootstrap.servers' = '${BROKER}', 'topic' = '${IN}', 'format' = 'json',
    'scan.startup.mode' = 'earliest-offset'
);
