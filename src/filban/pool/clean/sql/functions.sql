-- The functions that did not come with PostgreSQL.
-- body: the source; the name of the C function for internal ones; "" when it is stored parsed
-- (BEGIN ATOMIC) or cannot be judged.
-- atomic: a body stored parsed; utility: it has a statement other than a query in it.
-- extension: "" for a user's own. one_row: can be called as `row.function`.
SELECT
    p.oid::bigint AS id,
    n.nspname::text AS schema,
    p.proname::text AS name,
    l.lanname::text AS language,
    p.prokind::text AS kind,
    p.provolatile::text AS volatility,
    CASE WHEN l.lanname IN ('sql', 'plpgsql', 'internal') THEN p.prosrc ELSE '' END AS body,
    p.prosqlbody IS NOT NULL AS atomic,
    -- CMD_UTILITY is 5 in PostgreSQL 14 and 6 since 15, where 5 is MERGE.
    coalesce(p.prosqlbody::text ~ ':commandType [56] ', false) AS utility,
    coalesce(e.extname::text, '') AS extension,
    p.pronargs - p.pronargdefaults <= 1 AND p.pronargs >= 1 AS one_row
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
JOIN pg_catalog.pg_language l ON l.oid = p.prolang
LEFT JOIN pg_catalog.pg_depend d
    ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
WHERE p.oid >= 16384
