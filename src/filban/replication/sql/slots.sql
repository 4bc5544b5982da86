-- Every replication slot that is not a session's own: one row a slot, with the WAL that it keeps from being removed.
-- safe_bytes: what may still be written before it is lost; NULL without max_slot_wal_keep_size. inactive_seconds and
-- is_synced (kept by a standby for after a failover, inactive by design) exist from 17 on, read through jsonb.
SELECT
  s.slot_name::text AS name,
  s.slot_type::text AS kind,
  s.plugin::text AS plugin,
  s.database::text AS database,
  s.active AS is_active,
  s.wal_status::text AS wal_status,
  pg_wal_lsn_diff(here.lsn, s.restart_lsn)::float8 AS retained_bytes,
  s.safe_wal_size AS safe_bytes,
  age(s.xmin)::bigint AS xmin_age,
  age(s.catalog_xmin)::bigint AS catalog_xmin_age,
  extract(epoch FROM clock_timestamp() - (to_jsonb(s) ->> 'inactive_since')::timestamptz)::float8 AS inactive_seconds,
  coalesce((to_jsonb(s) ->> 'synced')::bool, false) AS is_synced,
  format('SELECT pg_drop_replication_slot(%L);', s.slot_name) AS drop_statement
FROM pg_replication_slots s
CROSS JOIN (
  SELECT CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
    ELSE pg_current_wal_lsn() END AS lsn
) here
WHERE NOT s.temporary
ORDER BY s.slot_name
