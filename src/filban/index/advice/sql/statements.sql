-- What pg_stat_statements has of this database, top-level statements only: one row a statement. sql is NULL where the
-- role may not see it. total_ms is execution, all calls. From 14 on.
SELECT
  s.queryid AS query_id,
  CASE WHEN s.query <> '<insufficient privilege>' THEN s.query END AS sql,
  sum(s.calls)::float8 AS calls,
  sum(s.total_exec_time)::float8 AS total_ms,
  sum(s.rows)::float8 AS rows
FROM @pg_stat_statements@.pg_stat_statements s
WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND s.toplevel
GROUP BY 1, 2
ORDER BY 4 DESC, 1
