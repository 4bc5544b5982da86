-- The bytes of the index $1 (as SQL names it), of all its parts where its table is partitioned; the statement that would
-- create it again; and the names under which plans show it: its own and its parts'.
SELECT
  sum(pg_relation_size(i.oid))::bigint AS size_bytes,
  pg_get_indexdef($1::regclass) AS definition,
  array_agg(c.relname::text) AS names
FROM (
  SELECT $1::regclass::oid
  UNION
  SELECT t.relid::oid FROM pg_partition_tree($1::regclass) t
) AS i (oid)
JOIN pg_class c ON c.oid = i.oid
