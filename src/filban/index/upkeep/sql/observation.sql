-- Since when this server has counted index scans: one row. A reset of this database's statistics, or a crash, which
-- loses them all. After a crash every shared view starts anew, a reset by hand touches one: so the oldest of them.
-- Columns exist from 14 on.
SELECT
  extract(epoch FROM clock_timestamp() - s.since)::float8 AS window_seconds,
  to_char(s.since AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since
FROM (
  SELECT greatest(
    (SELECT stats_reset FROM pg_stat_database WHERE datname = current_database()),
    least(
      (SELECT stats_reset FROM pg_stat_bgwriter),
      (SELECT stats_reset FROM pg_stat_archiver),
      (SELECT stats_reset FROM pg_stat_wal)
    )
  ) AS since
) s
