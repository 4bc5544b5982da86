-- Sessions that wait for a lock and those that they wait for: one row a session, none when nobody waits.
-- blocked_by: pids that a waiter waits for (pg_blocking_pids is called for waiters only: it takes every
-- lock partition); prepared_gids: prepared transactions that it waits for, which have no pid.
-- waited_seconds, lock_mode and lock_on are NULL for a session that does not wait. pg_locks shows all of
-- this to any role, the activity of other roles only to pg_read_all_stats. waitstart exists from 14 on.
WITH locks AS MATERIALIZED (
  SELECT * FROM pg_locks
), owner AS (
  -- a prepared transaction's locks have no pid; what they share is the one on its own id
  SELECT p.gid, l.virtualtransaction
  FROM pg_prepared_xacts p
  JOIN locks l ON l.locktype = 'transactionid' AND l.transactionid = p.transaction AND l.pid IS NULL
), waiting AS MATERIALIZED (
  SELECT l.*, pg_blocking_pids(l.pid) AS blocking
  FROM locks l
  WHERE NOT l.granted AND l.pid <> pg_backend_pid()
), blocked AS (
  SELECT
    w.pid,
    ARRAY(SELECT DISTINCT b FROM unnest(w.blocking) b WHERE b <> 0 ORDER BY b) AS blocked_by,
    CASE WHEN 0 = ANY (w.blocking) THEN ARRAY(
      SELECT DISTINCT p.gid FROM locks h JOIN owner p USING (virtualtransaction)
      WHERE h.granted AND h.pid IS NULL AND h.locktype = w.locktype
        AND (h.database, h.relation, h.page, h.tuple, h.virtualxid, h.transactionid::text, h.classid, h.objid, h.objsubid)
          IS NOT DISTINCT FROM
            (w.database, w.relation, w.page, w.tuple, w.virtualxid, w.transactionid::text, w.classid, w.objid, w.objsubid)
      ORDER BY p.gid) ELSE '{}' END AS prepared_gids,
    extract(epoch FROM clock_timestamp() - w.waitstart)::float8 AS waited_seconds,
    w.mode AS lock_mode,
    CASE
      WHEN w.relation IS NOT NULL AND w.database IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
        THEN w.locktype || ' ' || w.relation::regclass::text
      WHEN w.relation IS NOT NULL
        THEN w.locktype || ' ' || w.relation || ' of database ' || (SELECT datname FROM pg_database WHERE oid = w.database)
      WHEN w.locktype = 'transactionid' THEN coalesce(
        (SELECT 'row of ' || t.relation::regclass::text FROM locks t
          WHERE t.pid = w.pid AND t.locktype = 'tuple' AND t.granted LIMIT 1),
        'transaction ' || w.transactionid::text)
      WHEN w.locktype = 'advisory' THEN format('advisory lock %s, %s', w.classid, w.objid)
      ELSE w.locktype
    END AS lock_on
  FROM waiting w
), involved AS (
  SELECT pid FROM blocked
  UNION
  SELECT unnest(blocked_by) FROM blocked
)
SELECT
  i.pid,
  coalesce(b.blocked_by, '{}') AS blocked_by,
  coalesce(b.prepared_gids, '{}') AS prepared_gids,
  b.waited_seconds,
  b.lock_mode,
  b.lock_on,
  a.backend_type,
  a.datname::text AS database,
  a.usename::text AS role,
  a.application_name AS application,
  a.state,
  extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS transaction_seconds,
  -- the text is in its own database's encoding, and would not be valid in another one
  CASE WHEN d.encoding = here.encoding AND a.query <> '<insufficient privilege>'
    THEN left(a.query, 200) END AS query,
  -- backend_start guards against a pid that has been given to another session since; an advisory lock
  -- may be the session's, which outlives the statement that a cancellation ends
  format('SELECT %s(pid) FROM pg_stat_activity WHERE pid = %s%s;',
    CASE WHEN a.state = 'active' AND NOT EXISTS (SELECT FROM locks l
      WHERE l.pid = i.pid AND l.locktype = 'advisory' AND l.granted) THEN 'pg_cancel_backend' ELSE 'pg_terminate_backend' END,
    i.pid, ' AND backend_start = ' || quote_literal(a.backend_start::text)) AS end_sql
FROM involved i
LEFT JOIN blocked b USING (pid)
LEFT JOIN pg_stat_activity a USING (pid)
LEFT JOIN pg_database d ON d.oid = a.datid
JOIN pg_database here ON here.datname = current_database()
ORDER BY b.waited_seconds DESC NULLS LAST, i.pid
