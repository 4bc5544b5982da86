-- Transactions that are open for at least $1 seconds, or idle in their transaction: one row a session.
-- Autovacuum and VACUUM are left out (their snapshots hold nobody back), and so are walsenders and
-- ourselves. Times in seconds; xmin_age in transactions, NULL when it holds no snapshot.
-- Other roles' sessions have no times for a role without pg_read_all_stats: they do not appear here.
-- Columns exist from 14 on.
SELECT
  a.pid,
  a.datname::text AS database,
  a.usename::text AS role,
  a.application_name AS application,
  a.client_addr::text AS client,
  a.state,
  extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS transaction_seconds,
  extract(epoch FROM clock_timestamp() - a.state_change)::float8 AS state_seconds,
  age(a.backend_xmin)::bigint AS xmin_age,
  -- the text is in its own database's encoding, and would not be valid in another one
  CASE WHEN d.encoding = here.encoding THEN left(a.query, 200) ELSE '' END AS query,
  format('SELECT %s(pid) FROM pg_stat_activity WHERE pid = %s AND backend_start = %L;',
    CASE WHEN a.state = 'active' THEN 'pg_cancel_backend' ELSE 'pg_terminate_backend' END,
    a.pid, a.backend_start) AS end_sql
FROM pg_stat_activity a
JOIN pg_database here ON here.datname = current_database()
LEFT JOIN pg_database d ON d.oid = a.datid
WHERE a.pid <> pg_backend_pid()
  AND a.application_name IS DISTINCT FROM 'filban'
  AND a.backend_type IN ('client backend', 'background worker')
  AND a.leader_pid IS NULL
  AND a.xact_start IS NOT NULL
  AND (a.state LIKE 'idle in transaction%'
    OR a.xact_start <= clock_timestamp() - make_interval(secs => $1::float8))
  AND NOT EXISTS (SELECT FROM pg_stat_progress_vacuum v WHERE v.pid = a.pid)
ORDER BY transaction_seconds DESC
