SELECT bidder, count(*) AS bid_count, min(date_time) AS start_time, max(date_time) + INTERVAL '10 seconds' AS end_time
FROM (
    SELECT bidder, date_time, sum(starts) OVER (PARTITION BY bidder ORDER BY date_time ROWS UNBOUNDED PRECEDING) AS number
    FROM (
        SELECT bidder, date_time,
            coalesce(date_time - lag(date_time) OVER (PARTITION BY bidder ORDER BY date_time) >= INTERVAL '10 seconds', true)::INT AS starts
        FROM bid
    )
)
GROUP BY bidder, number;
