-- Statistics of the tables that a plan reads. $1: schemas, $2: names, pairwise.
-- One row a table: schema, name, analysed (ever), rows (live, as counted), modified (since the last
-- ANALYZE), texts (its columns of a type of texts, domains over one too). Every column since 9.4.
SELECT
    s.schemaname::text AS schema,
    s.relname::text AS name,
    (s.last_analyze IS NOT NULL OR s.last_autoanalyze IS NOT NULL) AS analysed,
    s.n_live_tup AS rows,
    s.n_mod_since_analyze AS modified,
    ARRAY(
        SELECT a.attname::text
        FROM pg_catalog.pg_attribute a
        JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
        WHERE a.attrelid = s.relid AND a.attnum > 0 AND NOT a.attisdropped
          AND t.typcategory = 'S'
    ) AS texts
FROM pg_catalog.pg_stat_all_tables s
JOIN unnest($1::text[], $2::text[]) AS wanted(schema, name)
  ON s.schemaname = wanted.schema AND s.relname = wanted.name
