-- Standbys that this server sends WAL to: one row each. behind_bytes and what follows are NULL without the
-- right to see them (pg_read_all_stats).
SELECT
  application_name AS name,
  state,
  sync_state,
  pg_wal_lsn_diff(
    CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END, replay_lsn
  )::float8 AS behind_bytes,
  extract(epoch FROM replay_lag)::float8 AS behind_seconds
FROM pg_stat_replication
ORDER BY application_name, pid
