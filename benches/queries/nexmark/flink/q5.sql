SELECT counts.auction, counts.num, counts.window_start
FROM (
    SELECT window_start, window_end, auction, COUNT(*) AS num
    FROM TABLE(HOP(TABLE bid, DESCRIPTOR(date_time), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
    GROUP BY window_start, window_end, auction
) AS counts
JOIN (
    SELECT window_start, window_end, MAX(num) AS most
    FROM (
        SELECT window_start, window_end, auction, COUNT(*) AS num
        FROM TABLE(HOP(TABLE bid, DESCRIPTOR(date_time), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
        GROUP BY window_start, window_end, auction
    ) AS all_counts
    GROUP BY window_start, window_end
) AS highest
ON counts.window_start = highest.window_start AND counts.window_end = highest.window_end AND counts.num >= highest.most
