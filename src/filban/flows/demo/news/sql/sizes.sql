-- The tables of the news service with their rows and bytes (indexes and TOAST included).
-- Columns exist from 14 on.
SELECT
  c.relname::text AS name,
  c.reltuples::bigint AS rows_estimated,
  pg_total_relation_size(c.oid) AS size_bytes
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
ORDER BY 3 DESC
