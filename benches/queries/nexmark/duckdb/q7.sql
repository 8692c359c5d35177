SELECT b.auction, b.price, b.bidder, b.date_time, b.extra
FROM bid b
JOIN (
    SELECT make_timestamp((bucket + 1) * 10000000) AS window_end, price
    FROM (SELECT epoch_us(date_time) // 10000000 AS bucket, max(price) AS price FROM bid GROUP BY ALL)
) AS highest
ON b.price = highest.price
WHERE b.date_time BETWEEN highest.window_end - INTERVAL '10 seconds' AND highest.window_end;
