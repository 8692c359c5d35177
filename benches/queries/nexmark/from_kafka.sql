-- The three streams of Nexmark, as JSON in a topic each, read to the end that they have at the start.
CREATE SOURCE person (
    id BIGINT, name VARCHAR, email_address VARCHAR, credit_card VARCHAR, city VARCHAR, state VARCHAR,
    date_time TIMESTAMP, extra VARCHAR,
    WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds'
) WITH (connector = 'kafka', bootstrap_servers = '${BROKER}', topic = '${PERSON_TOPIC}', format = 'json', stop = 'latest');

CREATE SOURCE auction (
    id BIGINT, item_name VARCHAR, description VARCHAR, initial_bid BIGINT, reserve BIGINT,
    date_time TIMESTAMP, expires TIMESTAMP, seller BIGINT, category BIGINT, extra VARCHAR,
    WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds'
) WITH (connector = 'kafka', bootstrap_servers = '${BROKER}', topic = '${AUCTION_TOPIC}', format = 'json', stop = 'latest');

CREATE SOURCE bid (
    auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, date_time TIMESTAMP, extra VARCHAR,
    WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds'
) WITH (connector = 'kafka', bootstrap_servers = '${BROKER}', topic = '${BID_TOPIC}', format = 'json', stop = 'latest');

CREATE SOURCE side_input (key BIGINT, value VARCHAR)
WITH (connector = 'file', path = '${DATA}/side_input.parquet', format = 'parquet');
