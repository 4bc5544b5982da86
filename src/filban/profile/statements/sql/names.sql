-- The names of databases and roles by their object id: one row each. Columns exist from 14 on.
SELECT 'database' AS kind, oid AS id, datname::text AS name FROM pg_database
UNION ALL
SELECT 'role', oid, rolname::text FROM pg_roles
