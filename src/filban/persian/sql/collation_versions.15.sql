-- Collations whose library (glibc, ICU) sorts by another version than when they were created: one row
-- for this database's own, and one a named collation that an index uses. reindex_sql: one statement an
-- index (that of an exclusion constraint cannot be rebuilt concurrently). Columns exist from 15 on.
WITH used AS (
  SELECT DISTINCT
    u.coll,
    format('REINDEX INDEX %s%I.%I;',
      CASE WHEN i.indisexclusion THEN '' ELSE 'CONCURRENTLY ' END, n.nspname, c.relname) AS reindex
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indexrelid AND c.relkind = 'i' AND c.relpersistence <> 't'
  JOIN pg_namespace n ON n.oid = c.relnamespace
  CROSS JOIN unnest(i.indcollation) u (coll)
  WHERE u.coll <> 0
)
SELECT
  'collation' AS kind,
  format('%I.%I', n.nspname, c.collname) AS name,
  format('%I.%I', n.nspname, c.collname) AS quoted,
  c.collversion::text AS recorded,
  pg_collation_actual_version(c.oid) AS actual,
  array_agg(u.reindex ORDER BY u.reindex) AS reindex_sql
FROM used u
JOIN pg_collation c ON c.oid = u.coll
JOIN pg_namespace n ON n.oid = c.collnamespace
WHERE u.coll <> 100
  AND c.collversion IS NOT NULL
  AND c.collversion IS DISTINCT FROM pg_collation_actual_version(c.oid)
GROUP BY c.oid, n.nspname
UNION ALL
SELECT
  'database',
  d.datname::text,
  quote_ident(d.datname),
  d.datcollversion::text,
  pg_database_collation_actual_version(d.oid),
  coalesce((SELECT array_agg(u.reindex ORDER BY u.reindex) FROM used u WHERE u.coll = 100), '{}')
FROM pg_database d
WHERE d.datname = current_database()
  AND d.datcollversion IS NOT NULL
  AND d.datcollversion IS DISTINCT FROM pg_database_collation_actual_version(d.oid)
ORDER BY 1, 2
