-- Standbys that this server sends WAL to: one row each. Lag of what they have replayed in bytes, NULL
-- without the right to see it. Columns exist from 14 on.
SELECT
  application_name AS name,
  state,
  sync_state,
  pg_wal_lsn_diff(
    CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END, replay_lsn
  )::float8 AS replay_behind_bytes
FROM pg_stat_replication
ORDER BY application_name
