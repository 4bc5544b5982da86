-- What commits wait for: one row. waiting is the number of sessions in a COMMIT that waits for a standby; other roles'
-- sessions do not show it to a plain role. Columns exist from 14 on.
SELECT
  current_setting('synchronous_standby_names') AS names,
  (SELECT reset_val::text FROM pg_settings WHERE name = 'synchronous_commit') AS synchronous_commit,
  (SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'IPC' AND wait_event = 'SyncRep') AS waiting
