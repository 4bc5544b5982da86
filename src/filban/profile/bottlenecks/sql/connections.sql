-- Client connections against max_connections less the reserved slots: one row. hidden: those of other roles
-- whose state this role may not see. reserved_connections exists from 16 on. Columns exist from 14 on.
SELECT
  count(*)::int AS used,
  (count(*) FILTER (WHERE state = 'idle'))::int AS idle,
  (count(*) FILTER (WHERE query = '<insufficient privilege>'))::int AS hidden,
  current_setting('max_connections')::int
    - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', true)::int, 0) AS allowed
FROM pg_stat_activity
WHERE usename IS NOT NULL
  -- backend_type is NULL for other roles' sessions; a walsender has no database unless logical
  AND coalesce(backend_type = 'client backend', datname IS NOT NULL)
