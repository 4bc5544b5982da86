-- Every index outside the system schemas and extensions, and those of TOAST tables that are invalid: one row an index.
-- Sizes are relpages (as of the last VACUUM, ANALYZE or build): pg_relation_size would queue behind an exclusive lock.
-- keys, opclasses, collations and options are pg_index's vectors as text; expressions has a text for each key that is
-- an expression. busy: somebody builds or drops it now, seen through locks because those are visible to every role.
-- is_readable: false where an exclusive lock hides expressions and predicate, which are NULL then.
-- nulls_not_distinct exists from 15 on; it is read through jsonb so that one text serves every version.
WITH locked AS MATERIALIZED (
  -- deparsing opens the relation: behind an exclusive lock, held or waited for, it would wait
  SELECT l.relation AS oid FROM pg_locks l
  WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
    AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
)
SELECT
  i.indexrelid::bigint AS oid,
  i.indrelid::bigint AS table_oid,
  n.nspname || '.' || c.relname AS name,
  format('%I.%I', n.nspname, c.relname) AS quoted,
  tn.nspname || '.' || t.relname AS table_name,
  am.amname::text AS access_method,
  i.indkey::text AS keys,
  i.indnkeyatts::int AS key_count,
  i.indclass::text AS opclasses,
  i.indcollation::text AS collations,
  i.indoption::text AS options,
  CASE WHEN i.indexprs IS NOT NULL AND NOT lock.hides THEN ARRAY(
    SELECT CASE k.attnum WHEN 0 THEN pg_get_indexdef(i.indexrelid, k.position::int, false) END
    FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, position) ORDER BY k.position
  ) END AS expressions,
  CASE WHEN i.indpred IS NOT NULL AND NOT lock.hides THEN pg_get_expr(i.indpred, i.indrelid) END AS predicate,
  NOT (lock.hides AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)) AS is_readable,
  (SELECT string_agg(a.attnum || a.attoptions::text, ' ' ORDER BY a.attnum) FROM pg_attribute a
    WHERE a.attrelid = i.indexrelid AND a.attoptions IS NOT NULL) AS opclass_options,
  c.reloptions::text AS storage_options,
  i.indisunique AS is_unique,
  i.indimmediate AS is_immediate,
  CASE WHEN i.indisunique THEN coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false) ELSE false END
    AS nulls_not_distinct,
  i.indisprimary AS is_primary,
  i.indisexclusion AS is_exclusion,
  i.indisreplident AS is_replica_identity,
  i.indisclustered AS is_clustered,
  EXISTS (SELECT FROM pg_constraint k
    WHERE k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')) AS has_constraint,
  EXISTS (SELECT FROM pg_constraint k
    WHERE k.conindid = i.indexrelid AND k.confrelid = i.indrelid AND k.contype = 'f') AS is_referenced,
  i.indisvalid AS is_valid,
  i.indisready AND i.indislive AS is_maintained,
  i.indislive AS is_live,
  CASE WHEN i.indisvalid THEN false ELSE
    EXISTS (SELECT FROM pg_locks l
      WHERE l.locktype = 'relation' AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
        AND l.relation = i.indexrelid AND l.granted
        AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))
    OR EXISTS (SELECT FROM pg_locks l JOIN pg_stat_progress_create_index p ON p.pid = l.pid
      WHERE l.locktype = 'relation' AND l.database = p.datid AND l.relation = i.indrelid
        AND p.datname = current_database())
  END AS busy,
  c.relkind = 'I' AS is_partitioned,
  (SELECT h.inhparent::bigint FROM pg_inherits h WHERE h.inhrelid = i.indexrelid) AS parent_oid,
  c.relpages::bigint * current_setting('block_size')::bigint AS size_bytes,
  coalesce(pg_stat_get_numscans(i.indexrelid), 0) AS scans,
  coalesce(pg_stat_get_tuples_inserted(i.indrelid) + pg_stat_get_tuples_updated(i.indrelid)
    - pg_stat_get_tuples_hot_updated(i.indrelid), 0) AS entries_written,
  n.nspname = 'pg_toast' AS is_toast
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace tn ON tn.oid = t.relnamespace
JOIN pg_am am ON am.oid = c.relam
CROSS JOIN LATERAL (SELECT i.indrelid IN (SELECT oid FROM locked) OR i.indexrelid IN (SELECT oid FROM locked) AS hides) lock
WHERE c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND (n.nspname <> 'pg_toast' OR NOT i.indisvalid)
  AND NOT EXISTS (SELECT FROM pg_depend d
    WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indrelid AND d.deptype = 'e')
ORDER BY i.indrelid, i.indexrelid
