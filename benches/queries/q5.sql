-- The window part of Nexmark q5, hot items: bids per auction in sliding windows.
-- weir run benches/queries/q5.sql --set DATA=<folder with bid-0.parquet and bid-1.parquet>
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
SELECT window_start, auction, count(*) AS num
FROM HOP(bid, date_time, INTERVAL '2 seconds', INTERVAL '10 seconds')
GROUP BY window_start, window_end, auction;
