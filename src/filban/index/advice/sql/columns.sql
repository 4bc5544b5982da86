-- The columns of the tables $1, with what ANALYZE knows of them (NULL where it has not run, or where the role may not
-- see it): one row a column. type: the base type's name, behind domains; category: pg_type.typcategory.
-- by_bytes: its order is that of its bytes, so that LIKE 'prefix%' can use a plain btree. From 14 on.
-- distincts: as pg_stats.n_distinct, negative for a share of the rows.
SELECT
  a.attrelid::bigint AS table_oid,
  a.attnum::int AS number,
  a.attname::text AS name,
  quote_ident(a.attname) AS quoted,
  b.typname::text AS type,
  b.typcategory::text AS category,
  a.attnotnull AS is_not_null,
  coalesce(l.collname IN ('C', 'POSIX', 'ucs_basic') OR l.oid = 'pg_catalog.default'::regcollation
    AND d.datcollate IN ('C', 'POSIX'), true) AS by_bytes,
  s.n_distinct::float8 AS distincts,
  s.null_frac::float8 AS null_share,
  s.correlation::float8 AS correlation,
  s.avg_width AS width_bytes,
  coalesce(s.most_common_freqs[1], 0)::float8 AS top_share
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_collation l ON l.oid = a.attcollation
CROSS JOIN (SELECT datcollate FROM pg_database WHERE datname = current_database()) d
LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname
  AND s.inherited = (c.relkind = 'p')
WHERE a.attrelid = ANY ($1::bigint[]::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
