-- $1 application_name of a standby. Its row on the primary, if it streams. Bytes are the primary's
-- own positions: what the standby says of itself can stand still. Columns exist from 14 on.
SELECT
  state,
  sync_state,
  pg_wal_lsn_diff(pg_current_wal_flush_lsn(), sent_lsn)::bigint AS unsent_bytes,
  pg_wal_lsn_diff(pg_current_wal_flush_lsn(), replay_lsn)::bigint AS lag_bytes
FROM pg_stat_replication
WHERE application_name = $1
