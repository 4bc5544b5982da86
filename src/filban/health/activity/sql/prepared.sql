-- Prepared transactions (two-phase commit) of every database: one row each. age in seconds, xmin_age
-- in transactions. Columns exist from 14 on.
SELECT
  p.gid,
  p.database::text AS database,
  p.database = current_database() AS here,
  p.owner::text AS owner,
  extract(epoch FROM clock_timestamp() - p.prepared)::float8 AS age_seconds,
  age(p.transaction)::bigint AS xmin_age,
  (SELECT count(*) FROM pg_locks l WHERE l.virtualtransaction = '-1/' || p.transaction::text)::int AS locks,
  format('ROLLBACK PREPARED %L;', p.gid) AS rollback_sql
FROM pg_prepared_xacts p
ORDER BY age_seconds DESC
