-- Who is at work at this moment: one row a session or server process that runs, waits or has a
-- transaction open, also of roles that this one may not look into (hidden). Times in seconds.
-- query_id exists from 14 on (compute_query_id).
SELECT
  a.pid,
  a.leader_pid,
  a.backend_type,
  a.datname::text AS database,
  a.usename::text AS role,
  a.application_name AS application,
  coalesce(host(a.client_addr), CASE WHEN a.client_port = -1 THEN 'local' END) AS client,
  a.state,
  a.wait_event_type,
  a.wait_event,
  a.query_id,
  -- the text is in its own database's encoding, and would not be valid in another one
  CASE WHEN d.encoding IS NOT DISTINCT FROM here.encoding AND a.query <> '<insufficient privilege>'
    THEN left(a.query, 1000) END AS query,
  extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS transaction_seconds,
  extract(epoch FROM clock_timestamp() - a.query_start)::float8 AS query_seconds,
  extract(epoch FROM clock_timestamp() - a.state_change)::float8 AS state_seconds,
  coalesce(a.query = '<insufficient privilege>', false) AS hidden
FROM pg_stat_activity a
LEFT JOIN pg_database d ON d.oid = a.datid
JOIN pg_database here ON here.datname = current_database()
WHERE a.pid <> pg_backend_pid()
  AND (a.application_name IS NULL OR a.application_name NOT LIKE 'filban%' OR a.backend_type <> 'client backend')
  AND (a.query = '<insufficient privilege>'
    OR a.state <> 'idle'
    OR a.state IS NULL AND a.wait_event_type IS DISTINCT FROM 'Activity')
