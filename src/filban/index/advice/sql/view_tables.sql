-- What each view of a user reads, one level down: one row a pair of view and relation. From 14 on.
SELECT DISTINCT
  r.ev_class::bigint AS view_oid,
  d.refobjid::bigint AS table_oid
FROM pg_rewrite r
JOIN pg_class v ON v.oid = r.ev_class AND v.relkind = 'v'
JOIN pg_namespace n ON n.oid = v.relnamespace AND n.nspname NOT IN ('pg_catalog', 'information_schema')
JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
  AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
