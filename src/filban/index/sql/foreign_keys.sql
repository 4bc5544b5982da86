-- Foreign keys whose referencing columns no valid index begins with, in any order: one row a key, once
-- for a partitioned table. create_sql builds the index without blocking writers, partition by
-- partition: the last statement on the partitioned table only adopts what is there.
-- Columns exist from 14 on.
WITH keys AS (
  SELECT k.*, array_length(k.conkey, 1) AS width,
    (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY o.at)
      FROM unnest(k.conkey) WITH ORDINALITY o(attnum, at)
      JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = o.attnum) AS columns
  FROM pg_constraint k
  WHERE k.contype = 'f' AND k.conparentid = 0
)
SELECT
  n.nspname || '.' || t.relname AS table_name,
  k.conname::text AS name,
  k.columns AS columns,
  rn.nspname || '.' || r.relname AS referenced,
  CASE t.relkind
    WHEN 'p' THEN (
      SELECT greatest(sum(greatest(p.reltuples, 0)), 0)::bigint FROM pg_partition_tree(t.oid) f JOIN pg_class p ON p.oid = f.relid WHERE f.isleaf)
    -- never analysed: the counters know better than the catalogue
    ELSE greatest(t.reltuples, CASE WHEN t.reltuples < 0 THEN coalesce(pg_stat_get_live_tuples(t.oid), 0) END, 0)::bigint
  END AS table_rows,
  coalesce(pg_stat_get_tuples_deleted(r.oid), 0) + coalesce(pg_stat_get_tuples_updated(r.oid), 0) AS parent_changes,
  t.relkind = 'p' AS is_partitioned,
  CASE t.relkind
    WHEN 'p' THEN (
      SELECT coalesce(string_agg(format(E'CREATE INDEX CONCURRENTLY ON %I.%I (%s);\n', pn.nspname, p.relname, k.columns), '' ORDER BY pn.nspname, p.relname), '')
      FROM pg_partition_tree(t.oid) f JOIN pg_class p ON p.oid = f.relid JOIN pg_namespace pn ON pn.oid = p.relnamespace WHERE f.isleaf AND p.relkind = 'r'
    ) || format('CREATE INDEX ON %I.%I (%s);', n.nspname, t.relname, k.columns)
    ELSE format('CREATE INDEX CONCURRENTLY ON %I.%I (%s);', n.nspname, t.relname, k.columns)
  END AS create_sql
FROM keys k
JOIN pg_class t ON t.oid = k.conrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
JOIN pg_class r ON r.oid = k.confrelid
JOIN pg_namespace rn ON rn.oid = r.relnamespace
WHERE NOT EXISTS (
  SELECT FROM pg_index x
  JOIN pg_class i ON i.oid = x.indexrelid
  JOIN pg_am a ON a.oid = i.relam
  WHERE x.indrelid = k.conrelid AND x.indisvalid
    AND (a.amname = 'btree' OR (a.amname = 'hash' AND k.width = 1))
    AND (string_to_array(x.indkey::text, ' ')::int2[])[1:k.width] @> k.conkey
    AND x.indnkeyatts >= k.width
    -- a partial index serves the check only where it leaves out nothing but NULLs
    AND (x.indpred IS NULL OR pg_get_expr(x.indpred, x.indrelid) = format('(%s IS NOT NULL)', k.columns))
)
ORDER BY 1, 2
