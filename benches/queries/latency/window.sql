-- Count and sum per key and second; `at` is the end of the window.
SELECT CAST(window_end AS BIGINT) AS at, key, count(*) AS c, sum(value) AS s
FROM TUMBLE(events, ts, INTERVAL '1 second')
GROUP BY window_start, window_end, key
