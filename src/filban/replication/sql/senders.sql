-- Who receives WAL from this server: one row a walsender, base backups left out.
-- Positions are this server's own bytes: clocks and idle primaries cannot falsify them. A receiver that applies nothing
-- (pg_receivewal) reports no replay: its flush or write stands in. is_visible is false, and all but pid unknown, for
-- roles that may not read statistics. Columns exist from 14 on.
SELECT
  r.pid,
  r.state IS NOT NULL AS is_visible,
  coalesce(nullif(r.application_name, ''), 'walreceiver')::text AS name,
  host(r.client_addr) AS address,
  r.state::text AS state,
  r.sync_state::text AS sync_state,
  pg_wal_lsn_diff(here.lsn, r.sent_lsn)::float8 AS not_sent_bytes,
  pg_wal_lsn_diff(here.lsn, coalesce(r.flush_lsn, r.write_lsn))::float8 AS not_flushed_bytes,
  pg_wal_lsn_diff(here.lsn, coalesce(r.replay_lsn, r.flush_lsn, r.write_lsn))::float8 AS behind_bytes
FROM pg_stat_replication r
CROSS JOIN (
  SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END AS lsn
) here
WHERE r.state IS DISTINCT FROM 'backup'
ORDER BY r.pid
