-- Nine of ten events, and a computed column.
SELECT id, at, key, value * 2 AS doubled
FROM events
WHERE key >= 100
