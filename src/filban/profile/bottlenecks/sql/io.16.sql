-- Reads, writes and extensions of relations by who did them: one row. pg_stat_io exists from 16 on.
SELECT
  sum(reads) FILTER (WHERE backend_type = 'client backend')::float8 AS client_reads,
  sum(writes) FILTER (WHERE backend_type = 'client backend')::float8 AS client_writes,
  sum(extends) FILTER (WHERE backend_type = 'client backend')::float8 AS client_extends,
  sum(reads) FILTER (WHERE backend_type = 'autovacuum worker')::float8 AS vacuum_reads,
  sum(writes) FILTER (WHERE backend_type = 'autovacuum worker')::float8 AS vacuum_writes
FROM pg_stat_io
WHERE object = 'relation'
