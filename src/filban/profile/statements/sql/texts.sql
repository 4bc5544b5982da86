-- The texts of some statements, cut to $2 characters: one row an entry, so several for a statement
-- of several users. NULL where the server has lost its file of texts. Columns exist from 14 on.
SELECT
  s.dbid AS database_id,
  s.queryid AS query_id,
  left(s.query, $2::int) AS query
FROM @pg_stat_statements@.pg_stat_statements(true) s
WHERE s.queryid IN (SELECT unnest($1::int8[]))
