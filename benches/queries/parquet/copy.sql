-- All rows, as they are.
SELECT * FROM bid;
