-- Checkpoints since their statistics were reset: one row. Times in milliseconds.
-- From 17 on they are counted in pg_stat_checkpointer.
SELECT
  num_timed::float8 AS timed,
  num_requested::float8 AS requested,
  write_time::float8 AS write_ms,
  sync_time::float8 AS sync_ms,
  buffers_written::float8 AS buffers
FROM pg_stat_checkpointer
