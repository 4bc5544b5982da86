-- The relation named $1 (schema) and $2 (name), if there is one: no row or one. is_valid and is_live are true for what is
-- no index. builder_pid: who builds it now, seen through the lock that a build holds on it.
-- The definition is NULL behind an exclusive lock, where deparsing would wait. Columns exist from 14 on.
SELECT
  c.oid::bigint AS oid,
  format('%I.%I', n.nspname, c.relname) AS quoted,
  c.relkind::text AS kind,
  coalesce(i.indisvalid, true) AS is_valid,
  coalesce(i.indislive, true) AS is_live,
  CASE WHEN c.relkind = 'i' AND NOT lock.hides THEN pg_relation_size(c.oid) ELSE 0 END AS size_bytes,
  CASE WHEN i.indexrelid IS NOT NULL AND NOT lock.hides THEN pg_get_indexdef(c.oid) END AS definition,
  EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid) AS has_constraint,
  (SELECT p.pid FROM pg_stat_progress_create_index p
    WHERE p.datname = current_database() AND p.index_relid = c.oid LIMIT 1) AS builder_pid
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_index i ON i.indexrelid = c.oid
CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM pg_locks l
  WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.relation IN (c.oid, i.indrelid)
    AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())) AS hides) lock
WHERE n.nspname = $1 AND c.relname = $2
