-- The bytes of the index $1 (as SQL names it); of all its parts where its table is partitioned.
SELECT sum(pg_relation_size(i.oid))::bigint AS size_bytes
FROM (
  SELECT $1::regclass::oid
  UNION
  SELECT t.relid::oid FROM pg_partition_tree($1::regclass) t WHERE t.isleaf
) AS i (oid)
