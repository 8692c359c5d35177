-- How loud are three companies on Twitter in the same hour?
--
--   cargo run --release -- run examples/tweets.sql
--
-- Shows: several sources, an aggregate of each over the same windows, a join of the aggregates on the
-- window (batch), and a query over the result of the join.

CREATE SOURCE amzn ("timestamp" TIMESTAMP NOT NULL, value BIGINT NOT NULL,
    WATERMARK FOR "timestamp" AS "timestamp")
    WITH (connector = 'file', path = '${DATA:-examples/data}/tweets_amzn.csv', format = 'csv');
CREATE SOURCE fb ("timestamp" TIMESTAMP NOT NULL, value BIGINT NOT NULL,
    WATERMARK FOR "timestamp" AS "timestamp")
    WITH (connector = 'file', path = '${DATA:-examples/data}/tweets_fb.csv', format = 'csv');
CREATE SOURCE ko ("timestamp" TIMESTAMP NOT NULL, value BIGINT NOT NULL,
    WATERMARK FOR "timestamp" AS "timestamp")
    WITH (connector = 'file', path = '${DATA:-examples/data}/tweets_ko.csv', format = 'csv');

CREATE VIEW amzn_hourly AS
SELECT window_start, sum(value) AS tweets FROM TUMBLE(amzn, "timestamp", INTERVAL '1 hour')
GROUP BY window_start, window_end;
CREATE VIEW fb_hourly AS
SELECT window_start, sum(value) AS tweets FROM TUMBLE(fb, "timestamp", INTERVAL '1 hour')
GROUP BY window_start, window_end;
CREATE VIEW ko_hourly AS
SELECT window_start, sum(value) AS tweets FROM TUMBLE(ko, "timestamp", INTERVAL '1 hour')
GROUP BY window_start, window_end;

CREATE SINK tweets WITH (
    connector = 'file', path = '${OUT:-out}/tweets', format = 'parquet', on_existing = 'replace'
) AS
SELECT
    a.window_start                                AS hour,
    a.tweets                                      AS amzn,
    f.tweets                                      AS fb,
    k.tweets                                      AS ko,
    a.tweets + f.tweets + k.tweets                AS all_tweets,
    a.tweets > f.tweets AND a.tweets > k.tweets   AS amzn_leads
FROM amzn_hourly AS a
JOIN fb_hourly AS f ON f.window_start = a.window_start
JOIN ko_hourly AS k ON k.window_start = a.window_start;
