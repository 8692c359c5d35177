-- q12, processing time windows: bids per bidder in 10 seconds of the clock. Its groups depend on the speed; its counts add up.
SELECT bidder, count(*) AS bid_count, window_start AS start_time, window_end AS end_time
FROM TUMBLE((SELECT bidder, PROCTIME() AS read_at FROM bid), read_at, INTERVAL '10 seconds')
GROUP BY bidder, window_start, window_end;
