-- Checkpoints and WAL since their statistics were last reset: one row. Windows in seconds.
-- From 17 on checkpoints are counted in pg_stat_checkpointer.
SELECT
  c.num_timed::bigint AS timed,
  c.num_requested::bigint AS requested,
  extract(epoch FROM clock_timestamp() - c.stats_reset)::float8 AS window_seconds,
  w.wal_bytes::float8 AS wal_bytes,
  extract(epoch FROM clock_timestamp() - w.stats_reset)::float8 AS wal_window_seconds
FROM pg_stat_checkpointer c, pg_stat_wal w
