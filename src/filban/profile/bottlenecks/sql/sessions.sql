-- What sessions do at this moment: one row for each that is at work, in a transaction, or that works for
-- another one (parallel and autovacuum workers, replay on a standby). blocked_by: pids that it waits for
-- (pg_blocking_pids is called for waiters only: it takes every lock partition). Times in seconds.
-- query_id exists from 14 on.
SELECT
  a.pid,
  a.leader_pid,
  a.backend_type,
  a.state,
  a.wait_event_type,
  a.wait_event,
  a.query_id,
  -- the text is in its own database's encoding, and would not be valid in another one
  CASE WHEN d.encoding IS NOT DISTINCT FROM here.encoding THEN left(a.query, 1000) END AS query,
  extract(epoch FROM clock_timestamp() - a.query_start)::float8 AS query_seconds,
  extract(epoch FROM clock_timestamp() - a.state_change)::float8 AS state_seconds,
  CASE WHEN a.wait_event_type = 'Lock' THEN pg_blocking_pids(a.pid) ELSE '{}' END AS blocked_by
FROM pg_stat_activity a
LEFT JOIN pg_database d ON d.oid = a.datid
JOIN pg_database here ON here.datname = current_database()
WHERE a.pid <> pg_backend_pid()
  AND a.application_name IS DISTINCT FROM 'filban'
  AND (a.backend_type IN ('client backend', 'parallel worker') AND a.state <> 'idle'
    OR a.backend_type IN ('autovacuum worker', 'startup'))
