-- q2, selection: a filter that keeps few rows.
SELECT auction, price
FROM bid
WHERE auction % 123 = 0;
