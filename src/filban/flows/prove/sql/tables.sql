-- The tables $1 (as SQL names them), their partitions and the partitioned tables above them: one row a table, its name
-- as SQL has it.
SELECT DISTINCT format('%I.%I', n.nspname, c.relname) AS name
FROM unnest($1::text[]) AS given (name)
CROSS JOIN LATERAL (
  SELECT given.name::regclass::oid
  UNION
  SELECT t.relid::oid FROM pg_partition_tree(given.name::regclass) t
  UNION
  SELECT a.relid::oid FROM pg_partition_ancestors(given.name::regclass) a
) AS r (oid)
JOIN pg_class c ON c.oid = r.oid
JOIN pg_namespace n ON n.oid = c.relnamespace
