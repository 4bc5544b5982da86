-- Bytes that all processes have read and written so far: one row of NULLs, as pg_stat_io exists from 16 on.
SELECT NULL::float8 AS read_bytes, NULL::float8 AS written_bytes
