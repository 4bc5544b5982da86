-- Reads, writes and extensions of relations by who did them: one row of NULLs, as pg_stat_io exists from
-- 16 on only.
SELECT
  NULL::float8 AS client_reads,
  NULL::float8 AS client_writes,
  NULL::float8 AS client_extends,
  NULL::float8 AS vacuum_reads,
  NULL::float8 AS vacuum_writes
