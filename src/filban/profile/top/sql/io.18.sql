-- Bytes that all processes have read and written so far: one row. From 18 on pg_stat_io has bytes of its
-- own, and WAL as well, which is left out: it has a rate of its own.
SELECT
  sum(read_bytes)::float8 AS read_bytes,
  sum(coalesce(write_bytes, 0) + coalesce(extend_bytes, 0))::float8 AS written_bytes
FROM pg_stat_io
WHERE object <> 'wal'
