-- What ANALYZE keeps of the columns ($1 table, $2 column, pairwise), as texts that the column's type reads again:
-- one row a column that has statistics. elements: of arrays, and the lexemes of a tsvector. At most 100 of each,
-- and none that is longer than 1,000 characters. From 14 on.
SELECT
  w.table_oid,
  w.name,
  ARRAY(SELECT v FROM unnest(s.most_common_vals::text::text[]) WITH ORDINALITY AS u (v, i)
    WHERE length(v) <= 1000 ORDER BY i LIMIT 100) AS common,
  ARRAY(SELECT v FROM unnest(s.histogram_bounds::text::text[]) WITH ORDINALITY AS u (v, i)
    WHERE length(v) <= 1000 ORDER BY i LIMIT 1001) AS bounds,
  ARRAY(SELECT v FROM unnest(s.most_common_elems::text::text[]) WITH ORDINALITY AS u (v, i)
    WHERE length(v) <= 1000 ORDER BY s.most_common_elem_freqs[i] DESC LIMIT 100) AS elements
FROM unnest($1::bigint[], $2::text[]) AS w (table_oid, name)
JOIN pg_class c ON c.oid = w.table_oid::oid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = w.name
  AND s.inherited = (c.relkind = 'p')
