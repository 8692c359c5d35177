SELECT id, `at`, `key`, `value` * 2 AS doubled
FROM events
WHERE `key` >= 100
