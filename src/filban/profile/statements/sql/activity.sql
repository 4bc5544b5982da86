-- What other sessions are executing now, one row a session; query is NULL where the role may not
-- see it. query_id needs compute_query_id (on by itself with pg_stat_statements). From 14 on.
SELECT
  a.query_id AS query_id,
  a.datname::text AS database,
  a.usename::text AS role,
  a.application_name AS application,
  coalesce(a.wait_event_type || ':' || a.wait_event, 'CPU') AS wait,
  CASE WHEN a.query = '<insufficient privilege>' THEN NULL ELSE left(a.query, $1::int) END AS query
FROM pg_stat_activity a
WHERE a.state = 'active' AND a.pid <> pg_backend_pid() AND a.backend_type = 'client backend'
