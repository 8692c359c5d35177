-- q18, last bid: the last of each bidder for each auction. The last key settles draws.
SELECT auction, bidder, price, channel, url, date_time, extra
FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY bidder, auction ORDER BY date_time DESC, extra) AS rank
    FROM bid
) AS bids
WHERE rank <= 1;
