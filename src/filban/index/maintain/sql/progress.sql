-- How far backend $1 is with its REINDEX, VACUUM or ANALYZE: no row or one. waits_for: whose transaction it waits out.
-- Source of the phases: PostgreSQL documentation, 28.4.
SELECT
  p.phase, p.blocks_total, p.blocks_done, p.tuples_total, p.tuples_done,
  CASE WHEN p.phase LIKE 'waiting%' AND p.current_locker_pid <> 0 THEN p.current_locker_pid::int END AS waits_for
FROM pg_stat_progress_create_index p
WHERE p.pid = $1::int
UNION ALL
SELECT v.phase, v.heap_blks_total, v.heap_blks_scanned, 0, 0, NULL
FROM pg_stat_progress_vacuum v
WHERE v.pid = $1::int
UNION ALL
SELECT a.phase, a.sample_blks_total, a.sample_blks_scanned, 0, 0, NULL
FROM pg_stat_progress_analyze a
WHERE a.pid = $1::int
