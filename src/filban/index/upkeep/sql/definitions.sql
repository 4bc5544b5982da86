-- The statement that would create each index of $1 again: one row an index that still exists
-- and that nobody has locked exclusively.
-- Columns exist from 14 on.
WITH locked AS MATERIALIZED (
  -- deparsing opens the relation: behind an exclusive lock, held or waited for, it would wait
  SELECT l.relation AS oid FROM pg_locks l
  WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
    AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
)
SELECT i.indexrelid::bigint AS oid, pg_get_indexdef(i.indexrelid) || ';' AS statement
FROM pg_index i
WHERE i.indexrelid = ANY ($1::bigint[]::oid[])
  AND i.indexrelid NOT IN (SELECT oid FROM locked) AND i.indrelid NOT IN (SELECT oid FROM locked)
