-- Tables of this database (a TOAST table counts for its owner) whose oldest transaction is older than
-- $1 or whose oldest multixact is older than $2: one row each, the oldest first. quoted can be pasted
-- into SQL. Other sessions' temporary tables are left out: nobody else can vacuum them.
-- Columns exist from 14 on.
SELECT
  n.nspname || '.' || c.relname AS name,
  format('%I.%I', n.nspname, c.relname) AS quoted,
  greatest(age(c.relfrozenxid), age(t.relfrozenxid))::bigint AS xid_age,
  greatest(mxid_age(c.relminmxid), mxid_age(t.relminmxid))::bigint AS multixact_age,
  c.relpages::bigint * current_setting('block_size')::bigint AS size_bytes
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
WHERE c.relkind IN ('r', 'm')
  AND NOT pg_is_other_temp_schema(c.relnamespace)
  AND (greatest(age(c.relfrozenxid), age(t.relfrozenxid)) >= $1::bigint
    OR greatest(mxid_age(c.relminmxid), mxid_age(t.relminmxid)) >= $2::bigint)
ORDER BY xid_age DESC, name
