-- The fast way to write it: count once per slide, then add up the five slides of a window.
WITH counts AS (
    SELECT start, auction, sum(num)::BIGINT AS num
    FROM (
        SELECT slide - k AS start, auction, num
        FROM (SELECT epoch_us(date_time) // 2000000 AS slide, auction, count(*) AS num FROM bid GROUP BY ALL),
            range(5) AS steps(k)
    )
    GROUP BY ALL
)
SELECT auction, num, make_timestamp(start * 2000000) AS window_start
FROM counts
WHERE num >= (SELECT max(num) FROM counts AS others WHERE others.start = counts.start);
