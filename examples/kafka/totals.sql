-- What becomes of the orders that the script beside writes: revenue per ten seconds as files, and the
-- total of each user as a view and as a topic with the last row per user.
--
--   cargo run --release -- run examples/kafka/totals.sql
--   cargo run --release -- sql --state .weir/totals -c "SELECT * FROM totals ORDER BY total DESC LIMIT 5"
--
-- Shows: a topic as a source with a watermark, windows, a materialized view, an upsert sink that writes
-- each row exactly once.

CREATE SOURCE orders (
    id BIGINT, user_id BIGINT, price DOUBLE, ts TIMESTAMP,
    WATERMARK FOR ts AS ts - INTERVAL '5 seconds'
) WITH (connector = 'kafka', bootstrap_servers = '${BROKER:-127.0.0.1:9092}', topic = 'orders');

CREATE SINK revenue WITH (connector = 'file', path = 'out/revenue', format = 'json') AS
    SELECT window_start, count(*) AS orders, sum(price) AS revenue
    FROM TUMBLE(orders, ts, INTERVAL '10 seconds') GROUP BY window_start, window_end;

CREATE MATERIALIZED VIEW totals AS
    SELECT user_id, count(*) AS orders, sum(price) AS total FROM orders GROUP BY user_id;

CREATE SINK totals_out WITH (
    connector = 'kafka', bootstrap_servers = '${BROKER:-127.0.0.1:9092}', topic = 'totals', key = 'user_id',
    properties.allow.auto.create.topics = 'true'
) AS SELECT user_id, count(*) AS orders, sum(price) AS total FROM orders GROUP BY user_id;
