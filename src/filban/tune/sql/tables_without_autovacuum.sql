-- Tables of at least $1 bytes (by their last counted pages) whose autovacuum is switched off by a
-- storage parameter: one row each. quoted can be pasted into SQL. Columns exist from 14 on.
SELECT
  n.nspname || '.' || c.relname AS name,
  format('%I.%I', n.nspname, c.relname) AS quoted,
  c.relpages::bigint * current_setting('block_size')::bigint AS size_bytes,
  greatest(c.reltuples, 0)::bigint AS rows_estimated
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm')
  AND c.relpersistence <> 't'
  AND EXISTS (
    SELECT FROM pg_options_to_table(c.reloptions) o
    WHERE o.option_name = 'autovacuum_enabled' AND NOT o.option_value::bool)
  AND c.relpages::bigint * current_setting('block_size')::bigint >= $1::bigint
ORDER BY size_bytes DESC, name
