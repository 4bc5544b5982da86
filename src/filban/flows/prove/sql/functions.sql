-- The functions that a statement may call: those of the names $1, and what the relations $2 (schemas, "" where search_path
-- decides) and $3 (names) bring with them: their views' rules, and of those that are written ($4, names) triggers,
-- defaults and checks.
-- One row a function. called_by: the relation that brings it, "" for the statement itself. trusted: its language may
-- not reach outside (C of an extension and internal ones count as such: they are judged by name and extension).
WITH RECURSIVE given AS (
  SELECT c.oid, c.relname
  FROM unnest($2::text[], $3::text[]) AS g (schema, name)
  JOIN pg_class c ON c.relname = g.name
  JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = g.schema OR g.schema = '' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
), written AS (
  SELECT given.oid FROM given WHERE given.relname = ANY ($4::text[])
), tree (oid) AS (
  SELECT oid FROM given
  UNION
  SELECT d.refobjid
  FROM tree
  JOIN pg_rewrite r ON r.ev_class = tree.oid
  JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
), called (oid, relation) AS (
  SELECT p.oid, NULL::oid FROM pg_proc p WHERE p.proname = ANY ($1::text[])
  UNION
  SELECT d.refobjid, tree.oid
  FROM tree
  JOIN pg_rewrite r ON r.ev_class = tree.oid
  JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_proc'::regclass
  UNION
  SELECT d.refobjid, written.oid
  FROM written
  JOIN pg_attrdef a ON a.adrelid = written.oid
  JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid AND d.refclassid = 'pg_proc'::regclass
  UNION
  SELECT d.refobjid, written.oid
  FROM written
  JOIN pg_constraint k ON k.conrelid = written.oid
  JOIN pg_depend d ON d.classid = 'pg_constraint'::regclass AND d.objid = k.oid AND d.refclassid = 'pg_proc'::regclass
  UNION
  SELECT t.tgfoid, written.oid FROM written JOIN pg_trigger t ON t.tgrelid = written.oid WHERE NOT t.tgisinternal
)
SELECT DISTINCT
  n.nspname::text AS schema,
  p.proname::text AS name,
  p.provolatile::text AS volatility,
  l.lanpltrusted OR l.lanname IN ('internal', 'c') AS trusted,
  (SELECT e.extname::text FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
    WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_extension'::regclass
      AND d.deptype = 'e' LIMIT 1) AS extension,
  n.nspname = 'pg_catalog' AS built_in,
  coalesce(called.relation::regclass::text, '') AS called_by
FROM called
JOIN pg_proc p ON p.oid = called.oid
JOIN pg_namespace n ON n.oid = p.pronamespace
JOIN pg_language l ON l.oid = p.prolang
ORDER BY 1, 2
