-- WAL since its statistics were reset: one row. Times in milliseconds, 0 unless track_wal_io_timing.
-- pg_stat_wal exists from 14 on; 18 moved writes and syncs to pg_stat_io.
SELECT
  wal_records::float8 AS records,
  wal_fpi::float8 AS page_images,
  wal_bytes::float8 AS bytes,
  wal_buffers_full::float8 AS buffers_full,
  wal_sync::float8 AS syncs,
  wal_sync_time::float8 AS sync_ms
FROM pg_stat_wal
