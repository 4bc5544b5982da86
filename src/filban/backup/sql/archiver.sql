-- What the archiver has done: one row. Columns exist from 14 on.
SELECT
  current_setting('archive_mode') AS mode,
  archived_count::bigint AS archived,
  last_archived_wal::text AS last_archived,
  extract(epoch FROM now() - last_archived_time)::float8 AS last_archived_seconds,
  failed_count::bigint AS failed,
  last_failed_wal::text AS last_failed,
  extract(epoch FROM now() - last_failed_time)::float8 AS last_failed_seconds,
  -- a failure that no success has followed
  last_failed_time IS NOT NULL AND (last_archived_time IS NULL OR last_failed_time > last_archived_time) AS failing
FROM pg_stat_archiver
