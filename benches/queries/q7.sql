-- The window part of Nexmark q7, highest bid: the highest price per window.
-- weir run benches/queries/q7.sql --set DATA=<folder with bid-0.parquet and bid-1.parquet>
SET pipeline.mode = 'streaming';

CREATE SOURCE bid (
    auction BIGINT,
    bidder BIGINT,
    price BIGINT,
    channel VARCHAR,
    url VARCHAR,
    date_time TIMESTAMP,
    extra VARCHAR,
    WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds'
) WITH (connector = 'file', path = '${DATA}/bid-*.parquet', format = 'parquet');

CREATE SINK result WITH (connector = 'blackhole') AS
SELECT window_start, max(price) AS price
FROM TUMBLE(bid, date_time, INTERVAL '10 seconds')
GROUP BY window_start, window_end;
