-- Events that are stamped with the time, in microseconds, at which they were due.
CREATE SOURCE events (
    id BIGINT, at BIGINT, key BIGINT, value DOUBLE,
    ts TIMESTAMP AS (to_timestamp_micros(at)),
    WATERMARK FOR ts AS ts - INTERVAL '100 milliseconds'
) WITH (connector = 'kafka', bootstrap_servers = '${BROKER}', topic = '${IN}', format = 'json');
