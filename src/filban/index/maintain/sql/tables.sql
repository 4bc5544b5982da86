-- Tables outside the system schemas and extensions: one row each, with what autovacuum's own rule makes of its
-- counters. Source of the rule: PostgreSQL documentation, 25.1.6; autovacuum never analyses a partitioned table (25.1.3).
-- may_maintain: the owner's right, from 17 on also MAINTAIN. Sizes are relpages, which waits for no lock.
WITH tables AS (
  SELECT
    c.oid::bigint AS oid,
    n.nspname || '.' || c.relname AS name,
    format('%I.%I', n.nspname, c.relname) AS quoted,
    c.relkind = 'p' AS is_partitioned,
    pg_has_role(c.relowner, 'USAGE') AS may_maintain,
    greatest(c.reltuples, 0)::float8 AS rows,
    c.relpages::bigint * current_setting('block_size')::bigint AS heap_bytes,
    c.reltuples < 0 OR (c.relkind = 'p' AND s.last_analyze IS NULL) AS never_analysed,
    coalesce(s.n_dead_tup, 0) AS dead_rows,
    coalesce(s.n_mod_since_analyze, 0) AS changed_rows,
    coalesce(s.n_live_tup, 0) AS live_rows,
    (SELECT jsonb_object_agg(o.option_name, o.option_value) FROM pg_options_to_table(c.reloptions) o) AS own
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
  WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't'
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    AND NOT EXISTS (SELECT FROM pg_depend d
      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
), limits AS (
  SELECT t.*,
    coalesce((own ->> 'autovacuum_vacuum_threshold')::float8, current_setting('autovacuum_vacuum_threshold')::float8)
      + rows * coalesce((own ->> 'autovacuum_vacuum_scale_factor')::float8,
          current_setting('autovacuum_vacuum_scale_factor')::float8) AS dead_limit,
    coalesce((own ->> 'autovacuum_analyze_threshold')::float8, current_setting('autovacuum_analyze_threshold')::float8)
      + rows * coalesce((own ->> 'autovacuum_analyze_scale_factor')::float8,
          current_setting('autovacuum_analyze_scale_factor')::float8) AS change_limit
  FROM tables t
)
SELECT
  oid, name, quoted, is_partitioned, may_maintain, heap_bytes, dead_rows, changed_rows,
  NOT is_partitioned AND dead_rows > dead_limit AS is_vacuum_due,
  changed_rows > change_limit OR (never_analysed AND (live_rows > 0 OR is_partitioned)) AS is_analyze_due
FROM limits
ORDER BY name
