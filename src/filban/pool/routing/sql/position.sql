-- Where a server stands: role, identity, timeline and the LSN that counts for its role. One row.
-- lsn: flushed on a primary, replayed on a standby. insert_lsn: a primary's only; past a page's
-- header where nothing follows yet (see tokens.end_of_record). timeline of a standby: the newest of
-- what its receiver follows (needs pg_read_all_stats) and what its control file knows.
-- next_xid: one past the highest transaction id known to be over. Columns exist from 14 on.
SELECT
  pg_is_in_recovery() AS in_recovery,
  (SELECT system_identifier FROM pg_control_system()) AS system_identifier,
  CASE WHEN pg_is_in_recovery()
    THEN greatest(
      (SELECT received_tli FROM pg_stat_wal_receiver),
      (SELECT timeline_id FROM pg_control_checkpoint()),
      (SELECT min_recovery_end_timeline FROM pg_control_recovery())
    )
    ELSE ('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::int
  END AS timeline,
  (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END
    - '0/0'::pg_lsn)::bigint AS lsn,
  CASE WHEN pg_is_in_recovery() THEN NULL
    ELSE (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint
  END AS insert_lsn,
  current_setting('wal_block_size')::int AS wal_block_bytes,
  (SELECT bytes_per_wal_segment FROM pg_control_init()) AS wal_segment_bytes,
  CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END AS replay_paused,
  pg_postmaster_start_time() AS started_at,
  pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next_xid
