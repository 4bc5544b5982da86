-- How far backend $1 is with the index that it builds: no row or one.
-- Source of the phases: PostgreSQL documentation, 28.4.4 (the same in 14 to 18).
SELECT
  p.phase,
  p.blocks_total,
  p.blocks_done,
  p.tuples_total,
  p.tuples_done,
  CASE WHEN p.phase LIKE 'waiting%' AND p.current_locker_pid <> 0 THEN p.current_locker_pid::int END AS waits_for
FROM pg_stat_progress_create_index p
WHERE p.pid = $1
