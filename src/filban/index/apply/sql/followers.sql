-- Who needs this primary's WAL, and how far behind it is in bytes: standbys (by what they have replayed), then slots.
-- lag_bytes is NULL where this role may not see it. in_danger: a slot whose WAL is about to be removed or is gone
-- (wal_status 'unreserved', 'lost'). Columns exist from 14 on.
SELECT
  coalesce(nullif(r.application_name, ''), 'pid ' || r.pid) AS name,
  pg_wal_lsn_diff(pg_current_wal_lsn(), r.replay_lsn)::bigint AS lag_bytes,
  false AS in_danger
FROM pg_stat_replication r
-- a base backup and a receiver replay nothing
WHERE r.state IS NULL OR (r.state IN ('streaming', 'catchup') AND r.replay_lsn IS NOT NULL)
UNION ALL
SELECT
  'slot ' || s.slot_name,
  NULL,
  s.wal_status IN ('unreserved', 'lost')
FROM pg_replication_slots s
WHERE s.wal_status IN ('unreserved', 'lost') AND s.active
