-- q9, winning bids: the highest bid of each auction. The last key settles draws, so that answers can be compared.
SELECT id, item_name, description, initial_bid, reserve, date_time, expires, seller, category, extra,
    auction, bidder, price, bid_date_time, bid_extra
FROM (
    SELECT a.*, b.auction, b.bidder, b.price, b.date_time AS bid_date_time, b.extra AS bid_extra,
        ROW_NUMBER() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.date_time, b.extra) AS rank
    FROM auction a
    JOIN bid b ON a.id = b.auction AND b.date_time BETWEEN a.date_time AND a.expires
) AS bids
WHERE rank <= 1;
