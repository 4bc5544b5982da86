-- Every extension that is installed in this database or available on this server: one row each.
-- schema_quoted is ready to be pasted into SQL. Columns exist from 14 on.
SELECT
  a.name::text AS name,
  e.extversion::text AS installed_version,
  a.default_version::text AS default_version,
  quote_ident(n.nspname) AS schema_quoted
FROM pg_available_extensions a
FULL JOIN pg_extension e ON e.extname = a.name
LEFT JOIN pg_namespace n ON n.oid = e.extnamespace
ORDER BY 1
