-- Checkpoints since their statistics were reset: one row. Times in milliseconds.
-- Before 17 they are counted in pg_stat_bgwriter. Columns exist from 14 on.
SELECT
  checkpoints_timed::float8 AS timed,
  checkpoints_req::float8 AS requested,
  checkpoint_write_time::float8 AS write_ms,
  checkpoint_sync_time::float8 AS sync_ms,
  buffers_checkpoint::float8 AS buffers
FROM pg_stat_bgwriter
