SELECT auction, bidder, price, channel, url, date_time, extra, rk AS `rank`
FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC, date_time, extra) AS rk
    FROM bid
) AS bids
WHERE rk <= 10;
