-- q1, currency conversion: an expression per row.
SELECT auction, bidder, 0.908 * price AS price, date_time, extra
FROM bid;
