-- WAL files that wait to be archived, and since when the oldest does: one row. Needs pg_monitor, which may list the
-- directory. Columns exist from 14 on.
SELECT
  count(*) AS files,
  (count(*) * pg_size_bytes(current_setting('wal_segment_size')))::bigint AS size_bytes,
  extract(epoch FROM clock_timestamp() - min(modification))::float8 AS oldest_seconds
FROM pg_ls_archive_statusdir()
WHERE name LIKE '%.ready'
