-- Every index of the user's tables with what tells two of them apart, and how it has been used: one
-- row an index. keys: attribute numbers, or the expression's text; opclasses, collations and options
-- go with them. scans are of window_seconds at the least: since the last reset, else since the server's
-- start (they survive a clean restart, so that the true window may be longer). Sizes are the
-- catalogue's last known pages: reading the files would queue behind an ACCESS EXCLUSIVE lock.
-- Columns exist from 14 on; nulls_not_distinct (15) and last_scan_seconds (16) have variants.
SELECT
  x.indexrelid::bigint AS oid,
  n.nspname || '.' || c.relname AS name,
  format('%I.%I', n.nspname, c.relname) AS quoted,
  x.indrelid::bigint AS table_oid,
  n.nspname || '.' || t.relname AS table_name,
  format('%I.%I', n.nspname, t.relname) AS table_quoted,
  a.amname::text AS method,
  CASE WHEN x.indexprs IS NULL
    THEN (string_to_array(x.indkey::text, ' '))[1:x.indnkeyatts]
    ELSE ARRAY(
      SELECT CASE x.indkey[k - 1] WHEN 0 THEN pg_get_indexdef(x.indexrelid, k, false) ELSE x.indkey[k - 1]::text END
      FROM generate_series(1, x.indnkeyatts) k ORDER BY k)
  END AS keys,
  (string_to_array(x.indkey::text, ' '))[x.indnkeyatts + 1:] AS included,
  string_to_array(x.indclass::text, ' ') AS opclasses,
  string_to_array(x.indcollation::text, ' ') AS collations,
  string_to_array(x.indoption::text, ' ') AS options,
  pg_get_expr(x.indpred, x.indrelid) AS predicate,
  x.indisunique AS is_unique,
  x.indnullsnotdistinct AS nulls_not_distinct,
  x.indisvalid AS is_valid,
  x.indisreplident AS is_replica_identity,
  c.relkind = 'I' AS is_partitioned,
  c.relispartition AS is_partition,
  -- a primary key, a unique or exclusion constraint of its own, or the target of a foreign key
  EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = x.indexrelid) AS has_constraint,
  c.relpages::bigint * current_setting('block_size')::bigint AS size_bytes,
  greatest(t.reltuples, 0)::bigint AS table_rows,
  coalesce(s.idx_scan, 0) AS scans,
  NULL::float8 AS last_scan_seconds,
  extract(epoch FROM now() - coalesce(
    (SELECT d.stats_reset FROM pg_stat_database d WHERE d.datname = current_database()),
    pg_postmaster_start_time()))::float8 AS window_seconds,
  EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = x.indexrelid)
    -- who builds what is visible to pg_monitor only; that the table is locked for it, to everybody
    OR (NOT pg_has_role('pg_read_all_stats', 'USAGE') AND EXISTS (
      SELECT FROM pg_locks l WHERE l.relation = x.indrelid AND l.granted
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock'))) AS is_building
FROM pg_index x
JOIN pg_class c ON c.oid = x.indexrelid
JOIN pg_class t ON t.oid = x.indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_am a ON a.oid = c.relam
LEFT JOIN pg_stat_all_indexes s ON s.indexrelid = x.indexrelid
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  AND n.nspname NOT LIKE 'pg\_temp\_%' AND n.nspname NOT LIKE 'pg\_toast\_temp\_%'
  AND x.indislive
ORDER BY name
