SELECT auction, bidder, price, channel, url, date_time, extra, rank
FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC, date_time, extra) AS rank
    FROM bid
) AS bids
WHERE rank <= 10;
