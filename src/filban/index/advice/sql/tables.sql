-- Every table and materialised view that is a user's, with what statistics say: one row a relation; a partitioned
-- one has only what ANALYZE of itself left. Counters are since the last reset. From 14 on.
-- Sizes are relpages (as of the last VACUUM or ANALYZE): pg_relation_size would queue behind an exclusive lock.
SELECT
  c.oid::bigint AS oid,
  n.nspname::text AS schema,
  c.relname::text AS name,
  quote_ident(n.nspname) AS schema_quoted,
  quote_ident(c.relname) AS name_quoted,
  c.relkind::text AS kind,
  (SELECT h.inhparent::bigint FROM pg_inherits h WHERE h.inhrelid = c.oid AND c.relispartition) AS parent_oid,
  c.reltuples::float8 AS rows,
  c.relpages::int AS pages,
  c.relallvisible::int AS visible_pages,
  coalesce(pg_stat_get_tuples_inserted(c.oid), 0) AS inserts,
  coalesce(pg_stat_get_tuples_updated(c.oid), 0) AS updates,
  coalesce(pg_stat_get_tuples_hot_updated(c.oid), 0) AS hot_updates,
  coalesce(pg_stat_get_tuples_deleted(c.oid), 0) AS deletes
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f')
  AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  AND NOT EXISTS (SELECT FROM pg_depend d
    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY c.oid
