-- WAL since its statistics were reset: one row. Times in milliseconds, 0 unless track_wal_io_timing.
-- From 18 on its writes and syncs are counted in pg_stat_io.
SELECT
  w.wal_records::float8 AS records,
  w.wal_fpi::float8 AS page_images,
  w.wal_bytes::float8 AS bytes,
  w.wal_buffers_full::float8 AS buffers_full,
  coalesce(i.syncs, 0)::float8 AS syncs,
  coalesce(i.sync_ms, 0)::float8 AS sync_ms
FROM pg_stat_wal w,
  (SELECT sum(fsyncs) AS syncs, sum(fsync_time) AS sync_ms FROM pg_stat_io WHERE object = 'wal') i
