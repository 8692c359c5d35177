-- A thousand orders per second into the topic "orders" of a broker, until Ctrl-C.
--
--   cargo run --release -- run examples/kafka/orders.sql
--
-- Shows: a generator, a sink with a key, a topic that the broker makes.

CREATE SOURCE made (seq BIGINT, ts TIMESTAMP, random DOUBLE) WITH (connector = 'generator', rate = '1000', start_time = 'now');

CREATE SINK orders WITH (
    connector = 'kafka', bootstrap_servers = '${BROKER:-127.0.0.1:9092}', topic = 'orders', key = 'user_id',
    -- A broker that makes topics by itself makes this one.
    properties.allow.auto.create.topics = 'true'
) AS SELECT seq AS id, seq * 7919 % 100 AS user_id, round(random * 100, 2) AS price, ts FROM made;
