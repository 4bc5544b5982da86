-- Extended statistics on the tables that a plan reads. $1: schemas, $2: names, pairwise.
-- One row an object: schema and name of the table, statistics (its own quoted name), columns, kinds
-- ("ndistinct", "dependencies", "mcv"). Statistics on expressions alone have no columns here.
SELECT
    n.nspname::text AS schema,
    c.relname::text AS name,
    pg_catalog.format('%I.%I', sn.nspname, s.stxname) AS statistics,
    ARRAY(
        SELECT a.attname::text FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum = ANY (s.stxkeys::int2[])
        ORDER BY a.attnum
    ) AS columns,
    ARRAY(
        SELECT CASE k WHEN 'd' THEN 'ndistinct' WHEN 'f' THEN 'dependencies' WHEN 'm' THEN 'mcv'
               ELSE 'expressions' END
        FROM unnest(s.stxkind) AS k
    ) AS kinds
FROM pg_catalog.pg_statistic_ext s
JOIN pg_catalog.pg_class c ON c.oid = s.stxrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_namespace sn ON sn.oid = s.stxnamespace
JOIN unnest($1::text[], $2::text[]) AS wanted(schema, name)
  ON n.nspname = wanted.schema AND c.relname = wanted.name
ORDER BY 1, 2, 3
