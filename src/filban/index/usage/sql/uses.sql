-- How often each index was read on this server, and how: one row an index outside the system schemas and extensions.
-- tuples_read: entries returned by scans; tuples_fetched: live rows fetched by plain index scans. last_scan exists from
-- 16 on. blocks_*: 8 kB pages of it that were asked for, from shared buffers and from outside.
SELECT
  s.indexrelid::bigint AS oid,
  s.idx_scan AS scans,
  NULL::timestamptz AS last_scan,
  s.idx_tup_read AS tuples_read,
  s.idx_tup_fetch AS tuples_fetched,
  io.idx_blks_hit AS blocks_hit,
  io.idx_blks_read AS blocks_read
FROM pg_stat_user_indexes s
JOIN pg_statio_user_indexes io USING (indexrelid)
ORDER BY s.indexrelid
