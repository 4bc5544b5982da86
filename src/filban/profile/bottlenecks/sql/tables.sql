-- The tables of this database that anybody has read or written: one row each. rows_in_scans: live rows that
-- sequential scans read; blocks: heap and index blocks read or found in shared buffers; vacuum_at: dead rows
-- from which on autovacuum works on the table (its own formula, with the table's parameters).
-- Columns exist from 14 on.
SELECT
  s.relid::bigint AS id,
  format('%s.%s', s.schemaname, s.relname) AS name,
  format('%I.%I', s.schemaname, s.relname) AS quoted,
  coalesce(s.seq_scan, 0)::float8 AS seq_scans,
  coalesce(s.seq_tup_read, 0)::float8 AS rows_in_scans,
  coalesce(s.idx_scan, 0)::float8 AS index_scans,
  (s.n_tup_ins + s.n_tup_upd + s.n_tup_del)::float8 AS rows_written,
  (coalesce(i.heap_blks_read, 0) + coalesce(i.heap_blks_hit, 0)
    + coalesce(i.idx_blks_read, 0) + coalesce(i.idx_blks_hit, 0))::float8 AS blocks,
  (coalesce(i.heap_blks_read, 0) + coalesce(i.idx_blks_read, 0))::float8 AS blocks_read,
  s.n_live_tup::float8 AS live_rows,
  s.n_dead_tup::float8 AS dead_rows,
  greatest(c.reltuples, 0)
    * coalesce(o.scale, current_setting('autovacuum_vacuum_scale_factor')::float8)
    + coalesce(o.threshold, current_setting('autovacuum_vacuum_threshold')::float8) AS vacuum_at,
  coalesce(s.autovacuum_count + s.vacuum_count, 0)::float8 AS vacuums,
  c.relpages::float8 AS pages
FROM pg_stat_user_tables s
JOIN pg_statio_user_tables i USING (relid)
JOIN pg_class c ON c.oid = s.relid
CROSS JOIN LATERAL (
  SELECT
    max(option_value) FILTER (WHERE option_name = 'autovacuum_vacuum_scale_factor')::float8 AS scale,
    max(option_value) FILTER (WHERE option_name = 'autovacuum_vacuum_threshold')::float8 AS threshold
  FROM pg_options_to_table(c.reloptions)
) o
WHERE coalesce(s.seq_scan, 0) + coalesce(s.idx_scan, 0) + s.n_tup_ins + s.n_tup_upd + s.n_tup_del > 0
