-- The texts of some statements, one row a (database, statement), cut to $2 characters. NULL where
-- the server has lost its file of texts. Columns exist from 14 on.
SELECT DISTINCT ON (s.dbid, s.queryid)
  s.dbid AS database_id,
  s.queryid AS query_id,
  left(s.query, $2::int) AS query
FROM @pg_stat_statements@.pg_stat_statements(true) s
WHERE s.queryid = ANY ($1::int8[])
ORDER BY s.dbid, s.queryid, s.query
