-- Every foreign key outside extensions, those that partitions have inherited too: one row a constraint.
-- columns are attribute numbers; columns_not_null is how pg_get_expr writes "column IS NOT NULL" for each of them.
-- Row counts of partitioned tables are the sum over their partitions; changes are since the last reset.
-- Columns exist from 14 on.
WITH RECURSIVE tree AS (
  SELECT oid AS root, oid FROM pg_class WHERE relkind = 'p'
  UNION ALL
  SELECT tree.root, h.inhrelid FROM tree JOIN pg_inherits h ON h.inhparent = tree.oid
), counted AS (
  SELECT tree.root, sum(greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0)) AS rows,
    sum(c.relpages::bigint) AS pages,
    sum(pg_stat_get_tuples_deleted(c.oid)) AS deleted
  FROM tree JOIN pg_class c ON c.oid = tree.oid
  WHERE c.relkind <> 'p'
  GROUP BY tree.root
)
SELECT
  k.oid::bigint AS oid,
  nullif(k.conparentid, 0)::bigint AS parent_oid,
  k.conname::text AS name,
  k.conrelid::bigint AS table_oid,
  tn.nspname || '.' || t.relname AS table_name,
  t.relkind = 'p' AS is_partitioned,
  k.conkey::int[] AS columns,
  a.names AS column_names,
  a.collations,
  a.not_null AS columns_not_null,
  rn.nspname || '.' || r.relname AS referenced_name,
  coalesce(own.rows, greatest(t.reltuples, pg_stat_get_live_tuples(t.oid), 0))::bigint AS rows,
  (coalesce(own.pages, t.relpages) * current_setting('block_size')::bigint)::bigint AS size_bytes,
  coalesce(referenced.deleted, pg_stat_get_tuples_deleted(r.oid), 0)::bigint AS referenced_deletes
FROM pg_constraint k
JOIN pg_class t ON t.oid = k.conrelid
JOIN pg_namespace tn ON tn.oid = t.relnamespace
JOIN pg_class r ON r.oid = k.confrelid
JOIN pg_namespace rn ON rn.oid = r.relnamespace
CROSS JOIN LATERAL (
  SELECT array_agg(a.attname::text ORDER BY u.position) AS names,
    array_agg(a.attcollation::bigint ORDER BY u.position) AS collations,
    array_agg(format('(%I IS NOT NULL)', a.attname) ORDER BY u.position) AS not_null
  FROM unnest(k.conkey) WITH ORDINALITY AS u (attnum, position)
  JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum
) a
LEFT JOIN counted own ON own.root = t.oid
LEFT JOIN counted referenced ON referenced.root = r.oid
WHERE k.contype = 'f'
  AND t.relpersistence <> 't'
  AND NOT EXISTS (SELECT FROM pg_depend d
    WHERE d.classid = 'pg_class'::regclass AND d.objid = k.conrelid AND d.deptype = 'e')
ORDER BY k.oid
