-- Nexmark q0, pass through: what reading and handing on costs.
-- weir run benches/queries/q0.sql --set DATA=<folder with bid-0.parquet and bid-1.parquet>
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
SELECT auction, bidder, price, date_time, extra
FROM bid;
