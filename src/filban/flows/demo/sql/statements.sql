-- What pg_stat_statements has counted for this database so far: one row a statement and role.
-- Times are milliseconds on the server. Columns exist from 14 on.
SELECT
  queryid,
  query,
  sum(calls)::bigint AS calls,
  sum(total_exec_time) AS total_ms,
  sum(rows)::bigint AS rows,
  sum(shared_blks_hit + shared_blks_read)::bigint AS blocks
FROM @pg_stat_statements@.pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND toplevel AND queryid IS NOT NULL
GROUP BY queryid, query
