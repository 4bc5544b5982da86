-- The table named $1 (schema) and $2 (name): no row or one. size_bytes is of its heap, of all its partitions together,
-- as of the last VACUUM or ANALYZE: pg_relation_size would queue behind an exclusive lock. Columns exist from 14 on.
SELECT
  c.relkind::text AS kind,
  format('%I.%I', n.nspname, c.relname) AS quoted,
  current_setting('block_size')::bigint * (SELECT coalesce(sum(p.relpages), 0)::bigint
    FROM (SELECT c.oid UNION SELECT t.relid FROM pg_partition_tree(c.oid) t) parts (oid)
    JOIN pg_class p ON p.oid = parts.oid) AS size_bytes
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2
