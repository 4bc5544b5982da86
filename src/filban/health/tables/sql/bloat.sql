-- An estimate of the bytes that the live rows of a table need, beside those it has, for each table of at least $1
-- bytes: one row a table. From the planner's statistics: rows times (header + average widths), packed
-- into pages at the table's fillfactor; off where the statistics are old, or columns are padded much.
-- needed_bytes is NULL when a column has no statistics; visible: whether this role may see them.
-- Columns exist from 14 on.
WITH large AS (
  SELECT c.oid, n.nspname, c.relname, c.relpages::bigint AS pages, c.reltuples,
    current_setting('block_size')::bigint AS page,
    coalesce((SELECT option_value::int FROM pg_options_to_table(c.reloptions) WHERE option_name = 'fillfactor'), 100) AS fillfactor,
    NOT (c.relrowsecurity AND row_security_active(c.oid)) AS unfiltered
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
    AND c.relpages::bigint * current_setting('block_size')::bigint >= $1::bigint
), widths AS (
  SELECT l.oid,
    c.visible,
    s.columns = c.columns AS complete,
    s.data,
    -- 23 bytes of header, and a bit a column where a row may hold NULL
    23 + CASE WHEN s.nullable THEN (c.columns + 7) / 8 ELSE 0 END AS header
  FROM large l
  CROSS JOIN LATERAL (
    SELECT count(*) AS columns, bool_and(has_column_privilege(l.oid, a.attnum, 'SELECT')) AS visible
    FROM pg_attribute a
    WHERE a.attrelid = l.oid AND a.attnum > 0 AND NOT a.attisdropped
  ) c
  -- one look into pg_stats a table, by its indexes: the planner cannot see into the view
  CROSS JOIN LATERAL (
    SELECT count(*) AS columns, sum(s.avg_width * (1 - s.null_frac)) AS data, max(s.null_frac) > 0 AS nullable
    FROM pg_stats s
    WHERE s.schemaname = l.nspname AND s.tablename = l.relname AND NOT s.inherited
  ) s
)
SELECT
  l.nspname || '.' || l.relname AS name,
  format('%I.%I', l.nspname, l.relname) AS quoted,
  l.pages * l.page AS size_bytes,
  CASE WHEN w.complete AND l.reltuples >= 0 THEN (l.page * ceil(
    l.reltuples / greatest(1, floor(
      -- 24 bytes of page header; header and data each aligned to 8, 4 for the line pointer
      (l.page - 24) * l.fillfactor / 100.0 / (ceil(w.header / 8.0) * 8 + ceil(w.data / 8.0) * 8 + 4)
    ))))::bigint
  END AS needed_bytes,
  w.visible AND l.unfiltered AS visible
FROM large l
JOIN widths w USING (oid)
ORDER BY name
