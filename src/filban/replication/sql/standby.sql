-- How this standby receives and replays: one row.
-- has_upstream: whether primary_conninfo is set, NULL where this role may not read it (the text itself, with its
-- password, stays on the server). receiver is NULL without a walreceiver, silent_seconds where this role may not see it: the
-- time since the last message of any kind, by this server's own clock. Columns exist from 14 on.
SELECT
  (SELECT setting <> '' FROM pg_settings WHERE name = 'primary_conninfo') AS has_upstream,
  (SELECT setting <> '' FROM pg_settings WHERE name = 'restore_command') AS has_archive,
  w.pid AS receiver,
  w.status::text AS receiver_status,
  w.slot_name::text AS slot,
  extract(epoch FROM clock_timestamp() - w.last_msg_receipt_time)::float8 AS silent_seconds,
  CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() <> 'not paused' END AS is_paused,
  (SELECT setting::float8 / 1000 FROM pg_settings WHERE name = 'recovery_min_apply_delay') AS delay_seconds,
  -- what the primary last said it had, where we may see it: receive minus replay is 0 with a frozen receiver
  pg_wal_lsn_diff(greatest(w.latest_end_lsn, pg_last_wal_receive_lsn()), pg_last_wal_replay_lsn())::float8 AS behind_bytes
FROM (SELECT pg_is_in_recovery()) here
LEFT JOIN pg_stat_wal_receiver w ON true
