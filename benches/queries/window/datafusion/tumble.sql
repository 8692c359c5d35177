SELECT date_bin(INTERVAL '10 seconds', ts) AS window_start, key, count(*) AS c, sum(value) AS s
FROM input
GROUP BY 1, 2
