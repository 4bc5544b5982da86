-- Pages of this database asked for since its statistics were last reset: found in shared_buffers
-- (hit) or not (read). One row. Columns exist from 14 on.
SELECT
  d.blks_hit::bigint AS hit,
  d.blks_read::bigint AS read,
  extract(epoch FROM clock_timestamp() - d.stats_reset)::float8 AS window_seconds
FROM pg_stat_database d
WHERE d.datname = current_database()
