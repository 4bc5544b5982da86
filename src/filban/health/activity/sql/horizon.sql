-- Who besides a session holds the horizon back, so that vacuum must keep dead rows: replication slots
-- with an xmin, and walsenders whose standby sends feedback without a slot. One row a holder; xmin_age in transactions.
-- Columns exist from 14 on.
SELECT
  'slot' AS kind,
  s.slot_name::text AS name,
  greatest(age(s.xmin), age(s.catalog_xmin))::bigint AS xmin_age,
  s.active,
  s.xmin IS NULL AS catalog_only,
  format('SELECT pg_drop_replication_slot(%L);', s.slot_name) AS release_sql
FROM pg_replication_slots s
WHERE s.xmin IS NOT NULL OR s.catalog_xmin IS NOT NULL
UNION ALL
SELECT
  'walsender',
  coalesce(nullif(a.application_name, ''), 'pid ' || a.pid),
  age(a.backend_xmin)::bigint,
  true,
  false,
  format('SELECT pg_terminate_backend(%s);', a.pid)
FROM pg_stat_activity a
WHERE a.backend_type = 'walsender'
  AND a.backend_xmin IS NOT NULL
  AND NOT EXISTS (SELECT FROM pg_replication_slots s WHERE s.active_pid = a.pid)
ORDER BY xmin_age DESC
