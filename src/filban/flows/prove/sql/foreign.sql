-- Of the relations $1 (schemas, "" where search_path decides) and $2 (names), and of what their views read:
-- those that are foreign tables.
WITH RECURSIVE tree (oid) AS (
  SELECT c.oid
  FROM unnest($1::text[], $2::text[]) AS g (schema, name)
  JOIN pg_class c ON c.relname = g.name
  JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = g.schema OR g.schema = '' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  UNION
  SELECT coalesce(d.refobjid, i.inhrelid)
  FROM tree
  LEFT JOIN pg_rewrite r ON r.ev_class = tree.oid
  LEFT JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
  LEFT JOIN pg_inherits i ON i.inhparent = tree.oid
  WHERE coalesce(d.refobjid, i.inhrelid) IS NOT NULL
)
SELECT c.oid::regclass::text AS name
FROM tree
JOIN pg_class c ON c.oid = tree.oid
WHERE c.relkind = 'f'
ORDER BY 1
