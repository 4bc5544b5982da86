-- Every relation, type and operator by name, built-in ones too; of built-in functions the names.
-- kind: r relation, t type, o operator, b built-in function (id 0).
-- id below 16384: it came with PostgreSQL. Temporary objects are left out.
SELECT 'r' AS kind, c.oid::bigint AS id, n.nspname::text AS schema, c.relname::text AS name
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't'
UNION ALL
SELECT 't', t.oid::bigint, n.nspname::text, t.typname::text
FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace AND n.nspname !~ '^pg_(toast_)?temp_'
UNION ALL
SELECT 'o', o.oid::bigint, n.nspname::text, o.oprname::text
FROM pg_catalog.pg_operator o
JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
UNION ALL
SELECT DISTINCT 'b', 0::bigint, 'pg_catalog', p.proname::text
FROM pg_catalog.pg_proc p
WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.oid < 16384
