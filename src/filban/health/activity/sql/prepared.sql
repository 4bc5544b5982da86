-- Prepared transactions (two-phase commit) of every database: one row each. age in seconds, xmin_age
-- in transactions. Columns exist from 14 on.
WITH locks AS MATERIALIZED (
  SELECT * FROM pg_locks WHERE pid IS NULL AND granted
)
SELECT
  p.gid,
  p.database::text AS database,
  p.database = current_database() AS here,
  p.owner::text AS owner,
  extract(epoch FROM clock_timestamp() - p.prepared)::float8 AS age_seconds,
  age(p.transaction)::bigint AS xmin_age,
  (SELECT count(*) FROM locks l JOIN locks own USING (virtualtransaction)
    WHERE own.locktype = 'transactionid' AND own.transactionid = p.transaction)::int AS locks,
  format('ROLLBACK PREPARED %L;', p.gid) AS rollback_sql
FROM pg_prepared_xacts p
ORDER BY age_seconds DESC
