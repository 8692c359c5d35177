-- q7, highest bid: the bids with the highest price of a window.
SELECT b.auction, b.price, b.bidder, b.date_time, b.extra
FROM bid b
JOIN (
    SELECT window_end, max(price) AS price
    FROM TUMBLE(bid, date_time, INTERVAL '10 seconds')
    GROUP BY window_start, window_end
) AS highest
ON b.price = highest.price
WHERE b.date_time BETWEEN highest.window_end - INTERVAL '10 seconds' AND highest.window_end;
