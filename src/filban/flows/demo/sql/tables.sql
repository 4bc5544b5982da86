-- The ordinary tables of this database that are not the system's, and for each the SQL that digests
-- it: rows, and a sum of 64-bit hashes over whole rows, which no order of rows changes.
-- Columns exist from 14 on.
SELECT
  format('%I.%I', n.nspname, c.relname) AS name,
  format(
    'SELECT count(*) AS rows, coalesce(sum(hashtextextended((t.*)::text, 0)::numeric), 0)::text AS hash FROM ONLY %I.%I AS t',
    n.nspname, c.relname
  ) AS digest_sql,
  format('LOCK TABLE ONLY %I.%I IN SHARE MODE', n.nspname, c.relname) AS lock_sql
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'p'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
ORDER BY c.oid
