-- The statement that would create each index of $1 again: one row an index that still exists.
-- Columns exist from 14 on.
SELECT i.indexrelid::bigint AS oid, pg_get_indexdef(i.indexrelid) || ';' AS statement
FROM pg_index i
WHERE i.indexrelid = ANY ($1::bigint[]::oid[])
