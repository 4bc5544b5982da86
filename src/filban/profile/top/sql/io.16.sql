-- Bytes that all processes have read and written so far: one row. pg_stat_io exists from 16 on.
SELECT
  sum(reads * op_bytes)::float8 AS read_bytes,
  sum((coalesce(writes, 0) + coalesce(extends, 0)) * op_bytes)::float8 AS written_bytes
FROM pg_stat_io
