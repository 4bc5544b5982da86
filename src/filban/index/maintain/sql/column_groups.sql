-- Columns that a btree searches together and that no extended statistics cover: one row a group and table of at least $1
-- rows. Only where this role may read the columns, unfiltered by row security, and owns the table, as CREATE STATISTICS
-- asks. sample_percent: of the table's pages, for about $2 rows.
SELECT DISTINCT
  c.oid::bigint AS table_oid,
  n.nspname || '.' || c.relname AS table_name,
  format('%I.%I', n.nspname, c.relname) AS table_quoted,
  k.columns AS columns_quoted,
  format('%I.%I', n.nspname, left(c.relname, 20) || '_' || left(md5(c.oid || k.columns::text), 8) || '_stx') AS statistics_quoted,
  least(100, 100.0 * $2::bigint / c.reltuples)::float8 AS sample_percent
FROM pg_index i
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_am am ON am.oid = x.relam AND am.amname = 'btree'
JOIN pg_class c ON c.oid = i.indrelid AND c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
  SELECT array_agg(quote_ident(a.attname) ORDER BY a.attnum) AS columns,
    array_agg(a.attnum ORDER BY a.attnum) AS numbers,
    bool_and(has_column_privilege(c.oid, a.attnum, 'SELECT')) AS is_visible
  FROM pg_attribute a
  WHERE a.attrelid = c.oid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
) k
WHERE i.indisvalid AND NOT i.indisunique AND i.indnkeyatts BETWEEN 2 AND 8
  AND cardinality(k.columns) = i.indnkeyatts
  AND k.is_visible AND NOT row_security_active(c.oid) AND pg_has_role(c.relowner, 'USAGE')
  AND has_schema_privilege(n.oid, 'CREATE')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  AND c.reltuples >= $1::bigint
  AND NOT EXISTS (SELECT FROM pg_statistic_ext e WHERE e.stxrelid = c.oid AND e.stxkeys::int2[] @> k.numbers)
  AND NOT EXISTS (SELECT FROM pg_locks l
    WHERE l.locktype = 'relation' AND l.relation = c.oid AND l.mode = 'AccessExclusiveLock'
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
ORDER BY table_name, columns_quoted
