-- q6, average selling price by seller, over the last 10 auctions of each. The benchmark's own text has an OVER window of rows over
-- results that change, which no SQL engine for streams runs; this says the same with the first rows of a partition.
SELECT seller, avg(final) AS final
FROM (
    SELECT seller, final, ROW_NUMBER() OVER (PARTITION BY seller ORDER BY date_time DESC, auction) AS nth
    FROM (
        SELECT a.seller, b.auction, b.price AS final, b.date_time,
            ROW_NUMBER() OVER (PARTITION BY a.id, a.seller ORDER BY b.price DESC, b.date_time, b.extra) AS rank
        FROM auction a
        JOIN bid b ON a.id = b.auction AND b.date_time BETWEEN a.date_time AND a.expires
    ) AS bids
    WHERE rank <= 1
) AS sold
WHERE nth <= 10
GROUP BY seller;
