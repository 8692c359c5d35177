SELECT window_start, `key`, COUNT(*) AS c, SUM(`value`) AS s
FROM TABLE(TUMBLE(TABLE input, DESCRIPTOR(ts), INTERVAL '10' SECONDS))
GROUP BY window_start, window_end, `key`
