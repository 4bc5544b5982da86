-- Checkpoints and WAL since their statistics were last reset: one row. Windows in seconds.
-- Before 17 checkpoints are counted in pg_stat_bgwriter. Columns exist from 14 on.
SELECT
  b.checkpoints_timed::bigint AS timed,
  b.checkpoints_req::bigint AS requested,
  extract(epoch FROM clock_timestamp() - b.stats_reset)::float8 AS window_seconds,
  w.wal_bytes::float8 AS wal_bytes,
  extract(epoch FROM clock_timestamp() - w.stats_reset)::float8 AS wal_window_seconds
FROM pg_stat_bgwriter b, pg_stat_wal w
