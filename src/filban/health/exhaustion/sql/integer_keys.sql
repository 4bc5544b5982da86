-- Columns of type smallint or integer in a primary key, unique index or foreign key of this database,
-- with the extremes of the values that ANALYZE saw: one row a column. A partition counts for its
-- partitioned table. lowest and highest are NULL when the statistics hold none; `visible` tells
-- whether this role may see them at all. widen_sql is NULL where the type cannot be changed. Reads statistics only, never the tables.
-- Columns exist from 14 on.
WITH key AS (
  SELECT i.indrelid AS table_, u.k AS column_
  FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY u (k, position)
  WHERE i.indisunique AND u.position <= i.indnkeyatts AND u.k > 0 AND i.indrelid >= 16384
  UNION
  SELECT f.conrelid, unnest(f.conkey) FROM pg_constraint f WHERE f.contype = 'f'
), partition_key AS MATERIALIZED (
  -- a column of a partition key cannot change its type
  SELECT pg_partition_root(p.partrelid) AS root, a.attname
  FROM pg_partitioned_table p
  JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = ANY (p.partattrs::int2[])
), integer_key AS (
  SELECT
    n.nspname, c.relname, a.attname, t.typname,
    CASE WHEN c.relispartition THEN pg_partition_root(c.oid) ELSE c.oid END AS root,
    has_column_privilege(c.oid, a.attnum, 'SELECT')
      AND NOT (c.relrowsecurity AND row_security_active(c.oid)) AS visible
  FROM key k
  JOIN pg_class c ON c.oid = k.table_ AND c.relkind IN ('r', 'p')
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = k.table_ AND a.attnum = k.column_
  JOIN pg_type t ON t.oid = a.atttypid AND t.typname IN ('int2', 'int4')
  WHERE NOT pg_is_other_temp_schema(c.relnamespace)
)
SELECT
  rn.nspname || '.' || r.relname || '.' || k.attname AS name,
  k.typname::text AS column_type,
  bool_and(k.visible) AS visible,
  min(seen.lowest) AS lowest,
  max(seen.highest) AS highest,
  CASE WHEN (k.root, k.attname) NOT IN (SELECT root, attname FROM partition_key) THEN
    format('ALTER TABLE %I.%I ALTER COLUMN %I TYPE bigint;', rn.nspname, r.relname, k.attname)
  END AS widen_sql
FROM integer_key k
JOIN pg_class r ON r.oid = k.root
JOIN pg_namespace rn ON rn.oid = r.relnamespace
-- One look into pg_stats a column, by its indexes: the planner cannot see into the view and would
-- compare every column with every other.
LEFT JOIN LATERAL (
  SELECT min(v) AS lowest, max(v) AS highest
  FROM pg_stats s
  CROSS JOIN LATERAL unnest(
    s.most_common_vals::text::bigint[]
      -- a histogram is sorted: its ends are its extremes
      || substring(s.histogram_bounds::text FROM '^\{(-?[0-9]+)')::bigint
      || substring(s.histogram_bounds::text FROM '(-?[0-9]+)\}$')::bigint
  ) v
  WHERE s.schemaname = k.nspname AND s.tablename = k.relname AND s.attname = k.attname
) seen ON true
GROUP BY rn.nspname, r.relname, k.root, k.attname, k.typname
ORDER BY name
