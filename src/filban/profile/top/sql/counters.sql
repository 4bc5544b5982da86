-- What the server has counted so far, for rates, and what it stands at: one row. wal_bytes is a position:
-- written on a primary, received on a standby. replay_behind_bytes is NULL on a primary.
SELECT
  extract(epoch FROM clock_timestamp())::float8 AS at,
  sum(d.xact_commit)::float8 AS commits,
  sum(d.xact_rollback)::float8 AS rollbacks,
  sum(d.blks_read)::float8 AS blocks_read,
  sum(d.blks_hit)::float8 AS blocks_hit,
  sum(d.temp_bytes)::float8 AS temp_bytes,
  sum(d.numbackends)::int AS connections,
  current_setting('max_connections')::int AS connections_allowed,
  pg_wal_lsn_diff(
    CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
      ELSE pg_current_wal_lsn() END, '0/0')::float8 AS wal_bytes,
  CASE WHEN pg_is_in_recovery() THEN
    pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) END::float8 AS replay_behind_bytes
FROM pg_stat_database d
