SELECT p.id, p.name, make_timestamp(p.bucket * 10000000) AS window_start
FROM (SELECT DISTINCT epoch_us(date_time) // 10000000 AS bucket, id, name FROM person) AS p
JOIN (SELECT DISTINCT epoch_us(date_time) // 10000000 AS bucket, seller FROM auction) AS a
ON p.id = a.seller AND p.bucket = a.bucket;
