-- How to look up rows of a table by its primary key: the statement, and one that reads keys to ask
-- for. One row: the table that is named by $1, or (NULL) the largest one that this role may read. No
-- row: there is none with a primary key and rows in it. reltuples is -1 before the first ANALYZE.
SELECT
  format('%s.%s', n.nspname, c.relname) AS name,
  format(
    'SELECT * FROM %I.%I WHERE (%s) = (%s)', n.nspname, c.relname,
    string_agg(format('%I', a.attname), ', ' ORDER BY k.position),
    string_agg(format('$%s', k.position), ', ' ORDER BY k.position)
  ) AS lookup_sql,
  format(
    -- about 5,000 rows from pages all over the table, 1,000 of them
    'SELECT %s FROM %I.%I TABLESAMPLE SYSTEM (%s) ORDER BY random() LIMIT 1000',
    string_agg(format('%I', a.attname), ', ' ORDER BY k.position), n.nspname, c.relname,
    round((CASE WHEN c.reltuples <= 20000 THEN 100 ELSE 500000 / c.reltuples END)::numeric, 8)
  ) AS keys_sql,
  c.reltuples::float8 AS rows_estimated
FROM pg_index i
JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (number, position)
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
WHERE i.indisprimary
  AND k.position <= i.indnkeyatts
  AND c.relkind IN ('r', 'p')
  AND c.relpersistence <> 't'
  AND has_schema_privilege(n.oid, 'USAGE')
  AND has_table_privilege(c.oid, 'SELECT')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND CASE WHEN $1::text IS NULL THEN c.relpages > 0 OR c.relkind = 'p'
      ELSE c.oid = coalesce(to_regclass($1::text), to_regclass('public.' || $1::text)) END
GROUP BY n.nspname, c.relname, c.oid, c.reltuples, c.relpages
ORDER BY c.relpages DESC, name
LIMIT 1
