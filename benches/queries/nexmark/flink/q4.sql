SELECT category, avg(CAST(final AS DOUBLE)) AS final
FROM (
    SELECT a.id, a.category, max(b.price) AS final
    FROM auction a
    JOIN bid b ON a.id = b.auction
    WHERE b.date_time BETWEEN a.date_time AND a.expires
    GROUP BY a.id, a.category
) AS highest
GROUP BY category;
