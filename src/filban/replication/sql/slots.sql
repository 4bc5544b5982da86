-- Replication slots with the WAL that each holds back: one row a slot. safe_wal_bytes is what may still be
-- written before it is lost (NULL: no limit is set). Columns exist from 14 on.
SELECT
  s.slot_name::text AS name,
  s.slot_type::text AS kind,
  s.database::text AS database,
  s.active AS active,
  s.temporary AS temporary,
  s.wal_status::text AS wal_status,
  s.safe_wal_size::float8 AS safe_wal_bytes,
  pg_wal_lsn_diff(p.lsn, s.restart_lsn)::float8 AS retained_bytes,
  format('SELECT pg_drop_replication_slot(%L);', s.slot_name) AS drop_sql
FROM pg_replication_slots s
CROSS JOIN (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END AS lsn) p
ORDER BY 1
