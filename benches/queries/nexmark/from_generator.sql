-- The three streams of Nexmark, made of their numbers while they are read.
CREATE SOURCE person (
    id BIGINT, name VARCHAR, email_address VARCHAR, credit_card VARCHAR, city VARCHAR, state VARCHAR,
    date_time TIMESTAMP, extra VARCHAR,
    WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds'
) WITH (connector = 'nexmark', event = 'person', events = '${EVENTS}', start_time = '2026-01-01T00:00:00Z');

CREATE SOURCE auction (
    id BIGINT, item_name VARCHAR, description VARCHAR, initial_bid BIGINT, reserve BIGINT,
    date_time TIMESTAMP, expires TIMESTAMP, seller BIGINT, category BIGINT, extra VARCHAR,
    WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds'
) WITH (connector = 'nexmark', event = 'auction', events = '${EVENTS}', start_time = '2026-01-01T00:00:00Z');

CREATE SOURCE bid (
    auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, date_time TIMESTAMP, extra VARCHAR,
    WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds'
) WITH (connector = 'nexmark', event = 'bid', events = '${EVENTS}', start_time = '2026-01-01T00:00:00Z');

CREATE SOURCE side_input (seq BIGINT, key BIGINT AS (seq), value VARCHAR AS ('side ' || CAST(seq AS VARCHAR)))
WITH (connector = 'generator', rows = '10000');
