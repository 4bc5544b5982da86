-- How this standby receives and replays: one row. receiver is NULL when none runs; the receiver's columns
-- are NULL for a role without pg_monitor. Columns exist from 14 on.
SELECT
  pg_is_wal_replay_paused() AS paused,
  pg_get_wal_replay_pause_state()::text AS pause_state,
  (SELECT count(*) FROM pg_stat_wal_receiver)::int AS receivers,
  r.status::text AS status,
  extract(epoch FROM now() - r.last_msg_receipt_time)::float8 AS silent_seconds,
  pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::float8 AS replay_behind_bytes,
  extract(epoch FROM now() - pg_last_xact_replay_timestamp())::float8 AS last_replayed_seconds
FROM (SELECT) one
LEFT JOIN pg_stat_wal_receiver r ON true
