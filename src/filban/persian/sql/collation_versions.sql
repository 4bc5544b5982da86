-- Collations whose library (glibc, ICU) sorts by another version than when they were created: one row
-- a named collation that an index uses. reindex_sql: one statement an index (that of an exclusion
-- constraint cannot be rebuilt concurrently). The database's own collation is versioned from 15 on. Columns exist from 14 on.
WITH used AS (
  SELECT DISTINCT
    u.coll,
    format('REINDEX INDEX %s%I.%I;',
      CASE WHEN i.indisexclusion THEN '' ELSE 'CONCURRENTLY ' END, n.nspname, c.relname) AS reindex
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indexrelid AND c.relkind = 'i' AND c.relpersistence <> 't'
  JOIN pg_namespace n ON n.oid = c.relnamespace
  CROSS JOIN unnest(i.indcollation) u (coll)
  WHERE u.coll NOT IN (0, 100)
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
WHERE c.collversion IS NOT NULL
  AND c.collversion IS DISTINCT FROM pg_collation_actual_version(c.oid)
GROUP BY c.oid, n.nspname
ORDER BY 2
