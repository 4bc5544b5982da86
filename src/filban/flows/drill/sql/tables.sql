-- Ordinary tables whose rows a physical copy has: name as people write it, name quoted for SQL,
-- size in bytes. Not temporary ones (not in WAL), not unlogged ones (emptied by recovery).
-- $1: only these names (schema.name), NULL for all.
SELECT n.nspname || '.' || c.relname AS name,
       format('%I.%I', n.nspname, c.relname) AS quoted,
       pg_table_size(c.oid) AS size_bytes
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r'
  AND c.relpersistence = 'p'
  AND n.nspname <> 'information_schema'
  AND n.nspname !~ '^pg_'
  AND ($1::text[] IS NULL OR n.nspname || '.' || c.relname = ANY ($1::text[]))
ORDER BY size_bytes DESC, name
