-- The standbys and other clients that stream from this server: one row each. Positions are bytes behind
-- this server's own; everything but the pid is NULL for a role without pg_monitor.
-- Columns exist from 14 on.
SELECT
  r.pid,
  r.application_name::text AS application_name,
  host(r.client_addr) AS client,
  r.state::text AS state,
  r.sync_state::text AS sync_state,
  pg_wal_lsn_diff(p.lsn, r.sent_lsn)::float8 AS sent_behind_bytes,
  pg_wal_lsn_diff(p.lsn, r.flush_lsn)::float8 AS flush_behind_bytes,
  pg_wal_lsn_diff(p.lsn, r.replay_lsn)::float8 AS replay_behind_bytes,
  extract(epoch FROM now() - r.reply_time)::float8 AS silent_seconds,
  extract(epoch FROM now() - r.backend_start)::float8 AS connected_seconds,
  r.state IS NOT NULL AS visible
FROM pg_stat_replication r
CROSS JOIN (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_flush_lsn() END AS lsn) p
ORDER BY r.application_name, r.pid
