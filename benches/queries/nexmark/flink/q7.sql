SELECT b.auction, b.price, b.bidder, b.date_time, b.extra
FROM bid b
JOIN (
    SELECT window_end, MAX(price) AS price
    FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(date_time), INTERVAL '10' SECOND))
    GROUP BY window_start, window_end
) AS highest
ON b.price = highest.price
WHERE b.date_time BETWEEN highest.window_end - INTERVAL '10' SECOND AND highest.window_end
