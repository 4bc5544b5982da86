-- The same where the role may not execute pg_control_*(): no system identifier, a standby's timeline
-- only as its receiver shows it (NULL without pg_read_all_stats). One row. Columns exist from 14 on.
SELECT
  pg_is_in_recovery() AS in_recovery,
  NULL::bigint AS system_identifier,
  CASE WHEN pg_is_in_recovery()
    THEN (SELECT received_tli FROM pg_stat_wal_receiver)
    ELSE ('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::int
  END AS timeline,
  (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END
    - '0/0'::pg_lsn)::bigint AS lsn,
  CASE WHEN pg_is_in_recovery() THEN NULL
    ELSE (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint
  END AS insert_lsn,
  current_setting('wal_block_size')::int AS wal_block_bytes,
  pg_size_bytes(current_setting('wal_segment_size'))::int AS wal_segment_bytes,
  CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END AS replay_paused,
  pg_postmaster_start_time() AS started_at,
  pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next_xid
