-- Client connections against each limit that can refuse one: the server's (max_connections minus the
-- reserved slots), a database's CONNECTION LIMIT, a role's. One row a limit that exists.
-- $1: idle longer than this many seconds counts as idle_long. hidden: sessions of other roles whose
-- state this role may not see. reserved_connections exists from 16 on. Columns exist from 14 on.
WITH client AS (
  SELECT datname, usename, state,
    query = '<insufficient privilege>' AS hidden,
    state = 'idle' AND state_change < clock_timestamp() - make_interval(secs => $1::float8) AS idle_long
  FROM pg_stat_activity
  WHERE pid <> pg_backend_pid()
    AND application_name IS DISTINCT FROM 'filban'
    AND usename IS NOT NULL
    -- backend_type is NULL for other roles' sessions; a walsender has no database unless logical
    AND coalesce(backend_type = 'client backend', datname IS NOT NULL)
), allowed AS (
  SELECT 'server' AS scope, NULL::text AS name, NULL::text AS quoted,
    current_setting('max_connections')::int
      - current_setting('superuser_reserved_connections')::int
      - coalesce(current_setting('reserved_connections', true)::int, 0) AS allowed,
    current_setting('superuser_reserved_connections')::int
      + coalesce(current_setting('reserved_connections', true)::int, 0) AS reserved
  UNION ALL
  SELECT 'database', datname::text, quote_ident(datname), datconnlimit, 0
  FROM pg_database WHERE datconnlimit > 0
  UNION ALL
  SELECT 'role', rolname::text, quote_ident(rolname), rolconnlimit, 0
  FROM pg_roles WHERE rolconnlimit > 0
)
SELECT
  a.scope,
  a.name,
  a.quoted,
  a.allowed,
  a.reserved,
  count(c.*)::int AS used,
  (count(*) FILTER (WHERE c.state = 'active'))::int AS active,
  (count(*) FILTER (WHERE c.state = 'idle'))::int AS idle,
  (count(*) FILTER (WHERE c.idle_long))::int AS idle_long,
  (count(*) FILTER (WHERE c.state LIKE 'idle in transaction%'))::int AS idle_in_transaction,
  (count(*) FILTER (WHERE c.hidden))::int AS hidden,
  format(
    'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = ''idle'''
    ' AND state_change < now() - interval ''%s seconds'' AND pid <> pg_backend_pid()%s;',
    $1::float8,
    CASE a.scope
      WHEN 'database' THEN format(' AND datname = %L', a.name)
      WHEN 'role' THEN format(' AND usename = %L', a.name)
      ELSE ''
    END
  ) AS terminate_idle_sql
FROM allowed a
LEFT JOIN client c ON CASE a.scope
  WHEN 'database' THEN c.datname = a.name WHEN 'role' THEN c.usename = a.name ELSE true END
GROUP BY a.scope, a.name, a.quoted, a.allowed, a.reserved
ORDER BY a.scope, a.name
