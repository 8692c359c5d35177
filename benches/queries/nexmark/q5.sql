-- q5, hot items: the auctions with the most bids in sliding windows.
SELECT counts.auction, counts.num, counts.window_start
FROM (
    SELECT window_start, window_end, auction, count(*) AS num
    FROM HOP(bid, date_time, INTERVAL '2 seconds', INTERVAL '10 seconds')
    GROUP BY window_start, window_end, auction
) AS counts
JOIN (
    SELECT window_start, window_end, max(num) AS most
    FROM (
        SELECT window_start, window_end, auction, count(*) AS num
        FROM HOP(bid, date_time, INTERVAL '2 seconds', INTERVAL '10 seconds')
        GROUP BY window_start, window_end, auction
    ) AS all_counts
    GROUP BY window_start, window_end
) AS highest
ON counts.window_start = highest.window_start AND counts.window_end = highest.window_end AND counts.num >= highest.most;
