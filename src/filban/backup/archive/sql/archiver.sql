-- What the archiver is told to do and has done: one row. How it archives is only looked at for being set.
-- archive_library exists from 15 on. Ages are by this server's clock. Columns exist from 14 on.
SELECT
  current_setting('archive_mode') AS mode,
  EXISTS (SELECT FROM pg_settings s
    WHERE (s.name = 'archive_command' AND s.setting NOT IN ('', '(disabled)')) OR (s.name = 'archive_library' AND s.setting <> ''))
    AS is_configured,
  a.archived_count,
  a.failed_count,
  a.last_failed_wal::text AS last_failed_file,
  a.last_failed_time > coalesce(a.last_archived_time, '-infinity') AS is_failing,
  extract(epoch FROM clock_timestamp() - a.last_failed_time)::float8 AS failed_seconds_ago,
  extract(epoch FROM clock_timestamp() - a.last_archived_time)::float8 AS archived_seconds_ago,
  extract(epoch FROM clock_timestamp() - a.stats_reset)::float8 AS counted_seconds
FROM pg_stat_archiver a
