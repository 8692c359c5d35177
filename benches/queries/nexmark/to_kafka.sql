-- The three streams of Nexmark into a topic each, as JSON, each partition in order of time.
SET pipeline.mode = 'streaming';

CREATE SOURCE person WITH (connector = 'nexmark', event = 'person', events = '${EVENTS}', start_time = '2026-01-01T00:00:00Z', splits = '1');
CREATE SINK person_topic WITH (
    connector = 'kafka', bootstrap_servers = '${BROKER}', topic = '${PERSON_TOPIC}', properties.sticky.partitioning.linger.ms = '0'
) AS SELECT * FROM person;

CREATE SOURCE auction WITH (connector = 'nexmark', event = 'auction', events = '${EVENTS}', start_time = '2026-01-01T00:00:00Z', splits = '1');
CREATE SINK auction_topic WITH (
    connector = 'kafka', bootstrap_servers = '${BROKER}', topic = '${AUCTION_TOPIC}', properties.sticky.partitioning.linger.ms = '0'
) AS SELECT * FROM auction;

CREATE SOURCE bid WITH (connector = 'nexmark', event = 'bid', events = '${EVENTS}', start_time = '2026-01-01T00:00:00Z', splits = '1');
CREATE SINK bid_topic WITH (
    connector = 'kafka', bootstrap_servers = '${BROKER}', topic = '${BID_TOPIC}', properties.sticky.partitioning.linger.ms = '0'
) AS SELECT * FROM bid;
