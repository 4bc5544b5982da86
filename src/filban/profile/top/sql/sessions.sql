-- Who is at work at this moment: one row a session or server process that runs, waits or has a transaction
-- open, and each session of a role that this one may not look into (hidden). Times in seconds. The whole
-- query as far as the server keeps it (track_activity_query_size).
SELECT
  a.pid,
  a.backend_start,
  a.backend_type,
  a.datname::text AS database,
  a.usename::text AS role,
  a.application_name AS application,
  host(a.client_addr) AS client,
  a.state,
  a.wait_event_type,
  a.wait_event,
  -- the text is in its own database's encoding, and would not be valid in another one
  CASE WHEN d.encoding IS NOT DISTINCT FROM here.encoding AND a.query <> '<insufficient privilege>'
    THEN a.query END AS query,
  extract(epoch FROM clock_timestamp() - a.query_start)::float8 AS query_seconds,
  extract(epoch FROM clock_timestamp() - a.state_change)::float8 AS state_seconds,
  extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS transaction_seconds,
  coalesce(a.query = '<insufficient privilege>', false) AS hidden
FROM pg_stat_activity a
LEFT JOIN pg_database d ON d.oid = a.datid
JOIN pg_database here ON here.datname = current_database()
WHERE a.pid <> pg_backend_pid()
  AND (a.query = '<insufficient privilege>'
    OR a.state <> 'idle'
    OR a.state IS NULL AND a.wait_event_type IS DISTINCT FROM 'Activity')
