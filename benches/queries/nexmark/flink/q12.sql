SELECT bidder, COUNT(*) AS bid_count, window_start AS start_time, window_end AS end_time
FROM TABLE(TUMBLE((SELECT bidder, PROCTIME() AS read_at FROM bid), DESCRIPTOR(read_at), INTERVAL '10' SECOND))
GROUP BY bidder, window_start, window_end
