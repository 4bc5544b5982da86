-- Client sessions by who has opened them, filban's own left out: one row for each application name,
-- user, client address and database. hidden: sessions whose state this role may not see. Columns
-- exist from 14 on.
SELECT
  coalesce(application_name, '') AS application,
  usename::text AS username,
  coalesce(host(client_addr), 'local') AS client,
  coalesce(datname::text, '') AS database,
  count(*)::int AS connections,
  (count(*) FILTER (WHERE state = 'active'))::int AS active,
  (count(*) FILTER (WHERE state = 'idle'))::int AS idle,
  (count(*) FILTER (WHERE state LIKE 'idle in transaction%'))::int AS idle_in_transaction,
  (count(*) FILTER (WHERE query = '<insufficient privilege>'))::int AS hidden
FROM pg_stat_activity
WHERE pid <> pg_backend_pid()
  AND usename IS NOT NULL
  AND application_name IS DISTINCT FROM 'filban'
  AND coalesce(backend_type = 'client backend', datname IS NOT NULL)
GROUP BY 1, 2, 3, 4
ORDER BY connections DESC, 1, 2, 3, 4
