-- Connection slots of the server, as this role may use them: one row. allowed: the smallest of the
-- server's, the database's and the role's limits; used: by client sessions that count against that
-- limit, this one included. reserved_connections exists from 16 on. Columns exist from 14 on.
WITH client AS (
  SELECT datname, usename FROM pg_stat_activity
  WHERE usename IS NOT NULL
    -- backend_type is NULL for other roles' sessions; a walsender has no database unless logical
    AND coalesce(backend_type = 'client backend', datname IS NOT NULL)
), limits AS (
  SELECT
    'server' AS scope,
    current_setting('max_connections')::int
      - current_setting('superuser_reserved_connections')::int
      - coalesce(current_setting('reserved_connections', true)::int, 0) AS allowed,
    (SELECT count(*) FROM client)::int AS used
  UNION ALL
  SELECT 'database', datconnlimit,
    (SELECT count(*) FROM client WHERE client.datname = current_database())::int
  FROM pg_database WHERE datname = current_database() AND datconnlimit >= 0
  UNION ALL
  SELECT 'role', rolconnlimit,
    (SELECT count(*) FROM client WHERE client.usename = current_user)::int
  FROM pg_roles WHERE rolname = current_user AND rolconnlimit >= 0
)
SELECT
  scope,
  allowed,
  used,
  current_setting('max_connections')::int AS max_connections,
  current_setting('superuser_reserved_connections')::int
    + coalesce(current_setting('reserved_connections', true)::int, 0) AS reserved
FROM limits
ORDER BY allowed - used, scope
LIMIT 1
