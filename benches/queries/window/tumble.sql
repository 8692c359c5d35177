-- Count and sum per key over windows of 10 seconds.
SELECT window_start, key, count(*) AS c, sum(value) AS s
FROM TUMBLE(input, ts, INTERVAL '10 seconds')
GROUP BY window_start, window_end, key;
