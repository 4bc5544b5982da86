-- What the cumulative statistics say about each table that has at least $1 rows or as many changes:
-- one row a table. The triggers are the counts from which on autovacuum should come, by the table's own
-- storage parameters. Ages in seconds. analysed: whether the planner has statistics, NULL where this
-- role may not see it. A partitioned table counts its partitions' rows; autovacuum never analyses it.
-- autovacuum_vacuum_max_threshold exists from 18 on. Columns exist from 14 on.
WITH leaf AS (
  SELECT pg_partition_root(c.oid) AS root, sum(greatest(c.reltuples, pg_stat_get_live_tuples(c.oid)))::bigint AS rows
  FROM pg_class c
  WHERE c.relispartition AND c.relkind = 'r'
  GROUP BY 1
), named AS (
  SELECT
    c.oid, c.relname, n.nspname, c.relkind, c.relpages, c.reltuples,
    n.nspname IN ('pg_catalog', 'information_schema') AS system,
    has_any_column_privilege(c.oid, 'SELECT')
      AND NOT (c.relrowsecurity AND row_security_active(c.oid)) AS visible,
    coalesce(l.rows, greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0))::bigint AS rows,
    o.*
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN leaf l ON l.root = c.oid
  LEFT JOIN LATERAL (
    SELECT
      max(option_value) FILTER (WHERE option_name = 'autovacuum_vacuum_threshold') AS vacuum_threshold,
      max(option_value) FILTER (WHERE option_name = 'autovacuum_vacuum_max_threshold') AS vacuum_max_threshold,
      max(option_value) FILTER (WHERE option_name = 'autovacuum_vacuum_scale_factor') AS vacuum_scale,
      max(option_value) FILTER (WHERE option_name = 'autovacuum_analyze_threshold') AS analyze_threshold,
      max(option_value) FILTER (WHERE option_name = 'autovacuum_analyze_scale_factor') AS analyze_scale
    FROM pg_options_to_table(c.reloptions)
  ) o ON c.reloptions IS NOT NULL
  WHERE c.relkind IN ('r', 'm', 'p')
    AND c.relpersistence <> 't'
    AND NOT (c.relkind = 'p' AND c.relispartition)
), counted AS (
  SELECT
    n.*,
    pg_stat_get_dead_tuples(n.oid) AS dead,
    pg_stat_get_mod_since_analyze(n.oid) AS modified,
    greatest(pg_stat_get_last_analyze_time(n.oid), pg_stat_get_last_autoanalyze_time(n.oid)) AS analysed_at,
    greatest(pg_stat_get_last_vacuum_time(n.oid), pg_stat_get_last_autovacuum_time(n.oid)) AS vacuumed_at
  FROM named n
)
SELECT
  c.nspname || '.' || c.relname AS name,
  format('%I.%I', c.nspname, c.relname) AS quoted,
  c.system,
  c.relkind = 'p' AS partitioned,
  c.rows,
  c.dead,
  c.modified,
  c.relpages::bigint * current_setting('block_size')::bigint AS size_bytes,
  CASE
    WHEN c.analysed_at IS NOT NULL THEN true
    WHEN c.reltuples < 0 THEN false
    WHEN c.visible THEN EXISTS (
      SELECT FROM pg_stats s WHERE s.schemaname = c.nspname AND s.tablename = c.relname)
  END AS analysed,
  extract(epoch FROM clock_timestamp() - c.analysed_at)::float8 AS analysed_seconds_ago,
  extract(epoch FROM clock_timestamp() - c.vacuumed_at)::float8 AS vacuumed_seconds_ago,
  least(
    coalesce(c.vacuum_threshold, current_setting('autovacuum_vacuum_threshold'))::float8
      + coalesce(c.vacuum_scale, current_setting('autovacuum_vacuum_scale_factor'))::float8 * greatest(c.reltuples, 0),
    nullif(coalesce(c.vacuum_max_threshold, current_setting('autovacuum_vacuum_max_threshold', true))::float8, -1)
  ) AS vacuum_trigger,
  coalesce(c.analyze_threshold, current_setting('autovacuum_analyze_threshold'))::float8
    + coalesce(c.analyze_scale, current_setting('autovacuum_analyze_scale_factor'))::float8 * greatest(c.reltuples, 0)
    AS analyze_trigger
FROM counted c
WHERE greatest(c.rows, c.dead, c.modified) >= $1::bigint
ORDER BY name
